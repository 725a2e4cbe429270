"""Queue flows stepped by hand: what they ask for, and what they make of the answers."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
import pytest

from labspine.endpoints import MessageEndpoints
from labspine.errors import (
    DeliveryUnknown,
    InvalidArgument,
    NotConnected,
    PermissionDenied,
    QueueFull,
    ServerError,
)
from labspine.flows import Exchange, queues
from labspine.flows.queues import looking, scripts

ITEM = queues.NewItem("id-1", b"payload")
UNKNOWN = "EVAL: ERR Function not found"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def me(clock: Clock) -> queues.Claimer:
    return queues.Claimer("0123456789abcdef", clock)


def finish(flow: Generator[Exchange, list[Any], Any], replies: list[Any]) -> Any:
    with pytest.raises(StopIteration) as end:
        flow.send(replies)
    return end.value.value


def put(**options: Any) -> Any:
    return queues.put("work", [ITEM], token="id-1", **options)  # noqa: S106  # no secret


def claim(me: queues.Claimer, **options: Any) -> Any:
    given = {"count": 1, "wait_s": 0.0, "lease_s": 30.0, "max_deliveries": 5, **options}
    return queues.claim(me, ["work"], **given)


def words(ask: Exchange, at: int = 0) -> list[str]:
    return [w.decode() if isinstance(w, bytes) else str(w) for w in ask.commands[at]]


def entry(at: str, *fields: bytes) -> list[Any]:
    return [at.encode(), list(fields)]


def test_the_keys_are_those_of_the_endpoint() -> None:
    assert queues.base_of("work").decode() == MessageEndpoints.work_queue("work").endpoint


def test_a_put_is_one_function_call() -> None:
    flow = put(limit=7, priority="low", delay_s=1.5)
    ask = next(flow)

    assert words(ask) == [
        "FCALL", scripts.PUT.decode(), "1", "labspine/queue/{work}", "id-1", "low", "7", "+1500", "id-1", "payload",
    ]  # fmt: skip
    assert not ask.readonly
    assert finish(flow, [1]) == 1


def test_the_library_is_loaded_when_the_server_does_not_know_it() -> None:
    flow = put()
    first = next(flow)

    load = flow.throw(ServerError(UNKNOWN))
    again = flow.send([b"OK"]) if words(load)[:3] == ["FUNCTION", "LOAD", "REPLACE"] else None

    assert again == first
    assert words(load)[3] == scripts.LIBRARY
    assert finish(flow, [1]) == 1


def test_who_may_not_load_the_library_is_told_what_to_do() -> None:
    flow = put()
    next(flow)
    flow.throw(ServerError(UNKNOWN))

    with pytest.raises(PermissionDenied, match="let a service or the administrator use a queue once"):
        flow.throw(PermissionDenied("FUNCTION LOAD"))


def test_a_lost_answer_is_followed_by_the_same_put_once_more() -> None:
    flow = put()
    first = next(flow)

    assert flow.throw(DeliveryUnknown("lost")) == first
    with pytest.raises(DeliveryUnknown) as unknown:
        flow.throw(DeliveryUnknown("lost again"))

    repeat = queues.repeat_put(unknown.value)
    assert next(repeat) == first
    assert finish(repeat, [0]) == 0


def test_a_put_in_doubt_stays_in_doubt_when_the_broker_is_gone() -> None:
    flow = put()
    next(flow)
    flow.throw(DeliveryUnknown("lost"))

    with pytest.raises(DeliveryUnknown) as unknown:
        flow.throw(NotConnected("nobody there"))
    assert unknown.value.unsettled is not None

    fresh = put()
    next(fresh)
    with pytest.raises(NotConnected):
        fresh.throw(NotConnected("nobody there"))


def test_a_full_queue_says_how_full() -> None:
    flow = put(limit=3)
    next(flow)

    with pytest.raises(QueueFull) as full:
        flow.send([-1 - 3])

    assert (full.value.queue, full.value.held, full.value.limit, full.value.more) == ("work", 3, 3, 1)


def test_other_errors_cannot_be_repeated() -> None:
    with pytest.raises(InvalidArgument, match="cannot be repeated"):
        next(queues.repeat_put(DeliveryUnknown("of an event")))


def test_the_first_claim_looks_after_everything_and_the_next_one_only_reads(me: queues.Claimer) -> None:
    flow = claim(me)
    first = words(next(flow))
    found = [[1, b"normal", [entry("5-0", b"i", b"x", b"d", b"p")], []]]
    got = finish(flow, [[[], found, -1, 1]])

    assert first[1] == scripts.CLAIM.decode()
    assert first[4:8] == ["30000/0123456789abcdef", "1", "5", "1"]
    (item,) = got.items
    assert (item.id, item.payload, item.deliveries) == ("x", b"p", 1)

    again = claim(me, acknowledged=[item.receipt])
    ask = next(again)
    assert [words(ask, at)[0] for at in range(3)] == ["XACK", "XDEL", "XREADGROUP"]
    assert "BLOCK" not in words(ask, 2)
    assert ask.block_s is None
    assert finish(again, [1, 1, None]) == ([], 0)

    twice = claim(me, acknowledged=[item.receipt])
    next(twice)
    assert finish(twice, [0, 0, None]) == ([], 1)


def test_a_single_acknowledgement_beyond_doubt_needs_no_function_unless_its_answer_is_lost(
    me: queues.Claimer, clock: Clock
) -> None:
    receipt = (b"labspine/queue/{work}", b"normal", b"5-0", 1, me.consumer(30.0), clock.now + 24)
    flow = queues.acknowledge(me, [receipt])
    assert [command[0] for command in next(flow).commands] == [b"XACK", b"XDEL"]
    assert finish(flow, [1, 1]) == [True]

    flow = queues.acknowledge(me, [receipt])
    next(flow)
    again = words(flow.throw(DeliveryUnknown("lost")))
    assert again[1] == scripts.ACKNOWLEDGE.decode()
    assert again[4] == "1"
    assert finish(flow, [[1]]) == [True]
    assert me.unsure == set()

    clock.now += 25
    assert words(next(queues.acknowledge(me, [receipt])))[1] == scripts.ACKNOWLEDGE.decode()


def test_deliveries_of_several_streams_or_of_another_claimer_are_acknowledged_with_care(
    me: queues.Claimer, clock: Clock
) -> None:
    def receipt(stream: bytes, owner: queues.Claimer) -> queues.Receipt:
        return (b"labspine/queue/{work}", stream, b"5-0", 1, owner.consumer(30.0), clock.now + 24)

    other = queues.Claimer("f" * 16, clock)
    me.watch(("work",)).look_at_mono_s = clock.now + 1000

    for due in ([receipt(b"high", me), receipt(b"low", me)], [receipt(b"low", other)]):
        ask = next(claim(me, acknowledged=due))
        assert words(ask)[:2] == ["FCALL", scripts.ACKNOWLEDGE.decode()]
        assert other.consumer(30.0).decode() not in words(ask)


def test_what_was_claimed_long_ago_is_acknowledged_with_care(me: queues.Claimer, clock: Clock) -> None:
    flow = claim(me)
    next(flow)
    found = [[1, b"normal", [entry("5-0", b"i", b"x", b"d", b"p")], []]]
    (item,) = finish(flow, [[[], found, -1, 1]]).items
    me.watch(("work",)).look_at_mono_s = clock.now + 1000

    clock.now += 25
    late = claim(me, acknowledged=[item.receipt])

    assert words(next(late))[:2] == ["FCALL", scripts.ACKNOWLEDGE.decode()]


def test_a_wait_is_cut_into_slices_and_ends_when_the_claimer_is_closed(
    me: queues.Claimer, clock: Clock
) -> None:
    flow = claim(me, wait_s=None)
    next(flow)
    ask = flow.send([[[], [], -1, 0]])
    assert 0 < int(words(ask)[words(ask).index("BLOCK") + 1]) <= 500
    clock.now += 1
    assert words(flow.send([None]))[1] == scripts.CLAIM.decode()

    me.is_closed = True
    with pytest.raises(NotConnected, match="closed"):
        flow.send([[[], [], -1, 0]])


def test_a_wait_ends_in_time_for_the_next_due_item(me: queues.Claimer) -> None:
    flow = claim(me, wait_s=60.0)
    next(flow)
    ask = flow.send([[[], [], 120, 0]])

    assert int(words(ask)[words(ask).index("BLOCK") + 1]) <= 120


def test_what_was_read_too_much_is_unread_and_the_function_claims_from_then_on(
    me: queues.Claimer, clock: Clock
) -> None:
    flow = claim(me)
    next(flow)
    finish(flow, [[[], [], -1, 0]])
    flow = claim(me)
    next(flow)
    base = b"labspine/queue/{work}"
    reply = [
        [base + b"/high", [entry("1-0", b"i", b"h", b"d", b"p")]],
        [base + b"/low", [entry("2-0", b"i", b"l", b"d", b"p")]],
    ]

    unread = words(flow.send([reply]))
    assert unread[1] == scripts.UNREAD.decode()
    assert unread[-2:] == ["low", "2-0"]
    assert [item.id for item in finish(flow, [1]).items] == ["h"]
    assert words(next(claim(me)))[1] == scripts.CLAIM.decode()


def test_an_acknowledgement_in_doubt_is_asked_for_as_a_repeat(me: queues.Claimer) -> None:
    receipt = (b"labspine/queue/{work}", b"normal", b"5-0", 1, me.consumer(30.0), 0.0)
    flow = queues.acknowledge(me, [receipt])
    first = next(flow)
    again = flow.throw(DeliveryUnknown("lost"))

    assert words(first)[4] == ""
    assert words(again)[4] == "1"
    assert finish(flow, [[1]]) == [True]
    assert me.unsure == set()


def test_what_another_claimer_holds_is_refused_without_naming_it(me: queues.Claimer, clock: Clock) -> None:
    other = queues.Claimer("f" * 16, clock)
    receipt = (b"labspine/queue/{work}", b"normal", b"5-0", 1, other.consumer(30.0), 0.0)

    assert other.consumer(30.0).decode() not in words(next(queues.acknowledge(me, [receipt])))
    for flow in (
        queues.touch(me, [receipt]),
        queues.bury(me, receipt, "x"),
        queues.give_back(me, receipt, delay_s=0.0, max_deliveries=None),
    ):
        with pytest.raises(StopIteration) as end:
            next(flow)  # type: ignore[call-overload]  # generators of different outcomes
        assert end.value.value in (False, [False])


def test_foreign_entries_are_handed_on_with_what_they_have(me: queues.Claimer) -> None:
    flow = claim(me)
    next(flow)
    found = [
        [1, b"normal", [entry("5-0", b"who", b"knows"), entry("6-0", b"i", b"x", b"d", b"p", b"n", b"2")], []]
    ]

    foreign, counted = finish(flow, [[[], found, -1, 1]]).items

    assert (foreign.id, foreign.payload, foreign.deliveries) == ("", b"", 1)
    assert (counted.id, counted.deliveries) == ("x", 3)


def test_packed_items_are_read_whatever_bytes_they_hold() -> None:
    payload = bytes(range(256)) * 300
    packed = b"\x92\xa3low\x94\xa1i\xa2id\xa1d\xdb" + len(payload).to_bytes(4, "big") + payload

    priority, fields = looking._unpacked(packed)

    assert (priority, fields) == ("low", [b"i", b"id", b"d", payload])
    assert msgspec.msgpack.decode(looking._as_bytes(b"\x91\xd9\x03abc")) == [b"abc"]
