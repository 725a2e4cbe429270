"""Scans along spirals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labspine.plan_stubs.base import BadPlan, Plan

from . import curves
from .arguments import MOST_POINTS, check_detectors, check_motors, check_number, check_points
from .trajectory import PATTERNS, PerStep, Trajectory, follow, here_and_back, motor_dimensions

__all__ = [
    "rel_spiral",
    "rel_spiral_fermat",
    "rel_spiral_square",
    "spiral",
    "spiral_fermat",
    "spiral_square",
]

Metadata = Mapping[str, Any]


def _spiral(
    detectors: Sequence[Any],
    motors: tuple[Any, Any],
    numbers: dict[str, Any],
    *,
    what: str,
    per_step: PerStep | None,
    md: Metadata | None,
) -> Plan:
    """Make spiral or spiral_fermat, which differ in their curve and in the name of one number."""
    checked = check_detectors(detectors, what=what)
    check_motors(motors, checked, what=what)
    for name, value in numbers.items():
        if value is not None:
            check_number(value, what=what, name=name)
    density = "nth" if "nth" in numbers else "factor"
    for name in ("x_range", "y_range", "dr", density):
        if numbers[name] <= 0:
            raise BadPlan(f"{what}: {name} must be greater than 0, got {numbers[name]}")
    x0, y0, width, height = (numbers[name] for name in ("x_start", "y_start", "x_range", "y_range"))
    if width * height / numbers["dr"] ** 2 * max(numbers[density], 1.0) > MOST_POINTS:
        raise BadPlan(f"{what}: dr={numbers['dr']} is too fine for a range of {width} x {height}")
    options = {"dr_y": numbers["dr_y"], "tilt": numbers["tilt"] or 0.0}
    curve = curves.archimedes if density == "nth" else curves.fermat
    xs, ys = curve((width, height), numbers["dr"], numbers[density], **options)
    if not xs:
        raise BadPlan(f"{what}: no point lies within {width} x {height}; take a smaller dr")
    pattern = {"x_motor": repr(motors[0]), "y_motor": repr(motors[1]), **numbers}
    base = "spiral" if density == "nth" else "spiral_fermat"
    about: dict[str, Any] = {
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            **pattern,
            "per_step": repr(per_step),
        },
        "extents": ([x0 - width, x0 + width], [y0 - height, y0 + height]),
        "plan_name": what,
        "plan_pattern": base,
        "plan_pattern_module": PATTERNS,
        "plan_pattern_args": pattern,
    }
    columns = [[x0 + x for x in xs], [y0 + y for y in ys]]
    trajectory = Trajectory.of_columns(motors, columns)
    return follow(checked, trajectory, what=what, about=about, per_step=per_step, md=md)


def spiral(
    detectors: Sequence[Any],
    x_motor: Any,
    y_motor: Any,
    x_start: float,
    y_start: float,
    x_range: float,
    y_range: float,
    dr: float,
    nth: float,
    *,
    dr_y: float | None = None,
    tilt: float | None = 0.0,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan rings around a centre, from the inside to the outside.

    Args:
        detectors: Devices to measure with.
        x_motor: One motor.
        y_motor: The other.
        x_start: Centre.
        y_start: Centre.
        x_range: Width of the box within which points are taken.
        y_range: Height of the box.
        dr: Distance of the rings along x.
        nth: Points on the first ring; the n-th has n times as many.
        dr_y: Distance of the rings along y; dr by default.
        tilt: Angle in radians by which the box leans.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    numbers = {"x_start": x_start, "y_start": y_start, "x_range": x_range, "y_range": y_range}
    numbers |= {"dr": dr, "nth": nth, "dr_y": dr_y, "tilt": tilt}  # type: ignore[dict-item]
    return _spiral(detectors, (x_motor, y_motor), numbers, what="spiral", per_step=per_step, md=md)


def rel_spiral(
    detectors: Sequence[Any],
    x_motor: Any,
    y_motor: Any,
    x_range: float,
    y_range: float,
    dr: float,
    nth: float,
    *,
    dr_y: float | None = None,
    tilt: float | None = 0.0,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`spiral`, around where the motors stand; they return there.
    """
    numbers = {"x_start": 0, "y_start": 0, "x_range": x_range, "y_range": y_range}
    numbers |= {"dr": dr, "nth": nth, "dr_y": dr_y, "tilt": tilt}  # type: ignore[dict-item]
    motors = (x_motor, y_motor)
    plan = _spiral(detectors, motors, numbers, what="rel_spiral", per_step=per_step, md=md)
    return here_and_back(plan, motors, what="rel_spiral")


