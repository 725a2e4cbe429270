"""What users of BEC's connector know by name: the same names and meanings, on both doors."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import DeadlinePassed, InvalidArgument, InvalidMessage, NotConnected, TooLarge
from labspine.testing.waiting import wait_until

SEGMENT = MessageEndpoints.scan_segment()
NUMBER = MessageEndpoints.scan_number()
QUEUE = MessageEndpoints.scan_queue_waiting()
RUNNING: EndpointInfo[Any] = EndpointInfo("user/some/running", m.ScanQueueMessage, MessageOp.SET)


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def request(number: int) -> m.ScanQueueMessage:
    return m.ScanQueueMessage(scan_type="scan", parameter={"n": number})


def test_calls_with_pipe_are_collected(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    device = MessageEndpoints.device_read("samx")
    pipe = bus.pipeline()
    bus.set(NUMBER, m.VariableMessage(value=1), pipe=pipe)
    bus.set_and_publish(device, m.DeviceMessage(signals={}), pipe=pipe, expire_s=60)
    bus.send(SEGMENT, point(1), pipe=pipe)
    bus.raw_send("some/channel", b"x", pipe=pipe)
    bus.rpush(QUEUE, request(1), pipe=pipe)
    bus.lpush(QUEUE, request(0), pipe=pipe)
    bus.lrange(QUEUE, 0, -1, pipe=pipe)
    bus.lset(QUEUE, 0, request(5), pipe=pipe)
    bus.lrem(QUEUE, 0, request(1), pipe=pipe)
    bus.add_to_set(RUNNING, request(1), pipe=pipe)
    bus.get_set_members(RUNNING, pipe=pipe)
    bus.remove_from_set(RUNNING, request(1), pipe=pipe)
    bus.mget([NUMBER, MessageEndpoints.dataset_number()], pipe=pipe)
    assert bus.get(NUMBER, pipe=pipe) is None
    bus.delete(NUMBER, pipe=pipe)
    assert bus.get(NUMBER) is None, "nothing was sent yet"
    results = bus.execute_pipeline(pipe)
    number = m.VariableMessage(value=1)
    requests = [request(0), request(1)]
    assert results[:7] == [None, None, 0, 0, 1, 2, requests]
    assert results[7:] == [None, 1, True, [request(1)], True, [number, None], number, True]
    assert bus.lrange(QUEUE, 0, -1) == [request(5)]


def test_an_item_is_replaced_by_its_index(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    for number in range(3):
        bus.rpush(QUEUE, request(number))
    bus.lset(QUEUE, -1, request(9))
    assert bus.lrange(QUEUE, 0, -1) == [request(0), request(1), request(9)]
    with pytest.raises(InvalidArgument, match="no such item"):
        bus.lset(QUEUE, 3, request(9))
    with pytest.raises(InvalidArgument, match="no such item"):
        bus.lset(MessageEndpoints.scan_queue_waiting("empty"), 0, request(9))


def test_bytes_can_be_published_as_they_are(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    got: list[Any] = []
    bus.register(SEGMENT, got.append)
    assert bus.raw_send(SEGMENT.endpoint, m.encode(point(3))) == 1
    wait_until(lambda: got)
    assert got[0].value == point(3)
    for channel, payload in (("", b"x"), (None, b"x"), ("c", 5), ("c", {})):
        with pytest.raises(InvalidArgument):
            bus.raw_send(channel, payload)
    with pytest.raises(TooLarge, match="at most"):
        bus.raw_send("c", bytes(17 * 1024 * 1024))


def test_an_item_moves_from_a_list_into_a_set_in_one_step(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    for number in range(2):
        bus.rpush(QUEUE, request(number))
    assert bus.blocking_list_pop_to_set_add(QUEUE, RUNNING, timeout_s=1) == request(0)
    assert bus.blocking_list_pop_to_set_add(QUEUE, RUNNING, "RIGHT", 1) == request(1)
    assert bus.llen(QUEUE) == 0
    assert {item.parameter["n"] for item in bus.get_set_members(RUNNING)} == {0, 1}
    began = time.monotonic()
    assert bus.blocking_list_pop_to_set_add(QUEUE, RUNNING, timeout_s=0.2) is None
    assert 0.15 < time.monotonic() - began < 2
    timer = threading.Timer(0.2, lambda: other.rpush(QUEUE, request(7)))
    timer.start()
    assert bus.blocking_list_pop_to_set_add(QUEUE, RUNNING, timeout_s=10) == request(7)
    timer.join()
    assert time.monotonic() - began < 5
    with pytest.raises(InvalidArgument, match="LEFT"):
        bus.blocking_list_pop_to_set_add(QUEUE, RUNNING, "TOP", 1)


def test_many_workers_take_each_item_once(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    taken: list[int] = []

    def work() -> None:
        while (item := bus.blocking_list_pop_to_set_add(QUEUE, RUNNING, timeout_s=0.5)) is not None:
            taken.append(item.parameter["n"])

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    other = connect(fresh_broker_url)
    for number in range(100):
        other.rpush(QUEUE, request(number))
    for worker in workers:
        worker.join()
    assert sorted(taken) == list(range(100))
    assert len(bus.get_set_members(RUNNING)) == 100


def test_callbacks_wait_to_be_polled(connect: Any, fresh_broker_url: str) -> None:
    bus, other = connect(fresh_broker_url), connect(fresh_broker_url)
    got: list[tuple[int, int]] = []
    live: list[Any] = []

    def hear(message: Any) -> None:
        got.append((message.value.point_id, threading.get_ident()))

    bus.register(SEGMENT, hear, start_thread=False)
    bus.register(SEGMENT, live.append)
    with pytest.raises(DeadlinePassed, match="no message came"):
        bus.poll_messages(0.05)
    for number in range(50):
        other.send(SEGMENT, point(number))
    wait_until(lambda: len(live) == 50)
    assert got == []
    assert bus.poll_messages(5) is True
    assert [number for number, _ in got] == list(range(50))
    assert len({thread for _, thread in got}) == 1
    for wrong in (-1, float("nan"), "soon"):
        with pytest.raises(InvalidArgument, match="timeout_s"):
            bus.poll_messages(wrong)
    bus.close()
    assert bus.poll_messages() is False


def test_polled_callbacks_run_in_the_thread_that_polls(fresh_broker_url: str) -> None:
    from labspine.connector import RedisConnector

    with RedisConnector(fresh_broker_url) as bus:
        threads: list[int] = []
        bus.register(SEGMENT, lambda message: threads.append(threading.get_ident()), start_thread=False)
        bus.send(SEGMENT, point(1))
        assert bus.poll_messages(5)
        assert threads == [threading.get_ident()]
        closing = threading.Timer(0.1, bus.close)
        closing.start()
        assert bus.poll_messages() is False
        closing.join()


def test_alarms_and_notes_reach_people(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    alarms: list[Any] = []
    notes: list[Any] = []
    bus.register(MessageEndpoints.alarm(), alarms.append)
    bus.register(MessageEndpoints.client_info(), notes.append)
    info = m.ErrorInfo(error_message="it is hot", exception_type="TooHot", device="samx")
    told: list[Any] = []
    bus.register(patterns=MessageEndpoints.pattern("notification"), cb=told.append)
    bus.raise_alarm(2, info, metadata={"scan_id": "s"})
    bus.notify("new_scan", "scan 5 begins")
    bus.send_client_info("hello", source="scan_server", severity=1, rid="r1", scope="scan")
    wait_until(lambda: alarms and notes and len(told) == 2)
    assert alarms[0].value == m.AlarmMessage(severity=2, info=info, metadata={"scan_id": "s"})
    assert bus.get(MessageEndpoints.alarm()) == alarms[0].value
    note = notes[0].value
    assert (note.message, note.source, note.severity, note.RID) == ("hello", "scan_server", 1, "r1")
    assert [(n.value.event, n.value.message[0].content) for n in told] == [
        ("alarm_major", "it is hot"),
        ("new_scan", "scan 5 begins"),
    ]
    assert (note.scope, note.show_asap, note.expire) == ("scan", False, 60.0)


def test_metrics_have_names_of_ones_own(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    state = {"value": "on", "possible_values": ["on", "off"]}
    bus.publish_metrics("line", {"a": 1, "b": 0.5, "c": True, "d": state})
    metrics = bus.get(MessageEndpoints.dynamic_metric("line")).metrics
    assert [metrics[f"_{name}"].value for name in "abcd"] == [1, 0.5, True, "on"]
    assert [type(metrics[f"_{name}"]).__name__[:-6] for name in "abcd"] == ["Int", "Float", "Bool", "Str"]
    for wrong in (None, [1], "word", {"value": "else", "possible_values": ["on"]}, {"nothing": 1}):
        with pytest.raises(InvalidArgument, match="metric a"):
            bus.publish_metrics("line", {"a": wrong})


def test_a_connector_tells_where_it_goes_and_whether_it_gets_there(
    connect: Any, fresh_broker_url: str, tmp_path: Any
) -> None:
    assert connect(fresh_broker_url).can_connect() is True
    assert connect(f"unix://{tmp_path}/nobody").can_connect() is False
    there = connect("redis://somewhere:1234")
    assert (there.host, there.port) == ("somewhere", 1234)


def test_pipe_does_not_take_what_a_call_refuses(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    pipe = bus.pipeline()
    with pytest.raises(InvalidMessage):
        bus.set(NUMBER, "text", pipe=pipe)
    assert len(pipe) == 0


def test_streams_are_read_raw(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    log = MessageEndpoints.log()
    first = bus.xadd(log, {"data": "one"})
    second = bus.xadd(log, {"data": "two"})

    ((key, entries),) = bus.raw_xread({log.endpoint: "0", "not/there": "0"})

    assert key == log.endpoint
    assert entries == [(first, {"data": m.encode("one")}), (second, {"data": m.encode("two")})]
    assert bus.raw_xread({log.endpoint: first}, count=1, block_s=0.1)[0][1] == entries[1:]
    assert bus.raw_xread({log.endpoint: "$"}, block_s=0.01) == []
    for wrong in ({}, {log.endpoint: "abc"}, None, "log"):
        with pytest.raises(InvalidArgument):
            bus.raw_xread(wrong)


def test_the_connector_tells_who_and_what_is_there(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    log, heard = MessageEndpoints.log(), []

    assert not bus.any_stream_is_registered(log, heard.append)
    bus.register(log, heard.append)
    assert bus.any_stream_is_registered([NUMBER, log], heard.append)
    assert not bus.any_stream_is_registered(log, print)
    assert bus.ping()
    assert bus.redis_server_is_running()
    assert bus.username == "default"
    assert bus.acl_list()[0].startswith("user default on")
    assert "on" in bus.acl_getuser("default")["flags"]
    assert bus.acl_getuser("nobody") is None
    away = connect("unix:///tmp/labspine-nobody-is-here")
    assert not away.redis_server_is_running()
    with pytest.raises(NotConnected):
        away.ping()
