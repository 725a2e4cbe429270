"""Each call ends in exactly one way: the rows D1 to D15 of the bad inputs, and what else can go wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from labspine import messages as m
from labspine.errors import (
    CallTimeout,
    DeadlinePassed,
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    InvalidOperation,
    NoSuchProcedure,
    NoSuchService,
    RemoteError,
    ServiceBusy,
    TooLarge,
)
from labspine.service import Rpc, current_call, procedure
from labspine.service.envelope import VALUE, write_ask, write_say
from labspine.service.transport import Request
from labspine.testing.waiting import wait_until


class Overheated(Exception):
    code = "E-HOT"


class Chiller:
    def __init__(self) -> None:
        self.celsius = 20.0
        self.count = 0

    @procedure(idempotent=True)
    def setpoint(self, celsius: float, *, ramp: float = 1.0) -> float:
        """Set the temperature."""
        self.celsius = celsius
        self.count += 1
        return celsius

    @procedure
    def nothing(self) -> None:
        return None

    @procedure
    def fail(self, text: str) -> None:
        raise Overheated(text)

    @procedure
    def give(self, what: str) -> Any:
        return {
            "socket": threading.Lock,
            "large": lambda: b"x" * 100_000_000,
            "array": lambda: np.zeros(30_000_000),
            "bad dict": lambda: {1: 2},
        }[what]()

    @procedure
    def wrong(self) -> int:
        return "text"  # type: ignore[return-value]

    @procedure
    def sleep(self, duration_s: float) -> str:
        time.sleep(duration_s)
        return "done"


# --- D1 to D4: who and what is called ---


def test_d1_a_service_that_nobody_serves_is_known_at_once(rpc: Any, name: str) -> None:
    with pytest.raises(NoSuchService, match="nothing was executed"):
        rpc.call_service(name, "setpoint", 1.0)  # opens the connections
    fastest_s = 10.0
    for _ in range(5):
        started_s = time.monotonic()
        with pytest.raises(NoSuchService) as caught:
            rpc.call_service(name, "setpoint", 1.0)
        fastest_s = min(fastest_s, time.monotonic() - started_s)
    assert fastest_s < 0.05
    assert (caught.value.service, caught.value.retryable) == (name, True)


def test_d1_a_service_that_has_stopped_is_known_at_once(rpc: Any, serve: Any, name: str, call: Any) -> None:
    service = serve(Chiller)
    assert call("setpoint", 3.0) == 3.0
    service.stop()
    started_s = time.monotonic()
    with pytest.raises(NoSuchService):
        call("setpoint", 3.0)
    assert time.monotonic() - started_s < 0.5


def test_d2_an_unknown_procedure_is_told_with_the_nearest(serve: Any, call: Any) -> None:
    serve(Chiller)
    with pytest.raises(NoSuchProcedure, match='did you mean "setpoint"') as caught:
        call("setpont", 1.0)
    assert caught.value.procedure == "setpont"
    with pytest.raises(NoSuchProcedure):
        call("__init__")


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1.0, 2.0), {}), ((1.0,), {"celsius": 2.0}), ((), {"kelvin": 3.0}), ((1.0,), {"rampe": 2.0})],
)
def test_d3_wrong_arguments_are_told_with_the_signature(
    serve: Any, call: Any, args: tuple[float, ...], kwargs: dict[str, float]
) -> None:
    serve(Chiller)
    with pytest.raises(InvalidArgument, match=r"setpoint\(celsius: float, \*, ramp: float = 1.0\) -> float"):
        call("setpoint", *args, **kwargs)


@pytest.mark.parametrize("wrong", ["warm", None, [1.0], {"a": 1}, True, b"1"])
def test_d3_an_argument_of_another_type_is_told(serve: Any, call: Any, wrong: object) -> None:
    serve(Chiller)
    with pytest.raises(InvalidArgument, match="argument celsius: Expected `float`"):
        call("setpoint", wrong)
    assert call("setpoint", 5) == 5.0


@pytest.mark.parametrize("wrong", [object(), threading.Lock(), {1: 2}, 2**70, lambda: None])
def test_d4_an_argument_that_cannot_travel_is_refused_before_anything_is_sent(
    rpc: Any, wrong: object
) -> None:
    with pytest.raises(InvalidMessage):
        rpc.call_service("nobody-there", "setpoint", wrong)


def test_d4_arguments_that_are_too_large_are_refused_before_anything_is_sent(rpc: Any) -> None:
    with pytest.raises(TooLarge):
        rpc.call_service("nobody-there", "setpoint", b"x" * 17_000_000)


def test_names_are_checked(rpc: Any) -> None:
    for wrong in ("a b", "a*", "", "a/b", "{x}"):
        with pytest.raises(InvalidName):
            rpc.call_service(wrong, "ping")
    with pytest.raises(InvalidName):
        rpc.call_service("chiller", "a b")


# --- D5 to D7: what the procedure does ---


def test_d5_what_a_procedure_raises_is_told_with_its_traceback(serve: Any, call: Any) -> None:
    serve(Chiller)
    with pytest.raises(RemoteError, match=r"Overheated: 90 degrees") as caught:
        call("fail", "90 degrees")
    assert caught.value.remote_type.endswith("Overheated")
    assert caught.value.remote_message == "90 degrees"
    assert "in fail" in caught.value.remote_traceback
    assert caught.value.procedure == "fail"


def test_none_is_a_value(serve: Any, call: Any) -> None:
    serve(Chiller)
    assert call("nothing") is None


@pytest.mark.parametrize("what", ["socket", "bad dict"])
def test_d6_a_result_that_cannot_travel_is_told(serve: Any, call: Any, what: str) -> None:
    serve(Chiller)
    with pytest.raises(RemoteError, match=r"the result of .*give cannot be sent"):
        call("give", what)
    assert call("setpoint", 1.0) == 1.0


def test_d6_a_result_of_another_type_than_declared_is_told(serve: Any, call: Any) -> None:
    serve(Chiller)
    with pytest.raises(RemoteError, match=r"wrong\(\) -> int"):
        call("wrong")


@pytest.mark.parametrize("what", ["large", "array"])
def test_d7_a_result_of_a_hundred_megabytes_is_told(serve: Any, call: Any, what: str) -> None:
    serve(Chiller)
    with pytest.raises(TooLarge, match=r"give cannot be sent: .*at most"):
        call("give", what)
    assert call("setpoint", 1.0) == 1.0


# --- D8: time limits ---


@pytest.mark.parametrize("wrong", [0, -1, 1e9, float("nan"), float("inf"), "soon", True])
def test_d8_wrong_time_limits_are_refused(rpc: Any, wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="timeout_s"):
        rpc.call_service("chiller", "ping", timeout_s=wrong)


def test_d8_a_client_without_a_time_limit_is_refused(open_rpc: Any) -> None:
    with pytest.raises(InvalidArgument, match="always has a time limit"):
        open_rpc(timeout_s=None)


def test_a_call_without_an_answer_ends_in_time(serve: Any, call: Any) -> None:
    serve(Chiller)
    started_s = time.monotonic()
    with pytest.raises(CallTimeout, match=r"no answer within 0.2 s: .*sleep"):
        call("sleep", 1.0, timeout_s=0.2)
    assert 0.15 < time.monotonic() - started_s < 0.9
    assert issubclass(CallTimeout, DeadlinePassed)


# --- D10 to D13: replies and requests at the wrong time ---


def test_d10_a_late_answer_is_dropped_and_answers_no_other_call(serve: Any, rpc: Any, call: Any) -> None:
    serve(Chiller, concurrency=4)
    with pytest.raises(CallTimeout):
        call("sleep", 0.4, timeout_s=0.1)
    for number in range(50):
        assert call("setpoint", float(number)) == number
        time.sleep(0.01)
    assert call("sleep", 0.1) == "done"
    wait_until(lambda: call("nothing") is None and rpc.late_replies >= 1, what="the late reply")


def test_d11_a_request_that_was_sent_twice_is_executed_once(serve: Any, url: str, name: str) -> None:
    """Given a request, when it is put on the broker twice, then one execution answers it."""
    chiller = Chiller()
    serve(chiller)
    if url.startswith("amqp"):
        return
    from labspine.flows import Exchange
    from labspine.flows.calls import calling, keys_of

    with Rpc(url) as rpc:
        calls: Any = rpc._transport
        body = write_ask("setpoint", (4.0,), {})
        conversation = calls.open(Request(service=name, body=body, time_limit_s=5.0))
        again = calling.open_commands(
            keys_of(name), conversation.call_id.encode(), body, limit_ms=5000, is_patient=False
        )
        calls._wire.exchange(Exchange(again))
        assert conversation.receive(2.0) is not None
        assert conversation.receive(0.3) is None
        assert chiller.count == 1
        assert rpc.call_service(name, "stats")["repeated"] == 1
        conversation.close()


def test_d12_a_request_whose_time_is_over_is_not_executed(serve: Any, call: Any) -> None:
    chiller = Chiller()
    serve(chiller, concurrency=1)
    waiting = [threading.Thread(target=_swallow, args=(call, "sleep", 0.6)) for _ in range(1)]
    for thread in waiting:
        thread.start()
    time.sleep(0.1)
    for _ in range(3):
        with pytest.raises(CallTimeout):
            call("setpoint", 9.0, timeout_s=0.1)
    for thread in waiting:
        thread.join()
    assert call("nothing") is None
    assert chiller.count == 0


def _swallow(call: Any, *args: Any) -> None:
    with pytest.MonkeyPatch.context():
        call(*args)


def test_d13_a_forged_reply_is_dropped_and_counted(serve: Any, url: str, name: str, call: Any) -> None:
    serve(Chiller)
    if url.startswith("amqp"):
        return
    from labspine.flows import Exchange

    with Rpc(url) as rpc:
        assert rpc.call_service(name, "setpoint", 1.0) == 1.0
        calls: Any = rpc._transport
        forged = b"default/guess-1 " + write_say(VALUE, "forged")
        calls._wire.exchange(Exchange((("RPUSH", calls.mailboxes.reply_list, forged, b"garbage"),)))
        assert rpc.call_service(name, "setpoint", 2.0) == 2.0
        wait_until(lambda: rpc.call_service(name, "nothing") is None and rpc.late_replies == 2)
        assert len(calls.mailboxes.reply_list.rpartition("/")[2]) >= 32


# --- D14 and D15 ---


def test_d14_a_circle_of_calls_ends_in_time_and_says_who_waits(
    serve: Any, open_rpc: Any, url: str, name: str
) -> None:
    """Given two services with one place each, when A calls B and B calls A, then the time limit ends it."""
    left: list[float] = []

    with Rpc(url) as inner:

        def outer() -> str:
            return str(inner.call_service(f"{name}-b", "middle", timeout_s=60.0))

        def middle() -> str:
            present = current_call()
            assert present is not None
            left.append(present.left_s)
            return str(inner.call_service(name, "outer", timeout_s=60.0))

        serve(outer, concurrency=1)
        serve(middle, concurrency=1, name=f"{name}-b")
        started_s = time.monotonic()
        with pytest.raises(CallTimeout, match=r"waits for|no answer within"):
            open_rpc().call_service(name, "outer", timeout_s=0.8)
        assert time.monotonic() - started_s < 3.0
        assert 0 < left[0] <= 0.8
        found: list[str] = []

        def is_told() -> bool:
            stats = open_rpc().call_service(f"{name}-b", "stats")
            found[:] = [stats["procedures"].get("middle", {}).get("last_error", "")]
            return bool(found[0])

        wait_until(is_told, timeout_s=5.0, what="the error of the inner call")
        assert f"{name}.outer waits for {name}-b.middle waits for {name}.outer" in found[0]


def test_d15_a_second_exclusive_instance_is_refused(serve: Any, call: Any) -> None:
    first = serve(Chiller, exclusive=True)
    with pytest.raises(InvalidOperation, match=f"already served by {first.instance}"):
        serve(Chiller, exclusive=True)
    with pytest.raises(InvalidOperation, match="already served by"):
        serve(Chiller)
    assert call("setpoint", 1.0) == 1.0
    first.stop()
    serve(Chiller, exclusive=True)
    assert call("setpoint", 2.0) == 2.0


def test_too_many_waiting_calls_are_refused(serve: Any, open_rpc: Any, name: str) -> None:
    free = threading.Event()

    @procedure(concurrency=1, max_waiting=2)
    def hold() -> str:
        free.wait(10)
        return "done"

    serve(hold)
    rpc = open_rpc(timeout_s=15.0)
    begun = [rpc.begin(name, "hold") for _ in range(8)]
    outcomes: list[str] = []

    def wait_for(one: Any) -> None:
        try:
            outcomes.append(one.result() if not asyncio.iscoroutinefunction(one.result) else _run(rpc, one))
        except ServiceBusy as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=wait_for, args=(one,)) for one in begun]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(outcomes) == 5, what="five refusals")
    free.set()
    for thread in threads:
        thread.join(10)
    assert sorted(outcomes) == ["E-BUSY"] * 5 + ["done"] * 3


def _run(rpc: Any, one: Any) -> Any:
    return rpc._loop.run(one.result())


def test_messages_and_arrays_travel_as_arguments_and_results(serve: Any, call: Any) -> None:
    def echo(value: Any) -> Any:
        return value

    def typed(message: m.VariableMessage, image: np.ndarray, points: list[float]) -> m.VariableMessage:
        return m.VariableMessage(value=float(image.sum()) + sum(points) + message.value)

    serve(echo, typed)
    values: list[Any] = [True, 1.5, -3, "text", b"bytes", None, [1, [2]], {"a": {"b": 1}}]
    values += [m.VariableMessage(value=3), 2**63, "", [], {}]
    for value in values:
        assert call("echo", value) == value
        assert type(call("echo", value)) is type(value)
    image = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(call("echo", image), image)
    assert call("typed", m.VariableMessage(value=1.0), image, [1.0, 2.0]).value == 70.0
    with pytest.raises(InvalidArgument, match="argument image"):
        call("typed", m.VariableMessage(value=1.0), [1.0], [])
