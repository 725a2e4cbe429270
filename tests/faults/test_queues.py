"""Queues through kills of workers and brokers, lost answers and freezes: nothing lost, nothing done twice."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected
from labspine.queues import AsyncQueue, Queue, Worker, worker
from labspine.testing.doors import Blocking
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault

WORKER = Path(__file__).with_name("queue_worker.py")
OpenQueue = Callable[..., Any]


@pytest.fixture
def open_queue(connect: Any) -> Iterator[OpenQueue]:
    """Give a function that opens a queue at an address, at the door under test."""
    made: list[Any] = []

    def make(url: str, **options: Any) -> Any:
        bus = connect(url, timeout_s=options.pop("timeout_s", 5.0))
        if not isinstance(bus, Blocking):
            made.append(Queue(bus, "work", **options))
            return made[-1]

        async def build() -> AsyncQueue:
            return AsyncQueue(bus._target, "work", **options)

        made.append(Blocking(bus._loop.run(build()), bus._loop))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@contextlib.contextmanager
def worker_process(url: str, notes: Path, work_s: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(WORKER), url, "work", str(notes), str(work_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def begun(process: subprocess.Popen[str], count: int) -> None:
    """Wait until a worker has begun so many items, or all that there are."""
    assert process.stdout is not None
    for _ in range(count):
        if not process.stdout.readline():
            return


def test_ten_killed_workers_lose_nothing_and_repeat_at_most_ten(broker: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with RedisConnector(broker.url) as bus:
        queue = Queue(bus, "work")
        ids = queue.put_many(list(range(300)))
        for kill in range(10):
            with worker_process(broker.url, notes, 0.002) as process:
                begun(process, 5 + 3 * kill)
                process.kill()
        with worker_process(broker.url, notes, 0.0) as process:
            drainer = threading.Thread(target=begun, args=(process, 1000))
            drainer.start()
            queue.drain(60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            drainer.join(10)

        *seen, end = notes.read_text().split()
        assert end == "end"
        assert set(seen) == set(ids)
        assert 300 <= len(seen) <= 310
        assert queue.state() == (0, 0, 0, 0)


def test_a_worker_told_to_end_finishes_its_item_and_leaves_the_others(broker: Any, tmp_path: Path) -> None:
    with RedisConnector(broker.url) as bus:
        queue = Queue(bus, "work")
        ids = queue.put_many(["a", "b", "c"])
        with worker_process(broker.url, tmp_path / "notes", 0.5) as process:
            begun(process, 1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0

        assert (tmp_path / "notes").read_text().split() == [ids[0], "end"]
        assert queue.state() == (2, 0, 0, 0)
        assert [item.deliveries for item in queue.claim_many(5)] == [1, 1]


def test_an_item_that_kills_its_workers_is_buried_after_its_limit(broker: Any) -> None:
    with RedisConnector(broker.url) as bus:
        queue = Queue(bus, "work", lease_s=0.1, max_deliveries=3)
        item_id = queue.put("deadly")
        for delivery in (1, 2, 3):
            with RedisConnector(broker.url) as doomed:
                item = Queue(doomed, "work", lease_s=0.1, max_deliveries=3).claim(wait_s=10)
                assert (item.id, item.deliveries) == (item_id, delivery)
        wait_until(lambda: queue.claim(wait_s=0.1) is None and queue.state().dead == 1, what="the burial")

        assert queue.dead()[0].id == item_id


@pytest.mark.parametrize("put", ["put", "put_many", "put with an id", "put later"])
def test_a_put_whose_answer_is_lost_is_put_once(
    open_queue: OpenQueue, broker: Any, valve: Any, put: str
) -> None:
    queue, other = open_queue(valve.url), open_queue(broker.url)
    queue.put("first")
    valve.cut_replies_after = b"marker"

    {
        "put": lambda: queue.put("marker"),
        "put_many": lambda: queue.put_many(["marker"]),
        "put with an id": lambda: queue.put("marker", item_id="mine"),
        "put later": lambda: queue.put("marker", delay_s=0.01),
    }[put]()

    assert valve.cut_replies_after is None
    assert other.length() == 2
    assert [other.claim(wait_s=5).value for _ in range(2)] == ["first", "marker"]


def test_an_acknowledgement_whose_answer_is_lost_counts(
    open_queue: OpenQueue, broker: Any, valve: Any
) -> None:
    queue, other = open_queue(valve.url), open_queue(broker.url)
    queue.put_many(["a", "b"])
    first, second = queue.claim_many(2, wait_s=5)
    valve.cut_replies_after = first.receipt[2]

    assert queue.acknowledge(first) is True
    assert valve.cut_replies_after is None
    assert queue.acknowledge(first) is False
    valve.cut_replies_after = second.receipt[2]
    with pytest.raises(DeliveryUnknown):
        queue.acknowledge_and_claim([second])
    assert queue.acknowledge(second) is True
    assert other.length() == 0


def test_what_was_claimed_and_lost_on_the_way_comes_again(
    open_queue: OpenQueue, broker: Any, valve: Any
) -> None:
    queue, other = open_queue(valve.url, lease_s=0.3), open_queue(broker.url, lease_s=0.3)
    other.put_many(["a", "b"])
    first = queue.claim(wait_s=5)
    valve.cut_replies_after = first.receipt[2]
    with pytest.raises(DeliveryUnknown):
        queue.acknowledge_and_claim([first])

    again = other.claim(wait_s=10)

    assert (again.value, again.deliveries) == ("b", 2)
    assert queue.acknowledge(first) is True


def test_a_put_on_a_frozen_broker_is_repeated_and_put_once(open_queue: OpenQueue, broker: Any) -> None:
    queue = open_queue(broker.url, timeout_s=0.5)
    queue.put("first")
    broker.signal(signal.SIGSTOP)
    try:
        with pytest.raises(DeadlinePassed) as late:
            queue.put("marker")
    finally:
        broker.signal(signal.SIGCONT)
    wait_until(lambda: queue.length() >= 1, what="an answer")

    queue.repeat(late.value)
    queue.repeat(late.value)

    assert queue.length() == 2


def test_a_killed_broker_loses_and_repeats_nothing(open_queue: OpenQueue, broker: Any) -> None:
    """Five kills while items are put, claimed and acknowledged; the id makes each effect happen once."""
    count, acknowledged, effects = 1200, Counter[str](), set[str]()
    producer, consumer = open_queue(broker.url), open_queue(broker.url, lease_s=2.0, max_deliveries=None)
    put_ids: list[str] = []
    is_over = threading.Event()

    def produce() -> None:
        for number in range(count):
            put_ids.append(put_surely(producer, number))

    def consume() -> None:
        done: list[Any] = []
        while not is_over.is_set():
            refused = consumer.counters.refused
            try:
                items = consumer.acknowledge_and_claim(done, wait_s=0.3)
            except LabspineError:
                told = acknowledge_surely(consumer, done)
                acknowledged.update(item.id for item, is_mine in zip(done, told, strict=True) if is_mine)
                done = []
                continue
            if consumer.counters.refused == refused:
                acknowledged.update(item.id for item in done)
            effects.update(item.id for item in items)
            done = items

    threads = [threading.Thread(target=produce), threading.Thread(target=consume)]
    for thread in threads:
        thread.start()
    for kill in range(1, 6):
        wait_until(lambda n=kill: len(put_ids) >= count * n // 7, what="some puts", timeout_s=60)
        broker.restart()
    threads[0].join(60)
    wait_until(lambda: sum(acknowledged.values()) >= count, what="the rest", timeout_s=60)
    is_over.set()
    threads[1].join(30)

    assert len(set(put_ids)) == count
    assert effects == set(put_ids)
    assert acknowledged == Counter(put_ids)
    assert producer.state() == (0, 0, 0, 0)


def put_surely(queue: Any, value: object) -> str:
    """Put an item through outages, as a program does."""
    error: LabspineError | None = None
    item_id = f"item-{value}"
    while True:
        try:
            if error is None:
                return str(queue.put(value, item_id=item_id))
            queue.repeat(error)
            return item_id
        except (DeliveryUnknown, DeadlinePassed) as unknown:
            error = unknown
        except LabspineError:
            pass


def acknowledge_surely(queue: Any, items: list[Any]) -> list[bool]:
    while items:
        try:
            return list(queue.acknowledge_many(items))
        except LabspineError:
            pass
    return []


def test_everything_survives_a_restart_of_the_broker(open_queue: OpenQueue, broker: Any) -> None:
    queue = open_queue(broker.url)
    queue.put("claimed", priority="high")
    item = queue.claim(wait_s=5)
    queue.put_many(["a", "b"], priority="low")
    queue.put("later", delay_s=600, item_id="mine")
    queue.put("bad")
    queue.bury(queue.claim(), "bad")
    before = (queue.state(), queue.peek(), queue.dead())
    assert before[0] == (2, 1, 1, 1)

    broker.restart()

    assert (queue.state(), queue.peek(), queue.dead()) == before
    assert queue.put("x", item_id="mine") == "mine"
    assert queue.state() == before[0]
    assert queue.acknowledge(item) is True
    assert queue.claim().value == "a"


def test_a_worker_goes_on_after_the_broker_was_away(broker: Any) -> None:
    done: list[Any] = []
    with RedisConnector(broker.url, patience_s=0.1) as bus:
        queue = Queue(bus, "work")
        queue.put("before")
        handler = worker("work")(lambda item: done.append(item.value))
        with Worker(bus, handler) as running:
            wait_until(lambda: done == ["before"], what="the first item", timeout_s=20)
            broker.kill()
            wait_until(lambda: running.counters.outages > 0, what="the outage", timeout_s=20)
            with pytest.raises(NotConnected):
                queue.put("lost")
            broker.start()
            queue.put("after")
            wait_until(lambda: done == ["before", "after"], what="the second item", timeout_s=20)
        assert queue.length() == 0
