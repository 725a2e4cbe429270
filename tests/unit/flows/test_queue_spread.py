"""Several queues on a cluster, stepped by hand: each is asked for itself, in order, and one that is away harms nobody."""

from __future__ import annotations

from typing import Any

import pytest

from labspine.errors import DeliveryUnknown, LabspineError, NotConnected
from labspine.flows import Exchange, queues
from labspine.flows.queues import scripts, spread


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Nodes:
    """Queues on nodes of their own: what each holds, or why it cannot be asked."""

    def __init__(self, clock: Clock, **held: Any) -> None:
        self.clock = clock
        self.held = held
        self.asked: list[str] = []

    def drive(self, flow: Any) -> Any:
        try:
            ask = next(flow)
            while True:
                try:
                    replies = self.answers(ask)
                except LabspineError as error:
                    ask = flow.throw(error)
                else:
                    ask = flow.send(replies)
        except StopIteration as end:
            return end.value

    def answers(self, ask: Exchange) -> list[Any]:
        self.asked.append("")
        return [self._answer(command, ask) for command in ask.commands]

    def _answer(self, command: Any, ask: Exchange) -> Any:
        words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
        text = b" ".join(words).decode()
        names = {name for name in self.held if f"{{{name}}}" in text}
        assert len(names) == 1, f"on a cluster this is refused: {text}"
        (name,) = names
        self.asked[-1] = name
        held = self.held[name]
        if isinstance(held, LabspineError):
            raise held
        if words[1] == scripts.ACKNOWLEDGE:
            return [1] * text.count("-0")
        if words[0] in (b"XACK", b"XDEL"):
            return text.count("-0")
        if words[1] == scripts.GIVE_BACK:
            return 1
        if ask.block_s is not None:
            self.clock.now += 0.05
        entries = [[f"{number}-0".encode(), [b"i", b"id", b"d", b"x"]] for number in held]
        held.clear()
        if words[0] == b"FCALL":
            return [[], [[1, b"normal", entries, []]] if entries else [], -1, 1]
        stream = f"labspine/queue/{{{name}}}/normal".encode()
        return [[stream, entries]] if entries else None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def me(clock: Clock) -> queues.Claimer:
    return queues.Claimer("0123456789abcdef", clock)


def claim(me: queues.Claimer, *names: str, **options: Any) -> Any:
    given = {"count": 9, "wait_s": 0.0, "lease_s": 30.0, "max_deliveries": None, **options}
    return spread.claim(me, names, **given)


def taken(found: queues.Claim) -> list[str]:
    return [item.queue for item in found.items]


def test_queues_are_asked_one_by_one_in_their_order(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=[1], b=[2, 3], c=[])
    assert taken(nodes.drive(claim(me, "a", "b", "c"))) == ["a", "b", "b"]
    assert nodes.asked == ["a", "b", "c"]
    assert taken(nodes.drive(claim(me, "a", "b", "c"))) == []


def test_who_has_enough_asks_no_further(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=[1], b=[2])
    assert taken(nodes.drive(claim(me, "a", "b", count=1))) == ["a"]
    assert nodes.asked == ["a"]


def test_while_all_are_empty_each_is_waited_for_in_turn(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=[], b=[])
    assert taken(nodes.drive(claim(me, "a", "b", wait_s=0.4))) == []
    assert clock.now == pytest.approx(100.4, abs=0.1)
    assert nodes.asked.count("b") == pytest.approx(nodes.asked.count("a"), abs=2)


def test_a_queue_that_is_away_does_not_keep_the_others(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=NotConnected("gone"), b=[1])
    assert taken(nodes.drive(claim(me, "a", "b"))) == ["b"]
    with pytest.raises(NotConnected, match="gone"):
        nodes.drive(claim(me, "a", "b"))


def test_what_was_taken_for_a_claimer_that_closed_goes_back(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=[1], b=[])
    flow = claim(me, "a", "b")
    first = next(flow)
    answer = nodes.answers(first)
    me.is_closed = True
    with pytest.raises(NotConnected, match="closed"):
        nodes.drive(_after(flow, answer))
    assert nodes.asked == ["a", "a"]


def _after(flow: Any, answer: list[Any]) -> Any:
    replies = yield flow.send(answer)
    while True:
        try:
            replies = yield flow.send(replies)
        except StopIteration as end:
            return end.value


def test_acknowledgements_go_to_their_queues_and_are_told_in_order(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=[1, 2], b=[3])
    first, second, third = nodes.drive(claim(me, "a", "b")).items
    assert nodes.drive(spread.acknowledge(me, [first.receipt, third.receipt, second.receipt])) == [True] * 3


def test_what_was_done_before_a_failure_may_be_said_again(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=[1], b=[2])
    first, second = nodes.drive(claim(me, "a", "b")).items
    nodes.held["b"] = DeliveryUnknown("lost")
    with pytest.raises(DeliveryUnknown):
        nodes.drive(claim(me, "a", "b", acknowledged=[first.receipt, second.receipt]))
    assert me.unsure == {first.receipt, second.receipt}


def test_acknowledgements_for_the_one_queue_travel_with_the_claim(me: queues.Claimer, clock: Clock) -> None:
    nodes = Nodes(clock, a=[1], b=[2])
    first, second = nodes.drive(claim(me, "a", "b")).items
    clock.now += 0.1
    nodes.asked.clear()
    found = nodes.drive(claim(me, "a", acknowledged=[second.receipt]))
    assert (found.refused, nodes.asked) == (0, ["b", "a"])
    flow = claim(me, "a", acknowledged=[first.receipt])
    assert len(next(flow).commands) > 1
