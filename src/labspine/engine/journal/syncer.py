"""Makes journals safe from a power loss, from a thread: a disk may take its time, the engine may not."""

from __future__ import annotations

import logging
import threading

from .disk import JournalFile

__all__ = ["Syncer"]

IDLE_S = 1.0
"""The thread ends when nothing was written for so long; the next write starts it again."""

_log = logging.getLogger("labspine.engine.journal")


class Syncer:
    """
    Sync files that were written to, each at most once in an interval.

    Args:
        interval_s: Seconds between two syncs.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._dirty: dict[JournalFile, bool] = {}
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def mark(self, file: JournalFile, *, is_over: bool = False) -> None:
        """
        Have a file synced soon.

        Args:
            file: It was written to.
            is_over: Nothing more is written: close it afterwards.
        """
        with self._lock:
            file.is_due = True
            self._dirty[file] = is_over or self._dirty.get(file, False)
            # After a fork the thread of the parent is not there.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="labspine-journal", daemon=True)
                self._thread.start()
        self._work.set()

    def _run(self) -> None:
        while not self._is_over.is_set():
            if self._work.wait(IDLE_S):
                self.settle()
                self._is_over.wait(self._interval_s)
                continue
            with self._lock:
                if not self._dirty:
                    self._thread = None
                    return

    def settle(self) -> None:
        """Sync everything that is due, now."""
        with self._lock:
            self._work.clear()
            due, self._dirty = self._dirty, {}
            for file in due:
                file.is_due = False
        for file, is_over in due.items():
            try:
                file.sync()
            except OSError as error:
                _log.error("the journal %s could not be synced: %s", file.path, error)
            if is_over:
                file.close()

    def stop(self) -> None:
        """Sync what is due and end the thread."""
        self._is_over.set()
        self._work.set()
        thread = self._thread
        if thread is not None:
            thread.join(2.0)
        self.settle()
