"""Registered streams: new ones are heard at once, and what was trimmed while nobody looked is told."""

from __future__ import annotations

import time
from typing import Any

from labspine import MessageEndpoints
from labspine import messages as m
from labspine.connector import Gap
from labspine.endpoints import EndpointInfo
from labspine.flows import Exchange
from labspine.testing.waiting import wait_until
from labspine.wire import SyncWire, parse_address


def preview(name: str) -> EndpointInfo[Any]:
    return MessageEndpoints.device_preview(name, "image")


def test_a_new_stream_is_heard_at_once(connect: Any, fresh_broker_url: str) -> None:
    reader, writer = connect(fresh_broker_url), connect(fresh_broker_url)
    heard: list[str] = []
    began = time.monotonic()
    for number in range(20):
        endpoint = preview(f"cam{number}")
        reader.register(endpoint, lambda message: heard.append(message.topic))
        writer.xadd(endpoint, {"data": number})
        wait_until(lambda count=number + 1: len(heard) == count, what="the entry")
    took_s = time.monotonic() - began

    assert len(set(heard)) == 20
    assert took_s < 20 * 0.1  # a wait that is under way lasts 0.25 s


def cut_and_trim(url: str, key: str, *, added: int, kept: int) -> None:
    """In one step: cut all other connections, add entries, and trim the stream."""
    wire = SyncWire(parse_address(url))
    add = tuple(("XADD", key, "*", "data", b"%c" % n) for n in range(added))
    trim = ("XTRIM", key, "MAXLEN", "=", kept)
    wire.exchange(Exchange((("CLIENT", "KILL", "TYPE", "normal"), *add, trim), transaction=True))
    wire.close()


def test_what_was_trimmed_while_the_reader_was_cut_is_told(connect: Any, fresh_broker_url: str) -> None:
    reader, writer = connect(fresh_broker_url), connect(fresh_broker_url)
    endpoint = preview("cam")
    heard: list[Any] = []
    reader.register(endpoint, lambda message: heard.append(message.value))
    writer.xadd(endpoint, {"data": 99})
    wait_until(lambda: heard == [99], what="the first entry")

    cut_and_trim(fresh_broker_url, endpoint.endpoint, added=50, kept=10)

    wait_until(lambda: len(heard) == 12, what="the gap and what is left")
    assert heard == [99, Gap(40), *range(40, 50)]
    cut_and_trim(fresh_broker_url, endpoint.endpoint, added=5, kept=5)
    wait_until(lambda: len(heard) == 17, what="what was added")
    assert heard[12:] == [0, 1, 2, 3, 4]  # nothing was missed, so no gap is told


def test_what_is_added_to_an_emptied_stream_is_heard(connect: Any, fresh_broker_url: str) -> None:
    reader, writer = connect(fresh_broker_url), connect(fresh_broker_url)
    endpoint = preview("cam")
    heard: list[Any] = []
    reader.register(endpoint, lambda message: heard.append(message.value))
    writer.xadd(endpoint, {"data": 1})
    wait_until(lambda: heard == [1], what="the first entry")

    cut_and_trim(fresh_broker_url, endpoint.endpoint, added=3, kept=0)
    wait_until(lambda: Gap(3) in heard, what="the gap")
    writer.xadd(endpoint, {"data": 2})

    wait_until(lambda: heard == [1, Gap(3), 2], what="the entry behind the gap")


def test_a_history_that_ends_before_our_position_hides_nothing(connect: Any, fresh_broker_url: str) -> None:
    """After a failover the clock of the new master may be behind the one before."""
    endpoint = MessageEndpoints.scan_segment()
    reader, writer = connect(fresh_broker_url), connect(fresh_broker_url)
    wire = SyncWire(parse_address(fresh_broker_url))
    ahead = "9999999999999-0"
    heard: list[int] = []
    reader.register(endpoint, lambda message: heard.append(message.value.point_id))

    def say(number: int) -> None:
        writer.send(endpoint, m.ScanMessage(point_id=number, scan_id="s", data={}))

    say(0)
    wait_until(lambda: heard == [0], what="the first event")
    wire.exchange(Exchange((("XADD", endpoint.history or "", ahead, "other", "entry"),)))
    subscription = reader._reader.subscriptions()[0]
    wait_until(lambda: subscription.position[0] == 9999999999999, what="a position in the future")
    history = endpoint.history or ""
    first = wire.exchange(Exchange((("XRANGE", history, "-", "+", "COUNT", 1),)))[0][0]
    back = (("DEL", history), ("XADD", history, first[0], *first[1]), ("CLIENT", "KILL", "TYPE", "pubsub"))
    wire.exchange(Exchange(back, transaction=True))
    for number in range(1, 200):
        say(number)

    wait_until(lambda: len(heard) >= 200, what="all events")
    assert heard == list(range(200))
    wire.close()
