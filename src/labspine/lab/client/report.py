"""What became of a request, as the client sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Literal

from labspine.clock import mono_s
from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeadlinePassed, LabspineError, NoScanServer
from labspine.messages import ScanStatusMessage

__all__ = ["ReportStatus", "ScanReport"]

ReportStatus = Literal["waiting", "open", "paused", "closed", "aborted", "halted", "user_completed"]

_FINAL = ("closed", "aborted", "halted", "user_completed")
_WATCH_S = 1.0
_SILENCE_LIMIT_S = 5.0
_FILE_WAIT_S = 5.0


class ScanReport:
    """
    Follow one accepted request until its end.

    Args:
        rid: Identifier of the request.
        connector: The door to the broker.
        service: Name of the scan server that has accepted it.
    """

    def __init__(self, rid: str, *, connector: RedisConnector, service: str) -> None:
        self.rid = rid
        self._connector = connector
        self.service = service
        self._changed = threading.Condition()
        self._entry: Mapping[str, Any] = {}
        self._statuses: dict[str, ScanStatusMessage] = {}
        self._heard_mono_s = mono_s()

    def take_entry(self, entry: Mapping[str, Any]) -> None:
        """Take the entry of the queue that belongs to this request; called by the client."""
        with self._changed:
            if self._entry.get("status") not in ("COMPLETED", "STOPPED"):
                self._entry = entry
                self._changed.notify_all()

    def take_status(self, message: ScanStatusMessage) -> None:
        """Take a scan status that belongs to this request; called by the client."""
        with self._changed:
            known = self._statuses.get(message.scan_id or "")
            if known is None or message.timestamp >= known.timestamp:
                self._statuses[message.scan_id or ""] = message
                self._changed.notify_all()

    @property
    def scan_ids(self) -> list[str]:
        """Identifiers of the runs that the request has begun, in order."""
        with self._changed:
            return list(self._statuses)

    @property
    def scan_id(self) -> str | None:
        """Identifier of its first run; None before it has begun, or when the plan opens no run."""
        return next(iter(self.scan_ids), None)

    @property
    def scan_number(self) -> int | None:
        """Number of its first run; None before it has begun."""
        with self._changed:
            first = next(iter(self._statuses.values()), None)
        return first.scan_number if first else None

    @property
    def status(self) -> ReportStatus:
        """The state of the request; that of the last run when it has several."""
        with self._changed:
            ended = self._entry.get("status")
            last = list(self._statuses.values())[-1] if self._statuses else None
            if last is not None and (last.status in _FINAL or ended not in ("COMPLETED", "STOPPED")):
                return last.status
            if ended == "COMPLETED":
                return "closed"
            return "aborted" if ended == "STOPPED" else "waiting"

    @property
    def error(self) -> str | None:
        """Why it failed or was ended early, in words; None when there is nothing to say."""
        with self._changed:
            last = list(self._statuses.values())[-1] if self._statuses else None
            from_run = last.info.get("reason") if last else None
            return self._entry.get("error") or from_run or None

    @property
    def done(self) -> bool:
        """Say whether it has ended, and the end of each of its runs has been heard."""
        with self._changed:
            if self._entry.get("status") not in ("COMPLETED", "STOPPED"):
                return False
            begun = [scan_id for scan_id in self._entry.get("scan_id", ()) if scan_id]
            return all(i in self._statuses and self._statuses[i].status in _FINAL for i in begun)

    def wait(self, timeout_s: float | None = None) -> ScanReport:
        """
        Wait for the end of the request.

        Args:
            timeout_s: Longest wait in seconds; None waits as long as the scan server lives.

        Returns:
            This report; look at `status` and `error`.

        Raises:
            DeadlinePassed: If it has not ended in time; it goes on.
            NoScanServer: If the scan server has vanished and nobody took over within 5 s.
        """
        deadline = None if timeout_s is None else mono_s() + timeout_s
        self._heard_mono_s = mono_s()
        while not self._wait_until(lambda: self.done, deadline):
            if deadline is not None and mono_s() >= deadline:
                raise DeadlinePassed(f"the scan has not ended within {timeout_s:g} s; it is {self.status}")
            self.check_server()
        return self

    def check_server(self) -> None:
        """
        Look whether the scan server still lives; call it now and then while waiting.

        Raises:
            NoScanServer: If it has shown no sign of life for 5 s of such calls.
        """
        if self.done or self._server_lives():
            self._heard_mono_s = mono_s()
        elif mono_s() - self._heard_mono_s > _SILENCE_LIMIT_S:
            raise NoScanServer(f'scan server "{self.service}" has vanished; the scan was {self.status}')

    def wait_begun(self, timeout_s: float) -> str:
        """
        Wait until the first run has begun.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            Its identifier.

        Raises:
            DeadlinePassed: If no run has begun in time.
        """
        deadline = mono_s() + timeout_s
        while not self._wait_until(lambda: bool(self._statuses) or self.done, deadline):
            if mono_s() >= deadline:
                raise DeadlinePassed(f"no run has begun within {timeout_s:g} s")
        if self.scan_id is None:
            raise DeadlinePassed("the request has ended without a run")
        return self.scan_id

    def _wait_until(self, condition: Callable[[], bool], deadline: float | None) -> bool:
        left_s = _WATCH_S if deadline is None else max(0.0, min(_WATCH_S, deadline - mono_s()))
        with self._changed:
            return self._changed.wait_for(condition, left_s)

    def _server_lives(self) -> bool:
        try:
            return self._connector.get(MessageEndpoints.service_status(self.service)) is not None
        except LabspineError:
            return True  # the broker is away, which says nothing about the scan server

    @property
    def file_path(self) -> str | None:
        """Path of the data file of the first run; waits up to 5 s for its end once the scan has ended."""
        scan_id = self.scan_id
        if scan_id is None:
            return None
        deadline = mono_s() + _FILE_WAIT_S
        pause = threading.Event()
        while True:
            message = self._connector.get(MessageEndpoints.public_file(scan_id, "master"))
            path = message.file_path if message is not None else None
            if (message is not None and message.done) or not self.done or mono_s() >= deadline:
                return path
            pause.wait(0.05)

    def __repr__(self) -> str:
        number = f"#{self.scan_number} " if self.scan_number is not None else ""
        return f"<ScanReport {number}{self.status}>"