def spiral_fermat(
    detectors: Sequence[Any],
    x_motor: Any,
    y_motor: Any,
    x_start: float,
    y_start: float,
    x_range: float,
    y_range: float,
    dr: float,
    factor: float,
    *,
    dr_y: float | None = None,
    tilt: float | None = 0.0,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan the points of a sunflower, which are evenly dense; arguments as for :func:`spiral`.

    ``factor`` divides ``dr``: larger values give more points.
    """
    numbers = {"x_start": x_start, "y_start": y_start, "x_range": x_range, "y_range": y_range}
    numbers |= {"dr": dr, "factor": factor, "dr_y": dr_y, "tilt": tilt}  # type: ignore[dict-item]
    return _spiral(detectors, (x_motor, y_motor), numbers, what="spiral_fermat", per_step=per_step, md=md)


def rel_spiral_fermat(
    detectors: Sequence[Any],
    x_motor: Any,
    y_motor: Any,
    x_range: float,
    y_range: float,
    dr: float,
    factor: float,
    *,
    dr_y: float | None = None,
    tilt: float | None = 0.0,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`spiral_fermat`, around where the motors stand; they return there.
    """
    numbers = {"x_start": 0, "y_start": 0, "x_range": x_range, "y_range": y_range}
    numbers |= {"dr": dr, "factor": factor, "dr_y": dr_y, "tilt": tilt}  # type: ignore[dict-item]
    motors = (x_motor, y_motor)
    plan = _spiral(detectors, motors, numbers, what="rel_spiral_fermat", per_step=per_step, md=md)
    return here_and_back(plan, motors, what="rel_spiral_fermat")


def _spiral_square(
    detectors: Sequence[Any],
    motors: tuple[Any, Any],
    numbers: dict[str, Any],
    *,
    what: str,
    per_step: PerStep | None,
    md: Metadata | None,
) -> Plan:
    checked = check_detectors(detectors, what=what)
    check_motors(motors, checked, what=what)
    for name in ("x_center", "y_center", "x_range", "y_range"):
        check_number(numbers[name], what=what, name=name)
    counts = tuple(check_points(numbers[name], what=what, name=name) for name in ("x_num", "y_num"))
    columns, rows = counts
    check_points(max(counts) ** 2, what=what, name="the number of points")
    x0, y0, width, height = (numbers[name] for name in ("x_center", "y_center", "x_range", "y_range"))
    xs, ys = curves.square((width, height), (columns, rows))
    about: dict[str, Any] = {
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            "x_motor": repr(motors[0]),
            "y_motor": repr(motors[1]),
            **numbers,
            "per_step": repr(per_step),
        },
        "plan_name": what,
        "plan_pattern": "spiral_square",
        "shape": (numbers["y_num"], numbers["x_num"]),
        "extents": ((y0 - height / 2, y0 + height / 2), (x0 - width / 2, x0 + width / 2)),
        "hints": {"gridding": "rectilinear_nonsequential", **motor_dimensions(motors[::-1])},
    }
    trajectory = Trajectory.of_columns(motors, [[x0 + x for x in xs], [y0 + y for y in ys]])
    return follow(checked, trajectory, what=what, about=about, per_step=per_step, md=md)


def spiral_square(
    detectors: Sequence[Any],
    x_motor: Any,
    y_motor: Any,
    x_center: float,
    y_center: float,
    x_range: float,
    y_range: float,
    x_num: int,
    y_num: int,
    *,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan all points of a grid, winding from the middle to the outside.

    Args:
        detectors: Devices to measure with.
        x_motor: One motor.
        y_motor: The other.
        x_center: Middle.
        y_center: Middle.
        x_range: Width of the grid.
        y_range: Height of the grid.
        x_num: Columns.
        y_num: Rows.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    numbers = {"x_center": x_center, "y_center": y_center, "x_range": x_range, "y_range": y_range}
    numbers |= {"x_num": x_num, "y_num": y_num}
    return _spiral_square(
        detectors, (x_motor, y_motor), numbers, what="spiral_square", per_step=per_step, md=md
    )


def rel_spiral_square(
    detectors: Sequence[Any],
    x_motor: Any,
    y_motor: Any,
    x_range: float,
    y_range: float,
    x_num: int,
    y_num: int,
    *,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`spiral_square`, around where the motors stand; they return there.
    """
    numbers = {"x_center": 0, "y_center": 0, "x_range": x_range, "y_range": y_range}
    numbers |= {"x_num": x_num, "y_num": y_num}
    motors = (x_motor, y_motor)
    plan = _spiral_square(detectors, motors, numbers, what="rel_spiral_square", per_step=per_step, md=md)
    return here_and_back(plan, motors, what="rel_spiral_square")
