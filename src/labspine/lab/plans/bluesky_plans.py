"""The one file of the lab that knows bluesky: its standard plans."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import bluesky.plans

from labspine.compat.bluesky import cheap_plans
from labspine.errors import ConfigError

__all__ = ["spare_stack_traces", "standard_plans"]

_NAMES = (
    "count",
    "scan",
    "rel_scan",
    "list_scan",
    "rel_list_scan",
    "log_scan",
    "rel_log_scan",
    "grid_scan",
    "rel_grid_scan",
    "list_grid_scan",
    "rel_list_grid_scan",
    "spiral",
    "rel_spiral",
    "spiral_fermat",
    "rel_spiral_fermat",
    "spiral_square",
    "rel_spiral_square",
    "adaptive_scan",
    "rel_adaptive_scan",
    "tune_centroid",
)


def standard_plans() -> dict[str, Callable[..., Iterable[object]]]:
    """
    Take the plans of ``bluesky.plans`` whose arguments can be sent through the bus.

    Returns:
        Plan functions by name, in the order in which they are offered.

    Raises:
        ImportError: If bluesky is not installed (``pip install labspine[bluesky]``).
    """
    found = {name: getattr(bluesky.plans, name, None) for name in _NAMES}
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
