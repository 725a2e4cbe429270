"""
The disk under an HDF5 file: changes go to it together, and HDF5 never sees its errors.

HDF5 writes parts of its bookkeeping whenever it likes, so that a file whose writer is killed, or that is
opened meanwhile, may be unreadable. Here all writes wait in memory until :meth:`ForgivingFile.commit`, which
is called after HDF5 has flushed: the file on the disk is always the state of some flush.

Nor can HDF5 be trusted with a disk that fails: after a flush that finds the disk full, it crashes the whole
process when the file is closed. So the first error is remembered, the disk is left alone from then on, and
the caller raises at a moment of its choice.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

__all__ = ["ForgivingFile"]

_HEAD_BYTES = 512


class ForgivingFile(io.RawIOBase):
    """
    A new file whose writes wait for a commit and never fail.

    Args:
        path: Where; it must not exist.

    Raises:
        OSError: If the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._fd = -1
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._position = 0
        self._size = 0
        self._error: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def commit(self) -> None:
        """
        Bring all changes to the disk.

        Raises:
            OSError: If the disk failed, now or before.
        """
        try:
            if self._error is None:
                os.ftruncate(self._fd, self._size)
                # The first bytes say how long the file is and where all begins: they go last.
                for offset, piece in sorted(self._kept, key=lambda kept: kept[0] < _HEAD_BYTES):
                    self._write_out(offset, piece)
                self._kept.clear()
        except OSError as error:
            self._error = error
        if self._error is not None:
            raise self._error

    def sync(self) -> None:
        """
        Wait until the disk itself has everything that was committed.

        Raises:
            OSError: If the disk failed.
        """
        os.fsync(self._fd)

    def readable(self) -> bool:
        """Say yes: HDF5 reads back what it wrote."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position; see :meth:`io.IOBase.seek`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Tell the position in bytes."""
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read what was written, also what waits."""
        view = memoryview(buffer).cast("B")
        begin, wanted = self._position, max(0, min(len(view), self._size - self._position))
        view[:wanted] = bytes(wanted)
        data = os.pread(self._fd, wanted, begin)
        view[: len(data)] = data
        for offset, piece in self._kept:
            first, last = max(offset, begin), min(offset + len(piece), begin + wanted)
            if first < last:
                view[first - begin : last - begin] = piece[first - offset : last - offset]
        self._position += wanted
        return wanted

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        """Write at the position; never fails."""
        piece = bytes(data)
        self._kept.append((self._position, piece))
        self._position += len(piece)
        self._size = max(self._size, self._position)
        return len(piece)

    def truncate(self, size: int | None = None, /) -> int:
        """Change the size; never fails."""
        self._size = self._position if size is None else size
        return self._size

    def close(self) -> None:
        """Close the file and forget what was not committed; a second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._kept.clear()
            os.close(fd)
        super().close()

    def _write_out(self, offset: int, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            done = os.pwrite(self._fd, view, offset)
            view, offset = view[done:], offset + done
