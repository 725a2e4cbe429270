"""Look at queues without taking anything, and put dead letters back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...errors import DecodeError, ServerError
from ..exchange import Argument, Command, Exchange, Flow, read
from .calling import REGISTRY, base_of, run
from .items import PRIORITIES, DeadItem, Priority, QueueState, WaitingItem
from .scripts import GROUP, PURGE, REQUEUE
from .working import Claimer

__all__ = ["dead", "names", "peek", "purge", "requeue", "state"]

_MOST_PENDING = 1000


def state(queue: str) -> Flow[QueueState]:
    """
    Count the items of a queue.

    Asks:
        XLEN, ZCARD and XPENDING; nothing that changes anything.
    """
    base = base_of(queue)
    streams = [b"%b/%b" % (base, s.encode()) for s in PRIORITIES]
    lengths: tuple[Command, ...] = tuple(("XLEN", key) for key in [*streams, base + b"/dead"])
    *held, dead_count, delayed = yield Exchange((*lengths, ("ZCARD", base + b"/delayed")), readonly=True)
    claimed = 0
    for key, length in zip(streams, held, strict=True):
        if length:
            summary = yield from _pending(key)
            claimed += int(summary[0]) if summary else 0
    return QueueState(sum(held) - claimed, claimed, int(delayed), int(dead_count))


def _pending(key: bytes, *more: Argument) -> Flow[list[Any]]:
    try:
        (reply,) = yield read("XPENDING", key, GROUP, *more)
    except ServerError as error:
        if "NOGROUP" in str(error):
            return []  # nobody has claimed yet
        raise
    return reply or []


def peek(queue: str, count: int) -> Flow[list[WaitingItem]]:
    """
    Look at the items that would come next; those that wait for their time come last.

    Asks:
        XRANGE, XPENDING and ZRANGE; nothing that changes anything.
    """
    base = base_of(queue)
    seen: list[WaitingItem] = []
    for priority in PRIORITIES:
        key = b"%b/%b" % (base, priority.encode())
        if len(seen) >= count:
            break
        (entries,) = yield read("XRANGE", key, "-", "+", "COUNT", count - len(seen))
        if entries:
            pending = yield from _pending(key, "-", "+", _MOST_PENDING)
            held = {bytes(row[0]): int(row[3]) for row in pending}
            seen += [_waiting(fields, priority, None, held.get(at, 0)) for at, fields in entries]
    if len(seen) < count:
        (packed,) = yield read("ZRANGE", base + b"/delayed", 0, count - len(seen) - 1, "WITHSCORES")
        for member, score in zip(packed[::2], packed[1::2], strict=True):
            priority_name, fields = _unpacked(member)
            seen.append(_waiting(fields, priority_name, float(score) / 1000, 0))
    return seen


def _unpacked(member: bytes) -> tuple[Priority, list[bytes]]:
    """Read what the functions have packed: the priority and the fields; Lua packs its bytes as text."""
    try:
        # As bytes: contents are not text, although the server's packer says so.
        priority, fields, *_ = msgspec.msgpack.decode(_as_bytes(member), type=list[Any])
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise DecodeError(f"a delayed item is not what the queue has put there: {error}") from error
    found: dict[bytes, Priority] = {p.encode(): p for p in PRIORITIES}
    return found.get(bytes(priority), "normal"), fields


def _as_bytes(packed: bytes) -> bytes:
    """Turn the text headers of a packed list of texts and lists into headers of bytes."""
    out = bytearray()
    at = 0
    while at < len(packed):
        first = packed[at]
        if 0x90 <= first <= 0x9F or first == 0xDC:
            skip = 3 if first == 0xDC else 1
            out += packed[at : at + skip]
            at += skip
            continue
        if 0xA0 <= first <= 0xBF:
            size, skip = first & 0x1F, 1
        else:
            width = {0xD9: 1, 0xDA: 2, 0xDB: 4}[first]
            size, skip = int.from_bytes(packed[at + 1 : at + 1 + width], "big"), 1 + width
        out += b"\xc6" + size.to_bytes(4, "big") + packed[at + skip : at + skip + size]
        at += skip + size
    return bytes(out)


def _waiting(
    fields: Sequence[bytes], priority: Priority, due_utc_s: float | None, claimed: int
) -> WaitingItem:
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    deliveries = int(named.get(b"n", b"0")) + claimed
    item_id = named.get(b"i", b"").decode("utf-8", "replace")
    return WaitingItem(item_id, named.get(b"d", b""), priority, due_utc_s, claimed > 0, deliveries)


def dead(queue: str, count: int) -> Flow[list[DeadItem]]:
    """
    Look at the dead letters, oldest first.

    Asks:
        XRANGE.
    """
    (entries,) = yield read("XRANGE", base_of(queue) + b"/dead", "-", "+", "COUNT", count)
    found = []
    for at, fields in entries:
        named = dict(zip(fields[::2], fields[1::2], strict=False))
        key = at.decode()
        found.append(
            DeadItem(
                named.get(b"i", b"").decode("utf-8", "replace"),
                key,
                named.get(b"d", b""),
                named.get(b"r", b"").decode("utf-8", "replace"),
                int(named.get(b"n", b"0")),
                int(key.partition("-")[0]) / 1000,
            )
        )
    return found


def requeue(queue: str, ids: Sequence[str] | None) -> Flow[int]:
    """
    Put dead letters back into their queue, as if never delivered.

    Args:
        queue: Which queue.
        ids: Ids or keys of the dead letters; None for all.

    Asks:
        A function, for 500 dead letters each.

    Returns:
        How many went back.
    """
    if ids is not None and not ids:
        return 0
    moved = 0
    at = "-"
    while at:
        count, next_at = yield from run(REQUEUE, (base_of(queue),), at, *(ids or ()))
        moved += int(count)
        at = next_at.decode()
    return moved


def purge(me: Claimer, queue: str, *, dead: bool) -> Flow[int]:
    """
    Throw away what waits, or the dead letters; what is claimed stays.

    Asks:
        A function; XLEN and UNLINK for the dead letters.

    Returns:
        How many were thrown away.
    """
    if dead:
        key = base_of(queue) + b"/dead"
        gone, _ = yield Exchange((("XLEN", key), ("UNLINK", key)), transaction=True)
        return int(gone)
    total = 0
    while True:
        gone = yield from run(PURGE, (base_of(queue),), me.consumer(1.0))
        total += int(gone)
        if gone < _MOST_PENDING:
            return total


def names() -> Flow[list[str]]:
    """
    List the queues that exist.

    Asks:
        SMEMBERS.
    """
    (members,) = yield read("SMEMBERS", REGISTRY)
    return sorted(member.decode("utf-8", "replace") for member in members)
