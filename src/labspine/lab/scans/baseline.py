"""Read the baseline devices once at the start of each run."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from labspine.engine import Msg

from ..devices import DeviceRegistry

__all__ = ["with_baseline"]

Plan = Generator[Any, Any, Any]


def with_baseline(plan: Iterable[object], registry: DeviceRegistry) -> Plan:
    """
    Add to a plan one reading of all baseline devices after each ``open_run``, into the stream ``baseline``.

    Args:
        plan: Any plan.
        registry: Its devices of readout priority ``baseline`` are read.

    Returns:
        The plan with the additional messages; answers and errors reach the given plan unchanged.
    """
    inner: Plan = plan if isinstance(plan, Generator) else (msg for msg in plan)
    answer: object = None
    error: BaseException | None = None
    while True:
        try:
            msg = inner.send(answer) if error is None else inner.throw(error)
        except StopIteration as end:
            return end.value
        answer, error = None, None
        try:
            answer = yield msg
            if getattr(msg, "command", None) == "open_run":
                devices = [registry[name] for name in registry.names("baseline")]
                yield from _readings(devices, run=getattr(msg, "run", None))
        except BaseException as thrown:  # the given plan decides what to do about it, halt included
            error = thrown


def _readings(devices: Sequence[object], *, run: object) -> Plan:
    if not devices:
        return
    group = "labspine-baseline"
    triggered = [device for device in devices if callable(getattr(device, "trigger", None))]
    for device in triggered:
        yield Msg("trigger", device, group=group, run=run)
    if triggered:
        yield Msg("wait", None, group=group, run=run)
    yield Msg("create", None, name="baseline", run=run)
    for device in devices:
        yield Msg("read", device, run=run)
    yield Msg("save", None, run=run)
