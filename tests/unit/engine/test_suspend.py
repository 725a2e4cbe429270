"""Suspenders: bluesky's own, requests from any thread, several at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from bluesky.suspenders import SuspendBoolHigh
from ophyd import Signal as OphydSignal

from labspine.engine import FailedPause, Msg, RunEngineInterrupted


class Gate:
    """Something to wait for, made on the engine's loop and opened from anywhere."""

    def __init__(self, engine: Any) -> None:
        async def make() -> asyncio.Event:
            return asyncio.Event()

        self._loop = engine.loop
        self.event = asyncio.run_coroutine_threadsafe(make(), engine.loop).result(5)

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self.event.set)


def test_a_suspension_rests_waits_and_replays(engine: Any, docs: Any, kit: Any) -> None:
    seen, gate, motor = kit.commands_of(engine), Gate(engine), kit.Motor()
    signal = kit.Signal()

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("monitor", signal, name="m")
        yield Msg("checkpoint")
        yield Msg("set", motor, 1, group="g")
        yield Msg("sleep", None, 0.05)
        yield Msg("close_run")

    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: "sleep" in seen)
    engine.request_suspend(
        gate.event.wait, pre_plan=[Msg("null")], post_plan=lambda: [Msg("RE_class")], justification="no beam"
    )
    kit.until(lambda: "wait_for" in seen)
    assert signal.subscribers == []
    assert motor.stops == [True]
    assert engine.state == "running"
    gate.open()
    assert call.finished().error is None
    assert seen[seen.index("sleep") :] == [
        "sleep",
        *(
            "_start_suspender",
            "rewindable",
            "null",
            "wait_for",
            "_resume_from_suspender",
            "RE_class",
            "rewindable",
        ),
        *("set", "sleep"),
        "close_run",
    ]
    assert [value for value, _ in motor.moves] == [1, 1]
    assert signal.subscribers == []
    assert docs.names[-1] == "stop"


def test_two_suspensions_both_hold_the_plan(engine: Any, kit: Any) -> None:
    seen, one, two = kit.commands_of(engine), Gate(engine), Gate(engine)
    call = kit.Caller(lambda: engine([Msg("checkpoint"), Msg("sleep", None, 0.05), Msg("RE_class")]))
    kit.until(lambda: "sleep" in seen)
    engine.request_suspend(one.event.wait)
    engine.request_suspend(two.event.wait)
    kit.until(lambda: seen.count("_start_suspender") == 2 and "wait_for" in seen)
    two.open()
    # Three when the second one came while the first was waiting: that wait is performed again.
    kit.until(lambda: seen.count("wait_for") >= 2)
    assert seen.count("sleep") == 1
    one.open()
    assert call.finished().error is None
    assert seen.count("sleep") == 2
    assert seen[-1] == "RE_class"


def test_a_suspension_without_a_checkpoint_aborts(engine: Any, docs: Any, kit: Any) -> None:
    gate, heard = Gate(engine), []

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("clear_checkpoint")
        try:
            yield Msg("sleep", None, 30)
        except FailedPause as error:
            heard.append(error)
            raise

    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: docs)
    kit.until(lambda: not engine.resumable)
    engine.request_suspend(gate.event.wait)
    assert isinstance(call.finished().error, RunEngineInterrupted)
    assert len(heard) == 1
    assert docs.of("stop")[0]["exit_status"] == "abort"


def test_a_suspended_plan_can_be_paused_resumed_and_aborted(engine: Any, kit: Any) -> None:
    seen, gate = kit.commands_of(engine), Gate(engine)
    call = kit.Caller(lambda: engine([Msg("checkpoint"), Msg("sleep", None, 0.05)]))
    kit.until(lambda: "sleep" in seen)
    engine.request_suspend(gate.event.wait)
    kit.until(lambda: "wait_for" in seen)
    engine.request_pause()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    again = kit.Caller(engine.resume)
    kit.until(lambda: seen.count("wait_for") == 2)
    assert seen.count("sleep") == 1
    engine.abort()
    assert isinstance(again.finished().error, RunEngineInterrupted)
    assert engine.state == "idle"


def test_a_request_without_a_plan_is_ignored(engine: Any) -> None:
    gate = Gate(engine)
    engine.request_suspend(gate.event.wait)
    assert engine([Msg("null")]) == ()


@pytest.mark.parametrize("trip_before", [True, False])
def test_suspenders_of_bluesky_hold_a_plan(engine: Any, kit: Any, *, trip_before: bool) -> None:
    seen = kit.commands_of(engine)
    signal = OphydSignal(name="shutter", value=0)
    suspender = SuspendBoolHigh(signal)
    engine.install_suspender(suspender)
    assert engine.suspenders == (suspender,)
    if trip_before:
        signal.put(1)
        kit.until(lambda: suspender.tripped)
    call = kit.Caller(lambda: engine([Msg("checkpoint"), Msg("sleep", None, 0.2), Msg("RE_class")]))
    if not trip_before:
        kit.until(lambda: "sleep" in seen)
        signal.put(1)
    kit.until(lambda: "wait_for" in seen)
    assert "RE_class" not in seen
    threading.Thread(target=signal.put, args=(0,)).start()
    assert call.finished().error is None
    assert seen[-1] == "RE_class"
    engine.clear_suspenders()
    assert engine.suspenders == ()
