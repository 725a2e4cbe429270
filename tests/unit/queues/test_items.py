"""What is put and what is taken, in bytes: the short ways give what the long ones give."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labspine.errors import InvalidMessage
from labspine.messages import VariableMessage, decode, encode
from labspine.queues import items
from labspine.queues.transport import Claimed

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.just("x" * 70_000),
)
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(NESTED)
def test_a_plain_value_is_written_as_the_message_that_it_travels_as(value: object) -> None:
    _, (item,) = items.Numbers().named((value,), None)

    assert item.payload == encode(VariableMessage(value=value))


@given(NESTED, st.dictionaries(st.text(), st.text(), max_size=2))
def test_what_is_written_is_read_whatever_it_holds(value: object, metadata: dict[str, str]) -> None:
    payload = encode(VariableMessage(value=value, metadata=metadata))

    (item,), poison = items.opened([Claimed("work", "id", payload, 1, ())])

    assert not poison
    assert item.message == decode(payload)
    assert type(item.value) is type(value)


@given(NESTED, st.integers(0, 200), st.binary(max_size=3))
def test_bytes_that_are_damaged_are_judged_as_by_the_decoder(value: object, cut: int, more: bytes) -> None:
    payload = encode(VariableMessage(value=value))
    damaged = payload[: max(0, len(payload) - cut)] + more

    found, poison = items.opened([Claimed("work", "id", damaged, 1, ("receipt",))])

    if found:
        assert found[0].message == decode(damaged)
    else:
        assert poison[0][0] == ("receipt",)


@pytest.mark.parametrize("value", [2**64, "\ud800", object(), {1, 2}.__class__])
def test_a_value_that_cannot_be_sent_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage):
        items.Numbers().named((value,), None)


def test_ids_go_on_from_one_to_the_next_and_a_forked_child_begins_anew() -> None:
    numbers = items.Numbers()
    _, first = numbers.named((1, 2), None)
    _, second = numbers.named((3,), None)
    sender = first[0].id.rpartition("-")[0]

    assert [item.id for item in (*first, *second)] == [f"{sender}-{n}" for n in (1, 2, 3)]

    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of the tests may run on here
        os.write(writing, numbers.named((4,), None)[1][0].id.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        told = answer.read().decode()
    os.waitpid(child, 0)
    assert told.endswith("-1")
    assert not told.startswith(sender)
