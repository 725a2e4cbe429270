"""Watching an engine: policies of subscribers, the log of steps, accounts of time, spans, slow steps."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest
from event_model import DocumentNames, schema_validators
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import labspine.plans as lp
from labspine.engine import AsyncRunEngine, FailedStatus, Msg, RunEngineInterrupted, SubscriberOverrun
from labspine.errors import InvalidArgument, LabspineWarning


def run_of(device: Any, points: int = 3, rest_s: float = 0.0) -> Any:
    yield Msg("open_run")
    for _ in range(points):
        yield Msg("checkpoint")
        yield Msg("create", name="primary")
        yield Msg("read", device)
        yield Msg("save")
    if rest_s:
        yield Msg("sleep", None, rest_s)
    yield Msg("close_run")


class Bad:
    """Raises on documents of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seen: list[str] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.seen.append(name)
        if name == self.name:
            raise OSError(f"no {name}, please")


# -- subscribers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True], ids=["inline", "background"])
def test_a_subscriber_that_is_not_critical_is_counted_and_harms_nobody(
    background: bool, engine: Any, kit: Any
) -> None:
    bad, good = Bad("event"), kit.Docs()
    token = engine.subscribe(bad, critical=False, background=background)
    engine.subscribe(good)
    assert len(engine(run_of(kit.Detector()))) == 1
    assert engine.drain(5)
    (report,) = engine.subscribers
    assert (report.token, report.delivered, report.failed, report.dropped) == (token, 3, 3, 0)
    assert "no event, please" in report.last_error
    assert good.names == bad.seen == ["start", "descriptor", "event", "event", "event", "stop"]
    engine.unsubscribe(token)
    assert engine.subscribers == ()
    engine(run_of(kit.Detector()))
    assert len(bad.seen) == 6


@pytest.mark.parametrize("background", [False, True], ids=["inline", "background"])
@pytest.mark.parametrize("name", ["start", "event"])
def test_a_critical_subscriber_ends_the_run(
    background: bool, name: str, engine: Any, docs: Any, kit: Any
) -> None:
    engine.ignore_callback_exceptions = True
    engine.subscribe(Bad(name), critical=True, background=background)

    with pytest.raises(OSError, match=f"no {name}, please") as failed:
        engine(run_of(kit.Detector(), rest_s=5))
    assert docs.of("stop")[0]["exit_status"] == "fail"
    assert any("raised by the subscriber" in note for note in failed.value.__notes__)


def test_a_critical_subscriber_may_refuse_even_the_last_document(engine: Any, docs: Any) -> None:
    engine.subscribe(Bad("stop"), critical=True)
    with pytest.raises(OSError, match="no stop"):
        engine([Msg("open_run"), Msg("close_run")])
    with pytest.raises(OSError, match="no stop"):
        engine([Msg("open_run")])  # closed by the engine
    assert len(docs.of("stop")) == 2


def test_a_background_subscriber_that_blocks_costs_the_run_nothing(engine: Any, docs: Any, kit: Any) -> None:
    release, seen = threading.Event(), []

    def slow(name: str, doc: dict[str, Any]) -> None:
        release.wait(10)
        seen.append(name)

    engine.subscribe(slow, background=True, limit=5)
    engine(run_of(kit.Detector(), 50))
    assert len(docs.of("event")) == 50
    (report,) = engine.subscribers
    assert report.dropped >= 44
    assert not engine.drain(0.01)
    release.set()
    assert engine.drain(5)
    # Events may be left out, the frame of the run may not.
    assert (seen[0], seen[1], seen[-1]) == ("start", "descriptor", "stop")
    assert len(seen) + report.dropped == 53


def test_a_critical_background_subscriber_that_cannot_follow_ends_the_run(engine: Any, kit: Any) -> None:
    release = threading.Event()
    engine.subscribe(lambda name, doc: release.wait(10), background=True, critical=True, limit=2)

    with pytest.raises(SubscriberOverrun, match="2 documents behind"):
        engine(run_of(kit.Detector(), 20, rest_s=5))
    release.set()


