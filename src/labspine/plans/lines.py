"""Scans along lines and lists of points: all motors move together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from labspine.errors import shown
from labspine.plan_stubs.base import BadPlan, Plan

from .arguments import check_detectors, check_motors, check_number, check_points, check_positions, chunks
from .trajectory import PATTERNS, PerStep, Trajectory, follow, here_and_back, joint_dimension

__all__ = [
    "inner_product_scan",
    "list_scan",
    "log_scan",
    "rel_list_scan",
    "rel_log_scan",
    "rel_scan",
    "relative_inner_product_scan",
    "scan",
    "x2x_scan",
]

Metadata = Mapping[str, Any]


def scan(
    detectors: Sequence[Any],
    *args: Any,
    num: int | None = None,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan motors along a line, with points at equal distances.

    Args:
        detectors: Devices to measure with.
        args: motor, first position, last position, for each motor; then the number of points.
        num: The number of points, if it is not the last of args.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    return _scan(detectors, args, num=num, per_step=per_step, md=md)[0]


def _scan(
    detectors: Sequence[Any],
    args: tuple[Any, ...],
    *,
    num: int | None,
    per_step: PerStep | None,
    md: Metadata | None,
    what: str = "scan",
) -> tuple[Plan, list[Any]]:
    checked = check_detectors(detectors, what=what)
    if num is None:
        if len(args) % 3 != 1:
            raise BadPlan(
                f"{what} takes motor, start, stop for each motor and then the number of points, here or as "
                f"num=...; got {len(args)} arguments after the detectors"
            )
        *parts, num = args
        args = tuple(parts)
    number = check_points(num, what=what)
    lines = chunks(args, 3, what=what, usage="motor, start, stop for each motor")
    motors = [line[0] for line in lines]
    check_motors(motors, checked, what=what)
    for motor, start, stop in lines:
        check_number(start, what=what, name=f"the start of {motor.name}")
        check_number(stop, what=what, name=f"the stop of {motor.name}")
    written = [item for motor, start, stop in lines for item in (repr(motor), start, stop)]
    about = {
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            "num": num,
            "args": written,
            "per_step": repr(per_step),
        },
        "plan_name": what,
        "plan_pattern": "inner_product",
        "plan_pattern_module": PATTERNS,
        "plan_pattern_args": {"num": num, "args": written},
        "motors": tuple(motor.name for motor in motors),
        "hints": joint_dimension(motors),
    }
    columns = [np.linspace(start, stop, number) for _, start, stop in lines]
    trajectory = Trajectory.of_columns(motors, columns)
    return follow(checked, trajectory, what=what, about=about, per_step=per_step, md=md), motors


def rel_scan(
    detectors: Sequence[Any],
    *args: Any,
    num: int | None = None,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`scan`, with positions relative to where the motors stand; they return there.
    """
    plan, motors = _scan(detectors, args, num=num, per_step=per_step, md=md, what="rel_scan")
    return here_and_back(plan, motors, what="rel_scan")


