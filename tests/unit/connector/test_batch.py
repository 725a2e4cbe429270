"""A batch of calls, stepped by hand: what it asks in each round, and whose answer is whose."""

from __future__ import annotations

from labspine import messages as m
from labspine.connector import ConnectorOptions
from labspine.connector.batch import Batch
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeadlinePassed, DeliveryUnknown, NotConnected
from labspine.flows import Numbering, Recording

SEGMENT = MessageEndpoints.scan_segment()
NUMBERING = "0123456789abcdef"


def points(count: int, recording: Recording) -> Batch:
    batch = Batch(ConnectorOptions(), lambda: recording)
    for number in range(count):
        batch.send(SEGMENT, m.ScanMessage(point_id=number, scan_id="s", data={}))
    return batch


def recording() -> Recording:
    return Recording(Numbering(lambda: NUMBERING), 1000)


def test_after_a_lost_reply_all_events_look_into_the_history_once() -> None:
    batch = points(5, recording())
    asks, numbers = batch._round()
    assert len(asks) == 5
    batch._answer(numbers, [DeliveryUnknown("broke")] * 5)
    looks, waiting = batch._round()
    assert len(looks) == 1
    assert waiting == [[0, 1, 2, 3, 4]]
    done = [(b"1-0", list(ask.commands[1][-4:])) for ask in asks[:3]]
    batch._answer(waiting, [[done]])
    rest, waiting = batch._round()
    assert rest == asks[3:]
    batch._answer(waiting, [[1, b"2-0"], [1, b"3-0"]])
    assert batch._round() == ([], [])
    assert batch.results == [0, 0, 0, 1, 1]


def test_equal_reads_of_one_pipeline_are_all_asked() -> None:
    batch = points(0, recording())
    batch.get(MessageEndpoints.scan_number())
    batch.get(MessageEndpoints.scan_number())
    assert len(batch._round()[0]) == 2


def test_what_was_never_sent_leaves_no_hole_in_the_numbers() -> None:
    said = recording()
    batch = points(5, said)
    _, numbers = batch._round()
    batch._answer(numbers, [NotConnected("gone")] * 5)
    assert said.numbering.take(SEGMENT.endpoint) == 1


def test_what_may_have_been_sent_keeps_its_number() -> None:
    said = recording()
    batch = points(5, said)
    _, numbers = batch._round()
    batch._answer(numbers, [DeadlinePassed("late")] * 5)
    assert said.numbering.take(SEGMENT.endpoint) == 6
    again = Batch(ConnectorOptions(), lambda: said)
    for error in batch.results:
        again.repeat(error)
    assert len(again._round()[0]) == 5
