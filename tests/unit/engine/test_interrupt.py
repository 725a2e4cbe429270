"""Pause, resume, stop, abort, halt: from everywhere, at any time, without losing an answer."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import bluesky.utils
import pytest

from labspine.engine import (
    FailedPause,
    Msg,
    NoReplayAllowed,
    PlanHalt,
    RequestAbort,
    RequestStop,
    RunEngine,
    RunEngineInterrupted,
    TransitionError,
)


def events(detector: Any, *, count: int, pause_before: int = 0) -> Any:
    yield Msg("open_run")
    for number in range(1, count + 1):
        yield Msg("checkpoint")
        yield Msg("trigger", detector, group="d")
        yield Msg("wait", None, "d")
        yield Msg("create", name="primary")
        yield Msg("read", detector)
        if number == pause_before:
            pause_before = 0
            yield Msg("pause")
        yield Msg("save")
    yield Msg("close_run")


def test_a_pause_in_the_middle_of_an_event_measures_that_point_again(
    engine: Any, docs: Any, kit: Any
) -> None:
    det = kit.Detector()
    with pytest.raises(bluesky.utils.RunEngineInterrupted):
        engine(events(det, count=3, pause_before=2))
    assert engine.state == "paused"
    assert engine.state.is_paused
    (uid,) = engine.resume()
    assert engine.state == "idle"
    assert [d["data"]["det"] for d in docs.of("event")] == [1, 3, 4]
    assert [d["seq_num"] for d in docs.of("event")] == [1, 2, 3]
    assert docs.of("stop")[0]["num_events"] == {"primary": 3}
    assert docs.of("stop")[0]["run_start"] == uid


def test_events_since_the_checkpoint_are_taken_again_with_their_numbers(
    engine: Any, docs: Any, kit: Any
) -> None:
    det = kit.Detector()

    def one() -> Any:
        yield Msg("create", name="primary")
        yield Msg("read", det)
        yield Msg("save")

    def plan() -> Any:
        yield Msg("open_run")
        yield from one()
        yield Msg("checkpoint")
        yield from one()
        yield from one()
        yield Msg("pause")
        yield from one()
        yield Msg("close_run")

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    engine.resume()
    assert [d["seq_num"] for d in docs.of("event")] == [1, 2, 3, 2, 3, 4]
    assert docs.of("stop")[0]["num_events"] == {"primary": 4}


def test_an_interrupted_wait_gives_its_true_answer_after_the_resume(engine: Any, kit: Any) -> None:
    motor, answers = kit.Motor(), []
    motor.hold = True

    def plan() -> Any:
        yield Msg("checkpoint")
        yield Msg("set", motor, 5, group="g")
        answers.append((yield Msg("wait", None, "g")))

    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: motor.moves, "the move")
    engine.request_pause()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    assert motor.stops == [True]
    motor.moves[0][1].finish(RuntimeError("stopped half-way"))  # disowned: the move is done again
    again = kit.Caller(engine.resume)
    kit.until(lambda: len(motor.moves) == 2, "the second move")
    motor.moves[1][1].finish()
    assert again.finished().error is None
    assert answers == [True]
    assert [value for value, _ in motor.moves] == [5, 5]


def test_an_interrupted_asynchronous_read_gives_its_reading(engine: Any, kit: Any) -> None:
    gate, answers = threading.Event(), []

    class Slow(kit.Detector):
        async def read(self) -> Any:  # type: ignore[override]
            while not gate.is_set():
                await asyncio.sleep(0.005)
            return super().read()

    slow = Slow()
    engine.register_command("slow_read", lambda msg: msg.obj.read())

    def plan() -> Any:
        answers.append((yield Msg("slow_read", slow)))

    seen = kit.commands_of(engine)
    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: seen)
    engine.request_pause()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    gate.set()
    engine.resume()
    assert seen == ["slow_read", "slow_read"]
    assert answers[0]["det"]["value"] == 0


def test_an_interrupted_open_run_is_not_lost(kit: Any) -> None:
    gate = threading.Event()

    async def slow_source(md: Any) -> int:
        while not gate.is_set():
            await asyncio.sleep(0.005)
        return 7

    with RunEngine(context_managers=[], scan_id_source=slow_source) as engine:
        docs = kit.Docs()
        seen = kit.commands_of(engine)
        call = kit.Caller(lambda: engine(events(kit.Detector(), count=1), docs))
        kit.until(lambda: seen)
        engine.request_pause()
        assert isinstance(call.finished().error, RunEngineInterrupted)
        gate.set()
        engine.resume()
        assert docs.names == ["start", "descriptor", "event", "stop"]
        assert docs.of("start")[0]["scan_id"] == 7
        assert seen.count("open_run") == 2


def test_pausing_again_during_the_replay_still_answers(engine: Any, kit: Any) -> None:
    motor, answers = kit.Motor(), []
    motor.hold = True

    def plan() -> Any:
        yield Msg("checkpoint")
        yield Msg("set", motor, 1, group="g")
        answers.append((yield Msg("wait", None, "g")))
        answers.append((yield Msg("null")))

    call = kit.Caller(lambda: engine(plan()))
    for round_number in (1, 2, 3):
        kit.until(lambda n=round_number: len(motor.moves) == n, "a move")
        engine.request_pause()
        assert isinstance(call.finished().error, RunEngineInterrupted)
        call = kit.Caller(engine.resume)
    kit.until(lambda: len(motor.moves) == 4, "the last move")
    motor.moves[-1][1].finish()
    assert call.finished().error is None
    assert answers == [True, None]


def test_a_deferred_pause_happens_at_the_next_checkpoint_and_at_once(
    engine: Any, docs: Any, kit: Any
) -> None:
    det = kit.Detector()

    def ask(name: str, doc: Any) -> None:
        if doc["seq_num"] == 2:
            engine.request_pause(defer=True)
            assert engine.deferred_pause_requested

    engine.subscribe(ask, "event")
    began = time.monotonic()
    with pytest.raises(RunEngineInterrupted):
        engine(events(det, count=4))
    assert time.monotonic() - began < 0.4
    assert len(docs.of("event")) == 2
    engine.resume()
    assert [d["data"]["det"] for d in docs.of("event")] == [1, 2, 3, 4]


def test_a_pause_without_a_checkpoint_aborts(engine: Any, docs: Any, kit: Any) -> None:
    heard = []

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("clear_checkpoint")
        try:
            yield Msg("pause")
            yield Msg("null")
        except FailedPause as error:
            heard.append(error)
            raise

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    assert engine.state == "idle"
    assert len(heard) == 1
    assert docs.of("stop")[0]["exit_status"] == "abort"


def test_interruptions_are_recorded_and_counted_rightly(engine: Any, docs: Any, kit: Any) -> None:
    engine.record_interruptions = True
    with pytest.raises(RunEngineInterrupted):
        engine(events(kit.Detector(), count=2, pause_before=1))
    engine.resume()
    words = [d["data"]["interruption"] for d in docs.of("event") if "interruption" in d["data"]]
    assert words == ["pause", "resume"]
    numbers = [d["seq_num"] for d in docs.of("event") if "interruption" in d["data"]]
    assert numbers == [1, 2]
    assert docs.of("stop")[0]["num_events"] == {"interruptions": 2, "primary": 2}


def test_rewindable_does_not_leak_into_the_next_call(engine: Any) -> None:
    answers = []

    def plan() -> Any:
        answers.append((yield Msg("rewindable", None, None)))
        answers.append((yield Msg("rewindable", None, False)))

    engine(plan())
    engine(plan())
    assert answers == [True, False, True, False]


def test_a_device_can_forbid_the_replay(engine: Any, docs: Any, kit: Any) -> None:
    class Once(kit.Detector):
        def pause(self) -> None:
            raise NoReplayAllowed

        def resume(self) -> None:
            self.log.append("resume")

    once = Once()

    def plan() -> Any:
        yield Msg("trigger", once)
        yield Msg("pause")

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    engine.resume()
    assert once.count == 1
    assert once.log == ["resume"]


@pytest.mark.parametrize(
    ("end", "status", "signal"),
    [("stop", "success", RequestStop), ("abort", "abort", RequestAbort)],
)
@pytest.mark.parametrize("from_pause", [True, False])
def test_stop_and_abort_let_the_plan_clean_up(
    engine: Any, docs: Any, kit: Any, *, end: str, status: str, signal: type[Exception], from_pause: bool
) -> None:
    heard: list[Any] = []

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("checkpoint")
        try:
            yield Msg("sleep", None, 30)
        except Exception as error:
            heard.append(error)
            raise
        finally:
            heard.append((yield Msg("RE_class")))

    seen = kit.commands_of(engine)
    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: "sleep" in seen)
    if from_pause:
        engine.request_pause()
        call.finished()
        assert engine.state == "paused"
        uids = getattr(engine, end)()
        assert uids == (docs.of("start")[0]["uid"],)
    else:
        getattr(engine, end)()
        assert isinstance(call.finished().error, RunEngineInterrupted)
    assert isinstance(heard[0], signal)
    assert isinstance(heard[0], getattr(bluesky.utils, signal.__name__))
    assert heard[1] is RunEngine
    assert docs.of("stop")[0]["exit_status"] == status
    assert engine.state == "idle"


def test_the_reason_of_an_abort_is_in_the_stop_document(engine: Any, docs: Any, kit: Any) -> None:
    call = kit.Caller(lambda: engine([Msg("open_run"), Msg("sleep", None, 30)]))
    kit.until(lambda: docs)
    engine.abort("beam dump")
    call.finished()
    assert docs.of("stop")[0]["reason"] == "beam dump"


def test_halt_performs_no_further_step_of_the_plan(engine: Any, docs: Any, kit: Any) -> None:
    heard: list[Any] = []

    def plan() -> Any:
        yield Msg("open_run")
        try:
            yield Msg("sleep", None, 30)
        except BaseException as error:
            heard.append(error)
            raise
        finally:
            yield Msg("set", motor, 99)

    motor = kit.Motor()
    seen = kit.commands_of(engine)
    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: "sleep" in seen)
    engine.halt()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    assert isinstance(heard[0], PlanHalt)
    assert motor.moves == []
    assert docs.of("stop")[0]["exit_status"] == "abort"
    assert engine.state == "idle"


def stubborn() -> Any:
    """A plan that swallows every exception."""
    while True:
        try:
            yield Msg("sleep", None, 30)
        except Exception:  # noqa: S112 - that is its nature
            continue


def test_a_stubborn_plan_can_be_stopped_by_escalating(engine: Any, kit: Any) -> None:
    seen = kit.commands_of(engine)
    call = kit.Caller(lambda: engine(stubborn()))
    requests = ((engine.stop, "stopping"), (engine.abort, "aborting"), (engine.abort, "aborting"))
    for number, (request, state) in enumerate(requests, 1):
        kit.until(lambda n=number: len(seen) == n, "a sleep of the plan")
        request()
        assert engine.state == state
    kit.until(lambda: len(seen) == 4, "the last sleep of the plan")
    with pytest.raises(TransitionError):
        engine.stop()
    engine.halt()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    assert engine.state == "idle"
    assert engine([Msg("null")]) == ()


@pytest.mark.parametrize("request_name", ["abort", "stop", "halt", "request_pause"])
def test_requests_from_callbacks_do_not_block(engine: Any, docs: Any, kit: Any, request_name: str) -> None:
    def react(name: str, doc: Any) -> None:
        if doc["seq_num"] == 2:
            getattr(engine, request_name)()

    engine.subscribe(react, "event")
    call = kit.Caller(lambda: engine(events(kit.Detector(), count=1000)))
    assert isinstance(call.finished().error, RunEngineInterrupted)
    if request_name == "request_pause":
        assert engine.state == "paused"
        engine.abort()
    assert len(docs.of("event")) == 2
    assert docs.names[-1] == "stop"


def test_requests_that_make_no_sense_are_refused(engine: Any) -> None:
    for request in (engine.resume, engine.stop, engine.abort, engine.halt, engine.request_pause):
        with pytest.raises(TransitionError):
            request()
        with pytest.raises(bluesky.run_engine.TransitionError):
            request()
    assert engine.state == "idle"


def test_a_plan_between_instructions_is_interrupted_within_milliseconds(engine: Any, kit: Any) -> None:
    def busy() -> Any:
        while True:
            yield Msg("null")

    call = kit.Caller(lambda: engine(busy()))
    kit.until(lambda: engine.state.is_running)
    began = time.monotonic()
    engine.abort()
    call.finished()
    assert time.monotonic() - began < 0.5


def test_monitors_are_silent_during_a_pause_and_never_doubled(engine: Any, docs: Any, kit: Any) -> None:
    signal = kit.Signal()

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("monitor", signal, name="sig_monitor")
        yield Msg("checkpoint")
        signal.put(1)
        signal.put(2)
        yield Msg("pause")
        signal.put(3)
        yield Msg("unmonitor", signal)
        signal.put(4)
        yield Msg("close_run")

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    assert signal.subscribers == []
    engine.resume()
    # The device tells its value at each subscription: 0 at first, 2 after the pause.
    assert [d["data"]["sig"] for d in docs.of("event")] == [0, 1, 2, 2, 3]
    assert [d["seq_num"] for d in docs.of("event")] == [1, 2, 3, 4, 5]
    assert docs.of("stop")[0]["num_events"] == {"sig_monitor": 5}


def test_a_pause_after_the_last_run_does_not_replay_into_it(engine: Any, docs: Any, kit: Any) -> None:
    det = kit.Detector()

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("create", name="primary")
        yield Msg("read", det)
        yield Msg("save")
        yield Msg("close_run")
        yield Msg("pause")

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    engine.resume()
    assert docs.names == ["start", "descriptor", "event", "stop"]


def test_a_call_of_a_paused_engine_is_refused(engine: Any) -> None:
    with pytest.raises(RunEngineInterrupted):
        engine([Msg("pause")])
    with pytest.raises(RuntimeError, match="already"):
        engine([])
    engine.resume()
    assert engine([]) == ()


def test_state_changes_are_told(engine: Any) -> None:
    seen: list[tuple[str, str]] = []
    engine.state_hook = lambda new, old: seen.append((old, new))
    with pytest.raises(RunEngineInterrupted):
        engine([Msg("pause")])
    engine.resume()
    assert seen == [
        ("idle", "running"),
        ("running", "pausing"),
        ("pausing", "paused"),
        ("paused", "running"),
        ("running", "idle"),
    ]
