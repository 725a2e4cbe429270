"""
RESP2, purely: pack commands into bytes, parse replies, match the two.

Small commands are formatted by hand; values above 16 KB are left where they are and handed to the
gathering send. hiredis parses replies; its packer is not used, it copies large values many times.
"""

from __future__ import annotations

from typing import Any

import hiredis

from ..errors import LabspineError
from ..flows import Command, Exchange
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

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
_TEMPLATES = tuple(b"*%d\r\n" % n + b"$%d\r\n%b\r\n" * n for n in range(16))


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
    if len(commands) == 1 and not ask.transaction:
        return _pack_one(commands[0])
    parts: list[bytes] = [_MULTI] if ask.transaction else []
    large = False
    for command in commands:
        packed = _pack_one(command)
        if isinstance(packed, bytes):
            parts.append(packed)
        else:
            parts += packed
            large = True
    if ask.transaction:
        parts.append(_EXEC)
    return _joined_small(parts) if large else b"".join(parts)


def _pack_one(command: Command) -> bytes | list[bytes]:
    flat: list[Any] = []
    size = 0
    for argument in command:
        if isinstance(argument, str):
            raw = argument.encode()
        elif isinstance(argument, bytes):
            raw = argument
        else:
            raw = b"%d" % argument
        length = len(raw)
        size += length
        flat.append(length)
        flat.append(raw)
    if size <= GATHER_ABOVE_BYTES and len(command) < 16:
        return _TEMPLATES[len(command)] % tuple(flat)
    return _pack_large(flat)


def _pack_large(flat: list[Any]) -> list[bytes]:
    parts: list[bytes] = [b"*%d\r\n" % (len(flat) // 2)]
    for at in range(0, len(flat), 2):
        parts.append(b"$%d\r\n" % flat[at])
        parts.append(flat[at + 1])
        parts.append(b"\r\n")
    return _joined_small(parts)


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
