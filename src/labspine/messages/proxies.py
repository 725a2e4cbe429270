"""
Read documents in which a device proxy is the key of a map, as bec_lib's clients send scan requests.

``{dev.samx: [...]}`` travels as a map whose key is itself a map, ``{"__bec_codec__": {"encoder_name":
"DeviceBase", "data": "samx"}}``. MessagePack allows it, and msgspec refuses it. This reader in Python is used
only then, for requests of a few hundred bytes; everything else that it does not know is refused.
"""

from __future__ import annotations

import struct
from typing import Any

from ..errors import DecodeError, TooLarge
from .limits import MAX_DEPTH, MAX_NODES

__all__ = ["PROXY_MARK", "read_with_proxies"]

PROXY_MARK = b"\xaaDeviceBase"
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_SIZED = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_TEXT = range(0xD9, 0xDC)
_BINARY = range(0xC4, 0xC7)
_ARRAY = range(0xDC, 0xDE)


def read_with_proxies(document: bytes) -> Any:
    """
    Read one MessagePack document; device proxies that are keys become their names.

    Args:
        document: Exactly one document.

    Returns:
        Plain values; codec maps that are no keys stay as they are.

    Raises:
        DecodeError: If it is cut off, too deep, followed by more, or holds what is not accepted.
        TooLarge: If it has too many parts.
    """
    reader = _Reader(document)
    value = reader.read(0)
    if reader.at != len(document):
        raise DecodeError(f"trailing bytes at {reader.at}")
    return value


class _Reader:
    def __init__(self, document: bytes) -> None:
        self._document = document
        self._nodes = 0
        self.at = 0

    def read(self, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TooLarge(f"payload of more than {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            raise DecodeError(f"nested deeper than {MAX_DEPTH} at byte {self.at}")
        tag = self._take(1)[0]
        if tag < 0x80:
            return tag
        if tag >= 0xE0:
            return tag - 0x100
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _NUMBERS:
            layout = _NUMBERS[tag]
            return struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return self._read_sized(tag, depth)

    def _read_sized(self, tag: int, depth: int) -> Any:
        if tag < 0x90:
            return self._read_map(tag & 0x0F, depth)
        if tag < 0xA0:
            return self._read_array(tag & 0x0F, depth)
        if tag < 0xC0:
            return self._read_text(tag & 0x1F)
        if tag not in _SIZED:
            raise DecodeError(f"tag 0x{tag:02x} at byte {self.at - 1}: extension types are not accepted")
        size = int.from_bytes(self._take(_SIZED[tag]), "big")
        if tag in _TEXT:
            return self._read_text(size)
        if tag in _BINARY:
            return self._take(size)
        return self._read_array(size, depth) if tag in _ARRAY else self._read_map(size, depth)

    def _take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self._document):
            raise DecodeError(f"payload is cut off at byte {len(self._document)}")
        part = self._document[self.at : end]
        self.at = end
        return part

    def _read_text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"text that is not UTF-8 before byte {self.at}") from error

    def _read_array(self, size: int, depth: int) -> list[Any]:
        return [self.read(depth + 1) for _ in range(size)]

    def _read_map(self, size: int, depth: int) -> dict[Any, Any]:
        items = {}
        for _ in range(size):
            key = self._read_key(depth)
            items[key] = self.read(depth + 1)
        if len(items) != size:
            raise DecodeError(f"a key stands twice in the map before byte {self.at}")
        return items

    def _read_key(self, depth: int) -> str | bytes:
        key = self.read(depth + 1)
        if isinstance(key, dict) and isinstance(codec := key.get("__bec_codec__"), dict):
            name = codec.get("data")
            if codec.get("encoder_name") == "DeviceBase" and isinstance(name, str):
                return name
        if isinstance(key, (str, bytes)):
            return key
        raise DecodeError(f"key of type `{type(key).__name__}` before byte {self.at}: keys are text")
