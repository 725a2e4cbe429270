"""The files of one scan: HDF5 and CSV side by side; trouble with one does not stop the other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from ...errors import LabspineError
from .columns import ScanFacts
from .csv_file import CsvFile
from .nexus import MOST_POINTS, NexusFile

__all__ = ["ScanFiles", "find_written"]

Data = Mapping[str, Mapping[str, Mapping[str, object]]]
MOST_MISSING_TOLD = 100_000
# HDF5 reports a full or lost disk as OSError or RuntimeError, a wrong value as TypeError or ValueError.
WRITE_ERRORS = (OSError, RuntimeError, ValueError, TypeError, LabspineError)


def _numbered(stem: Path) -> list[Path]:
    return [stem, *(stem.with_name(f"{stem.name}_{number}") for number in range(2, 100))]


def _h5(stem: Path) -> Path:
    return stem.with_name(stem.name + ".h5")


def _csv(stem: Path) -> Path:
    return stem.with_name(stem.name + ".csv")


def find_written(directory: Path, facts: ScanFacts) -> Path | None:
    """
    Look for a finished file of a scan.

    Args:
        directory: Root of all data files.
        facts: The scan.

    Returns:
        The file, or None when there is none; one that its writer could not finish does not count.
    """
    import h5py

    for stem in _numbered(facts.file_stem(directory)):
        path = _h5(stem)
        if not path.exists():
            return None
        with contextlib.suppress(OSError, KeyError), h5py.File(path, "r", locking=False) as file:
            entry = file["entry"]
            if (
                entry["entry_identifier"].asstr()[()] == facts.scan_id
                and entry["exit_status"].asstr()[()] != "running"
            ):
                return path
    return None


class ScanFiles:
    """
    Write one scan into ``.h5`` and ``.csv`` under the same name.

    An existing file is never touched: a number that was used before gets ``_2`` and so on.

    Args:
        directory: Root of all data files.
        facts: The scan.

    Raises:
        OSError: If no file can be made at all.
    """

    def __init__(self, directory: Path, facts: ScanFacts) -> None:
        self.facts = facts
        self.points: set[int] = set()
        self._end = 0
        self.has_baseline = False
        self.errors: list[str] = []
        self.h5_entries: list[str] = []
        stem = facts.file_stem(directory)
        stem.parent.mkdir(parents=True, exist_ok=True)
        for candidate in _numbered(stem):
            if not _h5(candidate).exists() and not _csv(candidate).exists():
                stem = candidate
                break
        self.path = _h5(stem)
        self.csv_path = _csv(stem)
        self._nexus: NexusFile | None = NexusFile(self.path, facts)
        self._csv: CsvFile | None = None
        self._attempt(self._open_csv)

    def write_point(self, point_id: int, data: Data) -> None:
        """
        Write one point into both files; an impossible number is left out and told in ``errors``.

        Args:
            point_id: Number of the point, from 0; a repeated number replaces the earlier reading.
            data: Its readings.
        """
        if not 0 <= point_id < MOST_POINTS:
            self.errors.append(f"a point with the impossible number {point_id} was left out")
            return
        self._with_nexus(lambda nexus: nexus.write_point(point_id, data))
        self._with_csv(lambda table: table.write_point(point_id, data))
        self.points.add(point_id)
        self._end = max(self._end, point_id + 1)

    def write_baseline(self, data: Data) -> None:
        """
        Write a reading of the baseline devices.

        Args:
            data: The readings.
        """
        self._with_nexus(lambda nexus: nexus.write_baseline(data))
        self.has_baseline = True

    def flush(self) -> None:
        """Make what was written readable for others."""
        self._with_nexus(lambda nexus: nexus.flush())

    def num_missing(self, expected: int) -> int:
        """
        Count the points that have not come.

        Args:
            expected: How many points were announced.

        Returns:
            How many are missing; gaps before the last point count as well.
        """
        return max(min(expected, MOST_POINTS), self._end) - len(self.points)

    def missing(self, expected: int) -> list[int]:
        """
        Tell which points have not come.

        Args:
            expected: How many points were announced.

        Returns:
            Their numbers, rising; the first hundred thousand of them.
        """
        last = max(min(expected, MOST_POINTS), self._end)
        return list(
            islice((number for number in range(last) if number not in self.points), MOST_MISSING_TOLD)
        )

    def close(
        self, *, exit_status: str, reason: str | None, end_utc_s: float | None, missing: Sequence[int] = ()
    ) -> None:
        """
        Finish both files.

        Args:
            exit_status: How the scan ended.
            reason: Why, if somebody said so.
            end_utc_s: When, in seconds since 1970-01-01 UTC.
            missing: Numbers of the points that never came.
        """

        def finish(nexus: NexusFile) -> None:
            self.h5_entries = nexus.close(
                exit_status=exit_status, reason=reason, end_utc_s=end_utc_s, missing=missing
            )

        self._with_nexus(finish)
        self._with_csv(lambda table: table.close())

    def _open_csv(self) -> None:
        self._csv = CsvFile(self.csv_path, self.facts)

    def _with_nexus(self, action: Callable[[NexusFile], None]) -> None:
        nexus = self._nexus
        if nexus is not None and not self._attempt(lambda: action(nexus)):
            self._nexus = None
            nexus.abandon()

    def _with_csv(self, action: Callable[[CsvFile], None]) -> None:
        table = self._csv
        if table is not None and not self._attempt(lambda: action(table)):
            self._csv = None
            table.abandon()

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except WRITE_ERRORS as error:
            self.errors.append(f"{type(error).__name__}: {error}")
            return False
        return True
