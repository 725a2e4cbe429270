"""
The bytes of protocol buffers (proto3), as far as OpenTera's messages use them; no library is needed.

Fields are written in the order of their numbers and defaults are left out, as the official library does, so
that the bytes are equal to its own. Reading is bounded: sizes are checked before anything is built.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ...errors import DecodeError, TooLarge
from ..limits import MAX_PAYLOAD_BYTES

__all__ = [
    "BYTES",
    "FIXED32",
    "FIXED64",
    "MOST_ITEMS",
    "VARINT",
    "Field",
    "double",
    "read_fields",
    "signed",
    "text",
    "write_double",
    "write_key",
    "write_sized",
    "write_varint",
]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MOST_ITEMS = 10_000
"""Largest number of fields in one message; repeated fields count one by one."""

_MASK64 = 2**64 - 1
_LONGEST_VARINT_BYTES = 10
_LARGEST_NUMBER = 2**29 - 1
_pack_double = struct.Struct("<d").pack

Field = tuple[int, int, int | bytes]
"""Number, wire type and value of a field; the value of BYTES and FIXED ones is a piece of the payload."""


def write_varint(number: int) -> bytes:
    """Write a whole number from -2**63 to 2**64 - 1; negative ones take ten bytes."""
    number &= _MASK64
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def write_key(number: int, kind: int) -> bytes:
    """Write what stands before a value: the field's number and its wire type."""
    return write_varint(number << 3 | kind)


def write_sized(number: int, value: bytes) -> bytes:
    """Write a field of bytes, text or an inner message."""
    return write_key(number, BYTES) + write_varint(len(value)) + value


def write_double(number: int, value: float) -> bytes:
    """Write a field of eight bytes."""
    return write_key(number, FIXED64) + _pack_double(value)


def read_fields(payload: bytes) -> Iterator[Field]:
    """
    Read the fields of one message, in the order in which they stand.

    Args:
        payload: The whole message.

    Yields:
        Each field; those that nobody knows must be passed over, as the format wants it.

    Raises:
        DecodeError: If it is cut off, or not of this format.
        TooLarge: Above 16 MiB or `MOST_ITEMS` fields.
    """
    end, at, count = len(payload), 0, 0
    if end > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"payload of {end} bytes: at most {MAX_PAYLOAD_BYTES} are accepted")
    while at < end:
        count += 1
        if count > MOST_ITEMS:
            raise TooLarge(f"more than {MOST_ITEMS} fields in one message")
        key = payload[at]
        key, at = (key, at + 1) if key < 0x80 else _varint(payload, at, end)
        number, kind = key >> 3, key & 7
        if not 1 <= number <= _LARGEST_NUMBER:
            raise DecodeError(f"byte {at}: a field has the number {number}")
        if kind == VARINT:
            value, at = _varint(payload, at, end)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = _varint(payload, at, end)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise DecodeError(f"byte {at}: wire type {kind} is not used by proto3")
        if size > end - at:
            raise DecodeError(f"byte {at}: cut off, {size} bytes were announced and {end - at} are there")
        yield number, kind, payload[at : at + size]
        at += size


def _varint(payload: bytes, at: int, end: int) -> tuple[int, int]:
    if at < end and payload[at] < 0x80:
        return payload[at], at + 1
    value = shift = 0
    for place in range(at, min(end, at + _LONGEST_VARINT_BYTES)):
        byte = payload[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK64, place + 1
        shift += 7
    raise DecodeError(f"byte {at}: a number is cut off or longer than {_LONGEST_VARINT_BYTES} bytes")


def signed(number: int) -> int:
    """Understand 64 bits as a number that may be negative."""
    return number - 2**64 if number >= 2**63 else number


def text(value: int | bytes, where: str) -> str:
    """
    Understand the value of a field as text.

    Raises:
        DecodeError: If it is not UTF-8.
    """
    try:
        return _bytes(value, where).decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{where}: not UTF-8 ({error.reason} at byte {error.start})") from error


def double(value: int | bytes, where: str) -> float:
    """
    Understand the value of a field as a number of four or eight bytes.

    Raises:
        DecodeError: If it has another size.
    """
    raw = _bytes(value, where)
    if len(raw) not in (4, 8):
        raise DecodeError(f"{where}: a number of {len(raw)} bytes")
    number: float = struct.unpack("<d" if len(raw) == 8 else "<f", raw)[0]
    return number


def _bytes(value: int | bytes, where: str) -> bytes:
    if isinstance(value, int):
        raise DecodeError(f"{where}: a whole number stands where bytes are expected")
    return value
