"""Durable events through kills, cuts, silence and frozen listeners: each arrives once, or the hole is told."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import Gap, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeadlinePassed, DeliveryUnknown, NotConnected
from labspine.flows import Exchange
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault

SEGMENT = MessageEndpoints.scan_segment()
SEGMENTS = MessageEndpoints.pattern("scan_segment")


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def points(got: list[Any]) -> list[int]:
    return [message.value.point_id for message in got]


def listening(bus: Any) -> tuple[list[Any], list[Any]]:
    """Listen to the channel and to the pattern."""
    got: list[Any] = []
    seen: list[Any] = []
    bus.register(SEGMENT, got.append)
    bus.register(patterns=SEGMENTS, cb=seen.append)
    return got, seen


def send_surely(bus: Any, message: m.ScanMessage) -> None:
    """Send an event as a careful program does: what is not known is repeated, what was not done is sent."""
    deadline = time.monotonic() + 30
    unsure: Exception | None = None
    while time.monotonic() < deadline:
        try:
            bus.send(SEGMENT, message) if unsure is None else bus.repeat(unsure)
            return
        except (DeliveryUnknown, DeadlinePassed) as error:
            unsure = error
        except NotConnected:
            pass
    raise AssertionError("the broker did not come back")


def test_five_kills_in_ten_thousand_messages_lose_and_repeat_nothing(connect: Any, broker: Any) -> None:
    bus, other = connect(broker.url), connect(broker.url)
    got, seen = listening(bus)
    for number in range(10_000):
        if number % 2000 == 1000:
            restart = threading.Thread(target=broker.restart)
            restart.start()
        send_surely(other, point(number))
        if number % 2000 == 1999:
            restart.join()
    wait_until(lambda: len(got) >= 10_000 and len(seen) >= 10_000, timeout_s=20)
    send_surely(other, point(10_000))
    wait_until(lambda: points(got[-1:]) == points(seen[-1:]) == [10_000])
    assert points(got) == list(range(10_001))
    assert points(seen) == list(range(10_001))
    assert bus.counters.gaps == 0
    assert bus.counters.reconnects >= 1


def test_twenty_cuts_in_six_thousand_messages_lose_and_repeat_nothing(connect: Any, broker: Any) -> None:
    bus, other = connect(broker.url), connect(broker.url)
    got, seen = listening(bus)
    killed = 0
    for number in range(6000):
        other.send(SEGMENT, point(number))
        if number % 300 == 150:
            wait_until(lambda: other._perform(_kill_subscribers()) == 1, what="a link to cut")
            killed += 1
    wait_until(lambda: len(got) >= 6000 and len(seen) >= 6000, timeout_s=20)
    assert points(got) == list(range(6000))
    assert points(seen) == list(range(6000))
    assert killed == 20
    wait_until(lambda: bus.counters.reconnects == 20)


def _kill_subscribers() -> Any:
    (count,) = yield Exchange((("CLIENT", "KILL", "TYPE", "pubsub"),))
    return count


def test_a_half_open_link_is_noticed_within_six_seconds(connect: Any, broker: Any, valve: Any) -> None:
    bus, other = connect(valve.url), connect(broker.url)
    got, seen = listening(bus)
    other.send(SEGMENT, point(0))
    wait_until(lambda: len(got) == len(seen) == 1)
    valve.silence()
    began = time.monotonic()
    other.send(SEGMENT, point(1))
    wait_until(lambda: len(got) == len(seen) == 2, timeout_s=8)
    assert time.monotonic() - began < 6
    assert points(got) == points(seen) == [0, 1]


def test_a_subscriber_process_that_freezes_past_the_output_limit_loses_nothing(broker: Any) -> None:
    """The server cuts it off; when it wakes it reads what it missed from the history."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with RedisConnector(broker.url) as mine:
                mine._perform(_set_output_limit())
                got, seen = listening(mine)
                os.write(write_end, b"ready")
                wait_until(lambda: len(got) == len(seen) == 4000, timeout_s=30)
                os.write(write_end, b"all" if points(got) == points(seen) == list(range(4000)) else b"bad")
        finally:
            os._exit(0)
    os.read(read_end, 5)
    os.kill(child, signal.SIGSTOP)
    try:
        with RedisConnector(broker.url) as bus:
            for number in range(4000):
                bus.send(SEGMENT, m.ScanMessage(point_id=number, scan_id="x" * 10_000, data={}))
    finally:
        os.kill(child, signal.SIGCONT)
    assert os.read(read_end, 3) == b"all"
    os.waitpid(child, 0)
    os.close(read_end)
    os.close(write_end)


def _set_output_limit() -> Any:
    yield Exchange((("CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 4mb 60"),))


def test_past_the_cap_a_cut_subscriber_is_told_exactly_how_many_it_missed(
    connect: Any, broker: Any, valve: Any
) -> None:
    bus, other = connect(valve.url), connect(broker.url, history_cap=100)
    got, seen = listening(bus)
    other.send(SEGMENT, point(0))
    wait_until(lambda: len(got) == len(seen) == 1)
    valve.silence()
    pipe = other.pipeline()
    for number in range(1, 1001):
        pipe.send(SEGMENT, point(number))
    pipe.execute()
    for heard in (got, seen):
        wait_until(lambda heard=heard: _last(heard) == 1000, timeout_s=10)
        gaps = [message.value for message in heard if isinstance(message.value, Gap)]
        rest = [message.value.point_id for message in heard if not isinstance(message.value, Gap)]
        assert rest == sorted(set(rest))
        assert [gap.missed for gap in gaps] == [1001 - len(rest)]
        assert gaps[0].missed is not None
        assert gaps[0].missed > 500


def _last(heard: list[Any]) -> int:
    return -1 if isinstance(heard[-1].value, Gap) else int(heard[-1].value.point_id)
