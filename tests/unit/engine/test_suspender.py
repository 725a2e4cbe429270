"""Our own suspender: signals of ophyd and ophyd-async, topics of a bus, anything with ``subscribe``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ophyd import Signal as OphydSignal
from ophyd_async.core import init_devices, soft_signal_rw

from labspine import MessageEndpoints, RedisConnector
from labspine.engine import AsyncRunEngine, Msg, RunEngineInterrupted, Suspender
from labspine.errors import InvalidArgument
from labspine.lab import TopicSource
from labspine.messages import DeviceMessage


class Plain:
    """The smallest source there is; calls on the caller's thread."""

    name = "shutter"

    def __init__(self, value: Any = 1) -> None:
        self.value = value
        self.functions: list[Callable[[Any], object]] = []

    def subscribe(self, function: Callable[[Any], object]) -> Callable[[], object]:
        self.functions.append(function)
        function(self.value)
        return lambda: self.functions.remove(function)

    def put(self, value: Any) -> None:
        self.value = value
        for function in list(self.functions):
            function(value)


class AsyncSource:
    """A signal of ophyd-async that lives in the engine's loop."""

    def __init__(self, engine: Any) -> None:
        async def make() -> Any:
            async with init_devices():
                current = soft_signal_rw(float, 1.0, name="current")
            return current  # noqa: RET504 - known only after the block

        self._loop = engine.loop
        self.source = self._do(make())

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    def put(self, value: float) -> None:
        async def put() -> None:
            await self.source.set(value)

        self._do(put())


class Ophyd:
    """A signal of ophyd."""

    def __init__(self, engine: Any) -> None:
        self.source = OphydSignal(name="ring", value=1.0)

    def put(self, value: float) -> None:
        self.source.put(value)


class Topic:
    """A topic of a real broker."""

    def __init__(self, connector: RedisConnector) -> None:
        self.connector = connector
        self.endpoint = MessageEndpoints.device_readback("ring")
        self.source = TopicSource(connector, self.endpoint, value=lambda m: m.signals["ring"]["value"])
        self.put(1)

    def put(self, value: float) -> None:
        self.connector.set_and_publish(
            self.endpoint, DeviceMessage(signals={"ring": {"value": value, "timestamp": 1.0}})
        )


@pytest.fixture(params=["plain", "ophyd", "ophyd-async", "topic"])
def beam(request: pytest.FixtureRequest, engine: Any) -> Iterator[Any]:
    if request.param == "plain":
        source = Plain()
        source.source = source  # type: ignore[attr-defined]
        yield source
    elif request.param == "topic":
        with RedisConnector(request.getfixturevalue("fresh_broker_url")) as connector:
            yield Topic(connector)
            engine.clear_suspenders()
    else:
        yield {"ophyd": Ophyd, "ophyd-async": AsyncSource}[request.param](engine)


def scan(motor: Any) -> Any:
    yield Msg("open_run")
    for number in range(3):
        yield Msg("checkpoint")
        yield Msg("set", motor, number, group="g")
        yield Msg("wait", None, "g")
    yield Msg("close_run")


def test_a_plan_waits_while_the_value_is_bad_and_goes_on_from_its_checkpoint(
    beam: Any, engine: Any, kit: Any, docs: Any
) -> None:
    motor, seen = kit.Motor(), kit.commands_of(engine)
    motor.hold = True
    engine.record_interruptions = True
    suspender = Suspender(beam.source, suspend_if=lambda value: value < 0.5, name="beam")
    engine.install_suspender(suspender)
    call = kit.Caller(lambda: engine(scan(motor)))
    kit.until(lambda: len(motor.moves) == 1)
    beam.put(0)
    kit.until(lambda: "wait_for" in seen)
    assert suspender.is_tripped
    assert motor.stops == [True]
    beam.put(1)
    kit.until(lambda: len(motor.moves) == 2)
    motor.hold = False
    motor.moves[1][1].finish()
    assert call.finished().error is None
    assert [value for value, _ in motor.moves] == [0, 0, 1, 2]
    assert any("beam is 0" in str(doc["data"]) for doc in docs.of("event"))
    engine.remove_suspender(suspender)
    beam.put(0)
    assert not suspender.is_tripped


