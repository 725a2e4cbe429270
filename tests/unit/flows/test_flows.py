"""Step flows by hand: look at what they ask, send a reply, look again."""

from __future__ import annotations

from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.errors import (
    DeadlinePassed,
    DeliveryUnknown,
    InvalidArgument,
    NotConnected,
    PermissionDenied,
    ServerError,
    TooLarge,
)
from labspine.flows import Exchange, Numbering, Recording, checks, events, history, lists, state, streams
from labspine.flows.events import LARGEST_RECORDED_BYTES

SEGMENT = MessageEndpoints.scan_segment()
POINT = m.ScanMessage(point_id=1, scan_id="s", data={})


def ended(flow: Any, reply: Any) -> Any:
    with pytest.raises(StopIteration) as end:
        flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply)
    return end.value.value


def recording() -> Recording:
    return Recording(Numbering(lambda: "0123456789abcdef"), 1000)


def test_a_durable_event_is_published_and_recorded_in_one_step() -> None:
    flow = events.send(SEGMENT, POINT, recording())
    ask = next(flow)
    assert ask.transaction
    (publish, channel, payload), record = ask.commands
    assert (publish, channel) == (b"PUBLISH", SEGMENT.endpoint)
    assert m.read_stamp(payload) == ("0123456789abcdef", 1)
    assert record == (
        *(b"XADD", "labspine/history/scans", b"MAXLEN", b"~", 1000, b"*"),
        *(b"c", SEGMENT.endpoint, b"d", payload),
    )
    assert ended(flow, [3, b"1-0"]) == 3


def test_a_value_is_stored_in_the_same_step() -> None:
    endpoint = MessageEndpoints.device_read("samx")
    flow = events.set_and_publish(endpoint, m.DeviceMessage(signals={}), recording(), expire_s=1.5)
    ask = next(flow)
    assert [command[0] for command in ask.commands] == [b"PUBLISH", b"XADD", b"SET"]
    assert ask.commands[2][3:] == ("PX", 1500)
    ended(flow, [0, b"1-0", b"OK"])


def test_what_is_too_large_for_the_history_leaves_its_size_and_stamp() -> None:
    big = m.ScanMessage(point_id=1, scan_id="x" * LARGEST_RECORDED_BYTES, data={})
    ask = next(events.send(SEGMENT, big, recording()))
    payload, (kind, note) = ask.commands[0][2], ask.commands[1][-2:]
    assert kind == b"s"
    assert note == b"%d " % len(payload) + payload[-40:]


def test_a_number_that_was_not_sent_is_used_again() -> None:
    numbers = recording()
    flow = events.send(SEGMENT, POINT, numbers)
    next(flow)
    with pytest.raises(NotConnected):
        flow.throw(NotConnected("gone"))
    assert m.read_stamp(next(events.send(SEGMENT, POINT, numbers)).commands[0][2])[1] == 1


def test_an_unknown_outcome_is_looked_up_and_not_repeated() -> None:
    flow = events.send(SEGMENT, POINT, recording())
    payload = next(flow).commands[0][2]
    look = flow.throw(DeliveryUnknown("broke"))
    assert look.readonly
    assert look.commands[0][0] == "XREVRANGE"
    assert ended(flow, [[[b"1-0", [b"c", b"x", b"d", payload]]]]) == 0


def test_an_unknown_outcome_that_is_not_there_is_said_again_with_the_same_number() -> None:
    flow = events.send(SEGMENT, POINT, recording())
    ask = next(flow)
    flow.throw(DeliveryUnknown("broke"))
    assert flow.send([[[b"1-0", [b"c", b"x", b"d", b"another"]]]]) == ask
    assert ended(flow, [2, b"2-0"]) == 2


def test_an_outcome_that_cannot_be_looked_up_stays_unknown() -> None:
    flow = events.send(SEGMENT, POINT, recording())
    next(flow)
    flow.throw(DeliveryUnknown("broke"))
    with pytest.raises(DeliveryUnknown, match="broke"):
        flow.throw(NotConnected("still gone"))


def test_a_full_table_of_channels_means_a_new_sender() -> None:
    names = iter(f"{n:016}" for n in range(10))
    numbers = Numbering(lambda: next(names))
    first = numbers.sender
    for number in range(10_001):
        assert numbers.take(f"c{number}") == 1
    assert numbers.sender != first
    assert numbers.take("c10000") == 2


def test_keys_go_round_with_scan_and_stop_at_the_limit() -> None:
    pattern = MessageEndpoints.pattern("device_read")
    flow = state.keys(pattern, 3)
    assert next(flow).commands[0][:2] == ("SCAN", b"0")
    assert flow.send([[b"17", [b"b", b"a"]]]).commands[0][:2] == ("SCAN", b"17")
    assert ended(flow, [[b"0", [b"a"]]]) == ["a", "b"]
    flow = state.keys(pattern, 1)
    next(flow)
    with pytest.raises(TooLarge):
        flow.send([[b"0", [b"b", b"a"]]])


def test_a_blocking_pop_is_cut_into_slices() -> None:
    now = [0.0]
    flow = lists.blocking_list_pop(MessageEndpoints.scan_queue_waiting(), "LEFT", 5.0, clock=lambda: now[0])
    slices = [next(flow).block_s]
    for step in (2.0, 4.0):
        now[0] = step
        slices.append(flow.send([None]).block_s)
    assert slices == [2.0, 2.0, 1.0]
    now[0] = 5.0
    assert ended(flow, [None]) is None


