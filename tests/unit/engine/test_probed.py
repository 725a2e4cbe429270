"""
Defects that were measured in bluesky 1.15.1 and that ours must not have, one test each.

Others stand where they belong: test_interrupt.py (pauses, answers, escalation), test_faults.py (failures, file
announcements, monitors), test_suspend.py, test_doors.py and test_bad_plans.py.
"""

from __future__ import annotations

import gc
import logging
import threading
import tracemalloc
from typing import Any

import bluesky.plan_stubs as bps
import pytest

from labspine.engine import (
    EngineBusy,
    FailedStatus,
    IllegalMessageSequence,
    Msg,
    RequestAbort,
    RunEngine,
    RunEngineInterrupted,
    RunEngineResult,
)


def event(device: Any, name: str = "primary") -> list[Msg]:
    return [Msg("create", name=name), Msg("read", device), Msg("save")]


def test_a_device_need_not_be_hashable(engine: Any, docs: Any, kit: Any) -> None:
    class Unhashable(kit.Motor):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise AssertionError("devices are told apart by identity")

    motor = Unhashable("x")
    engine([Msg("stage", motor), Msg("open_run"), Msg("set", motor, 1), *event(motor), Msg("close_run")])
    assert docs.of("event")[0]["data"] == {"x": 1}
    assert (motor.stops, motor.log) == ([True], ["stage", "unstage"])


