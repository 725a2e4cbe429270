"""Streams: kept in order, read by position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..endpoints import EndpointInfo
from ..errors import DecodeError, InvalidArgument, InvalidMessage, PermissionDenied, ServerError, shown
from ..messages import Message, decode, encode
from .checks import count_above_zero, expiry, seconds, stream_id
from .exchange import Argument, Command, Exchange, Flow, read
from .history import BEGINNING, EntryId, entry_id, id_bytes

__all__ = [
    "Cursors",
    "StreamPlace",
    "StreamRecord",
    "decoded_record",
    "get_last",
    "newest_entry",
    "place_of",
    "raw_xread",
    "stream_page",
    "wait_for_entries",
    "xadd",
    "xrange",
    "xread",
]

StreamRecord = dict[str, Any]
FIRST_COUNT = 100


class Cursors:
    """Remember how far each reader of `xread` has come; bounded, the oldest go first."""

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._positions: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        """Return the position of a reader, or None for a new one."""
        return self._positions.get(name)

    def put(self, name: str, position: str) -> None:
        """Remember the position of a reader."""
        self._positions.pop(name, None)
        while len(self._positions) >= self._most:
            self._positions.pop(next(iter(self._positions)))
        self._positions[name] = position


def xadd(
    endpoint: EndpointInfo[Message],
    content: Message | Mapping[str, object],
    *,
    max_size: int | None,
    expire_s: float | None,
    approximate: bool,
) -> Flow[str]:
    """
    Append an entry.

    Args:
        endpoint: Where.
        content: A message, which goes into the field ``data``; or a dict of fields.
        max_size: About how many entries are kept; None for all.
        expire_s: Seconds until the whole stream vanishes; None keeps it.
        approximate: Let the server trim when it is cheap; a few more entries are kept then.

    Asks:
        XADD; with an expiry MULTI, XADD, PEXPIRE, EXEC.

    Returns:
        The id of the entry.
    """
    endpoint.require("xadd")
    fields = _fields(endpoint, content)
    trim: tuple[Argument, ...] = ()
    if max_size is not None:
        trim = ("MAXLEN", "~" if approximate else "=", count_above_zero("max_size", max_size))
    add: Command = ("XADD", endpoint.endpoint, *trim, "*", *fields)
    options = expiry(expire_s)
    if options:
        replies = yield Exchange((add, ("PEXPIRE", endpoint.endpoint, options[1])), transaction=True)
    else:
        replies = yield Exchange((add,))
    return str(replies[0].decode())


def _fields(endpoint: EndpointInfo[Message], content: Message | Mapping[str, object]) -> list[Argument]:
    if isinstance(content, Message):
        endpoint.check(content)
        return ["data", encode(content)]
    if not isinstance(content, Mapping) or not content:
        raise InvalidMessage(
            f"{endpoint.endpoint} takes {endpoint.message_type.__name__} or a dict of fields, "
            f"got {type(content).__name__}"
        )
    fields: list[Argument] = []
    for name, value in content.items():
        if isinstance(value, Message):
            endpoint.check(value)
        fields += [str(name), encode(value)]
    return fields


def decoded_record(fields: list[bytes]) -> StreamRecord:
    """
    Decode the fields of one entry.

    Raises:
        DecodeError: If a field is not a message or a plain value.
    """
    if len(fields) % 2:
        raise DecodeError("a stream entry with a field that has no value")
    return {fields[at].decode("utf-8", "replace"): decode(fields[at + 1]) for at in range(0, len(fields), 2)}


def xrange(
    endpoint: EndpointInfo[Message], first: str, last: str, count: int | None
) -> Flow[list[StreamRecord]]:
    """
    Read the entries between two ids, both included.

    Asks:
        XRANGE.

    Returns:
        One dict an entry, in order; empty if there are none.
    """
    endpoint.require("xrange")
    limit = () if count is None else ("COUNT", count_above_zero("count", count))
    (entries,) = yield read(
        "XRANGE", endpoint.endpoint, stream_id("min", first), stream_id("max", last), *limit
    )
    return [decoded_record(fields) for _, fields in entries]


def get_last(endpoint: EndpointInfo[Message], key: str | None, count: int) -> Flow[Any]:
    """
    Read the newest entries.

    Args:
        endpoint: Where.
        key: Return the value of this field only; None returns the dict of all.
        count: How many.

    Asks:
        XREVRANGE.

    Returns:
        For a count of 1 the entry or None; else a list, oldest first.
    """
    endpoint.require("get_last")
    count_above_zero("count", count)
    (entries,) = yield read("XREVRANGE", endpoint.endpoint, "+", "-", "COUNT", count)
    records = [decoded_record(fields) for _, fields in reversed(entries)]
    values = records if key is None else [record.get(key) for record in records]
    if count == 1:
        return values[0] if values else None
    return values


def xread(
    endpoint: EndpointInfo[Message],
    cursors: Cursors,
    *,
    position: str | None,
    count: int | None,
    block_s: float | None,
    reader: str | None,
) -> Flow[list[StreamRecord]]:
    """
    Read what is new since the last call.

    Args:
        endpoint: Where.
        cursors: How far each reader has come.
        position: Read after this id instead; None goes on where this reader was, and gives a new reader the
            last entry that exists.
        count: How many entries at most; None for all.
        block_s: Wait up to so many seconds for an entry; None does not wait.
        reader: A name that separates readers of the same stream.

    Asks:
        XREAD; for a new reader XREVRANGE.

    Returns:
        One dict an entry, in order; empty if there is nothing new.
    """
    endpoint.require("xread")
    name = f"{endpoint.endpoint}:{reader or ''}"
    options, wait_s = _options(count, block_s)
    after = cursors.get(name) if position is None else stream_id("id", position, special=("$",))
    if after is None:
        (entries,) = yield read("XREVRANGE", endpoint.endpoint, "+", "-", "COUNT", 1)
        if entries:
            cursors.put(name, entries[0][0].decode())
            return [decoded_record(entries[0][1])]
        after = "0-0"
        cursors.put(name, after)
    command: Command = ("XREAD", *options, "STREAMS", endpoint.endpoint, after)
    (found,) = yield Exchange((command,), False, True, wait_s)
    entries = found[0][1] if found else []
    if entries:
        cursors.put(name, entries[-1][0].decode())
    return [decoded_record(fields) for _, fields in entries]


def raw_xread(
    positions: Mapping[str, str], *, count: int | None, block_s: float | None
) -> Flow[list[tuple[str, list[tuple[str, dict[str, bytes]]]]]]:
    """
    Read entries of streams as they are, without decoding.

    Args:
        positions: The key of each stream, and the id after which to read.
        count: How many entries of each at most; None for all.
        block_s: Wait up to so many seconds; None does not wait.

    Asks:
        XREAD.

    Returns:
        For each stream with news its key and its entries: id and fields.

    Raises:
        InvalidArgument: If no stream is given, or an id or a limit cannot be.
    """
    if not isinstance(positions, Mapping) or not positions:
        raise InvalidArgument(f"positions={shown(positions)}: a dict of key and id is needed")
    options, wait_s = _options(count, block_s)
    after = [stream_id("id", position, special=("$",)) for position in positions.values()]
    command: Command = ("XREAD", *options, "STREAMS", *positions, *after)
    (found,) = yield Exchange((command,), False, True, wait_s)
    return [
        (key.decode(), [(raw_id.decode(), _plain_fields(fields)) for raw_id, fields in entries])
        for key, entries in found or ()
    ]


def _options(count: int | None, block_s: float | None) -> tuple[tuple[Argument, ...], float | None]:
    """Check how much XREAD may give and how long it may wait; give its words and the wait in seconds."""
    limit: tuple[Argument, ...] = () if count is None else ("COUNT", count_above_zero("count", count))
    if block_s is None:
        return limit, None
    wait_s = seconds("block_s", block_s)
    return (*limit, "BLOCK", max(1, round(wait_s * 1000))), wait_s


def _plain_fields(fields: list[bytes]) -> dict[str, bytes]:
    return {fields[at].decode("utf-8", "replace"): fields[at + 1] for at in range(0, len(fields) - 1, 2)}


class StreamPlace(NamedTuple):
    """
    Where a stream begins and ends now.

    Args:
        first: The id of its first entry; `BEGINNING` if it is empty.
        last: The id of the last entry that was ever added; `BEGINNING` if there is no such stream.
        length: How many entries it has; at least that many if the server does not tell.
        added: How many entries were ever added; None if the server does not tell.
    """

    first: EntryId
    last: EntryId
    length: int
    added: int | None


def place_of(key: str) -> Flow[StreamPlace]:
    """
    Look where a stream begins and ends, and how many entries it ever had, in one step.

    Asks:
        XINFO STREAM; XRANGE and XREVRANGE if the login may not use it.
    """
    try:
        (told,) = yield read("XINFO", "STREAM", key)
    except ServerError as error:
        if "no such key" in str(error):
            return StreamPlace(BEGINNING, BEGINNING, 0, 0)
        raise
    except PermissionDenied:
        ends: tuple[Command, ...] = (
            ("XRANGE", key, "-", "+", "COUNT", 1),
            ("XREVRANGE", key, "+", "-", "COUNT", 1),
        )
        oldest, newest = yield Exchange(ends, readonly=True)
        if not newest:
            return StreamPlace(BEGINNING, BEGINNING, 0, None)
        return StreamPlace(entry_id(oldest[0][0]), entry_id(newest[0][0]), len(oldest), None)
    facts: dict[bytes, Any] = dict(zip(told[::2], told[1::2], strict=False))
    first = facts.get(b"first-entry")
    return StreamPlace(
        entry_id(first[0]) if first else BEGINNING,
        entry_id(facts[b"last-generated-id"]),
        int(facts[b"length"]),
        facts.get(b"entries-added"),
    )


def stream_page(
    key: str, after: EntryId, count: int = 0
) -> Flow[tuple[list[tuple[EntryId, list[bytes]]], bool]]:
    """
    Read raw entries of a stream after a position, for a subscription that was away.

    Args:
        key: The key of the stream.
        after: The position.
        count: How many; 0 for the first page, which also looks where the stream begins.

    Asks:
        XRANGE.

    Returns:
        The entries, and whether the stream began after the position, so that some may be missing.
    """
    ask: tuple[Command, ...] = (("XRANGE", key, b"(%d-%d" % after, "+", "COUNT", count or FIRST_COUNT),)
    if not count:
        ask += (("XRANGE", key, "-", "+", "COUNT", 1),)
    replies = yield Exchange(ask, readonly=True)
    is_trimmed = bool(not count and after != BEGINNING and replies[1] and entry_id(replies[1][0][0]) > after)
    return [(entry_id(raw_id), fields) for raw_id, fields in replies[0] if fields], is_trimmed


def newest_entry(key: str) -> Flow[list[tuple[EntryId, list[bytes]]]]:
    """
    Read the newest raw entry of a stream.

    Asks:
        XREVRANGE.

    Returns:
        One entry, or none.
    """
    (entries,) = yield read("XREVRANGE", key, "+", "-", "COUNT", 1)
    return [(entry_id(raw_id), fields) for raw_id, fields in entries]


def wait_for_entries(
    positions: Mapping[str, EntryId], wait_s: float
) -> Flow[list[tuple[str, list[tuple[EntryId, list[bytes]]]]]]:
    """
    Wait for entries of any of several streams.

    Args:
        positions: How far each stream has been read, by key.
        wait_s: Longest wait in seconds.

    Asks:
        XREAD BLOCK.

    Returns:
        For each stream with news its key and raw entries.
    """
    after = [id_bytes(position) for position in positions.values()]
    command: Command = (
        "XREAD",
        "COUNT",
        200,
        "BLOCK",
        max(1, round(wait_s * 1000)),
        "STREAMS",
        *positions,
        *after,
    )
    (found,) = yield Exchange((command,), False, True, wait_s)
    return [
        (key.decode(), [(entry_id(raw_id), fields) for raw_id, fields in entries if fields])
        for key, entries in found or ()
    ]
