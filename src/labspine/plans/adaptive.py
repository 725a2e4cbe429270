"""Scans that look at what they measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labspine.engine import Msg
from labspine.errors import did_you_mean
from labspine.plan_stubs.base import BadPlan, Plan
from labspine.plan_stubs.measuring import Shot
from labspine.plan_stubs.motion import hinted_fields, mv
from labspine.preprocessors import run_wrapper, stage_wrapper

from .arguments import check_detectors, check_motors, check_number, check_points
from .trajectory import here_and_back, motor_dimensions

__all__ = ["adaptive_scan", "rel_adaptive_scan", "tune_centroid", "tweak"]

Metadata = Mapping[str, Any]


def _run(
    body: Plan, detectors: list[Any], motor: Any, *, what: str, args: dict[str, Any], md: Metadata | None
) -> Plan:
    own = dict(md or {})
    metadata = {
        "detectors": [detector.name for detector in detectors],
        "motors": [motor.name],
        "plan_args": args,
        "plan_name": what,
        **own,
        "hints": {**motor_dimensions([motor]), **own.get("hints", {})},
    }
    return stage_wrapper(run_wrapper(body, md=metadata), [*detectors, motor])


def _value(readings: Mapping[str, Any], field: str, *, what: str) -> float:
    try:
        return float(readings[field]["value"])
    except KeyError:
        near = did_you_mean(field, readings) or f"; there are {', '.join(readings)}"
        raise BadPlan(f'{what}: no detector has a reading "{field}"{near}') from None


def adaptive_scan(
    detectors: Sequence[Any],
    target_field: str,
    motor: Any,
    start: float,
    stop: float,
    min_step: float,
    max_step: float,
    target_delta: float,
    backstep: bool,
    threshold: float | None = 0.8,
    *,
    md: Metadata | None = None,
) -> Plan:
    """
    Scan a motor with steps so that a reading changes by about the same from point to point.

    Args:
        detectors: Devices to measure with.
        target_field: The reading to look at.
        motor: The motor.
        start: First position.
        stop: Where to end; points lie before it.
        min_step: Smallest step, greater than 0.
        max_step: Largest step.
        target_delta: The change that is wanted.
        backstep: Go back when a step was too large.
        threshold: How much too large it must have been: new step / old step.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work, or no detector has the reading.
    """
    numbers = {"start": start, "stop": stop, "min_step": min_step, "max_step": max_step}
    numbers |= {"target_delta": target_delta, "backstep": backstep, "threshold": threshold or 0.0}
    return _adaptive_scan(detectors, target_field, motor, numbers, md=md)


def _adaptive_scan(
    detectors: Sequence[Any],
    field: str,
    motor: Any,
    numbers: dict[str, Any],
    *,
    md: Metadata | None,
    what: str = "adaptive_scan",
) -> Plan:
    checked = check_detectors(detectors, what=what)
    check_motors([motor], checked, what=what)
    for name, value in numbers.items():
        check_number(value, what=what, name=name)
    if not 0 < numbers["min_step"] < numbers["max_step"]:
        raise BadPlan(
            f"{what} needs 0 < min_step < max_step, got {numbers['min_step']} and {numbers['max_step']}"
        )
    args = {"detectors": [repr(detector) for detector in checked], "motor": repr(motor), **numbers}
    body = _adapt(checked, field, motor, numbers, what=what)
    return _run(body, checked, motor, what=what, args=args, md=md)


def _adapt(detectors: list[Any], field: str, motor: Any, numbers: dict[str, Any], *, what: str) -> Plan:
    smallest, largest, stop = numbers["min_step"], numbers["max_step"], numbers["stop"]
    sign = 1 if stop >= numbers["start"] else -1
    position, step = numbers["start"], (largest - smallest) / 2
    before: float | None = None
    shot = Shot([*detectors, motor])
    while position * sign < stop * sign:
        yield Msg("checkpoint")
        yield from mv(motor, position)
        readings = yield from shot.take()
        now = _value(readings, field, what=what)
        if before is None:
            before = now
            position += step * sign
            continue
        slope = abs(now - before) / step
        wanted = min(max(numbers["target_delta"] / slope, smallest), largest) if slope else step * 1.1
        wanted = min(wanted, largest)
        if numbers["backstep"] and wanted < step * numbers["threshold"]:
            position -= step * sign
            step = wanted
        else:
            before = now
            step = 0.2 * wanted + 0.8 * step
        position += step * sign


def rel_adaptive_scan(
    detectors: Sequence[Any],
    target_field: str,
    motor: Any,
    start: float,
    stop: float,
    min_step: float,
    max_step: float,
    target_delta: float,
    backstep: bool,
    threshold: float | None = 0.8,
    *,
    md: Metadata | None = None,
) -> Plan:
    """
    As :func:`adaptive_scan`, with positions relative to where the motor stands; it returns there.
    """
    numbers = {"start": start, "stop": stop, "min_step": min_step, "max_step": max_step}
    numbers |= {"target_delta": target_delta, "backstep": backstep, "threshold": threshold or 0.0}
    plan = _adaptive_scan(detectors, target_field, motor, numbers, md=md, what="rel_adaptive_scan")
    return here_and_back(plan, [motor], what="rel_adaptive_scan")


def tune_centroid(
    detectors: Sequence[Any],
    signal: str,
    motor: Any,
    start: float,
    stop: float,
    min_step: float,
    num: int = 10,
    step_factor: float = 3.0,
    snake: bool = False,
    *,
    md: Metadata | None = None,
) -> Plan:
    """
    Find the centre of mass of a peak with finer and finer scans, and go there.

    Args:
        detectors: Devices to measure with.
        signal: The reading that has the peak.
        motor: The motor.
        start: One end of the first scan.
        stop: The other end.
        min_step: Stop when steps get smaller than this.
        num: Points of each scan, at least 2.
        step_factor: Each scan is shorter by this factor, greater than 1.
        snake: Go to and fro instead of always in one direction.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work, or no detector has the reading.
    """
    what = "tune_centroid"
    checked = check_detectors(detectors, what=what)
    check_motors([motor], checked, what=what)
    numbers = {"start": start, "stop": stop, "num": num, "min_step": min_step}
    for name, value in {**numbers, "step_factor": step_factor}.items():
        check_number(value, what=what, name=name)
    if check_points(num, what=what) < 2:
        raise BadPlan(f"{what}: num must be at least 2")
    if min_step <= 0 or step_factor <= 1:
        raise BadPlan(
            f"{what} needs min_step > 0 and step_factor > 1, got {min_step} and {step_factor}; "
            "otherwise it would never end"
        )
    args = {"detectors": [repr(detector) for detector in checked], "motor": repr(motor), **numbers}
    body = _tune([*checked, motor], signal, (start, stop), numbers=(num, min_step, step_factor), snake=snake)
    return _run(body, checked, motor, what=what, args=args, md=md)


def _tune(
    devices: list[Any],
    signal: str,
    span: tuple[float, float],
    *,
    numbers: tuple[int, float, float],
    snake: bool,
) -> Plan:
    num, min_step, factor = numbers
    motor, (start, stop) = devices[-1], span
    low, high = min(span), max(span)
    fields = hinted_fields(motor)
    field = fields[0] if len(fields) == 1 else motor.name
    shot = Shot(devices)
    peak: float | None = None
    total = weighted = 0.0
    position, step = start, (stop - start) / (num - 1)
    while abs(step) >= min_step and low <= position <= high:
        yield Msg("checkpoint")
        yield from mv(motor, position)
        readings = yield from shot.take()
        height = _value(readings, signal, what="tune_centroid")
        total += height
        weighted += _value(readings, field, what="tune_centroid") * height
        position += step
        if min(start, stop) <= position <= max(start, stop):
            continue
        if total == 0:
            return
        peak, total, weighted = weighted / total, 0.0, 0.0
        half = (stop - start) / factor / 2
        start, stop = (min(max(end, low), high) for end in (peak - half, peak + half))
        if snake:
            start, stop = stop, start
        position, step = start, (stop - start) / (num - 1)
    if peak is not None:
        yield from mv(motor, peak)


def tweak(detector: Any, target_field: str, motor: Any, step: float, *, md: Metadata | None = None) -> Plan:
    """
    Move a motor step by step by hand: Enter goes on, a number is the new step, anything else ends.

    Args:
        detector: A device to measure with.
        target_field: The reading to show.
        motor: The motor.
        step: The first step.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work, or the detector lacks the reading.
    """
    checked = check_detectors([detector], what="tweak")
    check_motors([motor], checked, what="tweak")
    check_number(step, what="tweak", name="step")
    args = {"detector": repr(detector), "target_field": target_field, "motor": repr(motor), "step": step}
    return _run(_tweak(detector, target_field, motor, step), checked, motor, what="tweak", args=args, md=md)


def _tweak(detector: Any, field: str, motor: Any, step: float) -> Plan:
    shot = Shot([motor, detector])
    fields = hinted_fields(motor)
    while True:
        readings = yield from shot.take()
        position = _value(readings, fields[0] if len(fields) == 1 else motor.name, what="tweak")
        value = _value(readings, field, what="tweak")
        answer = yield Msg("input", prompt=f"{motor.name}, {position:.3}, {value:.3}, ({step}) ")
        if answer:
            try:
                step = check_number(float(answer), what="tweak", name="step")
            except ValueError:
                return
        yield from mv(motor, position + step)
