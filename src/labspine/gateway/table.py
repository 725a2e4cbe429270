"""The points of one scan as columns of numbers: any order in, each point once, bounded. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

__all__ = ["Rows", "ScanTable"]

_NAN = math.nan
_LARGEST_ID = 2**53
"""Above it a browser could not tell two numbers apart."""


@dataclass(frozen=True, slots=True)
class Rows:
    """
    Consecutive rows in the order of their arrival.

    ``start`` is the number of the first row, counted from 0 for the first row that ever arrived; ``columns``
    and ``times_utc_s`` have one value for each entry of ``point_ids``, None where there is no finite number.
    """

    start: int
    point_ids: list[int]
    times_utc_s: list[float | None]
    columns: dict[str, list[float | None]]

    @property
    def end(self) -> int:
        """Give the number of the row after the last one."""
        return self.start + len(self.point_ids)


class ScanTable:
    """
    Collect the points of a scan.

    Args:
        max_points: Rows kept; past it the oldest tenth goes, and ``dropped`` counts it.
        max_columns: Columns kept; the names of further ones are in ``hidden``.
    """

    def __init__(self, *, max_points: int = 100_000, max_columns: int = 64) -> None:
        self._max_points = max_points
        self._max_columns = max_columns
        self._point_ids = array("q")
        self._times = array("d")
        self._columns: dict[str, array[float]] = {}
        self._devices: dict[str, str] = {}
        self._seen: set[int] = set()
        self._floor = -1
        self._highest = -1
        self.hidden: set[str] = set()
        self.dropped = 0

    def __len__(self) -> int:
        """Count the rows that are kept."""
        return len(self._point_ids)

    @property
    def end(self) -> int:
        """Give the number of the next row."""
        return self.dropped + len(self._point_ids)

    @property
    def names(self) -> dict[str, str]:
        """Map each column to the device that it belongs to, in the order in which they appeared."""
        return dict(self._devices)

    def add(self, point_id: int, data: Mapping[str, object]) -> bool:
        """
        Take one point.

        Args:
            point_id: Number of the point, from 0.
            data: Device to signal to ``{"value": ..., "timestamp": ...}``; what is not one number
                is left out.

        Returns:
            False when the point was there already, is older than everything that is kept, or is no number
            that a browser can tell from its neighbours.
        """
        if point_id in self._seen or not self._floor < point_id <= _LARGEST_ID:
            return False
        self._seen.add(point_id)
        self._highest = max(self._highest, point_id)
        newest = _NAN
        row = len(self._point_ids)
        for device, signal, reading in _readings(data):
            stamp = _number(reading.get("timestamp"))
            if stamp is not None and not stamp <= newest:
                newest = stamp
            value = _number(reading.get("value"))
            if value is not None:
                self._put(row, device, signal, value)
        self._point_ids.append(point_id)
        self._times.append(newest)
        for column in self._columns.values():
            if len(column) == row:
                column.append(_NAN)
        if len(self._point_ids) > self._max_points:
            self._drop_oldest(max(1, self._max_points // 10))
        return True

    def rows(self, start: int, limit: int) -> Rows:
        """
        Give rows for somebody who has all rows before ``start``.

        Args:
            start: Number of the first row wanted; rows that are no longer kept are skipped.
            limit: Most rows to give.

        Returns:
            The rows, in the order of arrival; possibly none.
        """
        first = min(max(start - self.dropped, 0), len(self._point_ids))
        part = slice(first, first + limit)
        return Rows(
            start=self.dropped + first,
            point_ids=self._point_ids[part].tolist(),
            times_utc_s=_finite(self._times[part]),
            columns={name: _finite(column[part]) for name, column in self._columns.items()},
        )

    def missing(self, end: int, most: int) -> list[int]:
        """
        List the point numbers below the highest one, or below ``end``, that are not here.

        Args:
            end: Number of points that there are, if that is known; 0 if not.
            most: Most numbers to give.

        Returns:
            The numbers, rising. What was here and is no longer kept is not missing.
        """
        end = max(end, self._highest + 1)
        first = self._floor + 1
        if end - first <= len(self._seen):
            return []
        return list(islice((number for number in range(first, end) if number not in self._seen), most))

    def in_order(self) -> tuple[list[int], dict[str, list[float | None]]]:
        """
        Give everything sorted by point number, whatever the order of arrival was.

        Returns:
            The point numbers and, for each column, one value a point.
        """
        order = sorted(range(len(self._point_ids)), key=self._point_ids.__getitem__)
        ids = [self._point_ids[i] for i in order]
        rows = self.rows(self.dropped, len(self))
        return ids, {name: [values[i] for i in order] for name, values in sorted(rows.columns.items())}

    def _put(self, row: int, device: str, signal: str, value: float) -> None:
        name = signal if signal == device or signal.startswith(f"{device}_") else f"{device}_{signal}"
        column = self._columns.get(name)
        if column is None:
            if len(self._columns) >= self._max_columns:
                if len(self.hidden) < self._max_columns:
                    self.hidden.add(name)
                return
            column = self._columns[name] = array("d", [_NAN]) * row
            self._devices[name] = device
        if len(column) == row:
            column.append(value)

    def _drop_oldest(self, count: int) -> None:
        gone = self._point_ids[:count]
        self._floor = max(self._floor, *gone)
        self._seen.difference_update(gone)
        del self._point_ids[:count]
        del self._times[:count]
        for column in self._columns.values():
            del column[:count]
        self.dropped += count


def _readings(data: Mapping[str, object]) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    for device, signals in data.items():
        if not isinstance(signals, Mapping):
            continue
        for signal, reading in signals.items():
            if isinstance(reading, Mapping):
                yield str(device), str(signal), reading


def _number(value: object) -> float | None:
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    if isinstance(value, bool | int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def _finite(values: array[float]) -> list[float | None]:
    # JSON has no word for NaN and infinity.
    return [value if math.isfinite(value) else None for value in values]
