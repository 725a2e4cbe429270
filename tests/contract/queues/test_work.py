"""What a queue promises on every broker: nothing is gone before it is acknowledged."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from labspine.endpoints import MessageEndpoints
from labspine.errors import (
    DeadlinePassed,
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    NotConnected,
    QueueFull,
    TooLarge,
)
from labspine.messages import DeviceMessage, VariableMessage
from labspine.testing.waiting import wait_until

only_redis = pytest.mark.parametrize("broker", ["redis"])
"""For what RabbitMQ cannot do; that it says so is tested in test_rabbitmq_limits."""


def test_an_item_is_claimed_and_gone_when_it_is_acknowledged(queue: Any) -> None:
    item_id = queue.put({"file": "a.h5"})

    item = queue.claim(wait_s=5)

    assert (item.id, item.value, item.deliveries, item.is_repeated) == (item_id, {"file": "a.h5"}, 1, False)
    assert queue.state().claimed == 1
    assert queue.claim() is None
    assert queue.acknowledge(item) is True
    assert queue.length() == 0


def test_messages_travel_as_they_are(queue: Any) -> None:
    sent = DeviceMessage(signals={"samx": {"value": 1.5}}, metadata={"scan_id": "s"})
    queue.put(sent)

    item = queue.claim(wait_s=5)

    assert item.message == item.value == sent


def test_items_come_in_order(queue: Any) -> None:
    ids = queue.put_many(list(range(50)))
    ids.append(queue.put(50))

    found = queue.claim_many(20, wait_s=5)
    while len(found) < 51:
        more = queue.acknowledge_and_claim(found[-1:], count=20, wait_s=5)
        assert more
        found += more

    assert [item.value for item in found] == list(range(51))
    assert [item.id for item in found] == ids


def test_an_acknowledgement_counts_once_and_only_from_who_has_the_item(open_queue: Any) -> None:
    """C23: acknowledged twice, or somebody else's item: False, and counted."""
    mine, theirs = open_queue(), open_queue()
    mine.put_many(["a", "b"])
    first, second = mine.claim(wait_s=5), theirs.claim(wait_s=5)

    assert mine.acknowledge(second) is False
    assert mine.acknowledge(first) is True
    assert mine.acknowledge(first) is False
    assert mine.counters.refused == 2
    assert mine.counters.acknowledged == 1
    assert theirs.acknowledge_many([second, second]) == [True, False]
    assert mine.length() == 0


def test_acknowledging_and_claiming_is_one_step(queue: Any) -> None:
    queue.put_many([1, 2, 3])
    (first,) = queue.acknowledge_and_claim((), wait_s=5)

    (second,) = queue.acknowledge_and_claim([first], wait_s=5)
    (third,) = queue.acknowledge_and_claim([first, second])

    assert third.value == 3
    assert queue.counters.acknowledged == 2
    assert queue.counters.refused == 1
    assert queue.acknowledge_and_claim([third], wait_s=0.05) == []
    assert queue.length() == 0


def test_what_is_given_back_comes_again_with_the_same_id(queue: Any) -> None:
    item_id = queue.put("x")
    item = queue.claim(wait_s=5)

    assert queue.give_back(item) is True
    assert queue.give_back(item) is False
    again = queue.claim(wait_s=5)

    assert (again.id, again.value, again.deliveries, again.is_repeated) == (item_id, "x", 2, True)
    assert queue.acknowledge(item) is False
    assert queue.acknowledge(again) is True


def test_after_the_last_delivery_an_item_is_buried(open_queue: Any) -> None:
    queue = open_queue(max_deliveries=2)
    item_id = queue.put("x")

    queue.give_back(queue.claim(wait_s=5))
    queue.give_back(queue.claim(wait_s=5))

    wait_until(lambda: queue.state().dead == 1, what="the burial")
    (letter,) = queue.dead()
    assert (letter.id, letter.value) == (item_id, "x")
    assert letter.reason
    assert queue.claim() is None


def test_buried_items_keep_their_reason_and_can_be_put_back(queue: Any) -> None:
    ids = queue.put_many(["a", "b", "c"])
    for item in queue.claim_many(3, wait_s=5):
        assert queue.bury(item, f"bad {item.value}") is True
        assert queue.bury(item, "again") is False

    assert [(d.id, d.value, d.reason) for d in queue.dead()] == [
        (ids[0], "a", "bad a"),
        (ids[1], "b", "bad b"),
        (ids[2], "c", "bad c"),
    ]
    assert all(abs(letter.buried_utc_s - time.time()) < 60 for letter in queue.dead())
    assert queue.requeue(ids[1]) == 1
    back = queue.claim(wait_s=5)
    assert (back.id, back.value, back.deliveries) == (ids[1], "b", 1)
    assert queue.acknowledge(back) is True
    assert queue.requeue(["nothing-like-that"]) == 0
    assert queue.requeue() == 2
    assert {item.value for item in queue.claim_many(5, wait_s=5)} == {"a", "c"}
    assert queue.state().dead == 0


def test_a_claimer_that_waits_gets_what_is_put_then(queue: Any, open_queue: Any) -> None:
    other = open_queue()
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(other.claim(wait_s=20)))
    waiter.start()
    queue.put("late")

    waiter.join(20)

    assert found[0].value == "late"


