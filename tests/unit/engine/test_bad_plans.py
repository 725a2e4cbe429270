"""Wrong plans, steps and devices, one row each: all are told in words, and none leaves a mess behind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import labspine.plans as lp
from labspine.engine import (
    BadStep,
    BadTarget,
    BlockedStep,
    DeviceTimeout,
    EngineBusy,
    IllegalMessageSequence,
    InvalidCommand,
    InvalidDocument,
    MismatchedReading,
    MismatchedValue,
    MissingAbility,
    Msg,
    NotAPlan,
    NotAStatus,
    NotAStep,
    RunEngine,
    RunEngineInterrupted,
    TransitionError,
)
from labspine.errors import (
    DeviceError,
    InvalidArgument,
    InvalidMessage,
    InvalidOperation,
    PlanError,
    RequestRefused,
)
from labspine.lab import default_plans, prepare, simulated_beamline
from labspine.messages import ScanQueueMessage

from .conftest import Detector, Motor

NAN, INF = float("nan"), float("inf")


class Row(NamedTuple):
    """A plan, made for each test, the error that ends it, and what its text must say."""

    plan: Callable[[], Any]
    error: type[BaseException]
    words: tuple[str, ...]
    root: type[BaseException] = PlanError


class NoStatus(Motor):
    """Forgets to return a status."""

    def set(self, value: Any) -> Any:
        return None

    trigger = kickoff = complete = set  # type: ignore[assignment]


class Liar(Detector):
    """Reads other things than it describes."""

    def __init__(self, reading: dict[str, Any], **described: Any) -> None:
        super().__init__("liar")
        self.reading = reading
        self.described = {"dtype": "number", "shape": [], "source": "test", **described}

    def read(self) -> dict[str, Any]:
        return {key: {"value": value, "timestamp": 1.0} for key, value in self.reading.items()}

    def describe(self) -> dict[str, Any]:
        return {"liar": self.described}


def in_run(*steps: Msg) -> Callable[[], list[Msg]]:
    return lambda: [Msg("open_run"), *steps, Msg("close_run")]


def event_of(device: Any) -> Callable[[], list[Msg]]:
    return in_run(Msg("create", name="primary"), Msg("read", device), Msg("save"))


def two_of_a_name() -> list[Msg]:
    create, save = Msg("create", name="primary"), Msg("save")
    return [Msg("open_run"), create, Msg("read", Detector("d")), Msg("read", Detector("d")), save]


def generator_function() -> Iterator[Msg]:
    yield Msg("null")


ROWS: dict[str, Row] = {
    "E1-function": Row(
        lambda: generator_function, NotAPlan, ("generator_function", "did you forget the parentheses")
    ),
    "E2-text": Row(lambda: "scan", NotAPlan, ("scan (str) is not a plan",)),
    "E2-None": Row(lambda: None, NotAPlan, ("None (NoneType) is not a plan",)),
    "E2-number": Row(lambda: 3, NotAPlan, ("3 (int) is not a plan",)),
    "E3": Row(lambda: [Msg("null"), "hello"], NotAStep, ("hello (str) at step 2", "yield Msg(...)")),
    "E4": Row(lambda: [Msg("sett")], InvalidCommand, ("no command 'sett'", 'did you mean "set"')),
    "E6-save": Row(in_run(Msg("save")), IllegalMessageSequence, ("'save' came without 'create'",)),
    "E6-create": Row(
        in_run(Msg("create", name="a"), Msg("create", name="a")), IllegalMessageSequence, ("second 'create'",)
    ),
    "E6-close": Row(lambda: [Msg("close_run")], IllegalMessageSequence, ("no run is open",)),
    "E6-open": Row(in_run(Msg("open_run")), IllegalMessageSequence, ("'open_run' came while this run",)),
    "E7": Row(
        lambda: [Msg("set", Detector("d"), 1)], MissingAbility, ("d (Detector)", "'set'", "set"), DeviceError
    ),
    "E8-none": Row(lambda: [Msg("null"), Msg("set", Motor("x"))], BadStep, ("step 2", "'set' on x")),
    "E8-many": Row(lambda: [Msg("set", Motor("x"), 1, 2)], BadStep, ("step 1", "'set' on x")),
    "E9-strict": Row(lambda: [Msg("wait", None, "g")], BadStep, ("step 1", "group g", "no step has used")),
    "E10-negative": Row(lambda: [Msg("sleep", None, -1)], BadStep, ("'sleep' needs seconds", "-1")),
    "E10-nan": Row(lambda: [Msg("sleep", None, NAN)], BadStep, ("between 0 and", "nan")),
    "E10-text": Row(lambda: [Msg("sleep", None, "long")], BadStep, ("number of seconds, got long",)),
    "E10-long": Row(lambda: [Msg("sleep", None, 1e12)], BadStep, ("between 0 and",)),
    "E11-nan": Row(
        lambda: [Msg("set", Motor("x"), NAN)], BadTarget, ("x cannot be set to nan",), DeviceError
    ),
    "E11-numpy": Row(lambda: [Msg("set", Motor("x"), np.float32(INF))], BadTarget, ("inf",), DeviceError),
    "E11-text": Row(lambda: [Msg("set", Motor("x"), "abc")], BadTarget, ("abc (str)",), DeviceError),
    "E11-complex": Row(lambda: [Msg("set", Motor("x"), 1j)], BadTarget, ("1j (complex)",), DeviceError),
    "E12-zero": Row(lambda: lp.count([Detector()], 0), PlanError, ("whole number", "got 0")),
    "E12-negative": Row(lambda: lp.count([Detector()], -3), PlanError, ("got -3",)),
    "E12-float": Row(lambda: lp.count([Detector()], 2.5), PlanError, ("got 2.5",)),
    "E12-huge": Row(lambda: lp.scan([Detector()], Motor(), 0, 1, 10**9), PlanError, ("got 1000000000",)),
    "E13": Row(
        lambda: lp.list_scan([Detector()], Motor("x"), [1], Motor("y"), [1, 2]), PlanError, ("x 1, y 2",)
    ),
    "E14": Row(
        lambda: lp.scan([Detector()], Motor("x"), 0, 1, Motor("x"), 0, 1, 3), PlanError, ('the name "x"',)
    ),
    "E17": Row(lambda: [Msg("open_run", None, holder=object())], InvalidMessage, ("holder",), InvalidMessage),
    "E18-dot": Row(lambda: [Msg("open_run", None, **{"a.b": 1})], InvalidDocument, ("a.b",), InvalidMessage),
    "E18-uid": Row(lambda: [Msg("open_run", None, uid="mine")], InvalidDocument, ("uid",), InvalidMessage),
    "E18-time": Row(lambda: [Msg("open_run", None, time=1)], InvalidDocument, ("time",), InvalidMessage),
    "E19": Row(two_of_a_name, BadStep, ('"d" has keys that this event contains already',)),
    "E20-keys": Row(event_of(Liar({"other": 1})), MismatchedValue, ("missing ['liar']",), DeviceError),
    "E20-dtype": Row(
        event_of(Liar({"liar": "on"})),
        MismatchedValue,
        ('liar: "liar" is described as number and reads on (str)',),
        DeviceError,
    ),
    "E20-shape": Row(
        event_of(Liar({"liar": np.zeros((2, 3))}, dtype="array", shape=[3, 2])),
        MismatchedValue,
        ("array of shape [3, 2] and reads [2, 3]",),
        DeviceError,
    ),
    "E20-nothing": Row(
        event_of(Liar({"liar": None}, dtype="string")), MismatchedValue, ("None (NoneType)",), DeviceError
    ),
    "E21-set": Row(
        lambda: [Msg("set", NoStatus("x"), 1)], NotAStatus, ("set() must return a status",), DeviceError
    ),
    "E21-trigger": Row(
        lambda: [Msg("trigger", NoStatus("x"), 1)], NotAStatus, ("trigger() must return",), DeviceError
    ),
    "E21-kickoff": Row(
        in_run(Msg("kickoff", NoStatus("x"), 1)), NotAStatus, ("kickoff() must return",), DeviceError
    ),
}


@pytest.mark.parametrize("case", ROWS)
def test_the_mistake_is_told_and_the_next_plan_runs(case: str, engine: Any, docs: Any) -> None:
    row, engine.strict = ROWS[case], True
    with pytest.raises(row.error) as told:
        engine(row.plan())
    assert isinstance(told.value, row.root)
    for words in row.words:
        assert words in str(told.value)
    assert engine.state == "idle"
    assert len(docs.of("start")) == len(docs.of("stop"))
    assert all(doc["exit_status"] == "fail" and doc["reason"] for doc in docs.of("stop"))
    assert len(engine([Msg("open_run"), Msg("close_run")])) == 1


@pytest.mark.parametrize("target", [NAN, INF, "abc", 1j], ids=lambda v: f"E11-{v}")
def test_a_motor_never_hears_of_a_place_that_is_none(target: Any, engine: Any, kit: Any) -> None:
    motor = kit.Motor()
    with pytest.raises(BadTarget):
        engine([Msg("set", motor, target)])
    assert motor.moves == []
    flag = kit.Motor("flag")
    flag.position = "closed"
    engine([Msg("set", flag, "open"), Msg("set", motor, True), Msg("set", motor, np.int16(3))])
    assert (flag.position, motor.position) == ("open", 3)


def test_e5_a_read_outside_of_an_event_is_a_plain_read(engine: Any, docs: Any, kit: Any) -> None:
    answers: list[Any] = []

    def plan() -> Any:
        answers.append((yield Msg("read", kit.Detector())))

    engine(plan())
    assert answers[0]["det"]["value"] == 0
    assert docs == []


def test_e9_a_group_without_members_is_only_noted_unless_the_engine_is_strict(engine: Any) -> None:
    with_notes: list[Any] = []

    def plan() -> Any:
        with_notes.append((yield Msg("wait", None, "nobody")))

    engine(plan())
    assert with_notes == [True]


@pytest.mark.parametrize(
    ("plan", "args", "words"),
    [
        pytest.param("scan", (["det"], "xx", 0, 1, 3), "did you mean", id="E15"),
        pytest.param("scan", (["__import__('os')"], "x", 0, 1, 3), "__import__", id="E15-code"),
        pytest.param("exec", (), "plan", id="E16"),
    ],
)
def test_requests_name_devices_and_plans_that_exist(plan: str, args: tuple[Any, ...], words: str) -> None:
    request = ScanQueueMessage(scan_type=plan, parameter={"args": list(args), "kwargs": {}})
    with pytest.raises(RequestRefused, match=words):
        prepare(request, registry=simulated_beamline(speed=1000.0), plans=default_plans())


@pytest.mark.parametrize("value", ["on", None, np.zeros(3)], ids=lambda v: f"E20-{type(v).__name__}")
def test_a_value_of_another_type_is_told_once_and_kept(
    value: Any, engine: Any, docs: Any, caplog: pytest.LogCaptureFixture
) -> None:
    liar = Liar({"liar": value})
    event = [Msg("create", name="primary"), Msg("read", liar), Msg("save")]
    with caplog.at_level(logging.WARNING, "labspine.engine"):
        engine([Msg("open_run"), *event, *event, *event, Msg("close_run")])
    assert len([r for r in caplog.records if '"liar" is described as number' in r.getMessage()]) == 1
    assert len(docs.of("event")) == 3


def test_e22_a_status_that_reports_twice_and_from_another_thread_counts_once(
    engine: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    motor, seen = kit.Motor(), kit.commands_of(engine)
    motor.hold = True
    call = kit.Caller(lambda: engine([Msg("set", motor, 1, group="g"), Msg("wait", None, "g")]))
    kit.until(lambda: "wait" in seen)
    with caplog.at_level(logging.WARNING):
        worker = threading.Thread(target=lambda: [motor.moves[0][1].finish() for _ in range(2)])
        worker.start()
        worker.join()
        assert call.finished().error is None
        kit.until(lambda: any("reported twice" in r.getMessage() for r in caplog.records))


def test_e22_a_status_that_never_finishes_ends_at_its_limit(engine: Any, kit: Any) -> None:
    motor = kit.Motor()
    motor.hold = True
    engine.device_timeout_s = 0.05
    with pytest.raises(DeviceTimeout, match=r"x\.set\(\) was not done after 0\.05 s"):
        engine([Msg("set", motor, 1, group="g"), Msg("wait", None, "g")])
    assert motor.stops == [False]


@pytest.mark.parametrize("where", ["E23-callback", "E23-plan"])
def test_the_engine_inside_of_itself_is_refused(where: str, engine: Any) -> None:
    caught: list[BaseException] = []

    def call(*_: Any) -> None:
        with pytest.raises(EngineBusy) as busy:
            engine([Msg("null")])
        caught.append(busy.value)

    def plan() -> Any:
        if where == "E23-plan":
            call()
        yield Msg("open_run")
        yield Msg("close_run")

    engine(plan(), {"start": call} if where == "E23-callback" else None)
    assert len(caught) == 1
    assert isinstance(caught[0], PlanError)


@pytest.mark.parametrize(
    "func", [lambda: None, lambda name: None, lambda a, b, c: None, 3], ids=lambda f: "E24"
)
def test_a_callback_of_another_shape_is_refused_at_subscribe(func: Any, engine: Any) -> None:
    for options in ({}, {"critical": False}, {"background": True}):
        with pytest.raises(InvalidArgument):
            engine.subscribe(func, **options)


def test_e25_a_plan_that_goes_on_when_it_is_closed_cannot_hold_the_engine(engine: Any, kit: Any) -> None:
    seen = kit.commands_of(engine)

    def stubborn() -> Any:
        for _ in range(3):
            try:
                yield Msg("sleep", None, 60)
            except GeneratorExit:
                pass

    call = kit.Caller(lambda: engine(stubborn()))
    kit.until(lambda: "sleep" in seen)
    began = time.monotonic()
    engine.halt()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    assert time.monotonic() - began < 5
    assert engine.state == "idle"


def test_e26_a_plan_that_blocks_is_told_where_and_an_endless_one_is_aborted(engine: Any, kit: Any) -> None:
    release = threading.Event()

    def blocking() -> Any:
        release.wait(10)
        yield Msg("null")
        yield Msg("null")

    engine.watchdog_s, engine.blocked_hook = 0.1, lambda text: release.set()
    with pytest.raises(BlockedStep, match=r"has kept the engine busy .* in blocking"):
        engine(blocking())
    engine.watchdog_s = None

    def endless() -> Any:
        while True:
            yield Msg("null")

    call = kit.Caller(lambda: engine(endless()))
    kit.until(lambda: engine.state == "running")
    engine.abort("enough")
    assert isinstance(call.finished().error, RunEngineInterrupted)


@pytest.mark.parametrize("request_", ["resume", "abort", "stop", "halt", "request_pause"])
def test_e27_requests_without_a_plan_are_refused(request_: str, engine: Any) -> None:
    with pytest.raises(TransitionError, match="the engine is idle"):
        getattr(engine, request_)()


def test_e27_a_pause_without_a_checkpoint_aborts(engine: Any, docs: Any) -> None:
    with pytest.raises(RunEngineInterrupted):
        engine([Msg("clear_checkpoint"), Msg("open_run"), Msg("pause"), Msg("null")])
    assert (docs.of("stop")[0]["exit_status"], engine.state) == ("abort", "idle")


def test_e28_commands_are_not_replaced_by_accident(engine: Any) -> None:
    with pytest.raises(InvalidOperation, match="replace=True"):
        engine.register_command("set", lambda msg: None)
    with pytest.raises(InvalidOperation, match="replace=True"):
        engine.unregister_command("set")
    assert "set" in engine.commands


def test_mismatches_are_caught_under_their_old_names() -> None:
    assert issubclass(MismatchedValue, MismatchedReading)
    assert issubclass(MismatchedValue, KeyError)
    with RunEngine(context_managers=[]) as engine, pytest.raises(KeyError):
        engine(event_of(Liar({"other": 1}))())
