"""How the positional arguments of standard plans are grouped, so that wrong ones are refused clearly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, Literal

from labspine.errors import PlanError, shown

from ..devices import DeviceRegistry

__all__ = ["MAX_POINTS", "SHAPES", "Shape", "check_count"]

MAX_POINTS = 1_000_000
"""More points than this are refused: a typing error, or a case for a fly scan."""

Reach = Literal["position", "distance", "power"]

_DEVICE_WORDS = frozenset({"motor"})
_COUNT_WORDS = frozenset({"num"})
_LIST_WORDS = frozenset({"positions"})


@dataclass(frozen=True, slots=True)
class Shape:
    """
    The grouping of a plan's positional arguments.

    Args:
        usage: How to write it, for people.
        group: What one group holds: motor, start, stop, num, positions or position.
        has_detectors: Whether the first argument names the detectors.
        has_tail: Whether the number of points follows the groups (it may be given as ``num=`` too).
        is_product: Whether the points of the groups multiply (a grid) instead of going together.
        is_single: Whether there is exactly one group.
        reach: What the numbers mean: positions, distances from where the motor is, or powers of ten.
    """

    usage: str
    group: tuple[str, ...]
    has_detectors: bool = True
    has_tail: bool = False
    is_product: bool = False
    is_single: bool = False
    reach: Reach = "position"

    def check(
        self, args: Sequence[object], kwargs: Mapping[str, object], *, registry: DeviceRegistry
    ) -> int | None:
        """
        Check arguments before anything is built from them.

        Args:
            args: The positional arguments; devices by name.
            kwargs: The keyword arguments.
            registry: The devices that exist.

        Returns:
            The number of points that they ask for; None when it does not follow from them.

        Raises:
            PlanError: If a group is incomplete, or a number is not one, or a motor is given twice.
            RequestedDevice: If a device does not exist.
        """
        rest = list(args[1:]) if self.has_detectors else list(args)
        tail: object | None = kwargs.get("num")
        if self.has_tail and tail is None:
            if len(rest) % len(self.group) != 1:
                raise PlanError(self._complaint(rest))
            tail = rest.pop()
        if not rest or len(rest) % len(self.group):
            raise PlanError(self._complaint(rest))
        width = len(self.group)
        groups = [rest[i : i + width] for i in range(0, len(rest), width)]
        if self.is_single and len(groups) != 1:
            raise PlanError(f"exactly one motor is possible; write {self.usage}")
        counts = [self._check_group(group, registry) for group in groups]
        _refuse_twice([str(group[0]) for group in groups])
        if self.has_tail:
            return check_count("num", tail)
        return self._points([count for count in counts if count is not None])

    def check_limits(self, args: Sequence[object], *, registry: DeviceRegistry) -> None:
        """
        Compare the outermost positions with the limits of the motors, without walking through the plan.

        Args:
            args: Arguments that have passed `check`.
            registry: The devices that exist.

        Raises:
            PlanError: If a motor would leave its limits.
        """
        rest = list(args[1:]) if self.has_detectors else list(args)
        width = len(self.group)
        for i in range(0, len(rest) - width + 1, width):
            name = str(rest[i])
            limits = registry.limits(name)
            for word, value in zip(self.group, rest[i : i + width], strict=True):
                if limits is not None and word in ("start", "stop", "position", "positions"):
                    self._check_reach(name, value, limits=limits, device=registry[name])

    def _check_reach(self, name: str, value: Any, *, limits: tuple[float, float], device: object) -> None:
        origin = float(getattr(device, "position", 0.0)) if self.reach == "distance" else 0.0
        for number in value if isinstance(value, (list, tuple)) else [value]:
            given = float(number)
            place = 10.0**given if self.reach == "power" else origin + given
            if not limits[0] <= place <= limits[1]:
                raise PlanError(f"{name}: {place:g} is outside limits [{limits[0]:g}, {limits[1]:g}]")

    def _complaint(self, rest: Sequence[object]) -> str:
        given = " ".join(shown(value, 20) for value in rest) or "nothing"
        after = "after the detectors come" if self.has_detectors else "it needs"
        tail = ", then the number of points" if self.has_tail else ""
        times = "one group" if self.is_single else "groups"
        return f"{after} {times} of {' '.join(self.group)}{tail}, but got: {given}; write {self.usage}"

    def _check_group(self, group: Sequence[object], registry: DeviceRegistry) -> int | None:
        count: int | None = None
        name = str(group[0])
        for word, value in zip(self.group, group, strict=True):
            if word in _DEVICE_WORDS:
                _check_motor(value, registry, self.usage)
            elif word in _COUNT_WORDS:
                count = check_count(f"the number of points of {name}", value)
            elif word in _LIST_WORDS:
                count = _check_positions(name, value)
            else:
                _check_number(f"{word} of {name}", value)
        return count

    def _points(self, counts: list[int]) -> int | None:
        if not counts:
            return None
        if self.is_product:
            return check_count("the number of points of the grid", math.prod(counts))
        if len(set(counts)) > 1:
            raise PlanError(f"the lists must be equally long, but have {', '.join(map(str, counts))} items")
        return counts[0]


def check_count(what: str, value: object) -> int:
    """
    Check a number of points.

    Args:
        what: What it is the number of, for the error.
        value: The number.

    Returns:
        The number.

    Raises:
        PlanError: If it is not a whole number from 1 to `MAX_POINTS`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) <= MAX_POINTS:
        raise PlanError(f"{what} must be a whole number from 1 to {MAX_POINTS}, not {shown(value)}")
    return int(value)


