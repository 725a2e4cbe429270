"""The table of a scan as text: one line for each point, readable by everything."""

from __future__ import annotations

import contextlib
import csv
import math
import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

from .columns import Columns, ScanFacts, as_scalar, point_time

__all__ = ["CsvFile"]

Data = Mapping[str, Mapping[str, Mapping[str, object]]]


class CsvFile:
    """
    Write the points of a scan, each one at once.

    The first line names the columns: ``point``, motors, detectors, ``time`` (seconds since 1970-01-01 UTC);
    there are no comment lines, so ``pandas.read_csv(path)`` needs no options. Arrays have no place in a table
    and are left out. Lines are in the order of arrival; when a point came twice, late or with a new signal,
    the file is put in order at the end.

    Args:
        path: The file to make; it must not exist.
        facts: The scan.

    Raises:
        OSError: If the file cannot be made; also from each later call.
    """

    def __init__(self, path: Path, facts: ScanFacts) -> None:
        self.path = path
        self._facts = facts
        self._columns = Columns(facts)
        self._header: list[str] = []
        self._last_point = -1
        self._in_order = True
        self._file = path.open("x", encoding="utf-8", newline="")

    def write_point(self, point_id: int, data: Data) -> None:
        """
        Write one line, down to the operating system.

        Args:
            point_id: Number of the point, from 0.
            data: Its readings.
        """
        row = self._row(point_id, data)
        if not self._header:
            self._header = self._first_header(data, row)
            self._file.write(_line(self._header))
        new = [name for name in row if name not in self._header]
        if new:
            self._widen(new)
        self._file.write(_line([row.get(name, "") for name in self._header]))
        self._file.flush()
        if point_id <= self._last_point:
            self._in_order = False
        self._last_point = max(point_id, self._last_point)

    def close(self) -> None:
        """Put the lines in order if necessary and close the file; a second call does nothing."""
        if self._file.closed:
            return
        if not self._header:
            self._file.write(_line(["point", "time"]))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if not self._in_order:
            rows = self._rows()
            # The later reading of a point wins: a plan that went back repeats numbers.
            latest = {int(row[0]): row for row in rows}
            self._replace([latest[point] for point in sorted(latest)])

    def abandon(self) -> None:
        """Close the file as it is, after an error."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _row(self, point_id: int, data: Data) -> dict[str, str]:
        row = {"point": str(point_id)}
        for device, signals in data.items():
            for signal, reading in signals.items():
                scalar = as_scalar(reading.get("value"))
                if scalar is not None:
                    row[self._columns.name_of(device, signal)] = _cell(scalar)
        row["time"] = _cell(point_time(data))
        return row

    def _first_header(self, data: Data, row: Mapping[str, str]) -> list[str]:
        wanted = [*self._columns.axis_signals(data), *self._columns.plot_signals(data)]
        names = [self._columns.name_of(device, signal) for device, signal in wanted]
        names = ["point", *(name for name in names if name in row)]
        names += [name for name in row if name not in names and name != "time"]
        return [*names, "time"]

    def _widen(self, names: list[str]) -> None:
        self._file.close()
        rows = self._rows()
        self._header += names
        self._replace([row + [""] * len(names) for row in rows])
        self._file = self.path.open("a", encoding="utf-8", newline="")

    def _rows(self) -> list[list[str]]:
        with self.path.open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))[1:]

    def _replace(self, rows: list[list[str]]) -> None:
        temporary = self.path.with_suffix(".csv.new")
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_line(row) for row in (self._header, *rows))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    return repr(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _line(cells: list[str]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
