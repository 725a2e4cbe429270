"""
RESP2, purely: pack commands into bytes, parse replies, match the two.

Small commands are formatted by hand; values above 16 KB are left where they are and handed to the
gathering send. hiredis parses replies; its packer is not used, it copies large values many times.
"""

from __future__ import annotations

from typing import Any

import hiredis

from ..errors import LabspineError
from ..flows import Argument, Exchange, Fixed
from .translate import ErrorReply, translated

__all__ = [
    "GATHER_ABOVE_BYTES",
    "NOTHING_YET",
    "new_reader",
    "pack",
    "packed_size_bytes",
    "replies_due",
    "settle",
]

GATHER_ABOVE_BYTES = 16 * 1024
NOTHING_YET = False
"""What the parser returns while a reply is incomplete (RESP2 has no booleans)."""

_MOST_LENGTHS = 2048
_MOST_COUNTS = 32
_MOST_WORDS = 4096
_LONGEST_WORD = 200
_known_words: dict[Argument, bytes] = {}
_MULTI = b"*1\r\n$5\r\nMULTI"
_EXEC = b"\r\n*1\r\n$4\r\nEXEC\r\n"
# Each piece begins with the line end of the piece before it, so that an argument costs two pieces, not three.
_LENGTHS = tuple(b"\r\n$%d\r\n" % length for length in range(_MOST_LENGTHS))
_COUNTS = tuple(b"\r\n*%d" % count for count in range(_MOST_COUNTS))
_FIRST_COUNTS = tuple(count[2:] for count in _COUNTS)


def new_reader() -> hiredis.Reader:
    """Make a parser of replies; error replies come out as `ErrorReply`, also inside transactions."""
    return hiredis.Reader(replyError=ErrorReply)


def pack(ask: Exchange) -> bytes | list[bytes]:
    """
    Turn an exchange into what is written to the socket.

    Args:
        ask: The commands, and whether they form a transaction.

    Returns:
        One buffer; or several, in order, when a value is too large to be worth copying.
    """
    commands = ask.commands
    if len(commands) == 1 and len(commands[0]) == 2 and not ask.transaction:
        return _packed_pair(*commands[0])
    parts: list[bytes] = [_MULTI] if ask.transaction else []
    append = parts.append
    largest = 0
    for command in commands:
        if type(command) is Fixed:
            packed = command.packed or _keep(command)
            append(packed if parts else packed[2:])
            continue
        count = len(command)
        if count < _MOST_COUNTS:
            append(_COUNTS[count] if parts else _FIRST_COUNTS[count])
        else:
            append((b"\r\n*%d" if parts else b"*%d") % count)
        for argument in command:
            if type(argument) is not bytes:
                append(_known_words.get(argument) or _learn_word(argument))
                continue
            raw = argument
            length = len(raw)
            if length < _MOST_LENGTHS:
                append(_LENGTHS[length])
            else:
                append(b"\r\n$%d\r\n" % length)
                largest = max(largest, length)
            append(raw)
    append(_EXEC if ask.transaction else b"\r\n")
    return b"".join(parts) if largest <= GATHER_ABOVE_BYTES else _joined_small(parts)


def _keep(command: Fixed) -> bytes:
    """Pack a command that comes again, from the line end of the one before it; its values are small."""
    command.packed = b"\r\n*%d" % len(command) + b"".join(map(_packed_word, command))
    return command.packed


def _packed_word(word: Argument) -> bytes:
    raw = _raw(word)
    return b"\r\n$%d\r\n%b" % (len(raw), raw)


def _learn_word(word: Argument) -> bytes:
    """Pack a name or a number, and remember it: names of channels and keys come again and again."""
    packed = _packed_word(word)
    if len(packed) <= _LONGEST_WORD:
        if len(_known_words) >= _MOST_WORDS:
            _known_words.clear()
        _known_words[word] = packed
    return packed


def _packed_pair(name: Argument, key: Argument) -> bytes:
    """Pack a command with one argument, as GET is: the most frequent one, and never large."""
    name, key = _raw(name), _raw(key)
    return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(key), key)


def _raw(argument: Argument) -> bytes:
    if isinstance(argument, bytes):
        return argument
    return argument.encode() if isinstance(argument, str) else b"%d" % argument


def _joined_small(parts: list[bytes]) -> list[bytes]:
    """Join neighbours that are small, so that a gathering send gets few buffers."""
    joined: list[bytes] = []
    small: list[bytes] = []
    for part in parts:
        if len(part) <= GATHER_ABOVE_BYTES:
            small.append(part)
            continue
        if small:
            joined.append(b"".join(small))
            small = []
        joined.append(part)
    if small:
        joined.append(b"".join(small))
    return joined


def packed_size_bytes(packed: bytes | list[bytes]) -> int:
    """Count the bytes of a packed exchange."""
    return len(packed) if isinstance(packed, bytes) else sum(map(len, packed))


def replies_due(ask: Exchange) -> int:
    """Say how many replies the server will send for an exchange."""
    return len(ask.commands) + 2 if ask.transaction else len(ask.commands)


def settle(ask: Exchange, replies: list[Any]) -> list[Any]:
    """
    Match the raw replies of one exchange with its commands.

    Args:
        ask: What was sent.
        replies: As many raw replies as `replies_due` says.

    Returns:
        One reply a command.

    Raises:
        LabspineError: For the first command that the server refused.
    """
    if ask.transaction:
        outcome = replies[-1]
        if isinstance(outcome, ErrorReply):
            raise _first_refusal(ask, replies[1:-1]) or translated(outcome, ("EXEC",))
        replies = outcome if outcome is not None else [None] * len(ask.commands)
    for at, reply in enumerate(replies):
        if isinstance(reply, ErrorReply):
            raise translated(reply, ask.commands[at])
    return replies


def _first_refusal(ask: Exchange, queued: list[Any]) -> LabspineError | None:
    for command, reply in zip(ask.commands, queued, strict=False):
        if isinstance(reply, ErrorReply):
            return translated(reply, command)
    return None
