"""What a queue can do beyond taking turns: leases, delays, priorities, looking, repeats."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from labspine.errors import InvalidArgument
from labspine.testing.waiting import wait_until

only_redis = pytest.mark.parametrize("broker", ["redis"])
"""For what RabbitMQ cannot do; that it says so is tested in test_rabbitmq_limits."""


def test_an_item_whose_lease_ended_is_given_to_another(open_queue: Any) -> None:
    mine, other = open_queue(lease_s=0.2), open_queue(lease_s=0.2)
    item_id = mine.put("x")
    lost = mine.claim(wait_s=5)

    found = other.claim(wait_s=10)

    assert (found.id, found.deliveries) == (item_id, 2)
    assert mine.acknowledge(lost) is False
    assert mine.touch(lost) is False
    assert mine.give_back(lost) is False
    assert mine.bury(lost, "late") is False
    assert other.acknowledge(found) is True


def test_each_claim_keeps_the_lease_it_was_made_with(open_queue: Any) -> None:
    patient, hasty = open_queue(lease_s=60.0), open_queue(lease_s=0.1)
    patient.put_many(["a", "b"])
    kept, dropped = patient.claim(wait_s=5), hasty.claim(wait_s=5)

    again = hasty.claim(wait_s=10)

    assert again.id == dropped.id
    assert hasty.claim(wait_s=1.2) is not None  # the hasty one's own again, never that of the patient one
    assert patient.acknowledge(kept) is True


def test_a_lease_can_be_renewed(open_queue: Any) -> None:
    mine, other = open_queue(lease_s=1.0), open_queue(lease_s=1.0)
    mine.put("x")
    item = mine.claim(wait_s=5)
    end = time.monotonic() + 2.0

    while time.monotonic() < end:
        assert mine.touch(item) is True
        assert other.claim(wait_s=0.2) is None

    assert mine.acknowledge(item) is True


def test_a_claimer_may_get_its_own_item_again_and_only_the_new_delivery_counts(open_queue: Any) -> None:
    queue = open_queue(lease_s=0.1)
    queue.put("x")
    first = queue.claim(wait_s=5)
    second = queue.claim(wait_s=10)

    assert (second.id, second.deliveries) == (first.id, 2)
    assert queue.acknowledge(first) is False
    assert queue.acknowledge(second) is True


def test_what_nobody_ever_acknowledges_is_buried(open_queue: Any) -> None:
    queue = open_queue(lease_s=0.1, max_deliveries=2)
    queue.put("deadly")

    assert queue.claim(wait_s=5).deliveries == 1
    assert queue.claim(wait_s=5).deliveries == 2
    wait_until(lambda: queue.claim(wait_s=0.1) is None and queue.state().dead == 1, what="the burial")

    (letter,) = queue.dead()
    assert letter.deliveries == 2
    assert "never acknowledged" in letter.reason


def test_a_delayed_item_comes_when_it_is_due(queue: Any) -> None:
    started = time.time()
    queue.put("later", delay_s=0.4)
    queue.put("at", eta_utc_s=started + 0.8)
    queue.put("past", eta_utc_s=started - 5)

    assert queue.claim(wait_s=5).value == "past"
    assert queue.claim() is None
    assert queue.state().delayed == 2
    assert queue.claim(wait_s=5).value == "later"
    assert time.time() - started >= 0.39
    assert queue.claim(wait_s=5).value == "at"
    assert time.time() - started >= 0.79


def test_a_given_back_item_waits_its_delay(queue: Any) -> None:
    queue.put("x")
    item = queue.claim(wait_s=5)
    started = time.monotonic()

    queue.give_back(item, delay_s=0.3)

    assert queue.claim() is None
    again = queue.claim(wait_s=5)
    assert time.monotonic() - started >= 0.29
    assert (again.id, again.deliveries) == (item.id, 2)


@only_redis
def test_higher_priorities_come_first(queue: Any) -> None:
    queue.put("low", priority="low")
    queue.put_many(["a", "b"])
    queue.put("high", priority="high")
    queue.put("high later", priority="high", delay_s=0.05)

    assert [item.value for item in queue.claim_many(2, wait_s=5)] == ["high", "a"]
    wait_until(lambda: queue.peek(1)[0].value or True, what="a look")
    time.sleep(0.06)
    assert [queue.claim(wait_s=5).value for _ in range(3)] == ["high later", "b", "low"]


@only_redis
def test_a_waiting_claim_never_takes_more_than_it_asked_for(queue: Any, open_queue: Any) -> None:
    """Even when items of all priorities come at once while it waits on the server."""
    other = open_queue()
    for turn in range(10):
        assert other.claim(wait_s=0.02) is None
        for priority in ("low", "normal", "high"):
            queue.put_many([f"{priority} {n}" for n in range(3)], priority=priority)
        found = [other.claim(wait_s=5)]
        found += other.claim_many(4, wait_s=5) + other.claim_many(9, wait_s=5)
        wanted = [f"{priority} {n}" for priority in ("high", "normal", "low") for n in range(3)]
        assert [item.value for item in found] == wanted, turn
        assert {item.deliveries for item in found} == {1}
        assert other.acknowledge_many(found) == [True] * 9


@only_redis
def test_looking_takes_nothing(queue: Any) -> None:
    ids = queue.put_many(["a", "b"])
    queue.put("later", delay_s=60, item_id="mine")
    queue.claim(wait_s=5)

    seen = queue.peek()

    assert [(s.id, s.value, s.is_claimed, s.deliveries) for s in seen] == [
        (ids[0], "a", True, 1),
        (ids[1], "b", False, 0),
        ("mine", "later", False, 0),
    ]
    assert seen[2].due_utc_s == pytest.approx(time.time() + 60, abs=10)
    assert queue.state() == (1, 1, 1, 0)
    assert len(queue.peek(1)) == 1


@only_redis
def test_large_and_odd_contents_survive_delays_and_burials(queue: Any) -> None:
    content = {"bytes": bytes(range(256)) * 300, "text": "Größe ✓", "list": [1.5, None, True]}
    queue.put(content, delay_s=0.05)
    assert queue.peek()[0].value == content
    item = queue.claim(wait_s=5)
    queue.bury(item, "odd ✓")
    (letter,) = queue.dead()
    assert (letter.value, letter.reason) == (content, "odd ✓")
    queue.requeue()

    assert queue.claim(wait_s=5).value == content


@only_redis
def test_an_id_of_your_own_is_put_once(queue: Any) -> None:
    assert queue.put("x", item_id="run-17") == "run-17"
    assert queue.put("x", item_id="run-17") == "run-17"
    assert queue.put_many(["x", "y"], item_ids=["run-17", "run-18"]) == ["run-17", "run-18"]

    assert queue.length() == 2
    assert (queue.counters.put, queue.counters.repeated) == (2, 2)
    assert queue.acknowledge_many(queue.claim_many(5, wait_s=5)) == [True, True]
    queue.put("x", item_id="run-17")
    assert queue.length() == 0


@only_redis
def test_repeats_are_known_after_thousands_of_other_items(queue: Any) -> None:
    queue.put("x", item_id="first")
    for start in range(0, 9000, 1000):
        queue.put_many(["x"] * 1000, item_ids=[f"n{n}" for n in range(start, start + 1000)])

    assert queue.put_many(["x", "x"], item_ids=["first", "n0"]) == ["first", "n0"]

    assert queue.counters.put == 9001


@only_redis
def test_poison_goes_to_the_dead_letters_and_others_go_on(
    queue: Any, bus: Any, broker: str, name: str
) -> None:
    payloads = [b"", b"\x80\x04K\x01.", b"\x81" * 100, os.urandom(64)]
    queue.put("before")
    for payload in payloads:
        put_raw(bus, name, payload)
    queue.put("after")

    first = queue.claim(wait_s=5)
    second = queue.acknowledge_and_claim([first], wait_s=5)[0]

    assert (first.value, second.value) == ("before", "after")
    assert queue.counters.poison == 4
    letters = queue.dead()
    assert [letter.payload for letter in letters] == payloads
    assert all(letter.message is None and "Error" in letter.reason for letter in letters)
    assert queue.peek() != []


def put_raw(bus: Any, name: str, payload: bytes) -> None:
    """Put bytes that no program of ours would put."""
    from labspine.flows import queues

    flow = queues.put(name, [queues.NewItem(os.urandom(8).hex(), payload)], token=os.urandom(8).hex())
    bus._perform(flow)


@pytest.mark.parametrize(
    "options",
    [
        {"priority": "urgent"},
        {"priority": 1},
        {"priority": None},
        {"delay_s": -1},
        {"delay_s": float("nan")},
        {"eta_utc_s": "tomorrow"},
        {"delay_s": 1, "eta_utc_s": 1},
    ],
)
def test_a_wrong_schedule_is_refused(queue: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        queue.put(1, **options)
    assert queue.length() == 0
