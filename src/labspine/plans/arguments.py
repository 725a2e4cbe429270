"""Checks of what plans are given: wrong arguments are refused when a plan is made, not when it runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from labspine.errors import shown
from labspine.plan_stubs.base import BadPlan

__all__ = [
    "MOST_POINTS",
    "check_detectors",
    "check_motors",
    "check_number",
    "check_points",
    "check_positions",
    "chunks",
]

MOST_POINTS = 10_000_000
"""More are a mistake of units: at a thousand points a second they take three hours."""


def check_detectors(detectors: Any, *, what: str) -> list[Any]:
    """
    Check detectors.

    Args:
        detectors: A list or tuple of devices.
        what: Name of the plan, for the error text.

    Returns:
        A list of them.

    Raises:
        BadPlan: If it is no list, something in it cannot be read, or two have the same name.
    """
    if isinstance(detectors, str) or not isinstance(detectors, Sequence):
        name = getattr(detectors, "name", None)
        advice = f"write [{name}]" if name else "write [det]"
        raise BadPlan(f"{what}: detectors must be a list of devices, got {shown(detectors)}; {advice}")
    for number, detector in enumerate(detectors, 1):
        if not (hasattr(detector, "name") and hasattr(detector, "read")):
            raise BadPlan(f"{what}: detector {number} is {shown(detector)}, which is no device with 'read'")
    _check_names(detectors, what=what)
    return list(detectors)


def _check_names(devices: Iterable[Any], *, what: str) -> None:
    by_name: dict[str, Any] = {}
    for device in devices:
        if by_name.setdefault(device.name, device) is not device:
            raise BadPlan(f'{what}: two different devices have the name "{device.name}"; rename one of them')


def check_motors(motors: Sequence[Any], detectors: Sequence[Any], *, what: str) -> None:
    """
    Check the motors of a scan.

    Args:
        motors: As the arguments name them.
        detectors: What is read beside them.
        what: Name of the plan, for the error text.

    Raises:
        BadPlan: If there is none, one is no motor, or one is named twice.
    """
    if not motors:
        raise BadPlan(f"{what} needs at least one motor with its positions")
    seen: set[int] = set()
    for motor in motors:
        if not (hasattr(motor, "name") and hasattr(motor, "set")):
            raise BadPlan(f"{what}: {shown(motor)} stands where a motor should; it has no 'set'")
        if id(motor) in seen:
            raise BadPlan(f"{what}: motor {motor.name} is named twice; it can follow one trajectory only")
        seen.add(id(motor))
    _check_names([*detectors, *motors], what=what)


def check_points(num: Any, *, what: str, name: str = "num") -> int:
    """
    Check a number of points.

    Args:
        num: What was given.
        what: Name of the plan, for the error text.
        name: Name of the argument.

    Returns:
        The number.

    Raises:
        BadPlan: If it is no whole number from 1 to 10,000,000.
    """
    try:
        is_whole = not isinstance(num, bool | str) and float(num).is_integer()
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole or not 1 <= num <= MOST_POINTS:
        raise BadPlan(
            f"{what}: {name} is the number of points, a whole number from 1 to {MOST_POINTS:,}; "
            f"got {shown(num)}"
        )
    return int(num)


def check_number(value: Any, *, what: str, name: str) -> Any:
    """
    Check one position or length.

    Args:
        value: What was given.
        what: Name of the plan, for the error text.
        name: Name of the argument.

    Returns:
        The value as it is.

    Raises:
        BadPlan: If it is no finite real number.
    """
    try:
        is_good = not isinstance(value, str) and math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        is_good = False
    if not is_good:
        raise BadPlan(f"{what}: {name} must be a finite number, got {shown(value)}")
    return value


def check_positions(positions: Any, *, what: str, name: str) -> list[Any]:
    """
    Check a list of positions.

    Args:
        positions: Any iterable; positions of pseudo motors may be tuples, those of others text.
        what: Name of the plan, for the error text.
        name: Name of the motor.

    Returns:
        A list, not empty.

    Raises:
        BadPlan: If it is none, is empty, or holds NaN or infinity.
    """
    if isinstance(positions, str) or not isinstance(positions, Iterable):
        raise BadPlan(f"{what}: {name} needs a list of positions, got {shown(positions)}")
    found = list(positions)
    if not found:
        raise BadPlan(f"{what}: the list of positions for {name} is empty")
    for number, position in enumerate(found, 1):
        if isinstance(position, float) and not math.isfinite(position):
            raise BadPlan(f"{what}: position {number} of {name} is {position}; positions must be finite")
    return found


def chunks(args: Sequence[Any], size: int, *, what: str, usage: str) -> list[tuple[Any, ...]]:
    """
    Cut positional arguments into groups of one size.

    Args:
        args: The arguments.
        size: Size of a group.
        what: Name of the plan, for the error text.
        usage: How to write them.

    Returns:
        Groups, in order.

    Raises:
        BadPlan: If something is left over.
    """
    if not args or len(args) % size:
        raise BadPlan(
            f"{what} takes {usage}; got {len(args)} arguments, which do not fall into groups of {size}"
        )
    return [tuple(args[i : i + size]) for i in range(0, len(args), size)]