def test_an_event_that_is_open_at_close_run_is_not_lost_in_silence(
    engine: Any, docs: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plan = [Msg("open_run"), Msg("create", name="primary"), Msg("read", kit.Detector()), Msg("close_run")]
    with caplog.at_level(logging.WARNING, "labspine.engine"):
        engine(plan)
    assert any('the open event of stream "primary" is lost' in r.getMessage() for r in caplog.records)
    engine.strict = True
    with pytest.raises(IllegalMessageSequence, match=r"step 4, 'close_run', came between"):
        engine(plan)
    assert [doc["exit_status"] for doc in docs.of("stop")] == ["success", "fail"]


def test_a_monitor_without_a_name_gets_one(engine: Any, docs: Any, kit: Any) -> None:
    signal = kit.Signal()

    def plan() -> Any:
        yield Msg("open_run")
        yield from bps.monitor(signal)
        yield Msg("close_run")

    engine(plan())
    assert docs.of("descriptor")[0]["name"].startswith("monitor-")


def test_a_plan_that_forgets_to_clean_up_is_told(
    engine: Any, docs: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    det = kit.Detector()
    with caplog.at_level(logging.WARNING, "labspine.engine"):
        engine([Msg("stage", det), Msg("open_run")])
    told = " ".join(record.getMessage() for record in caplog.records)
    assert "without 'close_run' for 1 run" in told
    assert "without 'unstage' of det" in told
    assert docs.of("stop")[0]["exit_status"] == "success"
    assert det.log == ["stage", "unstage"]


def test_five_engines_leave_no_thread() -> None:
    before = threading.active_count()
    for _ in range(5):
        with RunEngine(context_managers=[]) as engine:
            engine([Msg("null")])
    assert threading.active_count() == before


def test_a_bound_method_of_a_temporary_object_is_kept(engine: Any) -> None:
    seen: list[str] = []

    class Writer:
        def take(self, name: str, doc: dict[str, Any]) -> None:
            seen.append(name)

    engine.subscribe(Writer().take)
    gc.collect()
    engine([Msg("open_run"), Msg("close_run")])
    assert seen == ["start", "stop"]


def test_every_document_comes_on_one_thread_also_those_of_resume(engine: Any, kit: Any) -> None:
    threads: set[int] = set()
    engine.record_interruptions = True
    engine.subscribe(lambda name, doc: threads.add(threading.get_ident()))
    signal = kit.Signal()

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("monitor", signal, name="m")
        other = threading.Thread(target=signal.put, args=(3,))
        other.start()
        other.join()
        yield Msg("checkpoint")
        yield Msg("pause")
        yield Msg("close_run")

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    engine.resume()
    assert threads == {engine._th.ident}


def test_the_engine_works_outside_of_the_main_thread(kit: Any) -> None:
    with RunEngine() as engine:
        call = kit.Caller(lambda: engine([Msg("open_run"), Msg("close_run")]))
        assert len(call.finished().value) == 1


def test_an_engine_whose_loop_has_died_says_so(kit: Any) -> None:
    engine = RunEngine(context_managers=[])
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    kit.until(lambda: not engine._th.is_alive())
    call = kit.Caller(lambda: engine([Msg("null")]))
    assert isinstance(call.finished().error, EngineBusy)


def test_a_device_that_cannot_pause_does_not_kill_the_plan(engine: Any, docs: Any, kit: Any) -> None:
    class Stubborn(kit.Motor):
        def pause(self) -> None:
            raise OSError("not now")

        def resume(self) -> None:
            pass

    motor = Stubborn("x")
    plan = [Msg("open_run"), Msg("checkpoint"), Msg("set", motor, 1), Msg("pause"), Msg("close_run")]
    with pytest.raises(RunEngineInterrupted):
        engine(plan)
    assert engine.state == "paused"
    engine.resume()
    assert docs.of("stop")[0]["exit_status"] == "success"
    assert any("x.pause() failed" in problem for problem in engine.cleanup_problems)


class Flyer:
    """Counts how often it was started."""

    parent = None
    name = "flyer"

    def __init__(self, kit: Any) -> None:
        self._kit = kit
        self.starts = 0
        self.status: Any = None

    def kickoff(self) -> Any:
        self.starts += 1
        self.status = self._kit.HandStatus()
        return self.status

    def complete(self) -> Any:
        return self._kit.done_status()

    def describe_collect(self) -> dict[str, Any]:
        return {"fly": {"flyer": {"dtype": "number", "shape": [], "source": "test"}}}

    def collect(self) -> Any:
        yield {"data": {"flyer": self.starts}, "timestamps": {"flyer": 1.0}, "time": 1.0}


def fly(flyer: Flyer) -> Any:
    yield Msg("open_run")
    yield Msg("checkpoint")
    yield Msg("kickoff", flyer, group="k")
    yield Msg("wait", None, "k")
    yield Msg("complete", flyer, group="c")
    yield Msg("wait", None, "c")
    yield Msg("collect", flyer)
    yield Msg("pause")
    yield Msg("close_run")


def test_a_flyer_that_is_under_way_is_not_kicked_off_again(engine: Any, docs: Any, kit: Any) -> None:
    flyer, seen = Flyer(kit), kit.commands_of(engine)
    call = kit.Caller(lambda: engine(fly(flyer)))
    kit.until(lambda: "wait" in seen)
    engine.request_pause()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    again = kit.Caller(engine.resume)
    kit.until(lambda: seen.count("wait") == 2)
    assert seen.count("kickoff") == 2
    flyer.status.finish()
    assert isinstance(again.finished().error, RunEngineInterrupted)  # the pause of the plan itself
    assert flyer.starts == 1
    # Everything since the checkpoint is done again, and this flight was over.
    final = kit.Caller(engine.resume)
    kit.until(lambda: flyer.starts == 2)
    flyer.status.finish()
    assert final.finished().error is None
    assert [doc["data"]["flyer"] for doc in docs.of("event_page")] == [[1], [2]]


def test_a_flyer_whose_start_failed_is_kicked_off_again(engine: Any, kit: Any) -> None:
    flyer, seen = Flyer(kit), kit.commands_of(engine)
    call = kit.Caller(lambda: engine(fly(flyer)))
    kit.until(lambda: "wait" in seen)
    engine.request_pause()
    call.finished()
    flyer.status.finish(RuntimeError("interrupted by the pause"))
    again = kit.Caller(engine.resume)
    kit.until(lambda: flyer.starts == 2)
    flyer.status.finish()
    again.finished()
    engine.abort()


def test_a_plan_that_survives_its_abort_does_not_pass_for_a_success(docs: Any, kit: Any) -> None:
    with RunEngine(context_managers=[], call_returns_result=True) as engine:
        engine.subscribe(docs)

        def plan() -> Any:
            yield Msg("open_run")
            try:
                yield Msg("pause")
            except RequestAbort:
                pass
            yield Msg("close_run")

        with pytest.raises(RunEngineInterrupted):
            engine(plan())
        result = engine.abort("enough")
    assert isinstance(result, RunEngineResult)
    assert result.exit_status == docs.of("stop")[0]["exit_status"] == "abort"


def test_devices_are_stopped_as_failed_after_a_failure(engine: Any, kit: Any) -> None:
    good, bad = kit.Motor("good"), kit.Motor("bad")
    bad.hold = True
    call = kit.Caller(
        lambda: engine(
            [Msg("set", good, 1, group="g"), Msg("set", bad, 1, group="g"), Msg("wait", None, "g")]
        )
    )
    kit.until(lambda: bad.moves)
    bad.moves[0][1].finish(ValueError("stuck"))
    assert isinstance(call.finished().error, FailedStatus)
    assert (good.stops, bad.stops) == ([False], [False])


@pytest.mark.parametrize(
    ("step", "per_step"), [("null", 8), ("set", 8)], ids=["no checkpoint", "a group that nobody waits for"]
)
def test_a_plan_without_checkpoints_does_not_grow_for_ever(
    step: str, per_step: float, engine: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Quick(kit.Motor):
        def set(self, value: Any) -> Any:
            return kit.done_status()

    motor, sizes = Quick(), []
    msg = Msg("null") if step == "null" else Msg("set", motor, 1, group="nobody")

    def plan() -> Any:
        for _ in range(3):
            for _ in range(110_000):
                yield msg
            sizes.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        with caplog.at_level(logging.WARNING, "labspine.engine"):
            engine(plan())
    finally:
        tracemalloc.stop()
    # The limit of the steps that are kept for a replay is passed in the second third.
    assert sizes[2] - sizes[0] < 110_000 * per_step
    assert any("without a checkpoint" in record.getMessage() for record in caplog.records)
