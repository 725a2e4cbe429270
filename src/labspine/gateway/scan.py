"""One scan as the page shows it: what it is, how far it is, its points. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from labspine.messages import ScanStatusMessage

from .table import ScanTable

__all__ = ["ScanRecord"]

_MOST_CHANGES = 256
_LONGEST_TEXT = 200


@dataclass(slots=True)
class ScanRecord:
    """
    Everything that is known of one scan.

    The statuses may come in any order and more than once: what counts is the time in them.
    """

    scan_id: str
    table: ScanTable
    newest: ScanStatusMessage | None = None
    last_data_mono_s: float | None = None
    changes: dict[float, str] = field(default_factory=dict)

    def take_status(self, message: ScanStatusMessage) -> bool:
        """
        Take a status of this scan.

        Args:
            message: Its status; ``timestamp`` in seconds UTC.

        Returns:
            True when something was new.
        """
        if message.timestamp in self.changes and message == self.newest:
            return False
        if len(self.changes) < _MOST_CHANGES:
            self.changes[message.timestamp] = message.status
        if self.newest is None or message.timestamp >= self.newest.timestamp:
            self.newest = message
        return True

    @property
    def status(self) -> str | None:
        """Name the present status; None when none was announced yet."""
        return None if self.newest is None else self.newest.status

    @property
    def is_running(self) -> bool:
        """Say whether the scan has begun and not ended: open or paused."""
        return self.status in ("open", "paused")

    @property
    def last_change_utc_s(self) -> float:
        """Give the time of the newest status, in seconds UTC; 0 when there is none."""
        return 0.0 if self.newest is None else self.newest.timestamp

    def active_s(self, now_utc_s: float) -> float:
        """
        Add up the time in which the scan was open and not paused.

        Args:
            now_utc_s: Until when, in seconds UTC, if it still runs.

        Returns:
            Seconds.
        """
        total = 0.0
        times = sorted(self.changes)
        for begin, end in zip(times, [*times[1:], now_utc_s], strict=True):
            if self.changes[begin] == "open":
                total += max(0.0, end - begin)
        return total

    def view(self, now_utc_s: float, now_mono_s: float) -> dict[str, object]:
        """
        Describe the scan for a browser: only what JSON has.

        Args:
            now_utc_s: Wall time in seconds.
            now_mono_s: Monotonic time in seconds.

        Returns:
            A dict of its own; times in seconds.
        """
        message = self.newest
        age = None if self.last_data_mono_s is None else max(0.0, now_mono_s - self.last_data_mono_s)
        return {
            "scan_id": self.scan_id,
            "number": message.scan_number if message else None,
            "name": _text(message.scan_name if message else None),
            "status": self.status,
            "reason": message.reason if message else None,
            "num_points": message.num_points if message else None,
            "points": self.table.end,
            "dropped": self.table.dropped,
            "started_utc_s": min(self.changes, default=None),
            "active_s": round(self.active_s(now_utc_s), 3),
            "data_age_s": None if age is None else round(age, 3),
            "axes": self._axes(),
            "devices": self.table.names,
            "hidden": sorted(self.table.hidden),
            "sample": self._sample(),
        }

    def _axes(self) -> list[str]:
        devices = (self.newest.scan_report_devices if self.newest else None) or []
        return [str(name)[:_LONGEST_TEXT] for name in devices[:8]]

    def _sample(self) -> str | None:
        metadata = (self.newest.user_metadata if self.newest else None) or {}
        sample = metadata.get("sample", metadata.get("sample_name"))
        return _text(sample) if isinstance(sample, str) else None


def _text(value: str | None) -> str | None:
    return None if value is None else value[:_LONGEST_TEXT]
