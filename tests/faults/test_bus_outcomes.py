"""Writes whose answer is lost or late: done at most once, and the caller knows or can find out."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeadlinePassed, DeliveryUnknown, InvalidArgument, NotConnected, ServerError
from labspine.flows import Exchange
from labspine.lab.scans.sender import Outgoing, Sender
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault

SEGMENT = MessageEndpoints.scan_segment()
NUMBER = MessageEndpoints.scan_number()
QUEUE = MessageEndpoints.scan_queue_waiting()
LOG = MessageEndpoints.log()
MARKER = MessageEndpoints.device_read("marker")


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="marker", data={})


def points(got: list[Any]) -> list[int]:
    return [message.value.point_id for message in got]


@pytest.mark.parametrize("operation", ["set", "rpush", "xadd", "pipeline"])
def test_a_lost_reply_executes_nothing_twice(connect: Any, broker: Any, valve: Any, operation: str) -> None:
    item = m.ScanQueueMessage(scan_type="marker", parameter={})
    bus, other = connect(valve.url), connect(broker.url)
    bus.connect()
    valve.cut_replies_after = b"marker"
    pipe = bus.pipeline()
    pipe.rpush(QUEUE, item)
    pipe.set(NUMBER, m.VariableMessage(value="marker"))
    write = {
        "set": lambda: bus.set(NUMBER, m.VariableMessage(value="marker")),
        "rpush": lambda: bus.rpush(QUEUE, item),
        "xadd": lambda: bus.xadd(LOG, m.LogMessage(log_type="info", log_msg={"t": "marker"})),
        "pipeline": pipe.execute,
    }[operation]
    with pytest.raises(DeliveryUnknown, match="done or not done is unknown") as caught:
        write()
    assert bus.get(NUMBER) == other.get(NUMBER)
    assert bus.llen(QUEUE) <= 1
    assert len(bus.xrange(LOG)) <= 1
    with pytest.raises(InvalidArgument, match="cannot be repeated"):
        bus.repeat(caught.value)


@pytest.mark.parametrize("operation", ["send", "set_and_publish", "pipeline"])
def test_a_lost_reply_of_a_durable_event_is_found_out(
    connect: Any, broker: Any, valve: Any, operation: str
) -> None:
    got: list[Any] = []
    bus, other = connect(valve.url), connect(broker.url)
    other.register([SEGMENT, MARKER], got.append)
    bus.connect()
    for number in range(20):
        valve.cut_replies_after = b"marker"
        if operation == "send":
            bus.send(SEGMENT, point(number))
        elif operation == "set_and_publish":
            bus.set_and_publish(MARKER, m.DeviceMessage(signals={"marker": {"value": number}}))
        else:
            pipe = bus.pipeline()
            for part in range(10):
                pipe.send(SEGMENT, point(number * 10 + part))
            pipe.execute()
    due = 200 if operation == "pipeline" else 20
    bus.send(SEGMENT, point(999))
    wait_until(lambda: len(got) > due)
    assert len(got) == due + 1
    assert got[-1].value == point(999)
    assert other.counters.repeats == 0


def test_a_frozen_broker_is_told_in_time_and_nothing_is_done_twice(connect: Any, broker: Any) -> None:
    bus = connect(broker.url, timeout_s=0.5)
    bus.connect()
    broker.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(DeadlinePassed, match="may or may not") as caught:
            bus.rpush(QUEUE, m.ScanQueueMessage(scan_type="x", parameter={}))
        assert time.monotonic() - began < 2
    finally:
        broker.signal(signal.SIGCONT)
    wait_until(lambda: bus.llen(QUEUE) == 1)
    assert bus.llen(QUEUE) == 1
    with pytest.raises(InvalidArgument, match="cannot be repeated"):
        bus.repeat(caught.value)


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "in pipelines"])
def test_events_on_a_frozen_broker_are_repeated_and_heard_once(connect: Any, broker: Any, many: bool) -> None:
    bus = connect(broker.url, timeout_s=0.3, connect_timeout_s=0.3, patience_s=0.3)
    other = connect(broker.url)
    got: list[Any] = []
    other.register(SEGMENT, got.append)
    replayed: list[Any] = []
    bus.send(SEGMENT, point(0))
    for freeze in range(3):
        broker.signal(signal.SIGSTOP)
        errors: list[Any] = []
        try:
            if many:
                pipe = bus.pipeline()
                for number in range(50):
                    pipe.send(SEGMENT, point(1 + freeze * 50 + number))
                errors = pipe.execute(return_errors=True)
            else:
                with pytest.raises(DeadlinePassed) as caught:
                    bus.send(SEGMENT, point(1 + freeze))
                with pytest.raises((DeadlinePassed, NotConnected)):
                    bus.repeat(caught.value)
                errors = [caught.value]
        finally:
            broker.signal(signal.SIGCONT)
        assert all(isinstance(error, DeadlinePassed) for error in errors)
        if many:
            pipe = bus.pipeline()
            for error in errors:
                pipe.repeat(error)
            pipe.execute()
        else:
            bus.repeat(errors[0])
            bus.repeat(errors[0])
    total = 152 if many else 5
    bus.send(SEGMENT, point(total - 1))
    wait_until(lambda: points(got[-1:]) == [total - 1])
    assert points(got) == list(range(total))
    other.register(SEGMENT, replayed.append, from_start=True)
    wait_until(lambda: points(replayed[-1:]) == [total - 1])
    assert points(replayed) == list(range(total))
    assert other.counters.gaps == 0


def test_the_labs_sender_on_a_broker_that_freezes_again_and_again(broker: Any) -> None:
    from labspine.connector import RedisConnector

    got: list[Any] = []
    with (
        RedisConnector(broker.url, timeout_s=0.2, connect_timeout_s=0.2) as bus,
        RedisConnector(broker.url) as other,
    ):
        other.register(SEGMENT, got.append)
        sender = Sender(bus)
        stop = threading.Event()

        def freeze() -> None:
            while not stop.wait(0.15):
                broker.signal(signal.SIGSTOP)
                stop.wait(0.45)
                broker.signal(signal.SIGCONT)

        freezing = threading.Thread(target=freeze)
        freezing.start()
        try:
            for number in range(1500):
                sender.put(Outgoing("send", SEGMENT, point(number)))
                stop.wait(0.001)
        finally:
            stop.set()
            freezing.join()
        assert sender.stop(timeout_s=10.0)
        assert (sender.dropped, sender.refused) == (0, 0)
        wait_until(lambda: points(got[-1:]) == [1499], timeout_s=10)
        assert points(got) == list(range(1500)), "each once, in order"
        assert other.counters.gaps == 0


def test_an_outage_is_waited_out_or_told(connect: Any, broker: Any) -> None:
    patient, hasty = connect(broker.url, patience_s=5), connect(broker.url, patience_s=0)
    patient.set(NUMBER, m.VariableMessage(value=1))
    hasty.set(NUMBER, m.VariableMessage(value=1))
    broker.kill()
    with pytest.raises((NotConnected, DeliveryUnknown)):
        hasty.set(NUMBER, m.VariableMessage(value=2))
    with pytest.raises(NotConnected, match="nothing was done"):
        hasty.get(NUMBER)
    with pytest.raises(NotConnected):
        hasty.send(SEGMENT, point(1))
    timer = threading.Timer(0.3, broker.start)
    timer.start()
    assert patient.get(NUMBER) == m.VariableMessage(value=1)
    timer.join()


def test_a_full_server_is_told_with_its_own_words(connect: Any, broker: Any) -> None:
    bus = connect(broker.url)
    bus._perform(_set_memory_limit())
    with pytest.raises(ServerError, match="out of memory"):
        bus.set(NUMBER, m.VariableMessage(value=1))
    with pytest.raises(ServerError):
        bus.send(SEGMENT, point(1))


def _set_memory_limit() -> Any:
    yield Exchange((("CONFIG", "SET", "maxmemory", "1000"),))


def test_a_peer_that_is_no_broker_is_told(connect: Any) -> None:
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        link, _ = listener.accept()
        link.recv(1000)
        link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        link.close()

    threading.Thread(target=answer, daemon=True).start()
    bus = connect(f"127.0.0.1:{listener.getsockname()[1]}")
    with pytest.raises(NotConnected, match="does not speak the Redis protocol"):
        bus.get(NUMBER)
    listener.close()


@pytest.mark.slow
def test_a_hundred_thousand_messages_leave_no_memory_behind(connect: Any, broker: Any) -> None:
    """The million is in the benchmarks; publisher and subscriber share this process."""
    bus, other = connect(broker.url, history_cap=1000), connect(broker.url)
    count = [0]

    def hear(message: Any) -> None:
        count[0] += 1

    other.register(SEGMENT, hear)

    def flood(messages: int) -> None:
        due = count[0] + messages
        for _ in range(messages // 500):
            pipe = bus.pipeline()
            for _ in range(500):
                pipe.send(SEGMENT, point(1))
            pipe.execute()
        wait_until(lambda: count[0] >= due, timeout_s=60)

    flood(20_000)
    before = _resident_bytes()
    flood(100_000)
    assert count[0] == 120_000
    assert _resident_bytes() - before < 10_000_000


def _resident_bytes() -> int:
    with open(f"/proc/{os.getpid()}/statm") as facts:
        return int(facts.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
