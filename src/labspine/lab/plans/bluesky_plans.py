"""The one file of the lab that knows bluesky: its standard plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bluesky.plans

from labspine.compat.bluesky import cheap_plans
from labspine.errors import ConfigError

__all__ = ["spare_stack_traces", "standard_plans"]


def standard_plans(names: Iterable[str]) -> dict[str, Callable[..., Iterable[object]]]:
    """
    Take plans of ``bluesky.plans``.

    Args:
        names: Their names; what this version of bluesky does not have is left out.

    Returns:
        Plan functions by name, in the order in which they are offered.

    Raises:
        ImportError: If bluesky is not installed (``pip install labspine[bluesky]``).
    """
    found = {name: getattr(bluesky.plans, name, None) for name in names}
    return {name: function for name, function in found.items() if function is not None}


def spare_stack_traces() -> Callable[[], None]:
    """
    Make bluesky's plan stubs cheap in this process, if its version allows.

    Each call of a stub formats the call stack otherwise: two thirds of the time of a scan, and most of the
    time of walking a plan before it is accepted.

    Returns:
        Call it to put bluesky's own way back.
    """
    try:
        return cheap_plans().undo
    except ConfigError:
        return _nothing


def _nothing() -> None:
    pass
