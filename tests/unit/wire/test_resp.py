"""Packing and matching, without a socket."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labspine.errors import (
    AuthenticationError,
    InvalidArgument,
    InvalidOperation,
    LabspineError,
    PermissionDenied,
    ServerError,
)
from labspine.flows import Exchange, Fixed
from labspine.wire import ErrorReply, pack, settle, translated
from labspine.wire.resp import GATHER_ABOVE_BYTES, new_reader, packed_size_bytes, replies_due

ARGUMENT = st.binary(max_size=40) | st.text(st.characters(codec="utf-8"), max_size=20) | st.integers(0, 2**63)
COMMANDS = st.lists(st.lists(ARGUMENT, min_size=1, max_size=40), min_size=1, max_size=5)


def joined(packed: bytes | list[bytes]) -> bytes:
    return packed if isinstance(packed, bytes) else b"".join(packed)


def parsed(raw: bytes) -> list[object]:
    """Requests and replies have the same form, so the parser of replies reads our requests."""
    reader = hiredis.Reader()
    reader.feed(raw)
    found = []
    while (item := reader.gets()) is not False:
        found.append(item)
    return found


def as_bytes(argument: bytes | str | int) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()


@given(COMMANDS, st.booleans())
def test_what_is_packed_is_what_was_asked(commands: list[list[bytes | str | int]], transaction: bool) -> None:
    ask = Exchange(tuple(tuple(command) for command in commands), transaction=transaction)
    wanted = [[as_bytes(argument) for argument in command] for command in commands]
    if transaction:
        wanted = [[b"MULTI"], *wanted, [b"EXEC"]]
    assert parsed(joined(pack(ask))) == wanted
    assert replies_due(ask) == len(wanted)


@given(COMMANDS, st.booleans())
def test_a_fixed_command_is_packed_like_any_other_wherever_it_stands(
    commands: list[list[bytes | str | int]], transaction: bool
) -> None:
    plain = Exchange(tuple(tuple(command) for command in commands), transaction=transaction)
    fixed = Exchange(tuple(Fixed(command) for command in commands), transaction=transaction)
    mixed = Exchange((*plain.commands, *fixed.commands), transaction=transaction)

    for _ in range(2):  # what was kept is the same
        assert joined(pack(fixed)) == joined(pack(plain))
    assert joined(pack(mixed)) == joined(
        pack(Exchange((*plain.commands, *plain.commands), transaction=transaction))
    )


@pytest.mark.parametrize("transaction", [False, True])
def test_large_values_are_not_copied(transaction: bool) -> None:
    value = b"x" * (GATHER_ABOVE_BYTES + 1)
    packed = pack(Exchange(((b"SET", "k", value), ("PUBLISH", "k", value)), transaction=transaction))
    assert isinstance(packed, list)
    assert sum(part is value for part in packed) == 2
    assert packed_size_bytes(packed) == len(joined(packed))
    assert [b"SET", b"k", value] in parsed(joined(packed))


def test_a_transaction_gives_one_reply_a_command() -> None:
    ask = Exchange((("SET", "a", 1), ("PUBLISH", "a", 1)), transaction=True)
    assert settle(ask, [b"OK", b"QUEUED", b"QUEUED", [b"OK", 3]]) == [b"OK", 3]


def test_a_refused_command_of_a_transaction_is_named() -> None:
    ask = Exchange((("SET", "a", 1), ("PUBLISH", "a", 1)), transaction=True)
    refusal = [b"OK", b"QUEUED", ErrorReply("NOPERM no"), ErrorReply("EXECABORT given up")]
    with pytest.raises(PermissionDenied, match="PUBLISH a"):
        settle(ask, refusal)
    with pytest.raises(InvalidOperation, match="SET a"):
        settle(ask, [b"OK", b"QUEUED", b"QUEUED", [ErrorReply("WRONGTYPE kind"), 1]])


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("NOAUTH Authentication required.", AuthenticationError),
        ("WRONGPASS invalid username-password pair", AuthenticationError),
        ("ERR AUTH <password> called without any password configured", AuthenticationError),
        ("NOPERM User alice has no permissions", PermissionDenied),
        ("WRONGTYPE Operation against a key", InvalidOperation),
        ("OOM command not allowed", ServerError),
        ("MISCONF Redis is configured to save", ServerError),
        ("READONLY You can't write", ServerError),
        ("ERR Invalid stream ID specified", InvalidArgument),
        ("ERR something else", ServerError),
    ],
)
def test_error_replies_become_our_errors_with_the_servers_words(
    words: str, kind: type[LabspineError]
) -> None:
    error = translated(ErrorReply(words), ("GET", "some/key"))
    assert type(error) is kind
    assert words.split(maxsplit=1)[0] in str(error)
    assert "GET some/key" in str(error)


def test_a_password_is_not_in_the_text() -> None:
    assert "hunter2" not in str(translated(ErrorReply("WRONGPASS no"), ("AUTH", "hunter2")))


def test_error_replies_are_found_inside_arrays() -> None:
    reader = new_reader()
    reader.feed(b"*2\r\n+OK\r\n-ERR inner\r\n-ERR outer\r\n")
    assert isinstance(reader.gets()[1], ErrorReply)
    assert isinstance(reader.gets(), ErrorReply)
