"""
Who belongs to which file: the scans that are being written, from their messages to their files.

Knows files and time but no broker; :class:`~labspine.lab.files.writer.FileWriter` brings the messages and
performs what :class:`Outlet` names. All calls come from one thread.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...clock import mono_s as real_mono_s
from ...messages import FileMessage, ScanBaselineMessage, ScanMessage, ScanStatusMessage
from .columns import ScanFacts
from .scan_files import WRITE_ERRORS, ScanFiles, find_written

__all__ = ["Outlet", "ScanBook"]

_log = logging.getLogger("labspine.lab")

Item = ScanStatusMessage | ScanMessage | ScanBaselineMessage

ENDED = frozenset({"closed", "aborted", "halted", "user_completed"})
FLUSH_EVERY_S = 0.1
EARLY_KEPT_S = 30.0
EARLY_KEPT_MESSAGES = 20_000
FINISHED_REMEMBERED = 1000
MISSING_TOLD = 1000


class Outlet(Protocol):
    """What a book of scans asks of its surroundings; none of these may raise."""

    def announce(self, facts: ScanFacts, message: FileMessage) -> None:
        """Tell about a file."""

    def alarm(self, facts: ScanFacts, text: str) -> None:
        """Tell people that something went wrong."""

    def was_written(self, facts: ScanFacts) -> bool:
        """Say whether a complete file of this scan was announced before."""

    def fetch_points(self, facts: ScanFacts, numbers: Sequence[int]) -> list[ScanMessage]:
        """Read points from where the scan server keeps them; those that exist."""

    def fetch_baseline(self, facts: ScanFacts) -> ScanBaselineMessage | None:
        """Read the baseline from where the scan server keeps it."""


@dataclass(slots=True)
class _Scan:
    """One scan that has begun; ``files`` is None when they could not be made."""

    facts: ScanFacts
    files: ScanFiles | None
    wants_baseline: bool
    final: ScanStatusMessage | None = None
    deadline_mono_s: float = 0.0
    errors_told: int = 0


@dataclass(slots=True)
class _Early:
    """Messages of a scan that came before its first status: other channel, no common order."""

    since_mono_s: float
    items: list[ScanMessage | ScanBaselineMessage] = field(default_factory=list)


class ScanBook:
    """
    Open, fill and close the files of scans as their messages come.

    Args:
        directory: Root of all data files.
        outlet: Performs what needs the broker.
        settle_s: How long to wait for late points after the end of a scan, in seconds.
        mono_s: The monotonic clock.
    """

    def __init__(
        self,
        directory: Path,
        outlet: Outlet,
        *,
        settle_s: float = 2.0,
        mono_s: Callable[[], float] = real_mono_s,
    ) -> None:
        self._directory = directory
        self._outlet = outlet
        self._settle_s = settle_s
        self._mono_s = mono_s
        self._scans: dict[str, _Scan] = {}
        self._early: OrderedDict[str, _Early] = OrderedDict()
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._last_flush_mono_s = 0.0
        self._unflushed = False

    @property
    def open_files(self) -> list[str]:
        """Paths of the files that are being written."""
        return [str(scan.files.path) for scan in self._scans.values() if scan.files is not None]

    def take(self, item: Item) -> None:
        """
        Take one message of a scan.

        Args:
            item: A status, a point or a baseline; in any order.
        """
        scan_id = item.scan_id
        if not scan_id or scan_id in self._finished:
            return
        if isinstance(item, ScanStatusMessage):
            self._take_status(scan_id, item)
        elif scan_id in self._scans:
            self._take_data(self._scans[scan_id], item)
        else:
            self._keep_early(scan_id, item)

    def look_after(self) -> None:
        """Flush, finish scans whose late points have come or will not come, forget what nobody asked for."""
        now_mono_s = self._mono_s()
        for scan in list(self._scans.values()):
            if scan.final is not None and (self._is_complete(scan) or now_mono_s >= scan.deadline_mono_s):
                self._finish(scan)
        if self._unflushed and now_mono_s - self._last_flush_mono_s >= FLUSH_EVERY_S:
            self._unflushed = False
            self._last_flush_mono_s = now_mono_s
            for scan in self._scans.values():
                if scan.files is not None:
                    scan.files.flush()
                    self._tell_errors(scan)
        while self._early and (
            next(iter(self._early.values())).since_mono_s < now_mono_s - EARLY_KEPT_S
            or sum(len(early.items) for early in self._early.values()) > EARLY_KEPT_MESSAGES
        ):
            self._early.popitem(last=False)

    def close(self) -> None:
        """Close all files: complete where the scan has ended, else with the exit status ``interrupted``."""
        for scan in list(self._scans.values()):
            self._finish(scan)

    def _take_status(self, scan_id: str, status: ScanStatusMessage) -> None:
        if scan_id not in self._scans and not self._begin(scan_id, status):
            return
        scan = self._scans[scan_id]
        if status.status in ENDED and scan.final is None:
            scan.final = status
            scan.deadline_mono_s = self._mono_s() + self._settle_s

    def _begin(self, scan_id: str, status: ScanStatusMessage) -> bool:
        facts = ScanFacts.from_status(status)
        early = self._early.pop(scan_id, None)
        if self._outlet.was_written(facts) or find_written(self._directory, facts):
            self._remember_finished(scan_id)
            return False
        priority = status.readout_priority or {}
        scan = self._scans[scan_id] = _Scan(facts, None, wants_baseline=bool(priority.get("baseline")))
        try:
            scan.files = ScanFiles(self._directory, facts)
        except WRITE_ERRORS as error:
            self._outlet.alarm(facts, f"no file can be written for scan {facts.number}: {error}")
            return True
        self._tell_errors(scan)
        self._announce(scan, done=False, successful=False)
        for item in early.items if early else ():
            self._take_data(scan, item)
        return True

    def _take_data(self, scan: _Scan, item: ScanMessage | ScanBaselineMessage) -> None:
        if scan.files is None:
            return
        if isinstance(item, ScanMessage):
            scan.files.write_point(item.point_id, item.data)
        else:
            scan.files.write_baseline(item.data)
        self._unflushed = True
        self._tell_errors(scan)

    def _keep_early(self, scan_id: str, item: ScanMessage | ScanBaselineMessage) -> None:
        self._early.setdefault(scan_id, _Early(self._mono_s())).items.append(item)

    def _expected(self, scan: _Scan) -> int:
        final = scan.final
        if final is None:
            return 0
        if final.num_monitored_readouts:
            return final.num_monitored_readouts
        return (final.num_points or 0) if final.status == "closed" else 0

    def _is_complete(self, scan: _Scan) -> bool:
        if scan.files is None:
            return True
        expected = self._expected(scan)
        has_points = expected > 0 and not scan.files.num_missing(expected)
        return has_points and (scan.files.has_baseline or not scan.wants_baseline)

    def _finish(self, scan: _Scan) -> None:
        facts, files, final = scan.facts, scan.files, scan.final
        del self._scans[facts.scan_id]
        self._remember_finished(facts.scan_id)
        if files is None:
            return
        if final is not None:
            self._fetch_missing(scan, files)
        missing = files.missing(self._expected(scan))
        files.close(
            exit_status=final.status if final else "interrupted",
            reason=_reason(final),
            end_utc_s=final.timestamp if final else None,
            missing=missing,
        )
        self._tell_errors(scan)
        number = files.num_missing(self._expected(scan))
        if missing:
            self._outlet.alarm(facts, f"{number} points of scan {facts.number} are missing in {files.path}")
        self._announce(
            scan,
            done=True,
            successful=final is not None and not missing and not files.errors,
            missing=missing,
        )

    def _fetch_missing(self, scan: _Scan, files: ScanFiles) -> None:
        missing = files.missing(self._expected(scan))
        for point in self._outlet.fetch_points(scan.facts, missing) if missing else ():
            files.write_point(point.point_id, point.data)
        if scan.wants_baseline and not files.has_baseline:
            baseline = self._outlet.fetch_baseline(scan.facts)
            if baseline is not None:
                files.write_baseline(baseline.data)

    def _announce(self, scan: _Scan, *, done: bool, successful: bool, missing: Sequence[int] = ()) -> None:
        facts, files, final = scan.facts, scan.files, scan.final
        if files is None:
            return
        metadata: dict[str, object] = {
            "scan_id": facts.scan_id,
            "scan_number": facts.number,
            "csv_path": str(files.csv_path),
            "num_points": len(files.points),
        }
        if done:
            metadata["exit_status"] = final.status if final else "interrupted"
            metadata["missing_points"] = list(missing[:MISSING_TOLD])
            metadata["num_missing_points"] = files.num_missing(self._expected(scan))
        if files.errors:
            metadata["errors"] = list(files.errors)
        entries = files.h5_entries if done else ["/entry/data"]
        self._outlet.announce(
            facts,
            FileMessage(
                metadata=metadata,
                file_path=str(files.path),
                done=done,
                successful=successful,
                is_master_file=True,
                hinted_h5_entries={path.rpartition("/")[2]: path for path in entries},
            ),
        )

    def _tell_errors(self, scan: _Scan) -> None:
        if scan.files is None:
            return
        for text in scan.files.errors[scan.errors_told :]:
            self._outlet.alarm(scan.facts, f"writing scan {scan.facts.number} to {scan.files.path}: {text}")
        scan.errors_told = len(scan.files.errors)

    def _remember_finished(self, scan_id: str) -> None:
        self._finished[scan_id] = None
        while len(self._finished) > FINISHED_REMEMBERED:
            self._finished.popitem(last=False)


def _reason(final: ScanStatusMessage | None) -> str | None:
    if final is None:
        return "the file writer ended before the scan"
    told = final.info.get("reason")
    return str(told) if told else final.reason
