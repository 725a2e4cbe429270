"""Read the history of a family of events, page by page, as a subscription does that was away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from ..errors import InvalidArgument
from .exchange import Command, Exchange, Flow

__all__ = [
    "BEGINNING",
    "Entry",
    "EntryId",
    "Page",
    "entry_id",
    "id_bytes",
    "last_ids",
    "page",
    "stored_value",
]

EntryId: TypeAlias = tuple[int, int]
BEGINNING: EntryId = (0, 0)

_FIRST_COUNT = 64
_LARGEST_COUNT = 1000
_SMALLEST_COUNT = 8
_PAGE_BYTES = 512 * 1024


class Entry(NamedTuple):
    """
    One recorded event.

    Args:
        id: Where it stands in the history.
        channel: The channel on which it was said.
        payload: What was said; None if it was too large to be kept.
        stamp: The last 40 bytes of what was said.
    """

    id: EntryId
    channel: bytes
    payload: bytes | None
    stamp: bytes


class Page(NamedTuple):
    """
    Some entries after a position.

    Args:
        entries: In order.
        last: The new position.
        is_last: Whether nothing came after it.
        is_trimmed: Whether the history began after the old position, so that entries may be missing.
        next_count: How many entries the next page should ask for.
    """

    entries: list[Entry]
    last: EntryId
    is_last: bool
    is_trimmed: bool
    next_count: int


def entry_id(raw: bytes | str) -> EntryId:
    """Read a stream id."""
    text = raw.decode("ascii") if isinstance(raw, bytes) else raw
    ms, _, sequence = text.partition("-")
    try:
        return int(ms), int(sequence or 0)
    except ValueError:
        raise InvalidArgument(f'"{text}" is not a stream id') from None


def id_bytes(position: EntryId) -> bytes:
    """Write a stream id."""
    return b"%d-%d" % position


def last_ids(keys: Sequence[str]) -> Flow[dict[str, EntryId]]:
    """
    Find where each of some streams ends now.

    Asks:
        XREVRANGE, one a stream, in one write.

    Returns:
        The last id of each; `BEGINNING` for an empty one.
    """
    commands: tuple[Command, ...] = tuple(("XREVRANGE", key, "+", "-", "COUNT", 1) for key in keys)
    if not commands:
        return {}
    replies = yield Exchange(commands, readonly=True)
    return {
        key: entry_id(found[0][0]) if found else BEGINNING for key, found in zip(keys, replies, strict=True)
    }


def page(key: str, after: EntryId, count: int = 0) -> Flow[Page]:
    """
    Read the entries after a position.

    Args:
        key: The key of the history.
        after: The position; entries up to and including it are known.
        count: How many entries at most; 0 for the first page.

    Asks:
        XRANGE.

    Returns:
        The page; foreign entries without channel are left out.
    """
    count = count or _FIRST_COUNT
    news: Command = ("XRANGE", key, b"(%d-%d" % after, "+", "COUNT", count)
    raw, first = yield Exchange((news, ("XRANGE", key, "-", "+", "COUNT", 1)), readonly=True)
    is_trimmed = bool(first and entry_id(first[0][0]) > after)
    entries = [entry for entry in map(_entry, raw) if entry is not None]
    size_bytes = sum(len(entry.payload or b"") for entry in entries) + 64 * len(raw)
    last = entry_id(raw[-1][0]) if raw else after
    next_count = max(_SMALLEST_COUNT, min(_LARGEST_COUNT, _PAGE_BYTES * len(raw) // max(size_bytes, 1)))
    return Page(entries, last, len(raw) < count, is_trimmed, next_count)


def _entry(raw: Any) -> Entry | None:
    fields = raw[1]
    if not fields or len(fields) < 4 or fields[0] != b"c":
        return None
    kind, value = fields[2], fields[3]
    if kind == b"d":
        return Entry(entry_id(raw[0]), fields[1], value, value[-40:])
    return Entry(entry_id(raw[0]), fields[1], None, value[-40:]) if kind == b"s" else None


def stored_value(key: bytes) -> Flow[bytes | None]:
    """
    Read the raw value of a key, as a subscription does after a reconnect.

    Asks:
        GET.
    """
    (payload,) = yield Exchange((("GET", key),), readonly=True)
    return payload if isinstance(payload, bytes) else None
