"""What both doors promise, on a real server: every operation, and how messages reach callbacks."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from labspine import messages as m
from labspine.connector import Gap, RedisConnector
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import (
    DecodeError,
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    InvalidOperation,
    NotConnected,
    TooLarge,
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


# --- values ---


def test_what_is_set_can_be_read_and_deleted(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    assert bus.get(NUMBER) is None
    bus.set(NUMBER, m.VariableMessage(value=5, metadata={"a": 1}))
    assert bus.get(NUMBER) == m.VariableMessage(value=5, metadata={"a": 1})
    assert bus.mget([NUMBER, MessageEndpoints.dataset_number()]) == [bus.get(NUMBER), None]
    assert bus.delete(NUMBER) is True
    assert bus.delete(NUMBER) is False
    assert bus.get(NUMBER) is None


def test_a_value_vanishes_after_its_time(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    bus.set(NUMBER, m.VariableMessage(value=5), expire_s=0.05)
    assert bus.get(NUMBER) is not None
    wait_until(lambda: bus.get(NUMBER) is None)


def test_keys_are_found_by_pattern(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    for device in ("samx", "samy", "eiger"):
        bus.set_and_publish(MessageEndpoints.device_read(device), reading(1.0))
    found = bus.keys(MessageEndpoints.pattern("device_read", device="sam*"))
    assert found == ["internal/devices/read/samx", "internal/devices/read/samy"]
    with pytest.raises(TooLarge, match="more than 2 keys"):
        bus.keys(MessageEndpoints.pattern("device_read"), limit=2)


def test_a_large_array_comes_back_equal(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    data = np.arange(500_000, dtype=np.float64).reshape(500, 1000)
    endpoint = MessageEndpoints.device_read("eiger")
    bus.set_and_publish(endpoint, m.DeviceMessage(signals={"eiger": {"value": data}}))
    back = bus.get(endpoint).signals["eiger"]["value"]
    np.testing.assert_array_equal(back, data)


def test_lists_push_pop_trim_and_count(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    queue = MessageEndpoints.scan_queue_waiting()
    items = [m.ScanQueueMessage(scan_type="scan", parameter={"n": n}) for n in range(5)]
    assert [bus.rpush(queue, item) for item in items[:3]] == [1, 2, 3]
    bus.lpush(queue, items[3], expire_s=100)
    assert bus.llen(queue) == 4
    assert bus.lrange(queue, 0, -1) == [items[3], items[0], items[1], items[2]]
    assert bus.lrem(queue, 0, items[0]) == 1
    bus.rpush(queue, items[4], max_size=2)
    assert bus.lrange(queue, 0, -1) == [items[2], items[4]]
    bus.ltrim(queue, 0, 0)
    assert bus.blocking_list_pop(queue, timeout_s=1) == items[2]
    began = time.monotonic()
    assert bus.blocking_list_pop(queue, "RIGHT", timeout_s=0.2) is None
    assert 0.15 < time.monotonic() - began < 2


def test_a_blocking_pop_waits_as_long_as_asked(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url, timeout_s=0.5)
    queue = MessageEndpoints.scan_queue_waiting()
    item = m.ScanQueueMessage(scan_type="scan", parameter={})
    timer = threading.Timer(2.6, lambda: bus.rpush(queue, item))
    timer.start()
    assert bus.blocking_list_pop(queue, timeout_s=10) == item
    timer.join()


def test_streams_append_and_read(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    log = MessageEndpoints.log()
    entries = [m.LogMessage(log_type="info", log_msg={"n": n}) for n in range(4)]
    assert bus.xread(log) == []
    first = bus.xadd(log, entries[0])
    assert bus.xread(log) == [{"data": entries[0]}]
    bus.xadd(log, {"data": entries[1]}, max_size=100, expire_s=100)
    bus.xadd(log, entries[2], max_size=3, approximate=False)
    assert bus.xread(log, count=1) == [{"data": entries[1]}]
    assert bus.xread(log) == [{"data": entries[2]}]
    assert bus.xread(log, block_s=0.05) == []
    assert bus.xread(log, user_id="other", from_start=True) == [{"data": e} for e in entries[:3]]
    assert bus.xrange(log, first, first) == [{"data": entries[0]}]
    assert bus.xrange(log) == [{"data": e} for e in entries[:3]]
    assert bus.get_last(log) == {"data": entries[2]}
    assert bus.get_last(log, "data") == entries[2]
    assert bus.get_last(log, "data", 2) == entries[1:3]


def test_sets_hold_each_member_once(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    place: EndpointInfo[Any] = EndpointInfo("user/some/set", m.VariableMessage, MessageOp.SET)
    one, two = m.VariableMessage(value=1), m.VariableMessage(value=2)
    assert [bus.add_to_set(place, item) for item in (one, one, two)] == [True, False, True]
    assert sorted(item.value for item in bus.get_set_members(place)) == [1, 2]
    assert bus.remove_from_set(place, one) is True
    assert bus.get_set_members(place) == [two]


def test_a_pipeline_gives_one_result_a_call(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    queue, log = MessageEndpoints.scan_queue_waiting(), MessageEndpoints.log()
    item = m.ScanQueueMessage(scan_type="scan", parameter={})
    pipe = bus.pipeline()
    pipe.set(NUMBER, m.VariableMessage(value=1))
    pipe.get(NUMBER)
    pipe.send(SEGMENT, point(1))
    pipe.set_and_publish(MessageEndpoints.device_read("samx"), reading(2.0))
    pipe.rpush(queue, item)
    pipe.lrange(queue, 0, -1)
    pipe.xadd(log, m.LogMessage(log_type="info", log_msg={}))
    pipe.delete(NUMBER)
    results = pipe.execute()
    assert results[:6] == [None, m.VariableMessage(value=1), 0, None, 1, [item]]
    assert results[7] is True
    with pytest.raises(InvalidArgument, match="executed already"):
        pipe.execute()


def test_a_failing_call_in_a_pipeline_is_named_and_the_rest_is_done(
    connect: Any, fresh_broker_url: str
) -> None:
    bus = connect(fresh_broker_url)
    bus.set(NUMBER, m.VariableMessage(value=1))
    wrong: EndpointInfo[Any] = EndpointInfo(NUMBER.endpoint, m.VariableMessage, MessageOp.LIST)
    pipe = bus.pipeline()
    pipe.rpush(wrong, m.VariableMessage(value=2))
    pipe.get(NUMBER)
    with pytest.raises(InvalidOperation, match="another kind of value") as caught:
        pipe.execute()
    assert "1 done, 1 failed" in caught.value.__notes__[0]
    assert pipe.results[1] == m.VariableMessage(value=1)


# --- what is refused before anything is sent ---


def test_wrong_operations_and_messages_are_refused(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    with pytest.raises(InvalidOperation, match="send, register"):
        bus.get(SEGMENT)
    with pytest.raises(InvalidMessage, match="ScanMessage"):
        bus.send(SEGMENT, m.VariableMessage(value=1))
    with pytest.raises(InvalidMessage):
        bus.set(NUMBER, "text")
    with pytest.raises(InvalidArgument, match="expected an endpoint"):
        bus.get("public/scans/scan_number")
    with pytest.raises(InvalidName, match="wildcard"):
        bus.get(EndpointInfo("user/*", m.VariableMessage, MessageOp.KEY_VALUE))
    with pytest.raises(InvalidArgument, match="pattern"):
        bus.get(MessageEndpoints.pattern("device_read"))
    with pytest.raises(InvalidArgument, match="expire_s"):
        bus.set(NUMBER, m.VariableMessage(value=1), expire_s=0)
    for limit in (-1, float("nan"), float("inf"), "soon"):
        with pytest.raises(InvalidArgument, match="timeout_s"):
            bus.blocking_list_pop(MessageEndpoints.scan_queue_waiting(), timeout_s=limit)
    with pytest.raises(InvalidArgument, match="stream id"):
        bus.xrange(MessageEndpoints.log(), "abc")
    with pytest.raises(InvalidArgument, match="max_size"):
        bus.xadd(MessageEndpoints.log(), {"data": 1}, max_size=0)
    assert bus.keys(MessageEndpoints.log()) == []


def test_wrong_callbacks_are_refused_at_once(connect: Any, fresh_broker_url: str, door: str) -> None:
    bus = connect(fresh_broker_url)

    async def coroutine(message: object) -> None:
        pass

    for wrong in (None, 5, lambda: None, lambda message, needed: None):
        with pytest.raises(InvalidArgument, match=r"callback|called"):
            bus.register(SEGMENT, wrong)
    with pytest.raises(InvalidArgument, match="cannot be called"):
        bus.register(SEGMENT, lambda message: None, extra=1)
    if door == "sync":
        with pytest.raises(InvalidArgument, match="AsyncConnector"):
            bus.register(SEGMENT, coroutine)
    with pytest.raises(InvalidOperation, match="register"):
        bus.register(NUMBER, lambda message: None)
    with pytest.raises(InvalidArgument, match="no history"):
        bus.register(MessageEndpoints.service_status("x"), lambda message: None, from_start=True)
    with pytest.raises(InvalidArgument, match="nothing to listen"):
        bus.register(cb=lambda message: None)


def test_64_megabytes_are_refused_quickly(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    message = m.DeviceMessage(signals={"eiger": {"value": np.zeros(8 * 1024 * 1024)}})
    began = time.monotonic()
    with pytest.raises(TooLarge, match="at most"):
        bus.set_and_publish(MessageEndpoints.device_read("eiger"), message)
    assert time.monotonic() - began < 0.5
    assert bus.get(MessageEndpoints.device_read("eiger")) is None


def test_15_megabytes_arrive(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    got: list[Any] = []
    bus.register(MessageEndpoints.device_read("eiger"), got.append)
    data = np.arange(15 * 1024 * 128, dtype=np.float64)
    bus.set_and_publish(
        MessageEndpoints.device_read("eiger"), m.DeviceMessage(signals={"e": {"value": data}})
    )
    wait_until(lambda: got)
    np.testing.assert_array_equal(got[0].value.signals["e"]["value"], data)


def test_a_key_of_another_kind_is_told(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    bus.rpush(EndpointInfo("public/x", m.VariableMessage, MessageOp.LIST), m.VariableMessage(value=1))
    with pytest.raises(InvalidOperation, match="WRONGTYPE"):
        bus.get(EndpointInfo("public/x", m.VariableMessage, MessageOp.KEY_VALUE))


def test_a_value_of_another_type_is_told(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    bus.set(NUMBER, m.VariableMessage(value=1))
    with pytest.raises(DecodeError, match="FileMessage"):
        bus.get(EndpointInfo(NUMBER.endpoint, m.FileMessage, MessageOp.KEY_VALUE))


# --- callbacks ---


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


# --- replay ---


def test_a_replay_goes_on_live_without_hole_or_repeat(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    got: list[Any] = []
    stop = threading.Event()
    sent: list[int] = []

    def publish() -> None:
        while not stop.is_set():
            other.send(SEGMENT, point(len(sent)))
            sent.append(len(sent))

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        wait_until(lambda: len(sent) > 200)
        bus.register(SEGMENT, got.append, from_start=True)
        already = len(sent)
        wait_until(lambda: len(sent) > already + 200)
    finally:
        stop.set()
        publisher.join()
    wait_until(lambda: len(got) >= len(sent))
    assert points(got) == sent


def test_a_replay_from_a_time_leaves_out_what_was_before(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    bus.send(SEGMENT, point(1))
    before_s = time.time()
    wait_until(lambda: time.time() > before_s + 0.02)
    since_s = time.time()
    wait_until(lambda: time.time() > since_s + 0.02)
    bus.send(SEGMENT, point(2))
    got: list[Any] = []
    bus.register(SEGMENT, got.append, since_utc_s=since_s)
    bus.send(SEGMENT, point(3))
    wait_until(lambda: len(got) == 2)
    assert points(got) == [2, 3]


def test_a_replay_of_a_pattern_takes_only_what_matches(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    for number in range(10):
        bus.set_and_publish(MessageEndpoints.device_read(f"sam{number % 2}"), reading(number))
        bus.set_and_publish(MessageEndpoints.device_limits("sam0"), reading(number))
    got: list[Any] = []
    bus.register(
        patterns=MessageEndpoints.pattern("device_read", device="sam?"), cb=got.append, from_start=True
    )
    wait_until(lambda: len(got) == 10)
    assert [message.value.signals["samx"]["value"] for message in got] == list(range(10))


def test_large_events_during_a_replay_are_delivered_live(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    endpoint = MessageEndpoints.device_read("eiger")
    big = np.zeros(20_000)
    other.set_and_publish(endpoint, m.DeviceMessage(signals={"eiger": {"value": big}}))
    other.set_and_publish(endpoint, reading(1.0))
    got: list[Any] = []
    bus.register(endpoint, got.append, from_start=True)
    other.set_and_publish(endpoint, m.DeviceMessage(signals={"eiger": {"value": big}}))
    wait_until(lambda: len(got) == 3)
    assert got[0].value == Gap(1)
    assert got[1].value == reading(1.0)
    np.testing.assert_array_equal(got[2].value.signals["eiger"]["value"], big)


def test_streams_are_followed_from_the_start_or_from_now(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    log = MessageEndpoints.log()
    entries = [m.LogMessage(log_type="info", log_msg={"n": n}) for n in range(300)]
    for entry in entries[:250]:
        bus.xadd(log, entry)
    everything: list[Any] = []
    later: list[Any] = []
    newest: list[Any] = []
    bus.register(log, everything.append, from_start=True)
    bus.register(log, later.append)
    bus.register(log, newest.append, newest_only=True)
    wait_until(lambda: newest and newest[0].value == entries[249])
    for entry in entries[250:]:
        bus.xadd(log, entry)
    wait_until(lambda: len(everything) == 300 and len(later) == 50 and newest[-1].value == entries[299])
    assert [message.value for message in everything] == entries
    assert [message.value for message in later] == entries[250:]
    assert everything[0].topic == log.endpoint
    bus.xadd(log, {"text": "two fields", "n": 1})
    wait_until(lambda: len(later) == 51)
    assert later[-1].value == {"text": "two fields", "n": 1}
    bus.unregister(log)


def test_a_slow_callback_on_a_durable_endpoint_loses_nothing(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url, queue_size=20)
    go = threading.Event()
    got: list[Any] = []

    async def slow_async(message: Any) -> None:
        import asyncio

        while not go.is_set():
            await asyncio.sleep(0.005)
        got.append(message)

    def slow(message: Any) -> None:
        go.wait(20)
        got.append(message)

    bus.register(SEGMENT, slow_async if hasattr(bus, "_loop") and bus._loop else slow)
    other = connect(fresh_broker_url)
    for number in range(500):
        other.send(SEGMENT, point(number))
    go.set()
    wait_until(lambda: len(got) == 500)
    other.send(SEGMENT, point(500))
    wait_until(lambda: len(got) == 501)
    assert points(got) == list(range(501))


def test_a_slow_callback_past_the_cap_is_told_how_many_it_missed(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url, queue_size=20)
    other = connect(fresh_broker_url, history_cap=100)
    go = threading.Event()
    got: list[Any] = []

    def slow(message: Any) -> None:
        go.wait(20)
        got.append(message)

    async def slow_async(message: Any) -> None:
        import asyncio

        while not go.is_set():
            await asyncio.sleep(0.005)
        got.append(message)

    is_async = not hasattr(type(bus), "register")
    bus.register(SEGMENT, slow_async if is_async else slow)
    for number in range(1000):
        other.send(SEGMENT, point(number))
    go.set()
    other.send(SEGMENT, point(1000))
    wait_until(lambda: got and not isinstance(got[-1].value, Gap) and got[-1].value.point_id == 1000)
    gaps = [message.value for message in got if isinstance(message.value, Gap)]
    heard = [message.value.point_id for message in got if not isinstance(message.value, Gap)]
    assert heard == sorted(set(heard))
    assert sum(gap.missed or 0 for gap in gaps) == 1001 - len(heard) > 0
    assert bus.counters.gaps == len(gaps)


def test_plain_endpoints_drop_and_tell(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url, queue_size=10)
    endpoint = MessageEndpoints.device_readback("samx")
    go = threading.Event()
    got: list[Any] = []

    def slow(message: Any) -> None:
        go.wait(20)
        got.append(message.value)

    async def slow_async(message: Any) -> None:
        import asyncio

        while not go.is_set():
            await asyncio.sleep(0.005)
        got.append(message.value)

    is_async = not hasattr(type(bus), "register")
    bus.register(endpoint, slow_async if is_async else slow)
    other = connect(fresh_broker_url)
    for number in range(200):
        other.set_and_publish(endpoint, reading(number))
    go.set()
    wait_until(lambda: any(isinstance(value, Gap) for value in got))
    missed = sum(value.missed for value in got if isinstance(value, Gap))
    assert missed + sum(not isinstance(value, Gap) for value in got) == 200


# --- the link ---


def test_cut_subscriptions_lose_and_repeat_nothing(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    got: list[Any] = []
    seen: list[Any] = []
    bus.register(SEGMENT, got.append)
    bus.register(patterns=MessageEndpoints.pattern("scan_segment"), cb=seen.append)
    for number in range(3000):
        other.send(SEGMENT, point(number))
        if number % 300 == 150:
            other._perform(_kill_subscribers())
    wait_until(lambda: len(got) >= 3000 and len(seen) >= 3000, timeout_s=15)
    assert points(got) == list(range(3000))
    assert points(seen) == list(range(3000))
    assert bus.counters.reconnects >= 5


def _kill_subscribers() -> Any:
    from labspine.flows import Exchange

    yield Exchange((("CLIENT", "KILL", "TYPE", "pubsub"),))


def test_the_last_plain_value_comes_again_after_a_cut(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    endpoint = MessageEndpoints.device_readback("samx")
    got: list[Any] = []
    bus.register(endpoint, got.append)
    other.set_and_publish(endpoint, reading(1))
    wait_until(lambda: len(got) == 1)
    pipe = other.pipeline()
    pipe._add(_kill_subscribers())
    pipe.set_and_publish(endpoint, reading(2))
    pipe.execute()
    wait_until(lambda: len(got) == 2)
    assert [message.value.signals["samx"]["value"] for message in got] == [1, 2]


def test_many_threads_share_one_connector(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    got: list[Any] = []
    bus.register(SEGMENT, got.append)
    wrong: list[Any] = []

    def work(name: int) -> None:
        endpoint = MessageEndpoints.global_vars(f"v{name}")
        for number in range(50):
            bus.set(endpoint, m.VariableMessage(value=[name, number]))
            if bus.get(endpoint).value != [name, number]:
                wrong.append((name, number))
            bus.send(SEGMENT, point(name * 1000 + number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    wait_until(lambda: len(got) == 400)
    for name in range(8):
        mine = [p for p in points(got) if p // 1000 == name]
        assert mine == [name * 1000 + n for n in range(50)]


def test_nobody_there_is_told_at_once(connect: Any, tmp_path: Any) -> None:
    bus = connect(f"unix://{tmp_path}/nobody")
    began = time.monotonic()
    with pytest.raises(NotConnected, match="nothing was done"):
        bus.get(NUMBER)
    with pytest.raises(NotConnected):
        bus.register(SEGMENT, print)
    assert time.monotonic() - began < 1


def test_the_profile_chooses_the_channel(connect: Any, fresh_broker_url: str) -> None:
    bec, seed = connect(fresh_broker_url, profile="bec4"), connect(fresh_broker_url)
    bec.set(NUMBER, m.VariableMessage(value=1))
    assert seed.get(NUMBER) is None
    assert bec.keys(MessageEndpoints.pattern("scan_number")) == ["user/scan_number"]


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
