"""The queue is on the broker: what was accepted survives, what has ended is gone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.lab.scans.queue import QueueEntry, ScanQueue
from labspine.lab.scans.sender import Sender
from labspine.messages import ScanQueueMessage


@pytest.fixture
def connector(fresh_broker_url: str) -> Iterator[RedisConnector]:
    with RedisConnector(fresh_broker_url) as connector:
        yield connector


@pytest.fixture
def sender(connector: RedisConnector) -> Iterator[Sender]:
    sender = Sender(connector)
    yield sender
    sender.stop()


def entry(name: str) -> QueueEntry:
    return QueueEntry.of(
        ScanQueueMessage(
            scan_type="scan",
            parameter={
                "args": [["det"], "x", -5, 0.1, None, True, np.linspace(0, 1, 3), {"a": (1, 2)}],
                "kwargs": {"text": "ü", "many": [1, 2.5, "x"]},
            },
            metadata={"RID": name, "queue_id": f"q-{name}", "num_points": 3, "accepted_utc_s": 1.5},
        )
    )


def test_first_in_first_out_and_gone_at_the_end(connector: RedisConnector, sender: Sender) -> None:
    queue = ScanQueue(connector, sender)
    for name in "abc":
        queue.accept(entry(name))
    assert connector.llen(queue.waiting) == 3
    for name in "abc":
        found = queue.next(1.0)
        assert found is not None
        assert found.rid == name
        queue.mark_running(found)
        assert sender.flush(5)
        assert connector.llen(queue.running) == 1
        queue.finish(found, "COMPLETED", reason=None)
    assert queue.next(0.01) is None
    assert sender.flush(5)
    assert (connector.llen(queue.waiting), connector.llen(queue.running), len(queue)) == (0, 0, 0)
    history = connector.lrange(MessageEndpoints.scan_queue_history(), 0, -1)
    assert [item.info["request_blocks"][0]["RID"] for item in history] == ["c", "b", "a"]


def test_restored_entries_are_equal_and_can_be_removed(connector: RedisConnector, sender: Sender) -> None:
    first = ScanQueue(connector, sender)
    for name in "abc":
        first.accept(entry(name))
    running = first.next(1.0)
    assert running is not None
    first.mark_running(running)
    assert sender.flush(5)

    second = ScanQueue(connector, sender)
    interrupted = second.restore()
    assert [item.rid for item in interrupted] == ["a"]
    assert [item.rid for item in second.pending()] == ["b", "c"]
    assert (interrupted[0].queue_id, interrupted[0].num_points, interrupted[0].accepted_utc_s) == (
        "q-a",
        3,
        1.5,
    )
    second.finish(interrupted[0], "STOPPED", reason="restart")
    for left in second.pending():
        second.finish(left, "STOPPED", reason="user")
    assert sender.flush(5)
    assert (connector.llen(second.waiting), connector.llen(second.running)) == (0, 0)


def test_held_queue_hands_out_nothing(connector: RedisConnector, sender: Sender) -> None:
    queue = ScanQueue(connector, sender)
    queue.accept(entry("a"))
    queue.set_state("PAUSED")
    assert queue.next(0.01) is None
    assert sender.flush(5)
    assert connector.get(MessageEndpoints.scan_queue_status()).queue["primary"]["status"] == "PAUSED"
    queue.set_state("RUNNING")
    assert queue.next(1.0) is not None
    queue.close()
    assert queue.next(1.0) is None


def test_status_has_the_field_names_of_bec(connector: RedisConnector, sender: Sender) -> None:
    queue = ScanQueue(connector, sender)
    queue.accept(entry("a"))
    assert sender.flush(5)
    (info,) = connector.get(MessageEndpoints.scan_queue_status()).queue["primary"]["info"]
    for field in ("queue_id", "scan_id", "is_scan", "request_blocks", "scan_number", "status"):
        assert field in info
    (block,) = info["request_blocks"]
    for field in ("msg", "RID", "readout_priority", "is_scan", "scan_number", "scan_id"):
        assert field in block
    assert (info["status"], info["scan_id"], block["msg"]["scan_type"]) == ("PENDING", [None], "scan")