def test_a_value_that_is_bad_already_holds_the_next_plan(beam: Any, engine: Any, kit: Any) -> None:
    motor = kit.Motor()
    beam.put(0)
    suspender = Suspender(beam.source)
    engine.install_suspender(suspender)
    kit.until(lambda: suspender.is_tripped)
    call = kit.Caller(lambda: engine(scan(motor)))
    kit.until(lambda: engine.state == "running")
    assert motor.moves == []
    beam.put(1)
    assert call.finished().error is None
    assert len(motor.moves) == 3


def test_pre_and_post_plans_settling_and_another_limit_to_go_on(engine: Any, kit: Any) -> None:
    source, motor, seen = Plain(10.0), kit.Motor(), kit.commands_of(engine)
    motor.hold = True
    suspender = Suspender(
        source,
        suspend_if=lambda value: value < 5,
        resume_if=lambda value: value > 8,
        settle_s=0.02,
        pre_plan=[Msg("null")],
        post_plan=lambda: [Msg("RE_class")],
    )
    engine.install_suspender(suspender)
    call = kit.Caller(lambda: engine(scan(motor)))
    kit.until(lambda: motor.moves)
    source.put(1)
    kit.until(lambda: "wait_for" in seen)
    source.put(6)
    assert suspender.is_tripped
    source.put(9)
    source.put(1)  # bad again before it had settled
    source.put(10)
    motor.hold = False
    assert call.finished().error is None
    order = [c for c in seen if c in {"null", "wait_for", "RE_class"}]
    assert order == ["null", "wait_for", "RE_class"]


def test_a_pause_during_a_suspension_does_not_end_it(engine: Any, kit: Any) -> None:
    source, motor, seen = Plain(1), kit.Motor(), kit.commands_of(engine)
    motor.hold = True
    engine.install_suspender(Suspender(source))
    call = kit.Caller(lambda: engine(scan(motor)))
    kit.until(lambda: motor.moves)
    source.put(0)
    kit.until(lambda: "wait_for" in seen)
    engine.request_pause()
    assert isinstance(call.finished().error, RunEngineInterrupted)
    motor.hold = False
    again = kit.Caller(engine.resume)
    kit.until(lambda: engine.state == "running")
    assert len(motor.moves) == 1
    source.put(1)
    assert again.finished().error is None


def test_removing_a_suspender_lets_the_plan_go_on(engine: Any, kit: Any) -> None:
    source, motor, seen = Plain(0), kit.Motor(), kit.commands_of(engine)
    suspender = Suspender(source)
    engine.install_suspender(suspender)
    call = kit.Caller(lambda: engine(scan(motor)))
    kit.until(lambda: "wait_for" in seen)
    engine.remove_suspender(suspender)
    assert call.finished().error is None
    assert source.functions == []


def test_the_asynchronous_door_is_suspended_as_well() -> None:
    async def main() -> list[float]:
        engine, source, times = AsyncRunEngine(), Plain(0), []
        engine.install_suspender(Suspender(source))
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, source.put, 1)
        began = loop.time()
        await engine.run([Msg("null")])
        times.append(loop.time() - began)
        return times

    assert asyncio.run(main())[0] >= 0.04


@pytest.mark.parametrize("wrong", [{"source": object()}, {"source": Plain(), "settle_s": -1}])
def test_what_cannot_be_followed_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Suspender(wrong.pop("source"), **wrong)


def test_one_suspender_serves_one_engine(engine: Any) -> None:
    suspender = Suspender(Plain())
    engine.install_suspender(suspender)
    with pytest.raises(InvalidArgument, match="installed already"):
        suspender.install(engine)