def test_the_asynchronous_door_has_policies_too(kit: Any) -> None:
    import asyncio

    async def main() -> Any:
        engine = AsyncRunEngine()
        engine.subscribe(Bad("event"), critical=False)
        await engine.run(run_of(kit.Detector()))
        return engine.subscribers[0]

    assert asyncio.run(main()).failed == 3


def test_wrong_limits_are_refused_and_the_old_order_of_arguments_is_understood(
    engine: Any, docs: Any
) -> None:
    for limit in (0, -1, 2.5, "many"):
        with pytest.raises(InvalidArgument, match="limit must be"):
            engine.subscribe(docs, background=True, limit=limit)
    names: list[str] = []
    with pytest.warns(LabspineWarning, match=r"subscribe\(func, name\)"):
        engine.subscribe("start", lambda name, doc: names.append(name))
    engine([Msg("open_run"), Msg("close_run")])
    assert names == ["start"]


# -- accounts of time ----------------------------------------------------------------------------------


class Timer(threading.Timer):
    """Finishes a status later."""

    def __init__(self, status: Any, after_s: float) -> None:
        super().__init__(after_s, status.finish)
        self.daemon = True
        self.start()


def test_accounts_tell_where_the_time_went(engine: Any, docs: Any, kit: Any) -> None:
    class SlowMotor(kit.Motor):
        def set(self, value: Any) -> Any:
            status = kit.HandStatus()
            status.settle_time = 0.02
            Timer(status, 0.06)
            return status

    class SlowDetector(kit.Detector):
        def trigger(self) -> Any:
            status = kit.HandStatus()
            Timer(status, 0.05)
            return status

        def read(self) -> Any:
            time.sleep(0.01)
            return super().read()

    engine.accounting = True
    engine(lp.scan([SlowDetector()], SlowMotor(), 0, 1, 3))
    (stop,) = docs.of("stop")
    spent = stop["accounting"]
    assert 0.12 <= spent["move_s"] <= 0.6
    assert spent["settle_s"] == pytest.approx(0.06, abs=0.005)
    assert 0.13 <= spent["expose_s"] <= 0.6
    assert 0.03 <= spent["read_s"] <= 0.2
    parts = sum(value for name, value in spent.items() if name != "total_s")
    assert parts == pytest.approx(spent["total_s"], rel=0.01)
    schema_validators[DocumentNames.stop].validate(stop)
    engine.accounting = False
    engine([Msg("open_run"), Msg("close_run")])
    assert "accounting" not in docs.of("stop")[1]


def test_pauses_are_accounted_and_each_run_has_its_own(engine: Any, docs: Any) -> None:
    engine.accounting = True

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("pause")
        yield Msg("sleep", None, 0.02)
        yield Msg("close_run")
        yield Msg("open_run")
        yield Msg("close_run")

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    time.sleep(0.05)
    engine.resume()
    first, second = (doc["accounting"] for doc in docs.of("stop"))
    assert first["pause_s"] >= 0.05
    assert first["wait_s"] >= 0.02
    assert second["pause_s"] == second["wait_s"] == 0


# -- the log of steps ----------------------------------------------------------------------------------


