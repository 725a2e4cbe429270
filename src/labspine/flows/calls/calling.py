"""Calls on Redis, from the caller's side."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from ..exchange import Argument, Command, Exchange, Flow
from .keys import (
    MOST_AT_ONCE,
    REPLY_KEPT_MS,
    SERVICES,
    SILENCE_MS,
    InboxItem,
    Keys,
    reply_key,
    split_reply,
)
from .scripts import INQUIRE, LOCATE, WITHDRAW, fcall, stepped

__all__ = [
    "NOWHERE",
    "Found",
    "Inquiry",
    "Presence",
    "ask_all",
    "drop_replies",
    "inquire",
    "locate",
    "look_for",
    "open_commands",
    "opened",
    "poll_command",
    "presence",
    "service_names",
    "withdraw",
]

NOWHERE = b"0-1"
"""An entry that no stream has: an inquiry will find that it is gone."""
_A = TypeVar("_A", bound=Argument | None)


def open_commands(
    keys: Keys, call_id: _A, body: _A, *, limit_ms: _A | int, is_patient: bool
) -> tuple[tuple[Any, ...], ...]:
    """
    Ask who is alive and put a request into the stream, in one write; `opened` reads the replies.

    Args:
        keys: Of the service.
        call_id: Of the call; this and the next two may be holes of a template.
        body: The request.
        limit_ms: The caller's time in milliseconds.
        is_patient: Put it there even if nobody has served this service yet.
    """
    words: tuple[Argument | None, ...] = ("c", call_id, "t", limit_ms, "b", body)
    if is_patient:
        return ("EXISTS", keys.alive), ("XADD", keys.stream, "*", *words)
    return ("EXISTS", keys.alive), ("XADD", keys.stream, "NOMKSTREAM", "*", *words)


def opened(replies: list[object]) -> tuple[bool, bytes]:
    """Read the replies of `open_commands`: whether somebody is alive, and the entry (empty if none)."""
    return bool(replies[0]), replies[1] if isinstance(replies[1], bytes) else b""


def poll_command(reply_list: str, wait_s: float) -> Command:
    """Wait for replies; several that are there come together."""
    return ("BLMPOP", f"{wait_s:.3f}", 1, reply_list, "LEFT", "COUNT", MOST_AT_ONCE)


Found = Literal["held", "orphan", "waiting", "gone"]


class Inquiry(NamedTuple):
    """
    Where a request is.

    Args:
        found: ``held`` by a live instance, ``orphan`` if its holder is dead, ``waiting`` for one, ``gone``.
        live: How many instances are alive.
    """

    found: Found
    live: int


def inquire(keys: Keys, entry: bytes) -> Flow[Inquiry]:
    """
    Find out what has become of a request.

    Asks:
        FCALL.
    """
    step = fcall(INQUIRE, (keys.stream, keys.beats), entry)
    replies = yield from stepped(Exchange((step,), readonly=True))
    if not replies:
        return Inquiry("waiting", 0)
    found, live = replies[0]
    return Inquiry(found.decode(), int(live))


def withdraw(keys: Keys, entry: bytes, call_id: bytes, *, even_if_held: bool) -> Flow[bool]:
    """
    Take a request back; if an instance has it, tell that instance instead.

    Args:
        keys: Of the service.
        entry: Of the request in the stream.
        call_id: Of the call.
        even_if_held: Its holder is dead: take it out of its hands, so that nobody executes it again.

    Asks:
        FCALL.

    Returns:
        Whether it was taken back.
    """
    flag = "dead" if even_if_held else ""
    step = fcall(WITHDRAW, (keys.stream, keys.alive), entry, call_id, flag)
    replies = yield from stepped(Exchange((step,)))
    if not replies:  # nobody can have it
        replies = yield Exchange((("XDEL", keys.stream, entry),))
    return bool(replies[0])


def locate(keys: Keys, call_id: bytes) -> Flow[bytes]:
    """
    Find the entry of a request; empty if the stream does not have it.

    Asks:
        FCALL.
    """
    replies = yield from stepped(Exchange((fcall(LOCATE, (keys.stream,), call_id),), readonly=True))
    return bytes(replies[0]) if replies and replies[0] else b""


def drop_replies(reply_list: str) -> Flow[None]:
    """
    Remove a reply list that nobody reads any more.

    Asks:
        DEL.
    """
    yield Exchange((("DEL", reply_list),))


def look_for(keys: Keys, call_id: bytes) -> Flow[bytes]:
    """
    Find a request whose sending broke off.

    It is not sent again if it cannot be found: it may have been executed, and the answer handed out on the
    link that broke.

    Asks:
        FCALL and LRANGE, in one write.

    Returns:
        Its entry; `NOWHERE` if it is not there; empty if an answer waits.
    """
    step = fcall(LOCATE, (keys.stream,), call_id)
    answers_of = ("LRANGE", reply_key(call_id.decode()), 0, -1)
    replies = yield from stepped(Exchange((step, answers_of), readonly=True))
    entry, answers = replies or (b"", ())
    if entry:
        return bytes(entry)
    is_answered = any(split_reply(answer)[0] == call_id for answer in answers)
    return b"" if is_answered else NOWHERE


class Presence(NamedTuple):
    """One instance: its name, its facts as it wrote them, and its silence in seconds."""

    instance: str
    facts: bytes
    silent_s: float


def presence(keys: Keys) -> Flow[list[Presence]]:
    """
    List the live instances of a service.

    Asks:
        TIME, ZRANGE and HGETALL, in one write.
    """
    replies = yield Exchange(
        (("TIME",), ("ZRANGE", keys.beats, 0, -1, "WITHSCORES"), ("HGETALL", keys.facts)), readonly=True
    )
    (seconds, micros), beats, pairs = replies
    now_ms = int(seconds) * 1000 + int(micros) / 1000
    facts = dict(zip(pairs[::2], pairs[1::2], strict=True))
    found = []
    for name, score in zip(beats[::2], beats[1::2], strict=True):
        silent_ms = now_ms - float(score)
        if silent_ms <= SILENCE_MS:
            found.append(Presence(name.decode(), facts.get(name, b""), max(0.0, silent_ms / 1000)))
    return found


def service_names() -> Flow[list[str]]:
    """
    List the services that were there in the last minute; some may have gone.

    Asks:
        ZRANGE.
    """
    (names,) = yield Exchange((("ZRANGE", SERVICES, 0, -1),), readonly=True)
    return sorted(name.decode() for name in names)


def ask_all(keys: Keys, call_id: str, body: bytes, *, limit_ms: int) -> Flow[tuple[str, ...]]:
    """
    Put a request into the inbox of each live instance.

    Asks:
        What `presence` asks; RPUSH and PEXPIRE for each.

    Returns:
        Who is asked.
    """
    names = [found.instance for found in (yield from presence(keys))]
    item = b"r" + msgspec.msgpack.encode(InboxItem(call_id, limit_ms, body))
    commands: list[Command] = []
    for name in names:
        commands += [("RPUSH", keys.inbox(name), item), ("PEXPIRE", keys.inbox(name), REPLY_KEPT_MS)]
    if commands:
        yield Exchange(tuple(commands), transaction=True)
    return tuple(names)
