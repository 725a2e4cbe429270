"""Requests and replies as they travel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labspine import messages as m
from labspine.errors import (
    CallTimeout,
    DecodeError,
    InvalidArgument,
    InvalidMessage,
    LabspineError,
    NoSuchProcedure,
    RemoteError,
    ServiceBusy,
    TooLarge,
)
from labspine.service.envelope import (
    FAILURE,
    VALUE,
    Failure,
    read_ask,
    read_say,
    value_of,
    write_ask,
    write_failure,
    write_say,
)
from labspine.service.outcomes import error_of, limit_of

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(args=st.lists(VALUES, max_size=4), kwargs=st.dictionaries(st.text(max_size=5), VALUES, max_size=3))
def test_whatever_is_asked_is_read_the_same(args: list[Any], kwargs: dict[str, Any]) -> None:
    ask, found_args, found_kwargs = read_ask(write_ask("go", tuple(args), kwargs, trail=("a.b",)))
    assert (ask.procedure, ask.trail) == ("go", ("a.b",))
    assert (found_args, found_kwargs) == (args, kwargs)
    say = read_say(write_say(VALUE, args, number=3, instance="me"))
    assert (value_of(say), say.number, say.instance) == (args, 3, "me")


@settings(max_examples=300, deadline=None)
@given(garbage=st.binary(max_size=200))
def test_garbage_is_a_decode_error_and_nothing_else(garbage: bytes) -> None:
    for read in (read_ask, lambda body: value_of(read_say(body))):
        try:
            read(garbage)
        except (DecodeError, TooLarge):
            pass


def test_cut_requests_are_refused() -> None:
    body = write_ask("go", (1, [2], m.VariableMessage(value=3)), {"a": 1})
    for end in range(len(body)):
        with pytest.raises(DecodeError):
            read_ask(body[:end])


def test_messages_and_arrays_travel() -> None:
    image = np.arange(6.0).reshape(2, 3)
    _, (message, array), kwargs = read_ask(write_ask("go", (m.VariableMessage(value=3), image), {"b": b"x"}))
    assert message == m.VariableMessage(value=3)
    assert np.array_equal(array, image)
    assert kwargs == {"b": b"x"}
    assert np.array_equal(value_of(read_say(write_say(VALUE, np.zeros(30_000)))), np.zeros(30_000))


def test_what_cannot_travel_is_refused() -> None:
    for wrong in (object(), 2**70, {1: 2}, [object()]):
        with pytest.raises(InvalidMessage):
            write_ask("go", (wrong,), {})
        with pytest.raises(InvalidMessage):
            write_say(VALUE, wrong)
    with pytest.raises(TooLarge):
        write_say(VALUE, b"x" * 17_000_000)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("RemoteError", RemoteError),
        ("NoSuchProcedure", NoSuchProcedure),
        ("ServiceBusy", ServiceBusy),
        ("CallTimeout", CallTimeout),
        ("InvalidArgument", InvalidArgument),
        ("TooLarge", TooLarge),
        ("something newer", RemoteError),
    ],
)
def test_each_failure_becomes_its_error(kind: str, error: type[LabspineError]) -> None:
    body = write_failure(Failure(kind, "why", "ValueError", "line 1", "E-X", True), instance="me")
    say = read_say(body)
    assert say.kind == FAILURE
    assert say.failure is not None
    made = error_of(say.failure, "chiller", "setpoint")
    assert type(made) is error
    assert str(made) == "why"
    if isinstance(made, RemoteError):
        assert (made.remote_type, made.remote_traceback, made.remote_code) == ("ValueError", "line 1", "E-X")


def test_long_and_odd_texts_of_failures_travel() -> None:
    body = write_failure(Failure("RemoteError", "\ud800" + "x" * 1_000_000, traceback="y" * 1_000_000))
    assert len(body) < 200_000
    assert read_say(body).failure is not None


def test_time_limits() -> None:
    assert limit_of(5, None) == 5.0
    assert limit_of(0.5, None) == 0.5
    for wrong in (0, -1.0, 90_000, None, "x", float("nan")):
        with pytest.raises(InvalidArgument):
            limit_of(wrong, None)
