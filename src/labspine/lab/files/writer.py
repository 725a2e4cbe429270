"""The service that writes each scan into files and announces them."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...clock import mono_s, utc_s
from ...connector import MessageObject, RedisConnector
from ...endpoints import EndpointInfo, MessageEndpoints
from ...errors import ConfigError, InvalidArgument, LabspineError
from ...messages import (
    AlarmMessage,
    BECStatus,
    ErrorInfo,
    FileMessage,
    ScanBaselineMessage,
    ScanMessage,
    ScanStatusMessage,
)
from ..scans.sender import Outgoing, Sender
from ..service import Heartbeat
from .book import ENDED, Item, ScanBook
from .columns import ScanFacts
from .nexus import require_h5py

__all__ = ["FileWriter"]

_log = logging.getLogger("labspine.lab")

KEEP_ANNOUNCEMENT_S = 86_400.0
FETCH_AT_ONCE = 100
LOOK_EVERY_S = 0.05
BEFORE_START_S = 5.0
WARNING = 0


class FileWriter:
    """
    Write each scan of the bus into ``<directory>/<YYYY>/<MM>/<DD>/<number>_<name>.h5`` and ``.csv``.

    It announces each file twice, when it is made (``done=False``) and when it is complete, on ``file_event``
    and ``public_file``. Status and points come on different channels, so at the end of a scan it waits for
    the announced number of points, and fetches those that do not come from where the scan server keeps them.
    Points that are nowhere to be found read as NaN and are named in the metadata of the announcement
    (``missing_points``). Trouble with the disk raises an alarm; the scan goes on.

    It may be started in the middle of a scan, or after one: what happened before is read from the history.

    Args:
        connector: The door to the broker.
        directory: Root of all data files; it is created when missing.
        name: Under which name files are announced.
        settle_s: How long to wait for late points after the end of a scan, in seconds.
        catch_up_s: How far back to look at the start for scans that were not written, in seconds; 0 looks
            only for the scan that runs now.

    Raises:
        ConfigError: If h5py is missing, or the directory cannot be written.
        InvalidArgument: If a time is negative.
    """

    def __init__(
        self,
        connector: RedisConnector,
        *,
        directory: str | os.PathLike[str],
        name: str = "master",
        settle_s: float = 2.0,
        catch_up_s: float = 3600.0,
    ) -> None:
        if settle_s < 0 or catch_up_s < 0:
            raise InvalidArgument(f"settle_s={settle_s} and catch_up_s={catch_up_s} must not be negative")
        require_h5py()
        self.directory = Path(directory).expanduser().absolute()
        _check_directory(self.directory)
        self.name = name
        self._connector = connector
        self._catch_up_s = catch_up_s
        self._outlet = _Bus(connector, name)
        self._book = ScanBook(self.directory, self._outlet, settle_s=settle_s)
        self._inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._heartbeat = Heartbeat(connector, "file_writer", self._state)
        self._thread = threading.Thread(target=self._work, name="labspine-file-writer", daemon=True)
        self._running = False

    def start(self) -> None:
        """
        Begin to listen; returns when each scan from now on will be written.

        Raises:
            NotConnected: If the broker cannot be reached.
        """
        if self._running:
            return
        since_utc_s = self._look_back()
        self._outlet.start()
        self._running = True
        self._thread.start()
        self._connector.register(_CHANNELS, cb=self._receive, since_utc_s=since_utc_s)
        self._heartbeat.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """
        Finish what has arrived, close all files and end; scans that still run get the exit status
        ``interrupted``.

        Args:
            timeout_s: Longest wait in seconds.
        """
        if not self._running:
            return
        self._running = False
        deadline_mono_s = mono_s() + timeout_s
        try:
            self._connector.unregister(_CHANNELS, cb=self._receive)
        except LabspineError as error:
            _log.debug("file writer: still registered: %s", error)
        self._inbox.put(None)
        self._thread.join(max(0.1, deadline_mono_s - mono_s()))
        self._heartbeat.stop()
        self._outlet.stop(max(0.1, deadline_mono_s - mono_s()))

    def _look_back(self) -> float:
        """Say from when on to read the history, so that the running scan is complete."""
        since_utc_s = utc_s() - self._catch_up_s
        current = self._connector.get(MessageEndpoints.scan_status())
        if isinstance(current, ScanStatusMessage) and current.status not in ENDED:
            since_utc_s = min(since_utc_s, ScanFacts.from_status(current).start_utc_s - BEFORE_START_S)
        return since_utc_s

    def _receive(self, message_object: MessageObject) -> None:
        value = message_object.value
        for item in value if isinstance(value, list) else [value]:
            # A Gap is no reason to worry: missing points are fetched at the end of the scan.
            if isinstance(item, ScanStatusMessage | ScanMessage | ScanBaselineMessage):
                self._inbox.put(item)

    def _work(self) -> None:
        look_mono_s = 0.0
        while True:
            try:
                item = self._inbox.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                self._perform(self._book.look_after)
                continue
            if item is None:
                self._perform(self._book.close)
                return
            self._perform(partial(self._book.take, item))
            if self._inbox.empty() or mono_s() >= look_mono_s:
                look_mono_s = mono_s() + LOOK_EVERY_S
                self._perform(self._book.look_after)

    def _perform(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:
            # One strange message must not end the writing of all that follow.
            _log.exception("file writer: a message was not written")

    def _state(self) -> tuple[BECStatus, dict[str, object]]:
        open_files = self._book.open_files
        return (BECStatus.BUSY if open_files else BECStatus.RUNNING), {
            "directory": str(self.directory),
            "open_files": open_files,
            "waiting": self._inbox.qsize(),
        }


_CHANNELS: list[EndpointInfo[Any]] = [
    MessageEndpoints.scan_status(),
    MessageEndpoints.scan_baseline(),
    MessageEndpoints.scan_segment(),
]


class _Bus:
    """Perform for the book of scans what needs the broker; see :class:`labspine.lab.files.book.Outlet`."""

    def __init__(self, connector: RedisConnector, name: str) -> None:
        self._connector = connector
        self._name = name
        self._sender: Sender | None = None

    def start(self) -> None:
        self._sender = Sender(self._connector, name="labspine-file-sender")

    def stop(self, timeout_s: float) -> None:
        if self._sender is not None:
            self._sender.stop(timeout_s)

    def announce(self, facts: ScanFacts, message: FileMessage) -> None:
        if self._sender is not None:
            public = MessageEndpoints.public_file(facts.scan_id, self._name)
            self._sender.put(
                Outgoing("set_and_publish", public, message, expire_s=KEEP_ANNOUNCEMENT_S),
                Outgoing("set_and_publish", MessageEndpoints.file_event(self._name), message),
            )

    def alarm(self, facts: ScanFacts, text: str) -> None:
        _log.error("%s", text)
        if self._sender is not None:
            info = ErrorInfo(
                error_message=text, compact_error_message=text[:200], exception_type="FileWriterError"
            )
            metadata = {"scan_id": facts.scan_id, "scan_number": facts.number}
            message = AlarmMessage(severity=WARNING, info=info, metadata=metadata)
            self._sender.put(Outgoing("set_and_publish", MessageEndpoints.alarm(), message))

    def was_written(self, facts: ScanFacts) -> bool:
        try:
            told = self._connector.get(MessageEndpoints.public_file(facts.scan_id, self._name))
        except LabspineError as error:
            _log.warning("file writer: cannot ask whether scan %s was written: %s", facts.number, error)
            return False
        return isinstance(told, FileMessage) and told.done and told.successful

    def fetch_points(self, facts: ScanFacts, numbers: Sequence[int]) -> list[ScanMessage]:
        found: list[ScanMessage] = []
        try:
            for begin in range(0, len(numbers), FETCH_AT_ONCE):
                part = numbers[begin : begin + FETCH_AT_ONCE]
                endpoints = [MessageEndpoints.public_scan_segment(facts.scan_id, number) for number in part]
                found += [m for m in self._connector.mget(endpoints) if isinstance(m, ScanMessage)]
        except LabspineError as error:
            _log.warning("file writer: cannot fetch the missing points of scan %s: %s", facts.number, error)
        return found

    def fetch_baseline(self, facts: ScanFacts) -> ScanBaselineMessage | None:
        try:
            found = self._connector.get(MessageEndpoints.public_scan_baseline(facts.scan_id))
        except LabspineError as error:
            _log.warning("file writer: cannot fetch the baseline of scan %s: %s", facts.number, error)
            return None
        return found if isinstance(found, ScanBaselineMessage) else None


def _check_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".labspine-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"cannot write data files in {directory}: {error.strerror}; choose another directory"
        ) from error
