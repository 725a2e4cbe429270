"""No service starts on a broker that could lose its data."""

from __future__ import annotations

import logging

from labspine.connector import RedisConnector
from labspine.errors import PermissionDenied
from labspine.flows import refuse_unsafe

__all__ = ["refuse_unsafe_broker"]

_log = logging.getLogger("labspine.lab")


def refuse_unsafe_broker(connector: RedisConnector, *, tells_warnings: bool = True) -> None:
    """
    Insist on a broker that does not lose data; `labspine doctor` shows the same findings.

    Args:
        connector: The door to it.
        tells_warnings: Log what is worth knowing.

    Raises:
        ConfigError: If it is too old, a replica, or set up to drop data; the text says what to do.
        NotConnected: If it cannot be reached.
    """
    try:
        warnings = refuse_unsafe(connector.server_report())
    except PermissionDenied as error:
        _log.warning("the broker could not be checked: %s", error)
        return
    for warning in warnings if tells_warnings else ():
        _log.warning("broker: %s; %s", warning.text, warning.fix)
