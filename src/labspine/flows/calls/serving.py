"""Calls on Redis, from the instance's side: take requests, reply, be alive, inherit from the dead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from ...errors import PermissionDenied, ServerError
from ..exchange import Argument, Command, Exchange, Flow
from .keys import (
    GROUP,
    MOST_AT_ONCE,
    REPLY_KEPT_MS,
    SERVICES,
    InboxItem,
    Keys,
    is_no_group,
    reply_item,
    reply_key,
)
from .scripts import BEAT, END, INHERIT, KEPT_MS, fcall, stepped

__all__ = [
    "Beat",
    "Entry",
    "Outgoing",
    "announce",
    "beat",
    "begin",
    "end",
    "held_by",
    "inbox_item",
    "inherit",
    "reply_commands",
    "request_of",
    "take_command",
    "usual_commands",
]


MOST_HELD = 1000


class Entry(NamedTuple):
    """A request as it was read from the stream, an inbox or a channel; ``id`` is empty for the latter two."""

    id: bytes
    call_id: str
    limit_ms: int
    body: bytes


class Outgoing(NamedTuple):
    """A reply that leaves: to which call, what, and the entry that is done with it; empty if none is."""

    call_id: str
    body: bytes
    entry: bytes


class Beat(NamedTuple):
    """
    What a sign of life brought.

    Args:
        now_ms: The broker's clock.
        usurper: Who serves this service exclusively instead; empty if nobody does.
        dead: Instances that gave no sign of life any more.
        told: Items of the inbox.
    """

    now_ms: int
    usurper: str
    dead: tuple[str, ...]
    told: list[bytes]


def begin(keys: Keys) -> Flow[None]:
    """
    Make the consumer group, so that requests can wait.

    Asks:
        XGROUP CREATE.
    """
    try:
        yield Exchange((("XGROUP", "CREATE", keys.stream, GROUP, "0", "MKSTREAM"),))
    except ServerError as error:
        if "BUSYGROUP" not in str(error):
            raise


def beat(
    keys: Keys, service: str, instance: str, *, facts: bytes, is_exclusive: bool, wait_s: float
) -> Flow[Beat]:
    """
    Give a sign of life, and wait for something in the inbox.

    Asks:
        FCALL, ZADD and BLMPOP, in one write.
    """
    exclusive = "x" if is_exclusive else "-"
    commands: tuple[Command, ...] = (fcall(BEAT, tuple(keys), instance, facts, exclusive),)
    if wait_s > 0:
        wait = ("BLMPOP", f"{wait_s:.3f}", 1, keys.inbox(instance), "LEFT", "COUNT", MOST_AT_ONCE)
        commands = (*commands, wait)
    replies = yield from stepped(Exchange(commands, readonly=True, block_s=wait_s if wait_s > 0 else None))
    if not replies:
        raise PermissionDenied("this user may not load functions (FUNCTION LOAD), as a service must")
    found = replies[0]
    usurper = found[1].decode() if found[1] else ""
    dead = () if usurper else tuple(name.decode() for name in found[2])
    told = replies[1][1] if len(replies) > 1 and replies[1] else []
    return Beat(int(found[0]), usurper, dead, told)


def announce(service: str, *, now_ms: int) -> Exchange:
    """Enter a service into the list of services, and take out those that were silent for a minute."""
    old = now_ms - KEPT_MS
    return Exchange((("ZADD", SERVICES, now_ms, service), ("ZREMRANGEBYSCORE", SERVICES, "-inf", old)))


def inherit(keys: Keys, dead: str, instance: str) -> Flow[list[Entry]]:
    """
    Take over the requests of a dead instance; when it has none left, it is forgotten.

    Asks:
        FCALL.
    """
    try:
        step = fcall(INHERIT, (keys.stream, keys.beats, keys.facts), dead, instance)
        (entries,) = yield Exchange((step,))
    except ServerError as error:
        if is_no_group(error):
            return []
        raise
    return [request_of(entry) for entry in entries if entry and entry[1]]


def held_by(keys: Keys, instance: str) -> Flow[list[tuple[Entry, int]]]:
    """
    Read what the broker has handed to an instance and was not acknowledged.

    Asks:
        XPENDING and XREADGROUP, in one step.

    Returns:
        The requests, and how often each had been handed out; above 1 another instance had it before.
    """
    pending: Command = ("XPENDING", keys.stream, GROUP, "-", "+", MOST_HELD, instance)
    again: Command = (
        *("XREADGROUP", "GROUP", GROUP, instance, "COUNT", MOST_HELD),
        *("STREAMS", keys.stream, "0"),
    )
    try:
        counts, found = yield Exchange((pending, again), transaction=True, readonly=True)
    except ServerError as error:
        if is_no_group(error):
            return []
        raise
    times = {bytes(one[0]): int(one[3]) for one in counts}
    entries = found[0][1] if found else []
    return [(request_of(raw), times.get(bytes(raw[0]), 1)) for raw in entries if raw[1]]


def end(keys: Keys, service: str, instance: str) -> Flow[None]:
    """
    Vanish; the last instance leaves nothing behind but requests that wait.

    Asks:
        FCALL; ZREM if it was the last one.
    """
    (others,) = yield Exchange((fcall(END, tuple(keys), instance),))
    if not others:
        yield Exchange((("ZREM", SERVICES, service),))


def take_command(keys: Keys, instance: str, *, count: int, wait_s: float) -> Command:
    """Take requests that nobody has taken yet; `request_of` reads the entries."""
    block_ms = max(1, round(wait_s * 1000))
    return (
        *("XREADGROUP", "GROUP", GROUP, instance, "COUNT", count),
        *("BLOCK", block_ms, "STREAMS", keys.stream, ">"),
    )


def usual_commands(keys: Keys, instance: str, *, wait_s: float) -> tuple[tuple[Argument | None, ...], ...]:
    """
    Say what an instance writes most of the time: one reply, and the wish for more requests.

    Returns:
        What `reply_commands` and `take_command` make, with None for: reply list, item, reply list, entry,
        entry, most requests.
    """
    return (
        ("RPUSH", None, None),
        ("PEXPIRE", None, REPLY_KEPT_MS),
        ("XACK", keys.stream, GROUP, None),
        ("XDEL", keys.stream, None),
        (
            *("XREADGROUP", "GROUP", GROUP, instance, "COUNT", None),
            *("BLOCK", max(1, round(wait_s * 1000)), "STREAMS", keys.stream, ">"),
        ),
    )


def request_of(raw: Sequence[object]) -> Entry:
    """Read one entry of the stream."""
    fields: list[bytes] = raw[1]  # type: ignore[assignment]  # what the parser gives
    return Entry(bytes(raw[0]), fields[1].decode(), int(fields[3]), fields[5])  # type: ignore[call-overload]  # bytes


def inbox_item(item: bytes) -> Entry | str:
    """Read an item of the inbox: a request, or the identifier of a call to cancel."""
    if item[:1] == b"c":
        return item[1:].decode()
    read = msgspec.msgpack.decode(memoryview(item)[1:], type=InboxItem)
    return Entry(b"", read.call_id, read.limit_ms, read.body)


def reply_commands(keys: Keys, replies: Sequence[Outgoing]) -> list[Command]:
    """
    Send replies and acknowledge the requests that are done with.

    Args:
        keys: Of the service.
        replies: In order.

    Returns:
        Commands; doing them twice does no harm, the caller drops the second reply.
    """
    lists: dict[str, list[bytes]] = {}
    done: list[bytes] = []
    for call_id, body, entry in replies:
        if body:
            lists.setdefault(reply_key(call_id), []).append(reply_item(call_id, body))
        if entry:
            done.append(entry)
    commands: list[Command] = []
    for key, items in lists.items():
        commands += [("RPUSH", key, *items), ("PEXPIRE", key, REPLY_KEPT_MS)]
    if done:
        commands += [("XACK", keys.stream, GROUP, *done), ("XDEL", keys.stream, *done)]
    return commands
