"""Our plans and preprocessors at work: what they send, how they end, and what they leave behind."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import labspine.plan_stubs as lps
import labspine.plans as lp
import labspine.preprocessors as lpp
from labspine.engine import Msg, RunEngine, RunEngineInterrupted, preflight

from .devices import Counter, Motor


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    with RunEngine(context_managers=[]) as made:
        yield made


def names(docs: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in docs]


def run(engine: RunEngine, plan: Any) -> list[tuple[str, Any]]:
    docs: list[tuple[str, Any]] = []
    engine(plan, lambda name, doc: docs.append((name, doc)))
    return docs


def commands(plan: Any) -> list[str]:
    return [msg.command for msg in plan]


def test_a_motor_that_is_there_already_is_not_sent_again(engine: RunEngine) -> None:
    x, y = Motor("x"), Motor("y")
    run(engine, lp.grid_scan([Counter("d")], x, 0, 1, 2, y, 0, 1, 2, snake_axes=True))
    assert (x.sent, y.sent) == ([0, 1], [0, 1, 0])


def test_relative_plans_bring_the_motor_back_also_after_a_failure(engine: RunEngine) -> None:
    x = Motor("x", 5.0)
    run(engine, lp.rel_scan([Counter("d")], x, -1, 1, 3))
    assert x.sent == [4.0, 5.0, 6.0, 5.0]

    class Broken(Counter):
        def read(self) -> Any:
            raise RuntimeError("no light")

    x.sent.clear()
    broken = Broken("b")
    with pytest.raises(RuntimeError, match="no light"):
        run(engine, lp.rel_scan([broken], x, -1, 1, 3))
    assert x.sent == [4.0, 5.0]
    assert broken.staged == 0


def test_a_failed_run_is_closed_with_its_reason(engine: RunEngine) -> None:
    docs: list[tuple[str, Any]] = []

    def plan() -> Any:
        yield Msg("null")
        raise ValueError("lost the beam")

    with pytest.raises(ValueError, match="lost"):
        engine(lpp.run_wrapper(plan()), lambda name, doc: docs.append((name, doc)))
    assert docs[-1][1]["exit_status"] == "fail"
    assert docs[-1][1]["reason"] == "lost the beam"


def test_a_count_without_end_is_stopped_and_unstaged(engine: RunEngine) -> None:
    det, docs = Counter("d"), []

    def watch(name: str, doc: Any) -> None:
        docs.append((name, doc))
        if name == "event" and doc["seq_num"] == 3:
            engine.request_pause()

    with pytest.raises(RunEngineInterrupted):
        engine(lp.count([det], None), watch)
    engine.stop()
    assert docs[-1][1]["exit_status"] == "success"
    assert det.staged == 0


@pytest.mark.parametrize("ending", ["abort", "halt"])
def test_final_plans_are_performed_after_abort_but_not_after_halt(engine: RunEngine, ending: str) -> None:
    x = Motor("x")

    def plan() -> Any:
        yield Msg("checkpoint")
        yield Msg("pause")
        yield Msg("null")

    with pytest.raises(RunEngineInterrupted):
        engine(lpp.finalize_wrapper(plan(), lambda: lps.mv(x, 9)))
    getattr(engine, ending)()
    assert x.sent == ([9] if ending == "abort" else [])


def test_contingencies_see_the_error_and_may_swallow_it(engine: RunEngine) -> None:
    seen: list[Any] = []

    def failing() -> Any:
        yield Msg("null")
        raise ValueError("first")

    def told(error: Exception) -> Any:
        seen.append(str(error))
        yield Msg("null")
        return "instead"

    def plan() -> Any:
        return (yield from lpp.contingency_wrapper(failing(), except_plan=told, auto_raise=False))

    engine._call_returns_result = True
    assert engine(plan()).plan_result == "instead"
    assert seen == ["first"]


def test_plan_mutator_inserts_before_and_after_and_keeps_the_answer() -> None:
    def plan() -> Any:
        answer = yield Msg("read", "d")
        yield Msg("null", answer)

    def around(msg: Any) -> Any:
        if msg.command != "read":
            return None, None

        def before() -> Any:
            yield Msg("checkpoint")
            return (yield msg)

        return before(), iter([Msg("sleep", None, 1)])

    mutated = lpp.plan_mutator(plan(), around)
    sent, answer = [], None
    while True:
        try:
            msg = mutated.send(answer)
        except StopIteration:
            break
        sent.append((msg.command, msg.obj))
        answer = "light" if msg.command == "read" else None
    assert sent == [("checkpoint", None), ("read", "d"), ("sleep", None), ("null", "light")]


def test_plan_mutator_looks_at_what_it_inserted_and_at_steps_that_come_twice() -> None:
    twice = Msg("trigger", "d")
    counted: list[str] = []

    def around(msg: Any) -> Any:
        counted.append(msg.command)
        return (iter([Msg("checkpoint"), msg]), None) if msg.command == "trigger" else (None, None)

    assert commands(lpp.plan_mutator([twice, twice], around)) == ["checkpoint", "trigger"] * 2
    assert counted == ["trigger", "checkpoint"] * 2


def test_an_error_inside_an_inserted_plan_reaches_the_plan() -> None:
    def plan() -> Any:
        try:
            yield Msg("read")
        except ValueError:
            yield Msg("null")

    def around(msg: Any) -> Any:
        def bad() -> Any:
            yield Msg("checkpoint")
            raise ValueError

        return (bad(), None) if msg.command == "read" else (None, None)

    assert commands(lpp.plan_mutator(plan(), around)) == ["checkpoint", "null"]


def test_steps_are_left_out_and_stamped() -> None:
    stub = lpp.stub_wrapper(lp.count([Counter("d")], md={"sample": "dirt"}))
    sent = []
    try:
        while True:
            sent.append(stub.send(None).command)
    except StopIteration as end:
        metadata = end.value
    assert {"open_run", "close_run", "stage", "unstage"}.isdisjoint(sent)
    assert metadata["sample"] == "dirt"
    keyed = lpp.set_run_key_wrapper(iter([Msg("save"), Msg("drop", run="b")]), "a")
    assert [msg.run for msg in keyed] == ["a", "b"]
    with pytest.raises(lp.BadPlan):
        lpp.set_run_key_wrapper([], None)


def test_devices_are_staged_lazily_and_once(engine: RunEngine) -> None:
    det = Counter("d")
    sent = []
    engine.msg_hook = lambda msg: sent.append(msg.command)
    engine(lpp.lazily_stage_wrapper([Msg("trigger", det, group="g"), Msg("trigger", det, group="g")]))
    assert sent == ["stage", "trigger", "trigger", "unstage"]


def test_a_device_that_must_not_be_triggered_twice_is_not_rewound(engine: RunEngine) -> None:
    class Once(Counter):
        rewindable = SimpleNamespace(get=lambda: False)

    sent = []
    engine.msg_hook = lambda msg: sent.append(
        (msg.command, msg.args[0] if msg.command == "rewindable" else 0)
    )
    run(engine, lp.count([Once("d")]))
    assert [args for command, args in sent if command == "rewindable"] == [None, False, True]
    assert engine.rewindable


def test_the_rule_set_between_calls_holds_and_that_of_a_plan_does_not_leak(engine: RunEngine) -> None:
    engine([Msg("rewindable", None, False)])
    assert engine.rewindable
    engine.rewindable = False
    seen: list[bool] = []

    def plan() -> Any:
        seen.append((yield Msg("rewindable", None, None)))

    engine(plan())
    assert seen == [False]


def test_steps_of_our_relative_moves_add_up_in_a_preflight() -> None:
    x = Motor("x", 2.0)

    def plan() -> Any:
        for _ in range(3):
            yield from lps.mvr(x, 10)

    assert preflight(plan()).positions["x"].last == 32.0
    assert preflight(lp.rel_scan([Counter("d")], x, -1, 1, 3)).positions["x"].first == 1.0
    assert x.sent == []


def test_a_preflight_estimates_duration_and_size() -> None:
    class Slow(Motor):
        velocity = 2.0

    class Exposed(Counter):
        exposure_s = 0.5

        def describe(self) -> Any:
            return {self.name: {"dtype": "array", "shape": [10, 10], "dtype_numpy": "<u2", "source": "t"}}

    report = preflight(lp.scan([Exposed("d")], Slow("x"), 0, 10, 11))
    assert report.duration_s == pytest.approx(10 / 2 + 11 * 0.5)
    assert report.size_bytes == 11 * (10 * 10 * 2 + 8 + 8 + 8)
    assert report.notes == ()
    assert preflight(lp.scan([Counter("d")], Motor("x"), 0, 1, 2)).notes == (
        "the duration of d, x is not known and not counted",
    )


def test_a_plan_that_is_never_used_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lp.scan([Counter("d")], Motor("x"), 0, 1, 3)
        lp.count([Counter("d")])
        gc.collect()


def test_a_long_scan_does_not_keep_its_steps() -> None:
    seen: set[int] = set()
    plan = lpp.plan_mutator((Msg("null") for _ in range(10_000)), lambda msg: (None, None))
    for msg in plan:
        seen.add(id(msg))
    # Memory is used again: what is kept has a number of its own.
    assert len(seen) < 100


def test_a_ramp_that_takes_too_long_ends(engine: RunEngine) -> None:
    class Never:
        done = False
        success = True

        def add_callback(self, callback: Any) -> None:
            pass

    class Signal(Counter):
        def subscribe(self, function: Any) -> None:
            pass

        def clear_sub(self, function: Any) -> None:
            pass

    def go() -> Any:
        yield Msg("null")
        return Never()

    plan = lp.ramp_plan(go(), Signal("s"), lps.null, timeout=0.05, period=0.01)
    with pytest.raises(lp.RampTimeout, match=r"not done after 0\.05 s"):
        run(engine, plan)


def test_a_part_is_read_with_its_whole() -> None:
    from labspine.plan_stubs.base import separate_devices

    whole, part, other = Counter("whole"), Counter("part"), Counter("other")
    part.parent = whole
    assert separate_devices([part, other, whole, other]) == [other, whole]
    assert separate_devices([part, other]) == [part, other]
