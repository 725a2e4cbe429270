"""Measuring without moving anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from labspine.engine import Msg
from labspine.plan_stubs.base import Plan
from labspine.plan_stubs.measuring import Shot
from labspine.plan_stubs.repeating import check_delay, repeat
from labspine.preprocessors import run_wrapper, stage_wrapper

from .arguments import check_detectors, check_points

__all__ = ["count"]


def count(
    detectors: Sequence[Any],
    num: int | None = 1,
    delay: float | Iterable[float | None] = 0.0,
    *,
    per_shot: Callable[[Sequence[Any]], Plan] | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """
    Measure several times.

    Args:
        detectors: Devices to measure with.
        num: How often; None means until somebody stops it.
        delay: Seconds from one measurement to the next, or a list of such.
        per_shot: What to do each time instead of triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    checked = check_detectors(detectors, what="count")
    number = None if num is None else check_points(num, what="count")
    delays = check_delay(delay, number)
    own = dict(md or {})
    metadata = {
        "detectors": [detector.name for detector in checked],
        "num_points": number,
        "num_intervals": None if number is None else number - 1,
        "plan_args": {"detectors": [repr(detector) for detector in checked], "num": num, "delay": delay},
        "plan_name": "count",
        **own,
        "hints": {"dimensions": [(("time",), "primary")], **own.get("hints", {})},
    }
    if per_shot is not None:
        body = repeat(partial(per_shot, checked), num=number, delay=delays)
    elif not isinstance(delay, Iterable) and not delay and number is not None:
        body = _at_full_speed(checked, number)
    else:
        body = _with_delays(checked, number, delays)
    return stage_wrapper(run_wrapper(body, md=metadata), checked)


def _at_full_speed(detectors: list[Any], num: int) -> Plan:
    shot = Shot(detectors)
    for _ in range(num):
        yield Msg("checkpoint")
        yield from shot.take()


def _with_delays(detectors: list[Any], num: int | None, delays: Iterable[float | None]) -> Plan:
    return repeat(Shot(detectors).take, num=num, delay=delays)
