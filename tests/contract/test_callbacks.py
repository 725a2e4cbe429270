"""How messages reach callbacks."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import RedisConnector
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import (
    InvalidArgument,
    NotConnected,
)
from labspine.testing.waiting import wait_until

SEGMENT = MessageEndpoints.scan_segment()
NUMBER = MessageEndpoints.scan_number()
NOISE = MessageEndpoints.device_readback("noise")


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def reading(value: float) -> m.DeviceMessage:
    return m.DeviceMessage(signals={"samx": {"value": value}})


def points(got: list[Any]) -> list[int]:
    return [message.value.point_id for message in got]


def test_a_callback_gets_topic_value_and_kwargs(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    got: list[Any] = []
    bus.register(SEGMENT, lambda message, **kwargs: got.append((message, kwargs)), parent="me")
    bus.subscribe(MessageEndpoints.scan_status(), got.append)
    other.send(SEGMENT, point(7))
    wait_until(lambda: got)
    message, kwargs = got[0]
    assert message.topic == SEGMENT.endpoint
    assert message.value == point(7)
    assert kwargs == {"parent": "me"}


def test_messages_arrive_right_after_register(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    for number in range(50):
        endpoint = MessageEndpoints.device_readback(f"d{number}")
        got: list[Any] = []
        bus.register(endpoint, got.append)
        other.set_and_publish(endpoint, reading(number))
        wait_until(lambda got=got: got, what=f"message {number}")


def test_lists_of_endpoints_patterns_and_bundles(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    got: list[Any] = []
    bus.register([MessageEndpoints.device_read("a"), MessageEndpoints.device_read("b")], cb=got.append)
    seen: list[Any] = []
    bus.register(patterns=[MessageEndpoints.pattern("device_read", device="sam*")], cb=seen.append)
    for device in ("a", "b", "samx", "other"):
        bus.set_and_publish(MessageEndpoints.device_read(device), reading(1.0))
    wait_until(lambda: len(got) == 2 and len(seen) == 1)
    assert [message.topic for message in got] == ["internal/devices/read/a", "internal/devices/read/b"]
    assert seen[0].topic == "internal/devices/read/samx"
    bundles: list[Any] = []
    bus.register(SEGMENT, bundles.append)
    bus.send(SEGMENT, [point(1), point(2)])
    bus.send(SEGMENT, m.BundleMessage(messages=[point(3)]))
    wait_until(lambda: len(bundles) == 2)
    assert [message.value for message in bundles] == [[point(1), point(2)], [point(3)]]


def test_bound_methods_of_temporary_objects_are_called(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    got: list[Any] = []

    class Temporary:
        def hear(self, message: Any) -> None:
            got.append(message)

    bus.register(SEGMENT, Temporary().hear)
    bus.register(SEGMENT, got.append)
    bus.register(SEGMENT, got.append)
    bus.send(SEGMENT, point(1))
    wait_until(lambda: len(got) == 2)


def test_unregister_by_place_and_by_callback(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    one: list[Any] = []
    two: list[Any] = []
    bus.register(SEGMENT, one.append)
    bus.register([SEGMENT, MessageEndpoints.device_read("a")], two.append)
    assert bus.unregister(SEGMENT, cb=one.append) is True
    assert bus.unregister(SEGMENT, cb=one.append) is False
    bus.send(SEGMENT, point(1))
    wait_until(lambda: len(two) == 1)
    assert bus.unregister(cb=two.append) is True
    bus.register(SEGMENT, one.append)
    bus.set_and_publish(MessageEndpoints.device_read("a"), reading(1))
    bus.send(SEGMENT, point(2))
    wait_until(lambda: points(one) == [2])
    assert len(two) == 1
    with pytest.raises(InvalidArgument, match="unregister what"):
        bus.unregister()


def test_callbacks_that_raise_exit_or_block_hurt_nobody(
    connect: Any, fresh_broker_url: str, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    bus = connect(fresh_broker_url)
    calls: list[int] = []
    good: list[Any] = []
    release = threading.Event()

    def bad(message: Any) -> None:
        calls.append(message.value.point_id)
        if len(calls) % 3 == 0:
            raise ValueError("bad callback")
        if len(calls) % 3 == 1:
            raise SystemExit(3)
        raise KeyboardInterrupt

    bus.register(SEGMENT, bad)
    bus.register(SEGMENT, good.append)
    if door == "sync":
        bus.register(SEGMENT, lambda message: release.wait(20))
    try:
        for number in range(100):
            bus.send(SEGMENT, point(number))
        wait_until(lambda: len(calls) == 100 and len(good) == 100)
    finally:
        release.set()
    assert calls == list(range(100))
    assert bus.counters.callback_errors == 100
    assert "bad callback" in caplog.text


def test_a_callback_that_blocks_delays_other_topics_for_an_instant_only(fresh_broker_url: str) -> None:
    release = threading.Event()
    with RedisConnector(fresh_broker_url) as bus, RedisConnector(fresh_broker_url) as other:
        delays: list[float] = []
        bus.register(SEGMENT, lambda message: release.wait(20))
        bus.register(NOISE, lambda message: delays.append(time.monotonic() - message.value.metadata["t"]))
        try:
            for _ in range(20):
                other.send(SEGMENT, point(1))
                other.set_and_publish(NOISE, m.DeviceMessage(signals={}, metadata={"t": time.monotonic()}))
            wait_until(lambda: len(delays) == 20)
        finally:
            release.set()
    assert max(delays) < 0.5
    assert sorted(delays)[10] < 0.1


def test_a_callback_may_use_and_close_its_connector(connect: Any, fresh_broker_url: str, door: str) -> None:
    bus = connect(fresh_broker_url)
    done = threading.Event()
    if door == "sync":

        def callback(message: Any) -> None:
            bus.set(NUMBER, m.VariableMessage(value=1))
            bus.register(MessageEndpoints.scan_status(), lambda message: None)
            bus.close()
            done.set()
    else:
        raw = bus._target

        async def callback(message: Any) -> None:
            await raw.set(NUMBER, m.VariableMessage(value=1))
            await raw.register(MessageEndpoints.scan_status(), lambda message: None)
            await raw.close()
            done.set()

    bus.register(SEGMENT, callback)
    connect(fresh_broker_url).send(SEGMENT, point(1))
    assert done.wait(5)
    with pytest.raises(NotConnected, match="closed"):
        bus.get(NUMBER)
    with pytest.raises(NotConnected, match="closed"):
        bus.register(SEGMENT, print)
    bus.close()


def test_400_subscriptions_need_few_connections(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url, name="four-hundred")
    got: list[Any] = []
    bus.register([MessageEndpoints.device_readback(f"m{n}") for n in range(400)], got.append)
    for number in range(400):
        bus.set_and_publish(MessageEndpoints.device_readback(f"m{number}"), reading(number))
    wait_until(lambda: len(got) == 400)
    clients = bus._perform(_client_list())
    assert clients.count("name=four-hundred") <= 4


def _client_list() -> Any:
    from labspine.flows import Exchange

    (reply,) = yield Exchange((("CLIENT", "LIST"),), readonly=True)
    return reply.decode()


def test_the_last_plain_value_comes_again_after_a_cut(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    endpoint = MessageEndpoints.device_readback("samx")
    got: list[Any] = []
    bus.register(endpoint, got.append)
    other.set_and_publish(endpoint, reading(1))
    wait_until(lambda: len(got) == 1)
    pipe = other.pipeline()
    pipe.add(_kill_subscribers())
    pipe.set_and_publish(endpoint, reading(2))
    pipe.execute()
    wait_until(lambda: len(got) == 2)
    assert [message.value.signals["samx"]["value"] for message in got] == [1, 2]


def _kill_subscribers() -> Any:
    from labspine.flows import Exchange

    yield Exchange((("CLIENT", "KILL", "TYPE", "pubsub"),))


def test_without_history_events_are_plain(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url, history=False)
    got: list[Any] = []
    bus.register(SEGMENT, got.append)
    bus.send(SEGMENT, point(1))
    wait_until(lambda: got)
    assert bus.keys(EndpointInfo("labspine/history/scans", m.ScanMessage, MessageOp.KEY_VALUE)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own_connections(fresh_broker_url: str) -> None:
    with RedisConnector(fresh_broker_url) as bus:
        got: list[Any] = []
        bus.register(SEGMENT, got.append)
        bus.send(SEGMENT, point(0))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                mine: list[Any] = []
                bus.register(SEGMENT, mine.append)
                for number in range(1, 101):
                    bus.send(SEGMENT, point(number))
                wait_until(lambda: len(mine) == 100)
                code = 0
            finally:
                os._exit(code)
        for number in range(1, 101):
            bus.set(NUMBER, m.VariableMessage(value=number))
            assert bus.get(NUMBER).value == number
        assert os.waitpid(child, 0)[1] == 0
        wait_until(lambda: len(got) == 101)
        assert points(got) == list(range(101))
