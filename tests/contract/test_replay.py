"""What was said before, what was missed, and what a slow callback gets."""

from __future__ import annotations

import itertools
import re
import threading
import time
from typing import Any

import numpy as np

from labspine import messages as m
from labspine.connector import Gap
from labspine.endpoints import MessageEndpoints
from labspine.flows import Exchange, Numbering, Recording, events
from labspine.ids import new_sender
from labspine.testing.waiting import wait_until
from labspine.wire import SyncWire, parse_address

SEGMENT = MessageEndpoints.scan_segment()


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def reading(value: float) -> m.DeviceMessage:
    return m.DeviceMessage(signals={"samx": {"value": value}})


def points(got: list[Any]) -> list[int]:
    return [message.value.point_id for message in got]


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


def test_subscriptions_that_are_behind_together_share_what_they_read(
    connect: Any, fresh_broker_url: str
) -> None:
    reader = connect(fresh_broker_url)
    heard: list[list[int]] = [[] for _ in range(40)]
    for mine in heard:
        reader.register(SEGMENT, lambda message, mine: mine.append(message.value.point_id), mine=mine)
    recording = Recording(Numbering(new_sender), 20_000)
    said = [next(events.send(SEGMENT, point(number), recording)).commands for number in range(5000)]
    wire = SyncWire(parse_address(fresh_broker_url))
    before = pages_read(wire)

    cut = ("CLIENT", "KILL", "TYPE", "pubsub")
    wire.exchange(Exchange((cut, *itertools.chain(*said)), transaction=True))

    wait_until(lambda: all(len(mine) >= 5000 for mine in heard), timeout_s=20, what="all events")
    assert all(mine == list(range(5000)) for mine in heard)
    alone = 14  # 64 entries, 5 times 1000, and the end once more: seven pages of two commands
    assert pages_read(wire) - before < 40 * alone / 2
    wire.close()


def pages_read(wire: SyncWire) -> int:
    """Count the pages of histories that the server has given out."""
    (told,) = wire.exchange(Exchange((("INFO", "commandstats"),)))
    found = re.search(rb"cmdstat_xrange:calls=(\d+)", told)
    return int(found[1]) if found else 0
