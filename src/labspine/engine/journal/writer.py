"""The journal of one call of an engine: what happened, written down before anybody else is told."""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ...ids import new_uid
from .disk import JournalFile
from .errors import JournalError
from .frames import encode_frame
from .steps import entry_of, label, without_arrays

if TYPE_CHECKING:
    from .book import Journal

__all__ = ["FORMAT", "MOST_STEPS", "CallJournal"]

FORMAT = 1
MOST_STEPS = 256
"""Answered steps that wait in memory at most; a document, a checkpoint or a device that moves writes them."""

_log = logging.getLogger("labspine.engine.journal")


class CallJournal:
    """
    Write one call down. The file is made with the first record, so a plan that touches nothing leaves none.

    Args:
        book: The directory and its rules.
        about: What is known of the call: name of the plan, request, metadata.
        on_full: Called once when only the reserve of the disk is left.
    """

    def __init__(
        self, book: Journal, about: Mapping[str, Any], *, on_full: Callable[[str], object] | None = None
    ) -> None:
        self.book = book
        self.uid = new_uid()
        self._about = dict(about)
        self.on_full = on_full
        self._file: JournalFile | None = None
        # Answered steps with their answers or errors, which wait to be written. Only the driver adds some: a
        # call for each of them would cost as much as all the rest of keeping them.
        self.steps: list[tuple[Any, Any, BaseException | None]] = []
        self._touched: set[int] = set()
        self._lock = threading.RLock()
        self._is_over = False
        self._is_lost = False

    @property
    def path(self) -> Any:
        """Where it is written; None before the first record."""
        return None if self._file is None else self._file.path

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be written."""
        return self._is_over

    @property
    def position(self) -> int:
        """Where the last record ends."""
        return 0 if self._file is None else self._file.position

    def adopt(self, file: JournalFile) -> None:
        """
        Go on in the file of a process that died.

        Args:
            file: Locked, and cut behind its last whole record.
        """
        self._file = file

    def give_back(self) -> None:
        """Give up a file that was taken over, without a word in it."""
        if self._file is not None:
            self._file.close()
        self._is_over = True

    def finish(self) -> None:
        """Give a file that was taken over its final name; its process died when all was written."""
        self._is_over = True
        if self._file is not None:
            self._file.trim()
            self.book.ended(self._file)

    # -- what happens ------------------------------------------------------------------------------

    def document(self, name: str, doc: Mapping[str, Any]) -> None:
        """
        Write a document, and every answered step before it.

        Args:
            name: Name of the document.
            doc: The document.

        Raises:
            JournalError: If it cannot be written; nobody may be told then.
        """
        self._write(["D", name, doc], is_end=name == "stop")
        self.book.tell()

    def write_steps(self) -> None:
        """
        Write the answered steps that wait; at a checkpoint, or when they have become many.

        Raises:
            JournalError: If they cannot be written.
        """
        if self._is_lost:
            self.steps.clear()
        elif self._file is not None or len(self.steps) >= MOST_STEPS * 4:
            # Before that, nothing has happened yet that anybody would have to clean up.
            self._write(["S"])

    def touch(self, command: str, obj: Any) -> None:
        """
        Write that a device is going to be changed; only the first time, except for stage.

        Args:
            command: What is going to be done.
            obj: The device.

        Raises:
            JournalError: If it cannot be written; the device must not be touched then.
        """
        key = id(obj)
        if command != "stage":
            if key in self._touched:
                return
            self._touched.add(key)
        self._write(["T", command, label(obj), label(_root(obj))])

    def note(self, what: str, **facts: Any) -> None:
        """
        Write something that readers need in its place among the documents.

        Args:
            what: Its name.
            facts: What is to be said about it.
        """
        if not self._is_over:
            record = ["N", what, {"time": time.time(), **facts}]
            self._write(record, is_end=True, with_steps=False)
            self.book.tell()

    def resumed(self, num_steps: int) -> None:
        """
        Write that this process goes on with the call.

        Args:
            num_steps: How many of the answered steps count; later ones are done again.
        """
        self._write(["R", {"steps": num_steps, **_process()}])

    def end(self, exit_status: str, reason: str) -> None:
        """
        Close the journal; without a record there is none to close.

        Args:
            exit_status: How the call ended.
            reason: Why.
        """
        with self._lock:
            if self._is_over:
                return
            file = self._file
            if file is None:
                self._is_over = True
                return
            try:
                self._write(
                    ["E", {"exit_status": exit_status, "reason": reason, "time": time.time()}], is_end=True
                )
                self._is_over = True
                file.trim()
            finally:
                self._is_over = True
                self.book.ended(file)

    # -- writing -----------------------------------------------------------------------------------

    def _write(self, record: list[Any], *, is_end: bool = False, with_steps: bool = True) -> None:
        with self._lock:
            file = self._file
            if file is None:
                file = self._open()
            steps = self.steps
            if steps and with_steps and not self._is_lost:
                self.steps = []
                entries = [entry_of(*step) for step in steps]
                if record[0] == "D" and record[1] == "event":
                    entries = without_arrays(entries, record[2]["data"])
                record.append(entries)
            was_full = file.is_full
            try:
                file.append(encode_frame(record), is_end=is_end)
            except JournalError:
                # The plan is told once; its clean-up goes on without a record of its steps.
                self._is_lost = True
                raise
        if file.is_full and not was_full:
            self._tell_full(file)
        self.book.written(file)

    def _open(self) -> JournalFile:
        file = self._file = self.book.create(self.uid)
        header = {"format": FORMAT, "uid": self.uid, **_process(), **self._about}
        file.append(encode_frame(["O", header]))
        return file

    def _tell_full(self, file: JournalFile) -> None:
        words = (
            f"the disk of the journal {file.path} is full; a reserve of 1 MB is left. "
            "Make room, then let the plan go on"
        )
        _log.error("%s", words)
        if self.on_full is not None:
            self.on_full(words)


def _process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "time": time.time()}


def _root(obj: Any) -> Any:
    for _ in range(20):
        parent = getattr(obj, "parent", None)
        if parent is None:
            break
        obj = parent
    return obj
