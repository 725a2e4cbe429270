"""
File descriptors that no forked child may keep.

A lock or the end of a pipe means something only while exactly one process holds it. ``O_CLOEXEC`` covers
programs that are executed; this covers ``os.fork`` and everything built on it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

__all__ = ["close_private", "opening"]

_fork_lock = threading.Lock()
_held: set[int] = set()


@contextlib.contextmanager
def opening() -> Iterator[set[int]]:
    """
    Hold off forks while descriptors are opened; add each of them to the set that is given.

    Returns:
        A context manager that gives the set of descriptors which a forked child closes at once.
    """
    with _fork_lock:
        yield _held


def close_private(fd: int) -> None:
    """
    Close a descriptor that was added in :func:`opening`.

    Args:
        fd: The descriptor.
    """
    with _fork_lock:
        _held.discard(fd)
        os.close(fd)


def _close_in_child() -> None:
    for fd in _held:
        with contextlib.suppress(OSError):
            os.close(fd)
    _held.clear()
    _fork_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_fork_lock.acquire, after_in_parent=_fork_lock.release, after_in_child=_close_in_child
    )
