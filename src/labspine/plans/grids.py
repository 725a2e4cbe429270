"""Scans over grids: the first motor is the slowest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from labspine.errors import shown
from labspine.plan_stubs.base import BadPlan, Plan

from .arguments import (
    MOST_POINTS,
    check_detectors,
    check_motors,
    check_number,
    check_points,
    check_positions,
    chunks,
)
from .trajectory import PATTERNS, PerStep, Trajectory, follow, here_and_back

__all__ = ["grid_scan", "list_grid_scan", "rel_grid_scan", "rel_list_grid_scan"]

Metadata = Mapping[str, Any]
Snaking = Iterable[Any] | bool | None


def _grid(motors: Sequence[Any], columns: Sequence[Any], snaking: Sequence[bool]) -> Trajectory:
    """Visit all combinations; a snaking motor turns round each time instead of going back first."""
    points: list[tuple[Any, ...]] = [()]
    for column, snakes in zip(columns, snaking, strict=True):
        plain = column.tolist() if hasattr(column, "tolist") else list(column)
        there, back = plain, plain[::-1]
        points = [
            (*point, target)
            for row, point in enumerate(points)
            for target in (back if snakes and row % 2 else there)
        ]
    return Trajectory(list(motors), points)


def _check_size(counts: Sequence[int], *, what: str) -> None:
    total = 1
    for count in counts:
        total *= count
    if total > MOST_POINTS:
        shape = " x ".join(str(count) for count in counts)
        raise BadPlan(f"{what}: {shape} is {total:,} points; at most {MOST_POINTS:,} are possible")


def grid_scan(
    detectors: Sequence[Any],
    *args: Any,
    snake_axes: Snaking = None,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan over a grid.

    Args:
        detectors: Devices to measure with.
        args: motor, start, stop, number of points, for each motor, the slowest first.
        snake_axes: True to have all but the slowest motor turn round at the end of each line, or a list of
            the motors that do.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    return _grid_scan(detectors, args, snake_axes=snake_axes, per_step=per_step, md=md)[0]


def _grid_scan(
    detectors: Sequence[Any],
    args: tuple[Any, ...],
    *,
    snake_axes: Snaking,
    per_step: PerStep | None,
    md: Metadata | None,
    what: str = "grid_scan",
) -> tuple[Plan, list[Any]]:
    checked = check_detectors(detectors, what=what)
    axes, snaking = _axes(args, snake_axes, what=what)
    motors = [axis[0] for axis in axes]
    check_motors(motors, checked, what=what)
    if not snaking:
        snaking = _snaking(motors, snake_axes, what=what)
    for motor, start, stop, num in axes:
        check_number(start, what=what, name=f"the start of {motor.name}")
        check_number(stop, what=what, name=f"the stop of {motor.name}")
        check_points(num, what=what, name=f"num of {motor.name}")
    _check_size([int(axis[3]) for axis in axes], what=what)
    written: list[Any] = []
    for index, (motor, start, stop, num) in enumerate(axes):
        written += [repr(motor), start, stop, num, *([snaking[index]] if index else [])]
    about = {
        "shape": tuple(num for _, _, _, num in axes),
        "extents": tuple([start, stop] for _, start, stop, _ in axes),
        "snaking": tuple(snaking),
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            "args": written,
            "per_step": repr(per_step),
        },
        "plan_name": what,
        "plan_pattern": "outer_product",
        "plan_pattern_args": {"args": written},
        "plan_pattern_module": PATTERNS,
        "motors": tuple(motor.name for motor in motors),
        "hints": {"gridding": "rectilinear"},
    }
    columns = [np.linspace(start, stop, int(num)) for _, start, stop, num in axes]
    trajectory = _grid(motors, columns, snaking)
    return follow(checked, trajectory, what=what, about=about, per_step=per_step, md=md), motors


def _axes(
    args: tuple[Any, ...], snake_axes: Snaking, *, what: str
) -> tuple[list[tuple[Any, ...]], list[bool]]:
    """Read groups of four; or the old way, in which a truth value follows each motor but the first."""
    usage = "motor, start, stop, num for each motor"
    is_old = len(args) > 4 and len(args) % 5 == 4 and not all(hasattr(a, "name") for a in args[::4])
    if not is_old:
        return chunks(args, 4, what=what, usage=usage), []
    if snake_axes is not None:
        raise BadPlan(f"{what}: give snake_axes or the old snake flags among the arguments, not both")
    rest = chunks(args[4:], 5, what=what, usage=usage)
    return [args[:4], *(group[:4] for group in rest)], [False, *(bool(group[4]) for group in rest)]


def _snaking(motors: Sequence[Any], snake_axes: Snaking, *, what: str) -> list[bool]:
    if snake_axes is None or isinstance(snake_axes, bool):
        return [bool(snake_axes) and index > 0 for index in range(len(motors))]
    if isinstance(snake_axes, str) or not isinstance(snake_axes, Iterable):
        raise BadPlan(f"{what}: snake_axes must be True, False or a list of motors, got {shown(snake_axes)}")
    chosen = list(snake_axes)
    known = {id(motor) for motor in motors}
    for motor in chosen:
        name = getattr(motor, "name", shown(motor))
        if id(motor) not in known:
            raise BadPlan(f"{what}: snake_axes names {name}, which is not a motor of this scan")
        if motor is motors[0]:
            raise BadPlan(f"{what}: snake_axes names {name}, the slowest motor, which has only one way to go")
    if len({id(motor) for motor in chosen}) < len(chosen):
        raise BadPlan(f"{what}: snake_axes names a motor twice")
    return [any(motor is each for each in chosen) for motor in motors]


def rel_grid_scan(
    detectors: Sequence[Any],
    *args: Any,
    snake_axes: Snaking = None,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`grid_scan`, with positions relative to where the motors stand; they return there.
    """
    plan, motors = _grid_scan(
        detectors, args, snake_axes=snake_axes, per_step=per_step, md=md, what="rel_grid_scan"
    )
    return here_and_back(plan, motors, what="rel_grid_scan")