def test_closing_a_claimer_wakes_it(open_queue: Any) -> None:
    queue = open_queue()
    outcome: list[Any] = []

    def wait() -> None:
        try:
            outcome.append(queue.claim(wait_s=None))
        except NotConnected as error:
            outcome.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    queue.put  # noqa: B018  # the queue exists
    started = time.monotonic()
    queue.close()
    waiter.join(10)

    assert isinstance(outcome[0], NotConnected)
    assert time.monotonic() - started < 5
    queue.close()


def test_purging_throws_away_what_waits_and_leaves_what_is_claimed(queue: Any) -> None:
    queue.put_many(range(5))
    item = queue.claim(wait_s=5)

    assert queue.purge() == 4
    assert queue.acknowledge(item) is True
    assert queue.claim() is None
    queue.put("x")
    queue.bury(queue.claim(wait_s=5), "bad")
    assert queue.purge(dead=True) == 1
    assert queue.dead() == []


def test_draining_waits_until_all_is_done(queue: Any, open_queue: Any) -> None:
    queue.put_many([1, 2])
    with pytest.raises(DeadlinePassed, match="2 ready"):
        queue.drain(0.05)
    other = open_queue()

    def work() -> None:
        for _ in range(2):
            other.acknowledge(other.claim(wait_s=10))

    worker = threading.Thread(target=work)
    worker.start()
    queue.drain(20)
    worker.join(10)

    assert queue.length() == 0


def test_many_threads_share_a_queue(queue: Any) -> None:
    """Eight threads put and eight take; each item is taken once."""
    count, found, lock = 40, [], threading.Lock()

    def put(first: int) -> None:
        for number in range(first, first + count):
            queue.put(number)

    def take() -> None:
        done: list[Any] = []
        while True:
            done = queue.acknowledge_and_claim(done, wait_s=1.0)
            if not done:
                return
            with lock:
                found.extend(item.value for item in done)

    threads = [threading.Thread(target=put, args=(count * n,)) for n in range(4)]
    threads += [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(found) == list(range(4 * count))
    assert queue.length() == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda q: q.put(object()), InvalidMessage),
        (lambda q: q.put(b"x" * (17 * 1024 * 1024)), TooLarge),
        (lambda q: q.put(1, item_id=""), InvalidArgument),
        (lambda q: q.put(1, item_id=5), InvalidArgument),
        (lambda q: q.put(1, timeout_s=-1), InvalidArgument),
        (lambda q: q.put_many([1, 2], item_ids=["a"]), InvalidArgument),
        (lambda q: q.put_many([1, 2], item_ids=["a", "a"]), InvalidArgument),
        (lambda q: q.put_many(list(range(1001))), InvalidArgument),
        (lambda q: q.claim(wait_s=float("nan")), InvalidArgument),
        (lambda q: q.claim(wait_s=-1), InvalidArgument),
        (lambda q: q.claim(wait_s="soon"), InvalidArgument),
        (lambda q: q.claim_many(0), InvalidArgument),
        (lambda q: q.claim_many(1001), InvalidArgument),
        (lambda q: q.claim_many(True), InvalidArgument),
        (lambda q: q.claim_many(1.5), InvalidArgument),
        (lambda q: q.dead(0), InvalidArgument),
        (lambda q: q.drain(float("inf")), InvalidArgument),
        (lambda q: q.repeat(ValueError("x")), InvalidArgument),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_sent(queue: Any, call: Any, error: type) -> None:
    with pytest.raises(error):
        call(queue)
    assert queue.length() == 0


@pytest.mark.parametrize("name", ["", "a/b", "a*", "{a}", "a b", "..", "x" * 600])
def test_a_wrong_name_is_refused(open_queue: Any, name: str) -> None:
    with pytest.raises(InvalidName):
        open_queue(queue=name)


@pytest.mark.parametrize(
    "options",
    [
        {"lease_s": 0},
        {"lease_s": -1},
        {"lease_s": float("inf")},
        {"max_deliveries": 0},
        {"max_deliveries": 1.5},
        {"limit": 0},
        {"limit": True},
        {"leese_s": 3},
    ],
)
def test_a_wrong_option_is_refused(open_queue: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        open_queue(**options)


def test_an_endpoint_names_a_queue(open_queue: Any, name: str) -> None:
    queue = open_queue(queue=MessageEndpoints.work_queue(name))
    queue.put(1)

    assert open_queue().claim(wait_s=5).message == VariableMessage(value=1)


@only_redis
def test_a_full_queue_refuses_or_waits_for_room(open_queue: Any) -> None:
    queue = open_queue(limit=3)
    queue.put_many([1, 2])
    with pytest.raises(QueueFull) as full:
        queue.put_many([3, 4])
    assert (full.value.held, full.value.limit, full.value.more) == (2, 3, 2)
    queue.put(3)
    with pytest.raises(QueueFull, match="holds 3 items and may hold 3"):
        queue.put(4, timeout_s=0.05)

    worker = threading.Timer(0.1, lambda: queue.acknowledge(queue.claim(wait_s=5)))
    worker.start()
    queue.put(4, timeout_s=20)
    worker.join()

    assert queue.length() == 3
