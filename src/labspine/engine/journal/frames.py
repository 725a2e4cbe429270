"""
How records lie in a journal: length, checksum, MessagePack; one after the other.

A record counts when its length and its checksum are right. What was torn by a power loss, and the room that
is reserved behind the last record, therefore never reads as a record.

Source:
    ADR 0022.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["HEAD_BYTES", "encode_frame", "frames", "plain_bytes"]

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size
"""Bytes in front of each record: its length and its CRC-32."""

LONGEST = 1 << 30
_ARRAY, _COMPLEX, _OTHER = 1, 2, 3


def _numpy_to_plain(value: Any) -> Any:
    if not hasattr(value, "tobytes") or not getattr(value, "shape", ()):
        return value.item()
    if value.dtype.kind == "O":
        return value.tolist()
    kind = value.dtype.descr if value.dtype.kind == "V" else value.dtype.str
    return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode([kind, value.shape, value.tobytes()]))


def _to_plain(value: Any) -> Any:
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return _numpy_to_plain(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float | int):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, complex):
        return msgspec.msgpack.Ext(_COMPLEX, struct.pack("<dd", value.real, value.imag))
    # Nothing in a device's reading may harm the run: what cannot be kept as it is, is kept as its text.
    return msgspec.msgpack.Ext(_OTHER, repr(value)[:500].encode("utf-8", "replace"))


def _from_plain(code: int, data: memoryview) -> Any:
    if code == _ARRAY:
        import numpy as np

        kind, shape, raw = msgspec.msgpack.decode(data)
        dtype = np.dtype([tuple(part) for part in kind]) if isinstance(kind, list) else np.dtype(kind)
        return np.frombuffer(raw, dtype).reshape(shape)
    if code == _COMPLEX:
        return complex(*struct.unpack("<dd", data))
    return bytes(data).decode("utf-8", "replace")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_plain)
_decoder = msgspec.msgpack.Decoder(ext_hook=_from_plain)


def _tamed(value: Any, depth: int = 0) -> Any:
    """Rewrite what MessagePack cannot hold: huge integers, odd keys, endless nesting."""
    if depth > 50:
        return repr(value)[:500]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _tamed(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_tamed(each, depth + 1) for each in value]
    try:
        _encoder.encode(value)
    except Exception:
        return repr(value)[:500]
    return value


def plain_bytes(value: Any) -> bytes:
    """
    Encode a value as it would be kept in a record.

    Args:
        value: Anything; what MessagePack cannot hold becomes its text.

    Returns:
        The same bytes for equal values, before and after a way through a file.
    """
    try:
        return _encoder.encode(value)
    except Exception:
        return _encoder.encode(_tamed(value))


def encode_frame(record: Any) -> bytes:
    """
    Encode one record, ready to be appended to a file.

    Args:
        record: A list: its kind and what belongs to it.

    Returns:
        The frame.
    """
    body = plain_bytes(record)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def frames(data: bytes | bytearray | memoryview, offset: int = 0) -> Iterator[tuple[int, Any]]:
    """
    Take records apart until the first place that is no whole record.

    Args:
        data: Contents of a file.
        offset: Where a record begins.

    Returns:
        Pairs of the place where the record ends, and the record.
    """
    view = memoryview(data)
    while len(view) - offset > HEAD_BYTES:
        length, checksum = _HEAD.unpack_from(view, offset)
        end = offset + HEAD_BYTES + length
        # An empty record is the room behind the last one: its checksum would be right.
        if not 0 < length <= LONGEST or end > len(view):
            return
        body = view[offset + HEAD_BYTES : end]
        if zlib.crc32(body) != checksum:
            return
        try:
            record = _decoder.decode(body)
        except msgspec.DecodeError:
            return
        yield end, record
        offset = end