def list_grid_scan(
    detectors: Sequence[Any],
    *args: Any,
    snake_axes: Snaking = False,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan over all combinations of lists of positions.

    Args:
        detectors: Devices to measure with.
        args: motor, list of positions, for each motor, the slowest first.
        snake_axes: As for :func:`grid_scan`.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    return _list_grid_scan(detectors, args, snake_axes=snake_axes, per_step=per_step, md=md)[0]


def _list_grid_scan(
    detectors: Sequence[Any],
    args: tuple[Any, ...],
    *,
    snake_axes: Snaking,
    per_step: PerStep | None,
    md: Metadata | None,
    what: str = "list_grid_scan",
) -> tuple[Plan, list[Any]]:
    checked = check_detectors(detectors, what=what)
    given = chunks(args, 2, what=what, usage="motor, list of positions for each motor")
    motors = [motor for motor, _ in given]
    check_motors(motors, checked, what=what)
    columns = [check_positions(positions, what=what, name=motor.name) for motor, positions in given]
    _check_size([len(column) for column in columns], what=what)
    snaking = _snaking(motors, snake_axes, what=what)
    written = [item for motor, positions in given for item in (repr(motor), positions)]
    about = {
        "shape": tuple(len(column) for column in columns),
        "extents": tuple([min(column), max(column)] for column in columns),
        "snake_axes": repr(snake_axes),
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            "args": written,
            "per_step": repr(per_step),
        },
        "plan_name": what,
        "plan_pattern": "outer_list_product",
        "plan_pattern_args": {"args": written, "snake_axes": repr(snake_axes)},
        "plan_pattern_module": PATTERNS,
        "motors": tuple(motor.name for motor in motors),
    }
    trajectory = _grid(motors, columns, snaking)
    return follow(checked, trajectory, what=what, about=about, per_step=per_step, md=md), motors


def rel_list_grid_scan(
    detectors: Sequence[Any],
    *args: Any,
    snake_axes: Snaking = False,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`list_grid_scan`, with positions relative to where the motors stand; they return there.
    """
    plan, motors = _list_grid_scan(
        detectors, args, snake_axes=snake_axes, per_step=per_step, md=md, what="rel_list_grid_scan"
    )
    return here_and_back(plan, motors, what="rel_list_grid_scan")