def inner_product_scan(
    detectors: Sequence[Any],
    num: int,
    *args: Any,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`scan`, with the number of points before the motors; kept for old programs.
    """
    named = {"plan_name": "inner_product_scan", **(md or {})}
    return scan(detectors, *args, num=num, per_step=per_step, md=named)


def relative_inner_product_scan(
    detectors: Sequence[Any],
    num: int,
    *args: Any,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`rel_scan`, with the number of points before the motors; kept for old programs.
    """
    named = {"plan_name": "relative_inner_product_scan", **(md or {})}
    return rel_scan(detectors, *args, num=num, per_step=per_step, md=named)


def x2x_scan(
    detectors: Sequence[Any],
    motor1: Any,
    motor2: Any,
    start: float,
    stop: float,
    num: int,
    *,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan two motors relatively, the second over half the way of the first: theta and two-theta.

    Args:
        detectors: Devices to measure with.
        motor1: Goes from start to stop.
        motor2: Goes from start / 2 to stop / 2.
        start: First position, relative to the present one.
        stop: Last position, relative to the present one.
        num: Number of points.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    for name, value in (("start", start), ("stop", stop)):
        check_number(value, what="x2x_scan", name=name)
    about = {
        "plan_name": "x2x_scan",
        "plan_args": {
            "detectors": [repr(detector) for detector in check_detectors(detectors, what="x2x_scan")],
            "motor1": getattr(motor1, "name", repr(motor1)),
            "motor2": getattr(motor2, "name", repr(motor2)),
            "start": start,
            "stop": stop,
            "num": num,
            "per_step": repr(per_step),
        },
        **(md or {}),
    }
    args = (motor1, start, stop, motor2, start / 2, stop / 2)
    return relative_inner_product_scan(detectors, num, *args, per_step=per_step, md=about)


def list_scan(
    detectors: Sequence[Any], *args: Any, per_step: PerStep | None = None, md: Metadata | None = None
) -> Plan:
    """
    Scan motors through lists of positions, all at the same time.

    Args:
        detectors: Devices to measure with.
        args: motor, list of positions, for each motor; lists of one length.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    return _list_scan(detectors, args, per_step=per_step, md=md)[0]


def _list_scan(
    detectors: Sequence[Any],
    args: tuple[Any, ...],
    *,
    per_step: PerStep | None,
    md: Metadata | None,
    what: str = "list_scan",
) -> tuple[Plan, list[Any]]:
    checked = check_detectors(detectors, what=what)
    given = chunks(args, 2, what=what, usage="motor, list of positions for each motor")
    motors = [motor for motor, _ in given]
    check_motors(motors, checked, what=what)
    columns = [check_positions(positions, what=what, name=motor.name) for motor, positions in given]
    lengths = {motor.name: len(column) for motor, column in zip(motors, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadPlan(f"{what}: all motors need the same number of positions; got {told}")
    written = [item for motor, column in zip(motors, columns, strict=True) for item in (repr(motor), column)]
    about = {
        "motors": [motor.name for motor in motors],
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            "args": written,
            "per_step": repr(per_step),
        },
        "plan_name": what,
        "plan_pattern": "inner_list_product",
        "plan_pattern_module": PATTERNS,
        "plan_pattern_args": {"args": written},
        "hints": joint_dimension(motors),
    }
    trajectory = Trajectory.of_columns(motors, columns)
    return follow(checked, trajectory, what=what, about=about, per_step=per_step, md=md), motors


def rel_list_scan(
    detectors: Sequence[Any], *args: Any, per_step: PerStep | None = None, md: Metadata | None = None
) -> Plan:
    """
    As :func:`list_scan`, with positions relative to where the motors stand; they return there.
    """
    plan, motors = _list_scan(detectors, args, per_step=per_step, md=md, what="rel_list_scan")
    return here_and_back(plan, motors, what="rel_list_scan")


def log_scan(
    detectors: Sequence[Any],
    motor: Any,
    start: float,
    stop: float,
    num: int,
    *,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan a motor over powers of ten.

    Args:
        detectors: Devices to measure with.
        motor: The motor.
        start: Exponent of the first position: it is 10 ** start.
        stop: Exponent of the last position.
        num: Number of points.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    return _log_scan(detectors, motor, (start, stop, num), per_step=per_step, md=md)


def _log_scan(
    detectors: Sequence[Any],
    motor: Any,
    span: tuple[float, float, int],
    *,
    per_step: PerStep | None,
    md: Metadata | None,
    what: str = "log_scan",
) -> Plan:
    start, stop, num = span
    checked = check_detectors(detectors, what=what)
    number = check_points(num, what=what)
    check_motors([motor], checked, what=what)
    for name, value in (("start", start), ("stop", stop)):
        if abs(check_number(value, what=what, name=name)) > 300:
            raise BadPlan(f"{what}: {name} is an exponent of ten; {shown(value)} is out of range")
    about = {
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            "num": num,
            "start": start,
            "stop": stop,
            "motor": repr(motor),
            "per_step": repr(per_step),
        },
        "plan_name": what,
        "plan_pattern": "logspace",
        "plan_pattern_module": "numpy",
        "plan_pattern_args": {"start": start, "stop": stop, "num": num},
    }
    trajectory = Trajectory.of_columns([motor], [np.logspace(start, stop, number)])
    return follow(checked, trajectory, what=what, about=about, per_step=per_step, md=md)


def rel_log_scan(
    detectors: Sequence[Any],
    motor: Any,
    start: float,
    stop: float,
    num: int,
    *,
    per_step: PerStep | None = None,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`log_scan`, with positions relative to where the motor stands; it returns there.
    """
    plan = _log_scan(detectors, motor, (start, stop, num), per_step=per_step, md=md, what="rel_log_scan")
    return here_and_back(plan, [motor], what="rel_log_scan")
