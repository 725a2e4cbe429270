"""Devices that measure on their own, and measuring while something changes on its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labspine.engine import Msg, as_plan
from labspine.errors import PlanError, shown
from labspine.plan_stubs.base import BadPlan, Plan, group_name
from labspine.plan_stubs.repeating import check_delay
from labspine.preprocessors import monitor_during_wrapper, run_wrapper

__all__ = ["RampTimeout", "fly", "ramp_plan"]


class RampTimeout(PlanError, RuntimeError, TimeoutError):
    """A ramp took longer than it was allowed to."""


def fly(flyers: Sequence[Any], *, md: Mapping[str, Any] | None = None) -> Plan:
    """
    Start flyers, wait until they are done, and emit what they recorded.

    Args:
        flyers: Flyers.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If one of them is no flyer.
    """
    if isinstance(flyers, str) or not isinstance(flyers, Sequence):
        raise BadPlan(f"fly: flyers must be a list, got {shown(flyers)}")
    for flyer in flyers:
        if not (hasattr(flyer, "kickoff") and hasattr(flyer, "complete")):
            raise BadPlan(
                f"fly: {getattr(flyer, 'name', shown(flyer))} is no flyer; it lacks kickoff or complete"
            )
    return _fly(list(flyers), {"plan_name": "fly", **(md or {})})


def _fly(flyers: list[Any], md: dict[str, Any]) -> Plan:
    uid = yield Msg("open_run", **md)
    for command in ("kickoff", "complete"):
        for flyer in flyers:
            group = group_name(command)
            yield Msg(command, flyer, group=group)
            yield Msg("wait", None, group=group)
    for flyer in flyers:
        yield Msg("collect", flyer, stream=False, return_payload=True, name=None)
    yield Msg("close_run", exit_status=None, reason=None)
    return uid


def ramp_plan(
    go_plan: Any,
    monitor_sig: Any,
    inner_plan_func: Callable[[], Any],
    take_pre_data: bool = True,
    timeout: float | None = None,
    period: float | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """
    Measure again and again while something changes, with a monitor on it.

    Args:
        go_plan: Starts the change; its value is a status.
        monitor_sig: Signal to record.
        inner_plan_func: Makes the plan that measures once.
        take_pre_data: Measure once before the start.
        timeout: Seconds that the change may take.
        period: Seconds from one measurement to the next at least.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
        RampTimeout: If the change takes too long.
    """
    if not callable(inner_plan_func):
        raise BadPlan(
            "ramp_plan: inner_plan_func must be a function that makes a plan: leave out the parentheses"
        )
    check_delay(0.0 if period is None else period, 1)
    body = _ramp(go_plan, inner_plan_func, take_pre_data, timeout, period)
    run = run_wrapper(body, md={"plan_name": "ramp_plan", **(md or {})})
    return monitor_during_wrapper(run, (monitor_sig,))


def _ramp(
    go_plan: Any,
    measure: Callable[[], Any],
    take_pre_data: bool,
    timeout: float | None,
    period: float | None,
) -> Plan:
    last = None if timeout is None else time.monotonic() + timeout
    if take_pre_data:
        yield from as_plan(measure())
    status = yield from as_plan(go_plan)
    while not status.done:
        began = time.monotonic()
        yield from as_plan(measure())
        if last is not None and time.monotonic() > last:
            raise RampTimeout(f"the ramp was not done after {timeout:g} s")
        rest = began + (period or 0.0) - time.monotonic()
        if rest > 0:
            yield Msg("sleep", None, rest)
    yield from as_plan(measure())