def test_a_page_of_history_says_where_it_ends_and_whether_something_was_trimmed() -> None:
    flow = history.page("h", (5, 0))
    assert isinstance(next(flow), Exchange)
    raw = [[b"9-0", [b"c", b"ch", b"d", b"payload"]], [b"9-1", [b"foreign", b"x"]]]
    page = ended(flow, [raw, raw[:1]])
    assert [(entry.id, entry.channel, entry.payload) for entry in page.entries] == [
        ((9, 0), b"ch", b"payload")
    ]
    assert (page.last, page.is_last, page.is_trimmed) == ((9, 1), True, True)
    flow = history.page("h", (9, 0), 1)
    next(flow)
    page = ended(flow, [raw[1:], raw[:1]])
    assert (page.is_last, page.is_trimmed) == (False, False)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "soon", True])
def test_expiries_that_cannot_be_are_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="expire_s"):
        checks.expiry(value)


@pytest.mark.parametrize("value", ["abc", "5-", "", None, -1, 1.5, "5-5-5", True])
def test_stream_ids_that_cannot_be_are_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="stream id"):
        checks.stream_id("min", value)


@pytest.mark.parametrize("value", ["-", "+", "5", "5-1", "(5-1", 5, b"7-7"])
def test_stream_ids_that_can_be_are_taken(value: object) -> None:
    assert checks.stream_id("min", value)


# --- outcomes that nobody knows ---


def unsettled(error: Exception, message: m.ScanMessage = POINT) -> tuple[Any, Any]:
    """Send an event whose answer does not come; give what was asked and the error that the caller sees."""
    flow = events.send(SEGMENT, message, recording())
    ask = next(flow)
    with pytest.raises((DeadlinePassed, DeliveryUnknown)) as caught:
        flow.throw(error)
    return ask, caught.value


def test_what_came_too_late_is_repeated_with_the_same_stamp_if_it_is_not_in_the_history() -> None:
    ask, error = unsettled(DeadlinePassed("late"))
    again = events.repeat(error)
    look = next(again)
    assert look.readonly
    assert look.commands[0][:2] == ("XREVRANGE", "labspine/history/scans")
    assert again.send([[(b"1-0", [b"c", b"other", b"d", b"other"])]]) == ask
    assert ended(again, [2, b"2-0"]) == 2


def test_what_is_in_the_history_is_not_said_again() -> None:
    big = m.ScanMessage(point_id=1, scan_id="x" * LARGEST_RECORDED_BYTES, data={})
    for message in (POINT, big):
        ask, error = unsettled(DeadlinePassed("late"), message)
        again = events.repeat(error)
        next(again)
        assert ended(again, [[(b"1-0", list(ask.commands[1][-4:]))]]) == 0


def test_an_unknown_outcome_stays_repeatable_whatever_happens_next() -> None:
    for trouble in (
        NotConnected("gone"),
        DeliveryUnknown("again"),
        DeadlinePassed("late"),
        ServerError("no"),
    ):
        flow = events.send(SEGMENT, POINT, recording())
        ask = next(flow)
        flow.throw(DeliveryUnknown("broke"))
        with pytest.raises(DeliveryUnknown, match="broke") as caught:
            flow.throw(trouble)
        again = events.repeat(caught.value)
        next(again)
        assert again.send([[]]) == ask
        with pytest.raises(DeadlinePassed) as later:
            again.throw(DeadlinePassed("late again"))
        assert later.value.unsettled == caught.value.unsettled


def test_who_may_not_read_the_history_repeats_unseen() -> None:
    ask, error = unsettled(DeadlinePassed("late"))
    again = events.repeat(error)
    next(again)
    assert again.throw(PermissionDenied("XREVRANGE")) == ask


def test_only_unknown_events_can_be_repeated() -> None:
    for wrong in (DeadlinePassed("a push"), NotConnected("x"), ValueError("x"), None, "late"):
        with pytest.raises(InvalidArgument, match="cannot be repeated"):
            next(events.repeat(wrong))


def test_the_error_of_a_whole_write_is_told_apart_for_each_event() -> None:
    shared = DeadlinePassed("late")
    (_, one), (_, two) = unsettled(shared), unsettled(shared)
    assert one.unsettled is not two.unsettled
    assert shared.unsettled is None


def test_the_place_of_a_stream_is_read_in_one_step_or_from_its_ends() -> None:
    entry = [b"a", b"b"]
    flow = streams.place_of("log")
    assert next(flow).commands == (("XINFO", "STREAM", "log"),)
    facts = [b"length", 2, b"last-generated-id", b"9-1", b"entries-added", 7, b"first-entry", [b"8-0", entry]]
    assert ended(flow, [facts]) == streams.StreamPlace((8, 0), (9, 1), 2, 7)

    flow = streams.place_of("log")
    next(flow)
    assert ended(flow, ServerError("XINFO log: ERR no such key")) == streams.StreamPlace((0, 0), (0, 0), 0, 0)

    flow = streams.place_of("log")
    next(flow)
    asked = flow.throw(PermissionDenied("XINFO"))
    assert [command[0] for command in asked.commands] == ["XRANGE", "XREVRANGE"]
    assert ended(flow, [[[b"3-0", entry]], [[b"5-0", entry]]]) == streams.StreamPlace((3, 0), (5, 0), 1, None)
