"""A forked child shares nothing with its parent but the name of the queue."""

from __future__ import annotations

import os
from typing import Any

from labspine.connector import RedisConnector
from labspine.queues import Queue


def told_by_child(queue: Queue, parents: Any) -> list[str]:
    """Fork; let the child try to acknowledge what its parent holds, do an item of its own, and put one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of the tests may run on here
        try:
            is_mine = queue.acknowledge(parents)
            own = queue.claim()
            value = None if own is None else own.value
            is_done = own is not None and queue.acknowledge(own)
            os.write(writing, f"{is_mine} {value} {is_done} {queue.put('c')}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read().decode().split()
    os.waitpid(child, 0)
    return told


def test_a_forked_child_is_another_claimer_and_another_sender(broker_url: str, name: str) -> None:
    with RedisConnector(broker_url) as bus, Queue(bus, name) as queue:
        first = queue.put("a")
        queue.put("b")
        mine = queue.claim()
        assert mine is not None

        is_mine, value, is_done, put = told_by_child(queue, mine)

        assert (is_mine, value, is_done) == ("False", "b", "True")
        assert put.rpartition("-")[0] != first.rpartition("-")[0]
        assert queue.acknowledge(mine)
        own = queue.claim(wait_s=5.0)
        assert own is not None
        assert (own.id, own.value, own.deliveries) == (put, "c", 1)
        assert queue.acknowledge(own)
        assert queue.length() == 0
