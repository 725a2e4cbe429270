"""Workers: handlers of both kinds on both doors, with retries, order of queues, and a graceful end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from labspine.errors import InvalidArgument, InvalidName, WorkRefused
from labspine.queues import Item, worker
from labspine.testing.waiting import wait_until

only_redis = pytest.mark.parametrize("broker", ["redis"])
"""For what RabbitMQ cannot do; that it says so is tested in test_rabbitmq_limits."""


def test_plain_and_async_handlers_do_the_work(queue: Any, start_worker: Any, name: str) -> None:
    done: list[Any] = []

    @worker(name)
    def plain(item: Item) -> None:
        done.append(("plain", item.value))

    @worker(name)
    async def not_plain(item: Item) -> None:
        await asyncio.sleep(0)
        done.append(("async", item.value))

    queue.put_many(range(30))
    running = start_worker(plain, not_plain)
    wait_until(lambda: len(done) == 30, what="the work", timeout_s=20)
    queue.drain(10)

    assert sorted(value for _, value in done) == list(range(30))
    assert running.stop() is True
    assert (running.counters.done, running.counters.failed) == (30, 0)


def test_a_handler_that_raises_is_tried_again_with_growing_pauses(
    queue: Any, start_worker: Any, name: str
) -> None:
    seen: list[tuple[str, int, float]] = []

    @worker(name, max_attempts=3, backoff_s=0.05)
    def fails(item: Item) -> None:
        seen.append((item.id, item.deliveries, time.monotonic()))
        raise ValueError("no file ✓")

    item_id = queue.put("x")
    running = start_worker(fails)
    wait_until(lambda: queue.state().dead == 1, what="the burial", timeout_s=20)

    assert [(i, n) for i, n, _ in seen] == [(item_id, 1), (item_id, 2), (item_id, 3)]
    assert seen[1][2] - seen[0][2] >= 0.05
    assert seen[2][2] - seen[1][2] >= 0.1
    (letter,) = queue.dead()
    assert "fails failed 3 times" in letter.reason
    assert "ValueError: no file ✓" in letter.reason
    assert (running.counters.failed, running.counters.buried) == (3, 1)


def test_a_handler_may_refuse_an_item_for_ever(queue: Any, start_worker: Any, name: str) -> None:
    @worker(name)
    async def refuses(item: Item) -> None:
        raise WorkRefused("there is no such file")

    queue.put("x")
    start_worker(refuses)
    wait_until(lambda: queue.state().dead == 1, what="the burial", timeout_s=20)

    assert "there is no such file" in queue.dead()[0].reason


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_a_handler_that_exits_hurts_nobody_else(
    queue: Any, start_worker: Any, name: str, error: type[BaseException], door: str
) -> None:
    done: list[Any] = []

    @worker(name, max_attempts=1)
    def exits(item: Item) -> None:
        if item.value == "bad":
            raise error
        done.append(item.value)

    queue.put_many(["bad", "good"])
    start_worker(exits)

    wait_until(lambda: done == ["good"], what="the good item", timeout_s=20)
    assert queue.state().dead == 1


@only_redis
def test_queues_are_worked_on_in_their_order(
    queue: Any, open_queue: Any, start_worker: Any, name: str
) -> None:
    urgent = open_queue(queue=f"{name}-urgent")
    queue.put_many(["n1", "n2"])
    urgent.put_many(["u1", "u2"])
    done: list[Any] = []

    @worker(f"{name}-urgent", name)
    def handle(item: Item) -> None:
        done.append((item.queue, item.value))

    start_worker(handle)
    wait_until(lambda: len(done) == 4, what="the work", timeout_s=20)

    assert [value for _, value in done] == ["u1", "u2", "n1", "n2"]
    assert done[0][0] == f"{name}-urgent"


def test_as_many_run_at_once_as_the_concurrency_says(queue: Any, start_worker: Any, name: str) -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def step(by: int) -> None:
        with lock:
            now[0] += by
            most[0] = max(most[0], now[0])

    @worker(name, concurrency=3)
    def handle(item: Item) -> None:
        step(1)
        wait_until(lambda: most[0] == 3, what="three at once", timeout_s=20)
        step(-1)

    queue.put_many(range(12))
    start_worker(handle)
    queue.drain(30)

    assert most[0] == 3


def test_a_lease_is_renewed_while_the_handler_runs(
    queue: Any, open_queue: Any, start_worker: Any, name: str
) -> None:
    other, go_on, calls = open_queue(lease_s=0.3), threading.Event(), []

    @worker(name, lease_s=0.3)
    def slow(item: Item) -> None:
        calls.append(item.deliveries)
        assert go_on.wait(30)

    queue.put("x")
    running = start_worker(slow)
    wait_until(lambda: calls, what="the handler", timeout_s=20)
    assert other.claim(wait_s=1.5) is None
    go_on.set()
    queue.drain(10)

    assert calls == [1]
    assert (running.counters.done, running.counters.refused, running.counters.lost) == (1, 0, 0)


def test_a_handler_beyond_its_time_limit_is_taken_for_dead(
    queue: Any, open_queue: Any, start_worker: Any, name: str
) -> None:
    other, go_on = open_queue(lease_s=0.3), threading.Event()

    @worker(name, lease_s=0.3, time_limit_s=0.5)
    def hangs(item: Item) -> None:
        assert go_on.wait(30)

    item_id = queue.put("x")
    running = start_worker(hangs)
    wait_until(lambda: queue.state().claimed == 1, what="the claim", timeout_s=20)
    found = other.claim(wait_s=20)
    assert (found.id, found.deliveries) == (item_id, 2)
    assert other.acknowledge(found) is True
    go_on.set()
    running.stop()

    assert running.counters.refused == 1


def test_an_async_handler_beyond_its_time_limit_is_cancelled(
    queue: Any, start_worker: Any, name: str
) -> None:
    @worker(name, time_limit_s=0.1, max_attempts=1)
    async def hangs(item: Item) -> None:
        await asyncio.sleep(60)

    queue.put("x")
    start_worker(hangs)
    wait_until(lambda: queue.state().dead == 1, what="the burial", timeout_s=20)

    assert "time limit of 0.1 s" in queue.dead()[0].reason


def test_stopping_lets_the_handler_end_and_takes_nothing_more(
    queue: Any, start_worker: Any, name: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @worker(name, prefetch=3)
    def handle(item: Item) -> None:
        begun.set()
        assert go_on.wait(30)

    ids = queue.put_many(["a", "b", "c", "d"])
    running = start_worker(handle)
    assert begun.wait(20)
    threading.Timer(0.2, go_on.set).start()

    assert running.stop(20.0) is True
    assert running.counters.done == 1
    assert queue.state().ready == 3
    rest = queue.claim_many(5, wait_s=5)
    assert {item.id for item in rest} == set(ids[1:])
    assert all(item.deliveries == 1 for item in rest)


def test_what_does_not_end_in_time_is_told(queue: Any, start_worker: Any, name: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @worker(name, lease_s=0.3)
    def hangs(item: Item) -> None:
        begun.set()
        go_on.wait(30)

    queue.put("x")
    running = start_worker(hangs)
    assert begun.wait(20)

    assert running.stop(0.1) is False
    assert queue.claim(wait_s=20).deliveries in (1, 2)
    go_on.set()


def test_an_async_handler_that_does_not_end_is_cancelled_and_its_item_given_back(
    queue: Any, start_worker: Any, name: str, door: str
) -> None:
    begun = threading.Event()

    @worker(name, lease_s=1.0)
    async def hangs(item: Item) -> None:
        begun.set()
        await asyncio.sleep(2 if door == "sync" else 60)

    queue.put("x")
    running = start_worker(hangs)
    assert begun.wait(20)

    assert running.stop(0.1) is False
    found = queue.claim(wait_s=20)
    assert found.deliveries == (1 if door == "async" else 2)


@only_redis
def test_poison_is_buried_and_the_worker_goes_on(queue: Any, bus: Any, start_worker: Any, name: str) -> None:
    from labspine.flows import queues

    done: list[Any] = []
    bus._perform(queues.put(name, [queues.NewItem("bad", b"\xc1")], token="put-1"))  # noqa: S106  # no secret
    queue.put("good")

    start_worker(worker(name)(lambda item: done.append(item.value)))
    wait_until(lambda: done == ["good"], what="the good item", timeout_s=20)

    assert [letter.id for letter in queue.dead()] == ["bad"]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (worker, InvalidArgument),
        (lambda: worker(lambda item: None), InvalidArgument),
        (lambda: worker("a b"), InvalidName),
        (lambda: worker("a", concurrency=0), InvalidArgument),
        (lambda: worker("a", prefetch=2000), InvalidArgument),
        (lambda: worker("a", max_attempts=True), InvalidArgument),
        (lambda: worker("a", backoff_s=-1), InvalidArgument),
        (lambda: worker("a", lease_s=0), InvalidArgument),
        (lambda: worker("a", time_limit_s=0), InvalidArgument),
        (lambda: worker("a", tries=3), InvalidArgument),
        (lambda: worker("a")(5), InvalidArgument),
        (lambda: worker("a")(lambda: None), InvalidArgument),
    ],
)
def test_a_wrong_worker_is_refused(make: Callable[[], object], error: type) -> None:
    with pytest.raises(error):
        make()


def test_only_handlers_can_be_given_and_a_worker_starts_once(start_worker: Any, name: str) -> None:
    with pytest.raises(InvalidArgument, match="decorate it"):
        start_worker(lambda item: None)
    with pytest.raises(InvalidArgument, match="needs handlers"):
        start_worker()
    handler = worker(name)(lambda item: item)
    assert handler("x") == "x"  # type: ignore[arg-type]  # a handler can still be called
    running = start_worker(handler)
    with pytest.raises(InvalidArgument, match="started before"):
        running.start()
