"""
What the page shows, as a value: messages go in, the present picture comes out. Pure.

The order between channels is not fixed on a bus: the points of a scan may come before it is announced and
after it is over. So each scan has a record of its own, a few are kept, and the one with the newest status is
shown.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from labspine.messages import (
    AlarmMessage,
    FileMessage,
    ProgressMessage,
    ScanMessage,
    ScanQueueStatusMessage,
    ScanStatusMessage,
    StatusMessage,
)

from .commands import Situation, reasons
from .scan import ScanRecord
from .table import Rows, ScanTable

__all__ = ["STALE_AFTER_S", "Broker", "LiveModel"]

STALE_AFTER_S = 3.0
"""A scan server that has not reported for this long counts as absent."""

Broker = Literal["connecting", "connected", "down"]
_LONGEST_TEXT = 600
_MOST_SERVICES = 64
_KEPT_SCANS = 3


class LiveModel:
    """
    Keep the running (or last) scan and the state around it.

    Args:
        epoch: Text that is new for each model; row numbers are good only within one epoch.
        max_points: Rows kept of a scan.
        max_columns: Columns kept of a scan.
    """

    def __init__(self, epoch: str, *, max_points: int = 100_000, max_columns: int = 64) -> None:
        self.epoch = epoch
        self.revision = 0
        self.broker: Broker = "connecting"
        self._max_points = max_points
        self._max_columns = max_columns
        self._scans: OrderedDict[str, ScanRecord] = OrderedDict()
        self._shown: ScanRecord | None = None
        self._broker_mono_s = 0.0
        self._progress: tuple[str | None, ProgressMessage] | None = None
        self._queue: dict[str, object] | None = None
        self._services: dict[str, tuple[str, float]] = {}
        self._alarm: dict[str, object] | None = None
        self._file: dict[str, object] | None = None

    # --- messages in

    def scan_status(self, message: ScanStatusMessage) -> None:
        """Take the announcement of a scan, in any order and any number of times."""
        if message.scan_id is None:
            return
        shown = self._shown
        is_old = shown is not None and message.timestamp < shown.last_change_utc_s
        if is_old and message.scan_id not in self._scans:
            return
        record = self._record(message.scan_id)
        if not record.take_status(message):
            return
        if shown is None or record.last_change_utc_s >= shown.last_change_utc_s:
            self._shown = record
        self._changed()

    def scan_segment(self, message: ScanMessage, now_mono_s: float) -> None:
        """Take one point; a repeated one changes nothing."""
        record = self._record(message.scan_id)
        if record.table.add(message.point_id, message.data):
            record.last_data_mono_s = now_mono_s
            if self._shown is None or (self._shown.newest is None and record is not self._shown):
                self._shown = record
            if record is self._shown:
                self._changed()

    def scan_progress(self, message: ProgressMessage) -> None:
        """Take how far the running scan is."""
        scan_id = message.metadata.get("scan_id")
        self._progress = (scan_id if isinstance(scan_id, str) else None, message)
        self._changed()

    def scan_queue_status(self, message: ScanQueueStatusMessage) -> None:
        """Take the state of the queue."""
        primary = message.queue.get("primary")
        if isinstance(primary, dict):
            entries = primary.get("info")
            entries = entries if isinstance(entries, list | tuple) else ()
            waiting = sum(
                1 for entry in entries if isinstance(entry, dict) and entry.get("status") == "PENDING"
            )
            self._queue = {"status": str(primary.get("status"))[:40], "waiting": waiting}
            self._changed()

    def service_status(self, message: StatusMessage, now_mono_s: float) -> None:
        """Take the sign of life of a service."""
        if message.name not in self._services and len(self._services) >= _MOST_SERVICES:
            del self._services[min(self._services, key=lambda name: self._services[name][1])]
        before = self._services.get(message.name)
        self._services[message.name] = (message.status.name, now_mono_s)
        if before is None or before[0] != message.status.name or now_mono_s - before[1] > STALE_AFTER_S:
            self._changed()

    def alarm(self, message: AlarmMessage, now_utc_s: float) -> None:
        """Take an alarm; the last one is shown."""
        info = message.info
        text = info.compact_error_message or info.error_message
        self._alarm = {
            "severity": message.severity,
            "kind": info.exception_type[:100],
            "text": text[:_LONGEST_TEXT],
            "device": str(info.device)[:100] if info.device else None,
            "seen_utc_s": now_utc_s,
        }
        self._changed()

    def file_event(self, message: FileMessage) -> None:
        """Take the announcement of a file; the last one is shown, a master file rather than its parts."""
        if self._file is not None and self._file["is_master"] and not message.is_master_file:
            return
        self._file = {
            "is_master": message.is_master_file,
            "path": message.file_path[:4096],
            "done": message.done,
            "successful": message.successful,
        }
        self._changed()

    def set_broker(self, broker: Broker, now_mono_s: float) -> None:
        """Note whether the broker can be reached."""
        if broker != self.broker:
            self.broker = broker
            self._broker_mono_s = now_mono_s
            self._changed()

    # --- the picture out

    @property
    def scan_id(self) -> str | None:
        """Name the scan that is shown; None when there was none yet."""
        return None if self._shown is None else self._shown.scan_id

    @property
    def begun_utc_s(self) -> float | None:
        """Give the time at which the shown scan began, in seconds UTC."""
        return None if self._shown is None else self._shown.begun_utc_s

    def missing(self, most: int) -> list[int]:
        """List at most so many points of the shown scan that must exist and are not here."""
        return [] if self._shown is None else self._shown.missing(most)

    @property
    def table(self) -> ScanTable | None:
        """Give the points of the scan that is shown."""
        return None if self._shown is None else self._shown.table

    def rows(self, scan_id: str, start: int, limit: int) -> Rows | None:
        """
        Give the rows of a scan from a number on.

        Args:
            scan_id: The scan.
            start: Number of the first row wanted.
            limit: Most rows.

        Returns:
            The rows, or None when another scan is shown by now.
        """
        if self._shown is None or self._shown.scan_id != scan_id:
            return None
        return self._shown.table.rows(start, limit)

    def situation(self, now_mono_s: float) -> Situation:
        """Sum up what decides which buttons make sense."""
        shown = self._shown
        return Situation(
            broker=self.broker,
            has_scan_server=self._scan_server(now_mono_s)["state"] != "absent",
            scan_id=shown.scan_id if shown else None,
            status=shown.status if shown else None,
        )

    def view(self, now_utc_s: float, now_mono_s: float) -> dict[str, object]:
        """
        Describe everything but the points for a browser: only what JSON has, a few kB at most.

        Args:
            now_utc_s: Wall time in seconds.
            now_mono_s: Monotonic time in seconds.

        Returns:
            A dict of its own; times in seconds.
        """
        return {
            "now_utc_s": now_utc_s,
            "broker": self.broker,
            "server": self._scan_server(now_mono_s),
            "scan": None if self._shown is None else self._shown.view(now_utc_s, now_mono_s),
            "progress": self._progress_view(),
            "queue": self._queue,
            "alarm": self._alarm,
            "file": self._file,
            "why_not": reasons(self.situation(now_mono_s)),
        }

    # --- inside

    def _changed(self) -> None:
        self.revision += 1

    def _record(self, scan_id: str) -> ScanRecord:
        record = self._scans.get(scan_id)
        if record is None:
            table = ScanTable(max_points=self._max_points, max_columns=self._max_columns)
            record = self._scans[scan_id] = ScanRecord(scan_id, table)
        self._scans.move_to_end(scan_id)
        while len(self._scans) > _KEPT_SCANS:
            keep = {scan_id, self.scan_id}
            del self._scans[next(name for name in self._scans if name not in keep)]
        return record

    def _scan_server(self, now_mono_s: float) -> dict[str, object]:
        seen = [entry for name, entry in self._services.items() if _is_scan_server(name)]
        status, last_mono_s = max(seen, key=lambda entry: entry[1], default=(None, None))
        age = None if last_mono_s is None else max(0.0, now_mono_s - last_mono_s)
        if age is not None and age <= STALE_AFTER_S:
            state = "present"
        elif now_mono_s - self._broker_mono_s <= STALE_AFTER_S:
            state = "unknown"  # who has just begun to listen cannot say that nobody speaks
        else:
            state = "absent"
        return {"state": state, "status": status, "age_s": None if age is None else round(age, 1)}

    def _progress_view(self) -> dict[str, object] | None:
        if self._progress is None or self._shown is None:
            return None
        scan_id, message = self._progress
        if scan_id is not None and scan_id != self._shown.scan_id:
            return None
        return {"value": message.value, "max_value": message.max_value, "done": message.done}


def _is_scan_server(name: str) -> bool:
    return name.lower().replace("_", "").replace("-", "").startswith("scanserver")
