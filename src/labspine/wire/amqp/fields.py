"""Read and write the values of AMQP 0-9-1: short texts, tables, properties of a message. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from ...errors import InvalidArgument, shown

__all__ = [
    "Properties",
    "read_properties",
    "read_short",
    "read_table",
    "short",
    "table",
    "written_properties",
]

_MAX_SHORT_BYTES = 255
_MAX_DEPTH = 16

# The kinds of a value that have a fixed size, as RabbitMQ writes them (its "s" is a short number).
_FIXED: dict[int, struct.Struct] = {
    ord(kind): struct.Struct(">" + code)
    for kind, code in {
        "b": "b",
        "B": "B",
        "s": "h",
        "u": "H",
        "I": "i",
        "i": "I",
        "l": "q",
        "L": "Q",
        "T": "Q",
        "f": "f",
        "d": "d",
    }.items()
}


def short(text: str) -> bytes:
    """
    Write a short text: a name, a routing key.

    Raises:
        InvalidArgument: If it has more than 255 bytes in UTF-8.
    """
    raw = text.encode()
    if len(raw) > _MAX_SHORT_BYTES:
        raise InvalidArgument(f'"{shown(text)}" has {len(raw)} bytes: RabbitMQ takes names of at most 255')
    return b"%c%b" % (len(raw), raw)


def table(values: Mapping[str, Any]) -> bytes:
    """Write a table: texts, whole numbers, floats, truth values, bytes, None and tables in it."""
    body = b"".join(short(name) + _written(value) for name, value in values.items())
    return len(body).to_bytes(4, "big") + body


def _written(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, int):
        return b"l" + value.to_bytes(8, "big", signed=True)
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, (str, bytes)):
        raw = value.encode() if isinstance(value, str) else value
        return b"S" + len(raw).to_bytes(4, "big") + raw
    if isinstance(value, Mapping):
        return b"F" + table(value)
    if value is None:
        return b"V"
    raise InvalidArgument(f"a header cannot hold {shown(value)}: use text, numbers, bytes or a dict")


def read_short(data: bytes, at: int) -> tuple[str, int]:
    """Read a short text; returns it and the place behind it."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "replace"), end


def read_table(data: bytes, at: int, depth: int = 0) -> tuple[dict[str, Any], int]:
    """Read a table; returns it and the place behind it."""
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    at += 4
    found: dict[str, Any] = {}
    while at < end:
        name, at = read_short(data, at)
        found[name], at = _read(data, at, depth)
    return found, end


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind = data[at]
    at += 1
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if kind == ord("t"):
        return data[at] != 0, at + 1
    if kind == ord("V"):
        return None, at
    if kind == ord("D"):  # a decimal: scale, then a whole number
        return int.from_bytes(data[at + 1 : at + 5], "big", signed=True) / 10 ** data[at], at + 5
    if depth > _MAX_DEPTH:
        raise ValueError("tables are nested too deep")
    if kind == ord("F"):
        return read_table(data, at, depth + 1)
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    if kind == ord("S"):
        return data[at + 4 : end].decode("utf-8", "replace"), end
    if kind == ord("x"):
        return data[at + 4 : end], end
    if kind == ord("A"):
        at += 4
        items = []
        while at < end:
            item, at = _read(data, at, depth + 1)
            items.append(item)
        return items, end
    raise ValueError(f"a value of the unknown kind {kind}")


class Properties(msgspec.Struct, frozen=True):
    """
    What travels beside a message; empty and None are left out.

    Args:
        headers: Names and values of any kind.
        is_persistent: Whether the broker writes the message to disk.
        priority: 0 to 9; only a queue with priorities heeds it.
        correlation_id: Which call a reply answers.
        reply_to: The queue that takes the reply.
        expiration_ms: After so many milliseconds the broker drops the message; None never.
        message_id: The sender's name for the message.
        type: What kind of message it is.
    """

    headers: Mapping[str, Any] = {}
    is_persistent: bool = False
    priority: int | None = None
    correlation_id: str = ""
    reply_to: str = ""
    expiration_ms: int | None = None
    message_id: str = ""
    type: str = ""


def written_properties(properties: Properties) -> bytes:
    """Write the flags and values of the properties, as the header of a message has them."""
    flags, parts = 0x1000, []
    if properties.headers:
        flags |= 0x2000
        parts.append(table(properties.headers))
    parts.append(b"\x02" if properties.is_persistent else b"\x01")
    if properties.priority is not None:
        flags |= 0x0800
        parts.append(bytes((properties.priority,)))
    expiration = "" if properties.expiration_ms is None else str(max(0, properties.expiration_ms))
    for flag, text in (
        (0x0400, properties.correlation_id),
        (0x0200, properties.reply_to),
        (0x0100, expiration),
        (0x0080, properties.message_id),
        (0x0020, properties.type),
    ):
        if text:
            flags |= flag
            parts.append(short(text))
    return flags.to_bytes(2, "big") + b"".join(parts)


# The properties in the order of their flags, from 0x8000 down, and how each is read.
_ORDER: tuple[tuple[int, str, str], ...] = (
    (0x8000, "content_type", "short"),
    (0x4000, "content_encoding", "short"),
    (0x2000, "headers", "table"),
    (0x1000, "delivery_mode", "byte"),
    (0x0800, "priority", "byte"),
    (0x0400, "correlation_id", "short"),
    (0x0200, "reply_to", "short"),
    (0x0100, "expiration", "short"),
    (0x0080, "message_id", "short"),
    (0x0040, "timestamp", "long"),
    (0x0020, "type", "short"),
)


def read_properties(data: bytes) -> Properties:
    """Read what `written_properties` of anybody wrote; what we do not use is left out."""
    flags, at = int.from_bytes(data[:2], "big"), 2
    found: dict[str, Any] = {}
    for flag, name, kind in _ORDER:
        if not flags & flag:
            continue
        if kind == "short":
            found[name], at = read_short(data, at)
        elif kind == "table":
            found[name], at = read_table(data, at)
        elif kind == "byte":
            found[name], at = data[at], at + 1
        else:
            at += 8
    expiration = found.get("expiration", "")
    return Properties(
        headers=found.get("headers", {}),
        is_persistent=found.get("delivery_mode") == 2,
        priority=found.get("priority"),
        correlation_id=found.get("correlation_id", ""),
        reply_to=found.get("reply_to", ""),
        expiration_ms=int(expiration) if expiration.isdigit() else None,
        message_id=found.get("message_id", ""),
        type=found.get("type", ""),
    )
