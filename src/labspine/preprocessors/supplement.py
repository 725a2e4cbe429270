"""What is recorded beside a plan: baselines, monitors, flyers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from labspine.engine import Msg, as_plan
from labspine.plan_stubs.base import Plan, group_name
from labspine.plan_stubs.measuring import trigger_and_read
from labspine.plan_stubs.motion import mv
from labspine.plan_stubs.steps import declare_stream

from .cleaning import finalize_wrapper
from .mutating import as_decorator, rewritten
from .running import set_run_key_wrapper

__all__ = [
    "SupplementalData",
    "baseline_decorator",
    "baseline_wrapper",
    "configure_count_time_decorator",
    "configure_count_time_wrapper",
    "fly_during_decorator",
    "fly_during_wrapper",
    "monitor_during_decorator",
    "monitor_during_wrapper",
]


def _around_runs(plan: Any, after_open: Any, before_close: Any) -> Plan:
    """Perform the plan that each function makes, after each open_run and before each close_run."""

    def act(msg: Any) -> Plan | None:
        if msg.command == "open_run":
            return opened(msg)
        return closing(msg) if msg.command == "close_run" else None

    def opened(msg: Any) -> Plan:
        uid = yield msg
        yield from in_run(after_open(), msg.run)
        return uid

    def closing(msg: Any) -> Plan:
        yield from in_run(before_close(), msg.run)
        return (yield msg)

    def in_run(part: Any, run: Any) -> Plan:
        return as_plan(part) if run is None else set_run_key_wrapper(part, run)

    return rewritten(plan, act)


def baseline_wrapper(plan: Any, devices: Sequence[Any], name: str = "baseline") -> Plan:
    """
    Read devices at the beginning and at the end of each run.

    Args:
        plan: The plan.
        devices: Devices; when there are none the plan stays as it is.
        name: Stream of these events.

    Returns:
        A plan whose value is that of the plan.
    """
    if not devices:
        return as_plan(plan)

    def before() -> Plan:
        yield from declare_stream(*devices, name=name)
        yield from trigger_and_read(devices, name=name)

    return _around_runs(plan, before, lambda: trigger_and_read(devices, name=name))


def monitor_during_wrapper(plan: Any, signals: Sequence[Any]) -> Plan:
    """
    Record each change of signals during each run, in streams ``<signal>_monitor``.

    Args:
        plan: The plan.
        signals: Signals.

    Returns:
        A plan whose value is that of the plan.
    """
    if not signals:
        return as_plan(plan)
    return _around_runs(
        plan,
        lambda: [Msg("monitor", signal, name=f"{signal.name}_monitor") for signal in signals],
        lambda: [Msg("unmonitor", signal) for signal in signals],
    )


def fly_during_wrapper(plan: Any, flyers: Sequence[Any]) -> Plan:
    """
    Have flyers measure during each run.

    Args:
        plan: The plan.
        flyers: Flyers.

    Returns:
        A plan whose value is that of the plan.
    """
    if not flyers:
        return as_plan(plan)

    def begin() -> Plan:
        group = group_name("kickoff")
        for flyer in flyers:
            yield Msg("kickoff", flyer, group=group)
        yield Msg("wait", None, group=group)

    def end() -> Plan:
        group = group_name("complete")
        for flyer in flyers:
            yield Msg("complete", flyer, group=group)
        yield Msg("wait", None, group=group)
        for flyer in flyers:
            yield Msg("collect", flyer)

    return _around_runs(plan, begin, end)


def configure_count_time_wrapper(plan: Any, time: float | None) -> Plan:
    """
    Set the ``count_time`` of each device that has one, and set it back after the plan.

    Args:
        plan: The plan.
        time: Seconds; None changes nothing.

    Returns:
        A plan whose value is that of the plan.
    """
    if time is None:
        return as_plan(plan)
    seen: set[int] = set()
    before: list[tuple[Any, Any]] = []

    def act(msg: Any) -> Plan | None:
        if msg.obj is None or id(msg.obj) in seen:
            return None
        seen.add(id(msg.obj))
        return configured(msg) if hasattr(msg.obj, "count_time") else None

    def configured(msg: Any) -> Plan:
        signal = msg.obj.count_time
        before.append((signal, signal.get()))
        yield from mv(signal, time)
        return (yield msg)

    def reset() -> Plan:
        for signal, old in before:
            yield from mv(signal, old)

    return finalize_wrapper(rewritten(plan, act), reset)


class SupplementalData:
    """
    Record baselines, monitors and flyers beside each plan of an engine: ``RE.preprocessors.append(...)``.

    Args:
        baseline: Devices to read at beginning and end of each run.
        monitors: Signals to record during each run.
        flyers: Flyers to use during each run.
    """

    def __init__(
        self,
        *,
        baseline: Iterable[Any] | None = None,
        monitors: Iterable[Any] | None = None,
        flyers: Iterable[Any] | None = None,
    ) -> None:
        self.baseline = list(baseline or [])
        self.monitors = list(monitors or [])
        self.flyers = list(flyers or [])

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(baseline={self.baseline}, monitors={self.monitors}, flyers={self.flyers})"
        )

    def __call__(self, plan: Any) -> Plan:
        """Wrap a plan."""
        plan = fly_during_wrapper(plan, self.flyers)
        plan = monitor_during_wrapper(plan, self.monitors)
        return baseline_wrapper(plan, self.baseline)


baseline_decorator = as_decorator(baseline_wrapper)
monitor_during_decorator = as_decorator(monitor_during_wrapper)
fly_during_decorator = as_decorator(fly_during_wrapper)
configure_count_time_decorator = as_decorator(configure_count_time_wrapper)
