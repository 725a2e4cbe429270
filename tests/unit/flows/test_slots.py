"""Slots of a Redis Cluster: whose key is where, what is taken apart, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from labspine.endpoints import EndpointInfo, MessageEndpoints
from labspine.errors import InvalidOperation
from labspine.flows import Exchange, located
from labspine.flows.slots import ANYWHERE, EVERYWHERE, SCANNING, keys_of, planned, slot_of
from labspine.messages import VariableMessage

# From the specification, and said by a real server (CLUSTER KEYSLOT).
KNOWN = {
    "123456789": 12739,
    "foo": 12182,
    "bar": 5061,
    "": 0,
    "{}x": 10595,
    "a{foo}b{bar}": 12182,
    "{foo": 13308,
    "a{}{foo}": 700,
}


@pytest.mark.parametrize(("key", "slot"), KNOWN.items())
def test_the_slot_is_that_of_the_specification(key: str, slot: int) -> None:
    assert slot_of(key) == slot
    assert slot_of(key.encode()) == slot


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        (("PING",), ()),
        (("PUBLISH", "c", b"x"), ()),
        (("GET", "k"), ("k",)),
        ((b"set", "k", b"v", "PX", 5), ("k",)),
        (("DEL", "k", "l"), ("k", "l")),
        (("MGET", "k", "l"), ("k", "l")),
        (("MSET", "k", 1, "l", 2), ("k", "l")),
        (("BLPOP", "k", "l", "1.0"), ("k", "l")),
        (("BLMOVE", "k", "l", "LEFT", "LEFT", "1"), ("k", "l")),
        (("EVAL", "return 1", 2, "k", "l", "argument"), ("k", "l")),
        (("FCALL", "f", 0, "argument"), ()),
        (("XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "k", "l", "0-0", "$"), ("k", "l")),
        (("XREADGROUP", "GROUP", "g", "me", "STREAMS", "k", ">"), ("k",)),
        (("XINFO", "STREAM", "k"), ("k",)),
        (("XADD", "k", "*", "f", b"v"), ("k",)),
        (("SCAN", "0", "MATCH", "*"), ()),
        (("CLUSTER", "SLOTS"), ()),
        (("FUNCTION", "LOAD", "code"), ()),
    ],
)
def test_the_keys_of_a_command_are_found(command: Any, keys: tuple[str, ...]) -> None:
    assert tuple(keys_of(command)) == keys


def slots(ask: Exchange) -> list[int]:
    return [part.slot for part in planned(ask).parts]


def test_what_lies_together_stays_together() -> None:
    ask = Exchange((("MGET", "{t}a", "{t}b"), ("GET", "{t}c")), readonly=True)
    (part,) = planned(ask).parts
    assert part.ask is ask
    assert part.slot == slot_of("t")
    assert planned(ask).joined([["x", "y"]]) == ["x", "y"]


def test_values_of_several_slots_come_back_in_order() -> None:
    ask = Exchange((("MGET", "foo", "bar", "{foo}2"), ("GET", "bar")), readonly=True)
    plan = planned(ask)
    assert [part.ask.commands for part in plan.parts] == [
        (("MGET", "foo", "{foo}2"),),
        (("MGET", "bar"), ("GET", "bar")),
    ]
    assert plan.joined([[[b"1", b"3"]], [[b"2"], b"2"]]) == [[b"1", b"2", b"3"], b"2"]


def test_counts_are_added_up() -> None:
    plan = planned(Exchange((("DEL", "foo", "bar", "baz"),)))
    assert plan.joined([[1] for _ in plan.parts]) == [len(plan.parts)] == [3]


def test_streams_of_several_slots_are_read_without_waiting() -> None:
    ask = Exchange((("XREAD", "BLOCK", 250, "STREAMS", "foo", "bar", "1-0", "2-0"),), False, True, 0.25)
    plan = planned(ask)
    assert [part.ask.commands[0] for part in plan.parts] == [
        ("XREAD", "STREAMS", "foo", "1-0"),
        ("XREAD", "STREAMS", "bar", "2-0"),
    ]
    assert all(part.ask.block_s is None and part.ask.readonly for part in plan.parts)
    assert plan.joined([[[[b"foo", []]]], [None]]) == [[[b"foo", []]]]
    assert plan.joined([[None], [None]]) == [None]


def test_streams_of_one_slot_are_waited_for_at_the_server() -> None:
    ask = Exchange((("XREAD", "BLOCK", 250, "STREAMS", "{t}a", "{t}b", "0", "0"),), False, True, 0.25)
    assert planned(ask).parts[0].ask is ask


def test_what_any_node_can_do_and_what_all_must_do() -> None:
    assert slots(Exchange((("PING",),))) == [ANYWHERE]
    assert slots(Exchange((("INFO",),))) == [EVERYWHERE]
    assert slots(Exchange((("SCAN", "0"),))) == [SCANNING]


def test_what_any_node_can_do_goes_with_what_only_one_can() -> None:
    ask = Exchange((("TIME",), ("ZRANGE", "{s}beats", 0, -1), ("HGETALL", "{s}facts")), readonly=True)
    (part,) = planned(ask).parts
    assert (part.slot, part.ask) == (slot_of("s"), ask)
    assert len(slots(Exchange((("TIME",), ("GET", "foo"), ("GET", "bar"))))) == 3


def test_channels_that_a_pattern_may_join_go_to_the_same_node() -> None:
    assert slots(Exchange((("PUBLISH", "foo", b"x"),))) == [slot_of("foo")]
    assert slots(Exchange((("PUBLISH", "foo/samx", b"x"),))) == slots(
        Exchange((("PUBLISH", b"foo/samy", b"x"),))
    )
    assert slots(Exchange((("PUBLISH", "foo/a", b"x"), ("PUBLISH", "bar/b", b"x")), True)) == [slot_of("foo")]


@pytest.mark.parametrize(
    "ask",
    [
        Exchange((("SET", "foo", b"x"), ("SET", "bar", b"x")), transaction=True),
        Exchange((("MULTI",), ("GET", "foo"), ("GET", "bar"), ("DISCARD",)), readonly=True),
        Exchange((("MSET", "foo", 1, "bar", 2),)),
        Exchange((("BLPOP", "foo", "bar", "1"),), block_s=1.0),
        Exchange((("SMOVE", "foo", "bar", b"x"),)),
        Exchange((("EVAL", "return 1", 2, "foo", "bar"),)),
    ],
)
def test_what_must_be_one_step_is_refused_across_slots(ask: Exchange) -> None:
    with pytest.raises(InvalidOperation, match='"foo" and "bar" cannot be one step on a Redis Cluster'):
        planned(ask)


def test_a_family_lies_on_one_slot_and_its_channels_keep_their_names() -> None:
    status = located(MessageEndpoints.scan_status(), "seed", in_cluster=True)
    assert status.history is not None
    assert status.endpoint == MessageEndpoints.scan_status().endpoint
    assert status.key == f"{{{status.history}}}{status.endpoint}"
    assert slot_of(status.key) == slot_of(status.history)
    assert located(status, "bec4", in_cluster=True).key == f"{{{status.history}}}{status.at('bec4').endpoint}"
    assert status == MessageEndpoints.scan_status()


def test_plain_keys_spread() -> None:
    number = located(MessageEndpoints.scan_number(), "seed", in_cluster=True)
    foreign = located(EndpointInfo("mine", VariableMessage, number.message_op), "seed", in_cluster=True)
    assert (number.key, foreign.key) == (number.endpoint, "mine")


def test_a_list_and_the_set_that_its_items_move_to_lie_together() -> None:
    waiting = located(MessageEndpoints.procedure_execution("q"), "seed", in_cluster=True)
    running = located(MessageEndpoints.active_procedure_executions(), "seed", in_cluster=True)
    assert slot_of(waiting.key) == slot_of(running.key)
