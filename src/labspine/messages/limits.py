"""
Limits on what is decoded: bytes, depth and number of nodes, checked before anything is built.

Ten megabytes of empty maps would become 730 MB of Python objects in any untyped decoder; a walk over the
tags costs nothing like that. Small payloads need no walk: they cannot hold that many nodes.
"""

from __future__ import annotations

from ..errors import DecodeError, TooLarge

__all__ = ["MAX_DEPTH", "MAX_NODES", "MAX_PAYLOAD_BYTES", "WALK_ABOVE_BYTES", "check_limits"]

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
MAX_NODES = 500_000
MAX_DEPTH = 64
WALK_ABOVE_BYTES = 64 * 1024

_FIXED = {
    0xC0: 0,
    0xC2: 0,
    0xC3: 0,
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
}
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}


def check_limits(payload: bytes | memoryview) -> None:
    """
    Refuse a payload that is too large, too deep or of too many parts.

    Args:
        payload: One MessagePack document.

    Raises:
        TooLarge: Above `MAX_PAYLOAD_BYTES` or `MAX_NODES`.
        DecodeError: Deeper than `MAX_DEPTH`, cut off, or with an extension type.
    """
    size = len(payload)
    if size > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"payload of {size} bytes: at most {MAX_PAYLOAD_BYTES} are accepted")
    if size > WALK_ABOVE_BYTES and payload[0] & 0x80:
        _walk(payload, size)


def _walk(payload: bytes | memoryview, size: int) -> None:
    at = nodes = 0
    open_items = [1]
    while open_items:
        if open_items[-1] == 0:
            open_items.pop()
            continue
        open_items[-1] -= 1
        nodes += 1
        if nodes > MAX_NODES:
            raise TooLarge(f"payload of more than {MAX_NODES} parts")
        if at >= size:
            raise DecodeError(f"payload is cut off at byte {size}")
        at, children = _step(payload, at)
        if children:
            open_items.append(children)
            if len(open_items) > MAX_DEPTH + 1:
                raise DecodeError(f"payload is nested deeper than {MAX_DEPTH} at byte {at}")


def _step(payload: bytes | memoryview, at: int) -> tuple[int, int]:
    """Pass over one tag; return the next offset and the number of items that it opens."""
    tag = payload[at]
    at += 1
    if tag < 0x80 or tag >= 0xE0:
        return at, 0
    if tag < 0x90:
        return at, 2 * (tag & 0x0F)
    if tag < 0xA0:
        return at, tag & 0x0F
    if tag < 0xC0:
        return at + (tag & 0x1F), 0
    if tag in _FIXED:
        return at + _FIXED[tag], 0
    if tag in _SIZED:
        width = _SIZED[tag]
        return at + width + int.from_bytes(payload[at : at + width], "big"), 0
    if tag in (0xDC, 0xDD, 0xDE, 0xDF):
        width = 2 if tag in (0xDC, 0xDE) else 4
        items = int.from_bytes(payload[at : at + width], "big")
        return at + width, items * 2 if tag >= 0xDE else items
    raise DecodeError(f"tag 0x{tag:02x} at byte {at - 1}: extension types are not accepted")
