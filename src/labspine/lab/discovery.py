"""Where is the broker? Asked in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Mapping

from labspine.errors import ConfigError
from labspine.wire import embedded

__all__ = ["resolve_url"]


def resolve_url(url: str | None = None, *, environ: Mapping[str, str] | None = None) -> str:
    """
    Find the address of the broker.

    The order: the argument, the environment's LABSPINE_URL, then REDIS_URL, then a running embedded broker
    of this user.

    Args:
        url: ``host:port``, ``redis://...``, ``rediss://...`` or ``unix://...``; None looks further.
        environ: The environment; by default that of the process.

    Returns:
        The address as it was given or found.

    Raises:
        ConfigError: If there is none; the text says how to start one.
    """
    environ = os.environ if environ is None else environ
    for given in (url, environ.get("LABSPINE_URL"), environ.get("REDIS_URL")):
        if given:
            return given
    found = embedded.find()
    if found is None:
        raise ConfigError(
            "no broker: none was given, LABSPINE_URL and REDIS_URL are not set, and no embedded broker runs; "
            "start one with: labspine up --demo"
        )
    return found
