"""What services and their callers can do: sharing, streams, progress, cancellation, discovery, deadlines."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest

from labspine.errors import (
    CallCancelled,
    CallTimeout,
    ConfigError,
    InvalidArgument,
    InvalidOperation,
    RemoteError,
)
from labspine.service import (
    AsyncRpc,
    CallProgress,
    Rpc,
    Service,
    check_cancelled,
    current_call,
    procedure,
    progress,
)
from labspine.testing.doors import Blocking
from labspine.testing.waiting import wait_until


@dataclass
class Ramp:
    """How to go there."""

    target: float
    steps: int = 3


class Chiller:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.ended = threading.Event()

    def on_start(self) -> None:
        self.events.append("start")

    def on_stop(self) -> None:
        self.events.append("stop")

    @procedure(idempotent=True)
    def setpoint(self, celsius: float) -> float:
        """Set the temperature in degrees."""
        return celsius

    @procedure
    async def read(self, duration_s: float = 0.0) -> str:
        await asyncio.sleep(duration_s)
        return "read"

    @procedure
    def ramp(self, ramp: Ramp) -> Iterator[float]:
        """Go there step by step."""
        for step in range(1, ramp.steps + 1):
            yield ramp.target * step / ramp.steps

    @procedure
    async def follow(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    @procedure
    def endless(self) -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            self.ended.set()

    @procedure
    def breaks(self) -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    @procedure
    def wait(self, duration_s: float) -> str:
        present = current_call()
        assert present is not None
        try:
            present.sleep(duration_s)
        finally:
            self.ended.set()
        return "done"

    @procedure
    async def wait_async(self) -> str:
        try:
            await asyncio.sleep(30)
        finally:
            self.ended.set()
        return "done"

    @procedure
    def steps(self, count: int) -> str:
        for number in range(count):
            progress(number, count, "cooling")
        return "done"


def of(rpc: Any, made: Any, method: str) -> Any:
    """Call a method of a call that was begun, at either door."""
    result = getattr(made, method)()
    return rpc._loop.run(result) if asyncio.iscoroutine(result) else result


# --- calling ---


def test_the_short_form_calls_the_same_procedure(serve: Any, rpc: Any, name: str) -> None:
    serve(Chiller, name=f"module.{name}")
    serve(Chiller)
    assert rpc.call_service(name, "setpoint", 18.5) == 18.5
    assert rpc.call(name, "setpoint", celsius=2) == 2.0
    if isinstance(rpc, Blocking):

        async def short() -> Any:
            return await rpc._target.service(name).setpoint(celsius=3)

        assert rpc._loop.run(short()) == 3.0
    else:
        assert rpc.service(name).setpoint(celsius=3) == 3.0
        assert getattr(rpc, name).setpoint(4) == 4.0


def test_coroutines_run_beside_each_other(serve: Any, rpc: Any, name: str) -> None:
    serve(Chiller, concurrency=50)
    started_s = time.monotonic()
    begun = [rpc.begin(name, "read", 0.3) for _ in range(30)]
    assert [of(rpc, one, "result") for one in begun] == ["read"] * 30
    assert time.monotonic() - started_s < 3.0


def test_procedures_that_block_delay_nobody_until_as_many_block_as_may_run(
    serve: Any, rpc: Any, name: str, call: Any
) -> None:
    serve(Chiller, concurrency=4)
    begun = [rpc.begin(name, "wait", 1.0) for _ in range(3)]
    started_s = time.monotonic()
    for number in range(20):
        assert call("setpoint", float(number)) == number
    assert time.monotonic() - started_s < 0.9
    assert [of(rpc, one, "result") for one in begun] == ["done"] * 3


def test_a_thousand_calls_at_once_get_each_its_own_answer(
    serve: Any, open_rpc: Any, name: str, door: str
) -> None:
    serve(Chiller)
    rpc = open_rpc(timeout_s=60.0)
    if door == "async":

        async def all_calls() -> list[Any]:
            return await asyncio.gather(
                *(rpc._target.call_service(name, "setpoint", float(n)) for n in range(1000))
            )

        assert rpc._loop.run(all_calls()) == [float(n) for n in range(1000)]
        return
    answers: dict[int, float] = {}
    barrier = threading.Barrier(1000)

    def one_call(number: int) -> None:
        barrier.wait(30)
        answers[number] = rpc.call_service(name, "setpoint", float(number))

    threads = [threading.Thread(target=one_call, args=(n,)) for n in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {n: float(n) for n in range(1000)}


# --- several results ---


def test_results_come_one_by_one(results: Any, serve: Any) -> None:
    serve(Chiller)
    assert results("ramp", Ramp(9.0)) == [3.0, 6.0, 9.0]
    assert results("ramp", {"target": 2.0, "steps": 1}) == [2.0]
    assert results("follow", 300) == list(range(300))
    assert results("follow", 0) == []


def test_leaving_the_results_early_ends_the_procedure(results: Any, serve: Any) -> None:
    chiller = Chiller()
    serve(chiller)
    assert results("endless", most=5) == [0, 1, 2, 3, 4]
    wait_until(chiller.ended.is_set, what="the end of the generator")


def test_an_error_after_some_results_is_told(results: Any, serve: Any) -> None:
    serve(Chiller)
    with pytest.raises(RemoteError, match="no more"):
        results("breaks")
    with pytest.raises(InvalidArgument, match="gives one result"):
        results("setpoint", 1.0)


def test_many_results_are_asked_for_as_such(serve: Any, call: Any) -> None:
    serve(Chiller)
    with pytest.raises(InvalidArgument, match="one by one"):
        call("ramp", Ramp(1.0))


def test_progress_is_told(serve: Any, open_rpc: Any, name: str) -> None:
    serve(Chiller)
    told: list[CallProgress] = []
    rpc = open_rpc(on_progress=told.append)
    assert rpc.call_service(name, "steps", 3) == "done"
    assert told == [CallProgress(float(n), 3.0, "cooling") for n in range(3)]


# --- cancellation and deadlines ---


@pytest.mark.parametrize(("what", "args"), [("wait", (30.0,)), ("wait_async", ())])
def test_a_cancelled_call_ends_the_procedure(
    serve: Any, open_rpc: Any, name: str, what: str, args: tuple[float, ...]
) -> None:
    chiller = Chiller()
    serve(chiller)
    rpc = open_rpc(timeout_s=60.0)
    call = rpc.begin(name, what, *args)
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            of(rpc, call, "result")
        except CallCancelled as error:
            ended.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: rpc.call_service(name, "stats")["running"] == 2, what="the procedure")  # and stats
    of(rpc, call, "cancel")
    waiting.join(5)
    assert len(ended) == 1
    wait_until(chiller.ended.is_set, what="the end of the procedure")


def test_a_call_that_times_out_ends_the_procedure(serve: Any, call: Any) -> None:
    chiller = Chiller()
    serve(chiller)
    with pytest.raises(CallTimeout):
        call("wait", 30.0, timeout_s=0.2)
    wait_until(chiller.ended.is_set, what="the end of the procedure")


def test_a_call_that_was_not_begun_is_taken_back(serve: Any, open_rpc: Any, name: str) -> None:
    chiller = Chiller()
    serve(chiller, concurrency=1)
    rpc = open_rpc(timeout_s=30.0)
    first = rpc.begin(name, "wait", 0.5)
    wait_until(lambda: rpc.instances(name)[0].facts["running"] == 1, what="the first call")
    second = rpc.begin(name, "steps", 1)
    of(rpc, second, "cancel")
    assert of(rpc, first, "result") == "done"
    stats = rpc.call_service(name, "stats")
    assert "steps" not in stats["procedures"]


def test_what_is_left_of_the_time_travels_along(serve: Any, url: str, rpc: Any, name: str) -> None:
    with Rpc(url) as inner:

        def outer() -> float:
            return float(inner.call_service(f"{name}-inner", "left", timeout_s=50.0))

        async def outer_async() -> float:
            async with AsyncRpc(url) as nested:
                return float(await nested.call_service(f"{name}-inner", "left", timeout_s=50.0))

        def left() -> float:
            present = current_call()
            assert present is not None
            check_cancelled()
            return present.left_s

        serve(outer, outer_async)
        serve(left, name=f"{name}-inner")
        assert 1.0 < rpc.call_service(name, "outer", timeout_s=3.0) < 3.0
        assert 1.0 < rpc.call_service(name, "outer_async", timeout_s=3.0) < 3.0
        assert 3.0 < rpc.call_service(f"{name}-inner", "left", timeout_s=5.0) <= 5.0


# --- several instances ---


def test_instances_share_the_calls_and_each_is_executed_once(
    serve: Any, open_rpc: Any, name: str, door: str
) -> None:
    done: Counter[int] = Counter()

    def work(number: int) -> int:
        time.sleep(0.002)
        done[number] += 1
        return number

    serve(work, concurrency=2)
    serve(work, concurrency=2)
    rpc = open_rpc(timeout_s=30.0)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: rpc.call_service(name, "work", n), range(200)))
    assert answers == list(range(200))
    assert set(done.values()) == {1}
    shares = [s["procedures"]["work"]["calls"] for s in rpc.ask_all(name, "stats").values()]
    assert sum(shares) == 200
    assert min(shares) > 10


def test_all_instances_answer_when_all_are_asked(serve: Any, rpc: Any, name: str) -> None:
    made = [serve(Chiller) for _ in range(3)]
    told = rpc.ask_all(name, "ping", window_s=5.0)
    assert told == {service.instance: service.instance for service in made}
    made[0].stop()
    assert len(rpc.ask_all(name, "ping", window_s=5.0)) == 2
    failed = rpc.ask_all(name, "breaks", window_s=5.0)
    assert all(isinstance(error, InvalidArgument) for error in failed.values())


def test_who_is_there_is_listed_with_load(serve: Any, rpc: Any, name: str) -> None:
    service = serve(Chiller, version="1.2", health=lambda: "low on water")
    (found,) = rpc.instances(name)
    assert (found.service, found.instance) == (name, service.instance)
    assert found.facts["version"] == "1.2"
    assert abs(found.facts["since_utc_s"] - time.time()) < 60
    assert found.silent_s < 1.5
    rpc.call_service(name, "setpoint", 1.0)
    wait_until(lambda: rpc.instances(name)[0].facts["calls"] >= 1, what="the load")
    assert rpc.instances(name)[0].facts["health"] == "low on water"
    assert name in [one.service for one in rpc.instances()]
    service.stop()
    assert rpc.instances(name) == []
    assert name not in [one.service for one in rpc.instances()]


# --- a service itself ---


def test_info_describes_the_procedures_with_schemas(serve: Any, rpc: Any, name: str) -> None:
    serve(Chiller, version="1.2")
    told = rpc.info(name)
    assert (told["name"], told["version"]) == (name, "1.2")
    found = {one["name"]: one for one in told["procedures"]}
    assert {"ping", "info", "stats"} < set(found)
    setpoint = found["setpoint"]
    assert setpoint["doc"] == "Set the temperature in degrees."
    assert setpoint["signature"] == "setpoint(celsius: float) -> float"
    assert (setpoint["idempotent"], setpoint["stream"]) == (True, False)
    assert setpoint["parameters"]["required"] == ["celsius"]
    for one in found.values():
        schema = {**one["parameters"], "$defs": one["$defs"]}
        jsonschema.Draft202012Validator.check_schema(schema)
    ramp = found["ramp"]
    schema = {**ramp["parameters"], "$defs": ramp["$defs"]}
    jsonschema.Draft202012Validator(schema).validate({"ramp": {"target": 1.0, "steps": 2}})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"ramp": {"target": "x"}})


def test_stats_count_calls_errors_and_times(serve: Any, call: Any) -> None:
    serve(Chiller)
    for number in range(5):
        call("setpoint", float(number))
    with pytest.raises(InvalidArgument):
        call("setpoint", "x")
    stats = call("stats")
    assert stats["procedures"]["setpoint"]["calls"] == 5
    assert stats["invalid"] == 1
    assert stats["procedures"]["setpoint"]["busy_s"] >= 0


def test_hooks_run_in_order_and_stop_in_reverse(serve: Any) -> None:
    order: list[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self._name = name

        def on_start(self) -> None:
            order.append(f"start {self._name}")

        def on_stop(self) -> None:
            order.append(f"stop {self._name}")

    class One(Part):
        @procedure
        def one(self) -> int:
            return 1

    class Two(Part):
        @procedure
        def two(self) -> int:
            return 2

    service = serve(One("a"), Two("b"))
    service.stop()
    assert order == ["start a", "start b", "stop b", "stop a"]


def test_a_start_hook_that_fails_undoes_those_before_it(url: str, name: str) -> None:
    chiller = Chiller()
    service = Service(name, chiller, url=url)

    @service.on_start
    def fail() -> None:
        raise OSError("no serial port")

    with pytest.raises(OSError, match="no serial port"):
        service.start()
    assert chiller.events == ["start", "stop"]
    assert not service.is_running


def test_a_service_waits_for_what_runs_when_it_stops(serve: Any, rpc: Any, name: str) -> None:
    service = serve(Chiller)
    begun = rpc.begin(name, "wait", 1.0)
    wait_until(lambda: rpc.instances(name)[0].facts["running"] == 1, what="the call")
    service.stop()
    assert of(rpc, begun, "result") == "done"


def test_requests_wait_for_a_patient_caller(serve: Any, open_rpc: Any, name: str) -> None:
    rpc = open_rpc(patient=True, timeout_s=20.0)
    begun = rpc.begin(name, "setpoint", 7.0)
    time.sleep(0.6)
    serve(Chiller)
    assert of(rpc, begun, "result") == 7.0


def test_what_cannot_work_is_told_when_the_service_is_made(url: str, name: str) -> None:
    def wrong(value: threading.Lock) -> None: ...

    def ping() -> None: ...

    def _hidden() -> None: ...

    service = Service(name, url=url)
    with pytest.raises(ConfigError, match="wrong: value: values of type"):
        service.add(wrong)
    with pytest.raises(ConfigError, match="is one of every service"):
        service.add(ping)
    with pytest.raises(ConfigError, match="cannot be the name"):
        service.add(_hidden)
    with pytest.raises(ConfigError, match="has no procedures"):
        service.add(object())
    with pytest.raises(InvalidArgument, match="needs a broker"):
        Service(name)
    with pytest.raises(InvalidArgument, match="concurrency"):
        Service(name, url=url, concurrency=0)
    with pytest.raises(InvalidArgument, match="not known"):
        service.procedure(lambda: None, nonsense=1)
    service.start()
    with pytest.raises(InvalidOperation, match="runs already"):
        service.start()
    with pytest.raises(InvalidOperation, match="before it starts"):
        service.add(lambda_named("late"))
    service.stop()
    service.stop()


def lambda_named(name: str) -> Any:
    def function() -> None: ...

    function.__name__ = name
    return function
