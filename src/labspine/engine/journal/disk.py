"""One journal on disk: appended in one piece, with room reserved for the end, and a lock of its owner."""

from __future__ import annotations

import errno
import importlib
import os
import weakref
from pathlib import Path
from typing import Any

from ...errors import shown
from .errors import JournalError

__all__ = ["RESERVE_BYTES", "JournalFile"]

RESERVE_BYTES = 1_048_576
"""Room that is always allocated behind the last record, so that a run can be closed when the disk is full."""

LAST_BYTES = 65_536
"""The part of the reserve that only the end of a run may use."""

try:
    fcntl: Any = importlib.import_module("fcntl")
except ImportError:  # Windows; an engine without a journal works there
    fcntl = None

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_open_files: weakref.WeakSet[JournalFile] = weakref.WeakSet()


class JournalFile:
    """
    A file that is owned as long as it is open.

    Args:
        path: Where it is.
        is_new: Create it; it must not be there yet. Otherwise it is there, and nobody else owns it.

    Raises:
        JournalError: If it cannot be created, or another process owns it.
    """

    def __init__(self, path: Path, *, is_new: bool) -> None:
        self.path = path
        self.position = 0
        self.is_full = False
        # It waits for the syncer already.
        self.is_due = False
        self._allocated = 0
        if fcntl is None:
            raise JournalError(
                "journals need Linux or macOS: this system has no locks that end with a process"
            )
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if is_new else 0)
        try:
            self.fd = os.open(path, flags, 0o640)
        except OSError as error:
            raise JournalError(f"the journal {path} cannot be opened: {error.strerror}") from error
        try:
            # Whoever looks for orphans holds the lock of a new file for a moment only.
            fcntl.flock(self.fd, fcntl.LOCK_EX if is_new else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.fd)
            raise JournalError(f"the journal {path} belongs to a process that lives") from error
        _open_files.add(self)
        if is_new:
            self._grow(0)

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return self.fd >= 0

    def append(self, data: bytes | bytearray, *, is_end: bool = False) -> None:
        """
        Write something behind the last record; it is safe from the death of this process afterwards.

        Args:
            data: Whole frames.
            is_end: It closes a run and may use the last of the reserve.

        Raises:
            JournalError: If the disk is full and the reserve is used up, or the disk fails.
        """
        size = len(data)
        if self.position + size + RESERVE_BYTES > self._allocated:
            self._grow(size)
        if self.is_full and self.position + size + (0 if is_end else LAST_BYTES) > self._allocated:
            raise JournalError(
                f"no room is left for the journal {self.path}, not even the reserve: "
                "make room on this disk; the run ends here"
            )
        done = 0
        try:
            while done < size:
                part = data if not done else bytes(data)[done:]
                done += os.pwrite(self.fd, part, self.position + done)
        except OSError as error:
            raise JournalError(
                f"the journal {self.path} cannot be written: {shown(error.strerror)}"
            ) from error
        self.position += size

    def _grow(self, size: int) -> None:
        wanted = self.position + size + 2 * RESERVE_BYTES
        try:
            allocate(self.fd, self._allocated, wanted - self._allocated)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise JournalError(f"the journal {self.path} cannot grow: {error.strerror}") from error
            self.is_full = True
        else:
            self._allocated, self.is_full = wanted, False

    def adopt(self, position: int) -> None:
        """
        Go on behind the last whole record of a file that a dead process left; what is torn is cut off.

        Args:
            position: Where the last whole record ends.
        """
        os.ftruncate(self.fd, position)
        self.position = self._allocated = position
        self._grow(0)

    def sync(self) -> None:
        """Have everything safe from a power loss; may take milliseconds."""
        if self.fd >= 0:
            os.fdatasync(self.fd) if hasattr(os, "fdatasync") else os.fsync(self.fd)

    def trim(self) -> None:
        """Give back the room that was reserved."""
        os.ftruncate(self.fd, self.position)

    def close(self) -> None:
        """Give up the file, and with it the lock."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def allocate(fd: int, start: int, size: int) -> None:
    """
    Reserve room in a file; it reads as zeros.

    Args:
        fd: The file.
        start: Where.
        size: Bytes.

    Raises:
        OSError: If there is not enough.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, start, size)
        return
    for at in range(start, start + size, 65_536):
        os.pwrite(fd, bytes(min(65_536, start + size - at)), at)


def _forget_in_child() -> None:
    # The lock belongs to the open file, not to the process: a forked child would keep it for a dead owner.
    for each in list(_open_files):
        each.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
