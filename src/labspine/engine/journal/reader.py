"""Reading journals: from the first record on, from where a reader has come, and while they are written."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import JournalError
from .frames import frames

__all__ = ["Position", "Tail", "has_header", "is_read", "read_records", "tag_of"]

_POSITION = struct.Struct("<QI")
_PART = 4 * 1024 * 1024
_HEADER = 16 * 1024


def read_records(path: Path) -> Iterator[tuple[int, Any]]:
    """
    Read a journal to its last whole record.

    Args:
        path: The file.

    Yields:
        Pairs of the place where the record ends, and the record.

    Raises:
        JournalError: If it cannot be read.
    """
    tail = Tail(path)
    try:
        while found := tail.read():
            yield from found
    finally:
        tail.close()


class Tail:
    """
    Read what was appended since the last time.

    Args:
        path: The file; it may get its final name meanwhile.
        offset: Where to begin; the end of a record.

    Raises:
        JournalError: If it cannot be opened.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.offset = offset
        self._part = _PART
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise JournalError(f"the journal {path} cannot be read: {error.strerror}") from error

    def read(self) -> list[tuple[int, Any]]:
        """
        Read the next records.

        Returns:
            Pairs of the place where the record ends, and the record; empty when there is nothing new. A
            record that is being written while it is read comes the next time.
        """
        while True:
            data = os.pread(self._fd, self._part, self.offset)
            found = [(self.offset + end, record) for end, record in frames(data)]
            if found:
                self.offset = found[-1][0]
                self._part = _PART
                return found
            if len(data) < self._part or not any(data[:8]):
                return []
            self._part *= 2  # one record that is longer than what was read

    def close(self) -> None:
        """Give up the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Position:
    """
    Where a reader has come in one journal; survives the reader.

    Args:
        path: The journal.
        reader: Name of the reader.
    """

    def __init__(self, path: Path, reader: str) -> None:
        self._path = path.parent / f"{path.stem}.{reader}.position"
        self._fd = -1
        self.offset = _read_position(self._path)

    def move(self, offset: int) -> None:
        """
        Remember that everything before a place was read.

        Args:
            offset: The end of a record.
        """
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        raw = struct.pack("<Q", offset)
        os.pwrite(self._fd, _POSITION.pack(offset, zlib.crc32(raw)), 0)
        self.offset = offset

    def close(self) -> None:
        """Give up the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _read_position(path: Path) -> int:
    try:
        offset, checksum = _POSITION.unpack(path.read_bytes()[: _POSITION.size])
    except (OSError, struct.error):
        return 0
    return int(offset) if zlib.crc32(struct.pack("<Q", offset)) == checksum else 0


def _header(path: Path) -> dict[str, Any] | None:
    with path.open("rb") as file:
        first = next(frames(file.read(_HEADER)), None)
    if first is None:  # a request with very many arguments
        first = next(read_records(path), None)
    return first[1][1] if first is not None and first[1][0] == "O" else None


def tag_of(path: Path) -> str | None:
    """
    Tell whose journal it is.

    Args:
        path: The file.

    Returns:
        The tag of its lab; None when nothing was written into it.
    """
    header = _header(path)
    return None if header is None else str(header.get("tag", ""))


def has_header(path: Path) -> bool:
    """
    Tell whether anything was written into a journal.

    Args:
        path: The file.

    Returns:
        False when its process died before the first record: then nothing had happened.
    """
    return _header(path) is not None


def is_read(path: Path) -> bool:
    """
    Tell whether every reader of a complete journal has read all of it.

    Args:
        path: The journal.

    Returns:
        True also when it has no readers.
    """
    header = _header(path)
    size = path.stat().st_size
    readers = [] if header is None else header.get("readers", [])
    return all(_read_position(path.parent / f"{path.stem}.{name}.position") >= size for name in readers)
