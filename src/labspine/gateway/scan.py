"""One scan as the page shows it: what it is, how far it is, its points. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labspine.messages import ScanStatusMessage

from .table import ScanTable

__all__ = ["ScanRecord"]

_MOST_CHANGES = 256
_LONGEST_TEXT = 200
_MOST_AXES = 8


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
    def begun_utc_s(self) -> float | None:
        """Give the time of the first status known, in seconds UTC; the scan itself may say an earlier one."""
        said = self._info("start_utc_s")
        times = [*self.changes, *([float(said)] if isinstance(said, int | float) else [])]
        return min(times, default=None)

    @property
    def last_change_utc_s(self) -> float:
        """Give the time of the newest status, in seconds UTC; 0 when there is none."""
        return 0.0 if self.newest is None else self.newest.timestamp

    def missing(self, most: int) -> list[int]:
        """
        List points that must exist and are not here.

        Args:
            most: Most numbers to give.

        Returns:
            Their numbers: holes, and what is missing at the end of a scan that is over.
        """
        end = self.newest.num_monitored_readouts if self.newest and not self.is_running else None
        return self.table.missing(end or 0, most)

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
            "started_utc_s": self.begun_utc_s,
            "active_s": round(self.active_s(now_utc_s), 3),
            "data_age_s": None if age is None else round(age, 3),
            "axes": self._axes(),
            "hints": self._hints(),
            "devices": self.table.names,
            "units": self._units(),
            "hidden": sorted(self.table.hidden),
            "sample": self._sample(),
            "words": _text(self._info("reason")),
        }

    def _axes(self) -> list[str]:
        devices = (self.newest.scan_report_devices if self.newest else None) or []
        return [str(name)[:_LONGEST_TEXT] for name in devices[:_MOST_AXES]]

    def _hints(self) -> list[str]:
        # By bluesky's convention: what a device wants to see plotted, as {"fields": {device: [signal, ...]}}.
        fields = _mapping(self._info("hints")).get("fields")
        signals = [
            signal for names in _mapping(fields).values() if isinstance(names, list) for signal in names
        ]
        return [signal for signal in signals if signal in self.table.names]

    def _units(self) -> dict[str, str]:
        keys = _mapping(self._info("data_keys"))
        units = {}
        for column, device in self.table.names.items():
            unit = _mapping(_mapping(keys.get(device)).get(column)).get("units")
            if isinstance(unit, str) and unit:
                units[column] = unit[:20]
        return units

    def _info(self, name: str) -> object:
        return None if self.newest is None else self.newest.info.get(name)

    def _sample(self) -> str | None:
        metadata = (self.newest.user_metadata if self.newest else None) or {}
        return _text(metadata.get("sample", metadata.get("sample_name")))


def _text(value: object) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
