"""The sender keeps order, survives an outage, and never holds up who gives it something."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.lab.scans.sender import Outgoing, Sender, bundle
from labspine.messages import BundleMessage, ProgressMessage, ScanMessage, ScanStatusMessage, VariableMessage
from labspine.wire.embedded import EmbeddedBroker

SEGMENT = MessageEndpoints.scan_segment()


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.005)


def point(number: int, *, bundled: bool = False) -> Outgoing[ScanMessage]:
    message = ScanMessage(point_id=number, scan_id="one", data={"x": {}})
    return Outgoing("send", SEGMENT, message, bundled=bundled)


def ended() -> Outgoing[ScanStatusMessage]:
    status = ScanStatusMessage(scan_id="one", status="closed", info={})
    return Outgoing("set_and_publish", MessageEndpoints.scan_status(), status)


def heard_by(connector: RedisConnector) -> list[Any]:
    heard: list[Any] = []

    def take(message: MessageObject) -> None:
        values = message.value if isinstance(message.value, list) else [message.value]
        heard.extend(value for value in values if isinstance(value, ScanMessage))

    connector.register(SEGMENT, take)
    return heard


def test_order_is_kept_and_all_is_sent_at_the_end(fresh_broker_url: str) -> None:
    with RedisConnector(fresh_broker_url) as connector, RedisConnector(fresh_broker_url) as other:
        heard = heard_by(other)
        sender = Sender(connector)
        for number in range(1000):
            sender.put(point(number))
        assert sender.stop(timeout_s=5.0)
        assert (sender.dropped, sender.refused, sender.backlog) == (0, 0, 0)
        wait_until(lambda: len(heard) == 1000, "all points")
        assert [m.point_id for m in heard] == list(range(1000))


def test_only_the_last_of_latest_counts(fresh_broker_url: str) -> None:
    place = MessageEndpoints.scan_progress()
    with RedisConnector(fresh_broker_url) as connector:
        sender = Sender(connector)
        for number in range(500):
            message = ProgressMessage(value=number, max_value=500, done=False)
            sender.put_latest(Outgoing("set_and_publish", place, message))
        assert sender.stop(timeout_s=5.0)
        assert connector.get(place).value == 499


def test_what_the_broker_refuses_is_counted_and_the_rest_goes_out(fresh_broker_url: str) -> None:
    place = MessageEndpoints.global_vars("a")
    with RedisConnector(fresh_broker_url) as connector:
        connector.rpush(MessageEndpoints.scan_queue_waiting("x"), _request())
        wrong = Outgoing("lrem", MessageEndpoints.scan_status(), _request())
        too_large = Outgoing("set", place, VariableMessage(value="x" * (17 * 1024 * 1024)))
        sender = Sender(connector)
        sender.put(wrong, too_large, Outgoing("set", place, VariableMessage(value=5)))
        assert sender.flush(10.0)
        assert sender.refused == 2
        assert connector.get(place).value == 5
        assert sender.stop()


def _request() -> Any:
    from labspine.messages import ScanQueueMessage

    return ScanQueueMessage(scan_type="count", parameter={"args": [["det"], 1.5, None], "kwargs": {"a": [1]}})


@pytest.mark.fault
def test_outage_holds_up_nobody_and_loses_nothing(broker_process: EmbeddedBroker) -> None:
    options = {"timeout_s": 1.0, "patience_s": 0.2}
    with (
        RedisConnector(broker_process.url, **options) as connector,
        RedisConnector(broker_process.url) as other,
    ):
        heard = heard_by(other)
        sender = Sender(connector)
        sender.put(point(0))
        wait_until(lambda: len(heard) == 1, "the first point")
        os.kill(broker_process.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            for number in range(1, 2000):
                sender.put(point(number))
            assert time.monotonic() - began < 0.5
            assert not sender.flush(1.5)
            assert sender.backlog > 1000
        finally:
            os.kill(broker_process.pid, signal.SIGCONT)
        assert sender.flush(15.0)
        assert sender.stop()
        wait_until(lambda: len(heard) >= 2000, "all points")
        other.send(SEGMENT, point(2000).message)
        wait_until(lambda: heard[-1].point_id == 2000, "the last point")
        assert [m.point_id for m in heard] == list(range(2001)), "each once, in order"
        assert other.counters.gaps == 0


@pytest.mark.fault
def test_stop_gives_up_in_time_when_the_broker_does_not_answer(broker_process: EmbeddedBroker) -> None:
    with RedisConnector(broker_process.url, timeout_s=0.5, patience_s=0.2) as connector:
        connector.connect()
        sender = Sender(connector)
        os.kill(broker_process.pid, signal.SIGSTOP)
        try:
            sender.put(point(0))
            began = time.monotonic()
            assert not sender.stop(timeout_s=0.5)
            assert time.monotonic() - began < 3.0
        finally:
            os.kill(broker_process.pid, signal.SIGCONT)


def test_more_than_the_capacity_is_dropped_and_counted(fresh_broker_url: str) -> None:
    with RedisConnector(fresh_broker_url) as connector:
        sender = Sender(connector, capacity=10)
        sender.put(*(point(number) for number in range(11)))
        assert sender.dropped == 11
        assert sender.stop()


def test_bundles_never_reach_over_a_status() -> None:
    kept = Outgoing("set", MessageEndpoints.public_scan_segment("one", 0), point(0).message)
    batch = [kept, point(0, bundled=True), kept, point(1, bundled=True), ended(), point(2, bundled=True)]
    made = bundle(batch)
    assert [item.operation for item in made] == ["set", "set", "send", "set_and_publish", "send"]
    assert isinstance(made[2].message, BundleMessage)
    assert [m.point_id for m in made[2].message.messages] == [0, 1]
    assert made[4].message.point_id == 2


def test_bundles_are_received_as_points(fresh_broker_url: str) -> None:
    with RedisConnector(fresh_broker_url) as connector, RedisConnector(fresh_broker_url) as other:
        heard = heard_by(other)
        sender = Sender(connector)
        sender.put(*(point(number, bundled=True) for number in range(100)))
        assert sender.stop()
        wait_until(lambda: len(heard) == 100, "all points")
        assert [m.point_id for m in heard] == list(range(100))


def test_a_ticket_is_settled_when_everything_before_it_is_with_the_broker(fresh_broker_url: str) -> None:
    with RedisConnector(fresh_broker_url, name="tickets") as connector:
        sender = Sender(connector)
        try:
            assert (sender.last_ticket, sender.settled) == (0, 0)
            endpoint = MessageEndpoints.scan_number()
            first = sender.put(Outgoing("set", endpoint, VariableMessage(value=1)))
            last = sender.put(*(Outgoing("set", endpoint, VariableMessage(value=n)) for n in range(2, 200)))
            assert (first, last) == (1, 199)

            assert sender.wait_settled(last, 5.0) == last
            assert connector.get(endpoint).value == 199
        finally:
            sender.stop()


@pytest.mark.fault
def test_no_ticket_is_settled_while_the_broker_is_away(broker_process: EmbeddedBroker) -> None:
    with RedisConnector(broker_process.url, timeout_s=0.5, patience_s=0.2) as connector:
        connector.connect()
        sender = Sender(connector)
        os.kill(broker_process.pid, signal.SIGSTOP)
        try:
            ticket = sender.put(Outgoing("set", MessageEndpoints.scan_number(), VariableMessage(value=1)))
            assert sender.wait_settled(ticket, 0.2) == 0
        finally:
            os.kill(broker_process.pid, signal.SIGCONT)
        assert sender.wait_settled(ticket, 15.0) == ticket
        assert sender.stop()