def test_each_step_is_logged_with_its_facts_on_demand(
    engine: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    motor = kit.Motor()
    plan = [Msg("set", motor, 2.5, group="g"), Msg("wait", None, "g"), Msg("sleep", None, -1)]
    with caplog.at_level(logging.INFO, "labspine.engine.steps"):
        engine([Msg("null")])
        assert caplog.records == []
        engine.step_log = True
        with pytest.raises(ValueError, match="sleep"):
            engine(plan)
    facts = [(r.step, r.command, r.device, r.outcome) for r in caplog.records]  # type: ignore[attr-defined]
    assert facts == [(1, "set", "x", "done"), (2, "wait", None, "done"), (3, "sleep", None, "BadStep")]
    assert caplog.records[0].getMessage().startswith("step 1, set x 2.5 group=g: done after")
    assert all(record.took_s >= 0 for record in caplog.records)  # type: ignore[attr-defined]


def test_commands_that_are_registered_later_are_watched_too(engine: Any, caplog: Any) -> None:
    engine.step_log = True
    answers: list[Any] = []

    def plan() -> Any:
        engine.register_command("late", lambda msg: 7)
        answers.append((yield Msg("late")))

    with caplog.at_level(logging.INFO, "labspine.engine.steps"):
        engine(plan())
    assert answers == [7]
    assert [r.command for r in caplog.records] == ["late"]


# -- spans ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    kept = InMemorySpanExporter()
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return kept


def test_spans_tell_of_runs_steps_and_waits(engine: Any, kit: Any, exporter: InMemorySpanExporter) -> None:
    exporter.clear()
    engine([Msg("open_run"), Msg("close_run")])
    assert exporter.get_finished_spans() == ()
    engine.tracing = True
    (uid,) = engine(lp.scan([kit.Detector()], kit.Motor(), 0, 1, 2))
    spans = exporter.get_finished_spans()
    (run,) = [span for span in spans if span.name == "run"]
    assert run.attributes is not None
    assert (run.attributes["run.uid"], run.attributes["run.exit_status"]) == (uid, "success")
    inside = [span for span in spans if span.parent is not None]
    assert {span.name for span in inside} >= {"motion.set", "timing.wait", "motion.trigger", "reading.read"}
    assert all(span.parent.span_id == run.context.span_id for span in inside)
    moves = [span for span in inside if span.name == "motion.set"]
    assert [span.attributes["step.device"] for span in moves] == ["x", "x"]


def test_a_failure_is_in_its_spans(engine: Any, kit: Any, exporter: InMemorySpanExporter) -> None:
    exporter.clear()
    engine.tracing = True
    motor = kit.Motor()
    motor.hold = True
    steps = [Msg("open_run"), Msg("set", motor, 1, group="g"), Msg("wait", None, "g")]
    call = kit.Caller(lambda: engine(steps))
    kit.until(lambda: motor.moves)
    motor.moves[0][1].finish(ValueError("stuck"))
    assert isinstance(call.finished().error, FailedStatus)
    by_name = {span.name: span for span in exporter.get_finished_spans()}
    assert by_name["run"].status.status_code is trace.StatusCode.ERROR
    assert by_name["timing.wait"].status.status_code is trace.StatusCode.ERROR


# -- slow steps ----------------------------------------------------------------------------------------


def test_a_step_that_takes_unusually_long_is_told_with_its_device(
    engine: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    motor, quick, told = kit.Motor("theta"), kit.Motor("quick"), []
    motor.hold = True

    def hear(text: str) -> None:
        told.append(text)
        motor.moves[0][1].finish()

    engine.slow_step_s, engine.slow_hook = 0.05, hear
    steps = [Msg("set", motor, 1, group="g"), Msg("set", quick, 1, group="g"), Msg("wait", None, "g")]
    with caplog.at_level(logging.WARNING, "labspine.engine"):
        engine(steps)
        engine.slow_step_s = None
        engine([Msg("sleep", None, 0.05)])
    assert len(told) == 1
    assert told[0].startswith("step 3, 'wait', has taken more than 0.")
    assert told[0].endswith("; still busy: theta.set()")
    assert caplog.records[-1].busy == ["theta.set()"]  # type: ignore[attr-defined]


def test_an_age_is_told_again_when_it_has_doubled_and_a_broken_hook_harms_nobody(
    engine: Any, kit: Any
) -> None:
    motor, told = kit.Motor(), []
    motor.hold = True

    def hear(text: str) -> None:
        told.append(text)
        if len(told) == 2:
            motor.moves[0][1].finish()
        raise OSError("the hook is broken")

    engine.slow_step_s, engine.slow_hook = 0.02, hear
    engine([Msg("set", motor, 1, group="g"), Msg("wait", None, "g")])
    assert len(told) == 2
