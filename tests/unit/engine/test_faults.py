"""Faults: failing statuses, raising callbacks, broken devices; and that everything is cleaned up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import bluesky.utils
import pytest

from labspine.engine import (
    FailedStatus,
    IllegalMessageSequence,
    MismatchedReading,
    Msg,
    RunEngineInterrupted,
    WaitForTimeoutError,
)
from labspine.errors import DeviceError, LabspineWarning


def test_a_failed_status_reaches_the_plan_with_its_reason(engine: Any, docs: Any, kit: Any) -> None:
    motor = kit.Motor()
    motor.hold = True

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("set", motor, 1, group="g")
        yield Msg("wait", None, "g")

    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: motor.moves)
    motor.moves[0][1].finish(ValueError("stalled"))
    error = call.finished().error
    assert isinstance(error, FailedStatus)
    assert isinstance(error, bluesky.utils.FailedStatus)
    assert isinstance(error.__cause__, ValueError)
    assert error.args[0] is motor.moves[0][1]
    assert docs.of("stop")[0]["exit_status"] == "fail"
    assert motor.stops == [False]


def test_a_failure_interrupts_a_wait_for_something_else(engine: Any, kit: Any) -> None:
    good, bad = kit.Motor("good"), kit.Motor("bad")
    good.hold = bad.hold = True

    def plan() -> Any:
        yield Msg("set", good, 1, group="good")
        yield Msg("set", bad, 1, group="bad")
        yield Msg("wait", None, "good")

    call = kit.Caller(lambda: engine(plan()))
    kit.until(lambda: bad.moves)
    bad.moves[0][1].finish(RuntimeError("burnt"))
    assert isinstance(call.finished().error, FailedStatus)


def test_something_that_is_cancelled_inside_a_device_is_an_error_of_the_device(engine: Any, kit: Any) -> None:
    async def cancelled(msg: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    engine.register_command("cancelled", cancelled)
    seen = kit.commands_of(engine)
    call = kit.Caller(lambda: engine([Msg("sleep", None, 0.1), Msg("cancelled")]))
    kit.until(lambda: seen)
    engine.request_pause()  # our own cancelling must leave no trace
    assert isinstance(call.finished().error, RunEngineInterrupted)
    with pytest.raises(DeviceError, match="'cancelled' was cancelled by the device"):
        engine.resume()
    assert seen == ["sleep", "sleep", "cancelled"]


def test_two_failures_at_once_are_both_told(engine: Any, kit: Any) -> None:
    one, two = kit.Motor("one"), kit.Motor("two")
    one.hold = two.hold = True

    def plan() -> Any:
        yield Msg("set", one, 1, group="g")
        yield Msg("set", two, 1, group="g")
        one.moves[0][1].finish(ValueError("first"))
        two.moves[0][1].finish(ValueError("second"))
        yield Msg("wait", None, "g")

    with pytest.raises(FailedStatus) as caught:
        engine(plan())
    assert [str(s.exception()) for s in caught.value.statuses] == ["first", "second"]
    assert "second" in caught.value.__notes__[0]


def test_a_plan_may_catch_a_failure_and_go_on(engine: Any, docs: Any, kit: Any) -> None:
    motor = kit.Motor()
    motor.hold = True

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("set", motor, 1, group="g")
        motor.moves[0][1].finish(ValueError("stalled"))
        try:
            yield Msg("wait", None, "g")
        except FailedStatus:
            yield Msg("set", motor, 2, group="h")
        motor.moves[1][1].finish()
        yield Msg("wait", None, "h")
        yield Msg("close_run")

    engine(plan())
    assert docs.of("stop")[0]["exit_status"] == "success"


def test_statuses_that_fail_after_the_end_are_ignored(engine: Any, kit: Any) -> None:
    motor = kit.Motor()
    motor.hold = True
    engine([Msg("set", motor, 1)])
    motor.moves[0][1].finish(RuntimeError("too late"))
    assert engine([Msg("sleep", None, 0.01)]) == ()


def test_a_wait_with_a_limit_raises_or_moves_on(engine: Any, kit: Any) -> None:
    motor, answers, hooks = kit.Motor(), [], []
    motor.hold = True
    engine.waiting_hook = hooks.append

    def plan() -> Any:
        yield Msg("set", motor, 1, group="g")
        answers.append((yield Msg("wait", None, group="g", timeout=0.01, error_on_timeout=False)))
        answers.append((yield Msg("wait", None, group="g", timeout=0.01, error_on_timeout=False)))
        with pytest.raises(WaitForTimeoutError, match="not done after"):
            yield Msg("wait", None, group="g", timeout=0.01)
        motor.moves[0][1].finish()
        answers.append((yield Msg("wait", None, group="g", timeout=1, error_on_timeout=False)))

    engine(plan())
    assert answers == [False, False, True]
    assert [h if h is None else len(h) for h in hooks] == [1, 1, None, 1, None]


def test_waiting_for_anything_gives_its_tasks(engine: Any) -> None:
    async def seven() -> int:
        return 7

    async def never() -> None:
        await asyncio.sleep(60)

    def plan() -> Any:
        tasks = yield Msg("wait_for", None, [seven])
        assert tasks[0].result() == 7
        with pytest.raises(WaitForTimeoutError):
            yield Msg("wait_for", None, [never], timeout=0.01)

    engine(plan())


def test_every_subscriber_gets_a_document_that_another_refused(engine: Any, kit: Any) -> None:
    kept = kit.Docs()

    def broken(name: str, doc: Any) -> None:
        if name == "stop":
            raise OSError("disk full")

    engine.subscribe(broken)
    engine.subscribe(kept)
    with pytest.raises(OSError, match="disk full"):
        engine([Msg("open_run"), Msg("close_run")])
    assert kept.names == ["start", "stop"]
    assert kept.of("stop")[0]["exit_status"] == "success"
    assert engine.state == "idle"


def test_a_raising_callback_fails_the_run_but_closes_it(engine: Any, docs: Any, kit: Any) -> None:
    def broken(name: str, doc: Any) -> None:
        raise OSError("disk full")

    engine.subscribe(broken, "event")
    det = kit.Detector()
    with pytest.raises(OSError, match="disk full"):
        engine([Msg("open_run"), Msg("create", name="a"), Msg("read", det), Msg("save"), Msg("null")])
    assert docs.of("stop")[0]["exit_status"] == "fail"
    assert docs.of("stop")[0]["reason"] == "disk full"


def test_exceptions_of_callbacks_can_be_made_warnings(engine: Any, docs: Any) -> None:
    def broken(name: str, doc: Any) -> None:
        raise OSError("disk full")

    engine.subscribe(broken)
    engine.ignore_callback_exceptions = True
    with pytest.warns(LabspineWarning, match="disk full"):
        engine([Msg("open_run"), Msg("close_run")])
    assert docs.names == ["start", "stop"]


def test_the_clean_up_stops_unmonitors_unstages_backwards_and_closes(
    engine: Any, docs: Any, kit: Any
) -> None:
    order: list[str] = []
    signal = kit.Signal()

    class Told(kit.Motor):
        def stop(self, *, success: bool = False) -> None:
            order.append(f"stop {self.name}")

        def unstage(self) -> list[Any]:
            order.append(f"unstage {self.name}")
            return []

    one, two = Told("one"), Told("two")
    engine.subscribe(lambda name, doc: order.append(name), "stop")

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("stage", one)
        yield Msg("stage", two)
        yield Msg("monitor", signal, name="m")
        yield Msg("set", two, 1)
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        engine(plan())
    assert order == ["stop two", "unstage two", "unstage one", "stop"]
    assert signal.subscribers == []
    assert engine.cleanup_problems == ()


def test_asynchronous_unstaging_is_awaited_and_failures_are_kept(engine: Any, kit: Any) -> None:
    class Slow(kit.Detector):
        def unstage(self) -> Any:
            status = kit.HandStatus()
            threading.Timer(0.05, self._finish, (status,)).start()
            return status

        def _finish(self, status: Any) -> None:
            self.log.append("unstaged")
            status.finish()

    class Broken(kit.Detector):
        def unstage(self) -> Any:
            raise OSError("cable")

    slow, broken = Slow(), Broken("broken")
    engine([Msg("stage", slow), Msg("stage", broken)])
    assert slow.log == ["stage", "unstaged"]
    assert len(engine.cleanup_problems) == 1
    assert "broken" in engine.cleanup_problems[0]


def test_a_device_whose_staging_failed_half_way_is_unstaged(engine: Any, kit: Any) -> None:
    class Half(kit.Detector):
        def stage(self) -> list[Any]:
            raise OSError("half-way")

    half = Half()
    with pytest.raises(OSError, match="half-way"):
        engine([Msg("stage", half)])
    assert half.log == ["unstage"]


def test_other_objects_in_the_same_stream_are_refused(engine: Any, kit: Any) -> None:
    one, two = kit.Detector("one"), kit.Detector("two")

    def plan() -> Any:
        yield Msg("open_run")
        for obj in (one, two):
            yield Msg("create", name="primary")
            yield Msg("read", obj)
            yield Msg("save")

    with pytest.raises(MismatchedReading, match=r"expected \['one'\], got \['two'\]"):
        engine(plan())


def test_a_reading_that_differs_from_its_description_is_refused(engine: Any, docs: Any, kit: Any) -> None:
    class Liar(kit.Detector):
        def describe(self) -> dict[str, Any]:
            return {"other": {"dtype": "integer", "shape": [], "source": "test"}}

    with pytest.raises(MismatchedReading, match=r"missing \['other'\], not described \['det'\]"):
        engine([Msg("open_run"), Msg("create", name="p"), Msg("read", Liar()), Msg("save")])
    assert docs.of("stop")[0]["exit_status"] == "fail"


def test_the_same_key_twice_in_an_event_is_refused(engine: Any, kit: Any) -> None:
    det = kit.Detector()
    with pytest.raises(ValueError, match="keys that this event contains already"):
        engine([Msg("open_run"), Msg("create", name="p"), Msg("read", det), Msg("read", det)])


def test_changes_of_a_monitored_signal_from_many_threads_are_numbered_in_one_order(
    engine: Any, docs: Any, kit: Any
) -> None:
    signal = kit.Signal()

    def hammer() -> None:
        for value in range(500):
            signal.put(value)

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("monitor", signal, name="m")
        threads = [threading.Thread(target=hammer) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            yield Msg("sleep", None, 0.001)
        yield Msg("close_run")

    engine(plan())
    assert [d["seq_num"] for d in docs.of("event")] == list(range(1, 1502))
    assert docs.of("stop")[0]["num_events"] == {"m": 1501}
    assert docs.names[-1] == "stop"
    assert signal.subscribers == []


def test_an_error_of_a_subscriber_in_a_monitor_reaches_the_plan(engine: Any, kit: Any) -> None:
    signal = kit.Signal()

    def broken(name: str, doc: Any) -> None:
        if doc["data"]["sig"] == 1:
            raise OSError("disk full")

    engine.subscribe(broken, "event")

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("monitor", signal, name="m")
        threading.Thread(target=signal.put, args=(1,)).start()
        yield Msg("sleep", None, 30)

    with pytest.raises(OSError, match="disk full"):
        engine(plan())


def test_file_announcements_survive_a_dropped_event(engine: Any, docs: Any, kit: Any) -> None:
    detector = FileDetector()

    def shot(end: str) -> Any:
        yield Msg("create", name="primary")
        yield Msg("read", detector)
        yield Msg(end)

    def plan() -> Any:
        yield Msg("open_run")
        yield from shot("drop")
        yield from shot("save")
        yield from shot("save")
        yield Msg("close_run")

    engine(plan())
    assert docs.names == [
        "start",
        "descriptor",
        *["stream_resource", "stream_datum", "event"],
        "stream_datum",
        "event",
        "stop",
    ]
    assert [d["indices"] for d in docs.of("stream_datum")] == [
        {"start": 1, "stop": 2},
        {"start": 2, "stop": 3},
    ]
    assert [d["seq_nums"] for d in docs.of("stream_datum")] == [
        {"start": 1, "stop": 2},
        {"start": 2, "stop": 3},
    ]


def test_file_announcements_survive_a_pause_inside_an_event(engine: Any, docs: Any, kit: Any) -> None:
    detector = FileDetector()
    plan = [Msg("open_run"), Msg("checkpoint"), Msg("create", name="p"), Msg("read", detector), Msg("pause")]
    with pytest.raises(RunEngineInterrupted):
        engine([*plan, Msg("save"), Msg("close_run")])
    engine.resume()
    assert docs.names == ["start", "descriptor", "stream_resource", "stream_datum", "event", "stop"]
    assert docs.of("stop")[0]["num_events"] == {"p": 1}


class FileDetector:
    """Writes one frame a reading into one file, which it announces once."""

    name = "cam"
    parent = None

    def __init__(self) -> None:
        self.frames = 0
        self.is_announced = False

    def read(self) -> dict[str, Any]:
        self.frames += 1
        return {}

    def describe(self) -> dict[str, Any]:
        return {"cam": {"dtype": "array", "shape": [2, 2], "source": "test", "external": "STREAM:"}}

    def get_index(self) -> int:
        return self.frames

    def collect_asset_docs(self, index: int | None = None) -> Any:
        if not self.is_announced:
            self.is_announced = True
            yield (
                "stream_resource",
                {
                    "uid": "file-1",
                    "data_key": "cam",
                    "mimetype": "application/x-hdf5",
                    "uri": "file://localhost/data/cam.h5",
                    "parameters": {"dataset": "/data"},
                },
            )
        yield (
            "stream_datum",
            {
                "uid": f"file-1/{self.frames}",
                "stream_resource": "file-1",
                "descriptor": "",
                "seq_nums": {"start": 0, "stop": 0},
                "indices": {"start": self.frames - 1, "stop": self.frames},
            },
        )


def test_a_keyboard_interrupt_from_inside_a_plan_ends_the_plan_and_not_the_program(engine: Any) -> None:
    docs: list[str] = []

    def plan() -> Any:
        yield Msg("open_run")
        raise KeyboardInterrupt

    with pytest.raises(RunEngineInterrupted) as ended:
        engine(plan(), lambda name, doc: docs.append(name))
    assert isinstance(ended.value.__cause__, KeyboardInterrupt)
    assert docs == ["start", "stop"]
    assert engine.state == "idle"
    engine([Msg("null")])


def test_an_engine_may_demand_that_streams_are_declared(engine: Any) -> None:
    engine._require_stream_declaration = True
    with pytest.raises(IllegalMessageSequence, match="'declare_stream' first"):
        engine([Msg("open_run"), Msg("create", name="primary")])


@pytest.mark.parametrize(
    ("step", "builtin", "words"),
    [
        (Msg("collect", None, stream=True), RuntimeError, "no longer supported; leave stream=True out"),
        (Msg("declare_stream", None, collect=True), AssertionError, "name that is not None is required"),
    ],
)
def test_misused_flyer_steps_raise_what_programs_for_bluesky_catch(
    engine: Any, step: Msg, builtin: type[Exception], words: str
) -> None:
    with pytest.raises(builtin, match=words) as refused:
        engine([Msg("open_run"), step])
    assert isinstance(refused.value, ValueError)