def _check_motor(value: object, registry: DeviceRegistry, usage: str) -> None:
    if not isinstance(value, str):
        raise PlanError(f"expected the name of a motor where {shown(value)} stands; write {usage}")
    if not registry.entry(value).is_movable:
        movable = ", ".join(name for name, entry in registry.entries.items() if entry.is_movable)
        raise PlanError(f'device "{value}" cannot be moved; devices that can: {movable or "none"}')


def _check_number(what: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise PlanError(f"{what} must be a finite number, not {shown(value)}")


def _check_positions(name: str, value: object) -> int:
    if not isinstance(value, (list, tuple)) or not value:
        raise PlanError(f"{name} needs a list of positions, as in [0, 0.5, 2], not {shown(value)}")
    for index, position in enumerate(value):
        _check_number(f"position {index + 1} of {name}", position)
    return len(value)


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PlanError(f"{', '.join(twice)} is given twice; each motor can have one range")


_LINE = Shape("<detectors> <motor> <start> <stop> [...] <num>", ("motor", "start", "stop"), has_tail=True)
_LOG = Shape("<detectors> <motor> <start> <stop> <num>", ("motor", "start", "stop", "num"), is_single=True)
_GRID = Shape(
    "<detectors> <motor> <start> <stop> <num> [...]", ("motor", "start", "stop", "num"), is_product=True
)
_LIST = Shape("<detectors> <motor> <[positions]> [...]", ("motor", "positions"))
_LIST_GRID = Shape("<detectors> <motor> <[positions]> [...]", ("motor", "positions"), is_product=True)

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "scan": _LINE,
        "rel_scan": replace(_LINE, reach="distance"),
        "log_scan": replace(_LOG, reach="power"),
        "grid_scan": _GRID,
        "rel_grid_scan": replace(_GRID, reach="distance"),
        "list_scan": _LIST,
        "rel_list_scan": replace(_LIST, reach="distance"),
        "list_grid_scan": _LIST_GRID,
        "rel_list_grid_scan": replace(_LIST_GRID, reach="distance"),
        "mv": Shape("<motor> <position> [...]", ("motor", "position"), has_detectors=False),
    }
)
