"""
The data file of a scan: NeXus in HDF5, readable while it grows.

The layout::

    /                     NXroot; hard links to the columns, so that plain xarray.open_dataset(path) works
    /entry                NXentry: title, times, scan number, exit status, info (JSON)
    /entry/data           NXdata: one dataset for each signal, motors as dimension scales
    /entry/grid           NXdata: the same points as a grid, for complete grid scans
    /entry/instrument     NXinstrument: for each device its columns and their timestamps
    /entry/baseline       NXcollection: what was read once, before and after
    /entry/sample         NXsample, /entry/user_metadata: what the person said
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ConfigError, InvalidArgument
from .columns import Columns, ScanFacts, as_array, as_scalar, point_time
from .nexus_column import GrowingColumn
from .nexus_disk import ForgivingFile
from .nexus_grid import write_grid
from .nexus_parts import (
    add_scales,
    describe,
    iso_time,
    require_group,
    write_baseline,
    write_head,
)

if TYPE_CHECKING:
    import h5py

__all__ = ["NexusFile", "require_h5py"]

Data = Mapping[str, Mapping[str, Mapping[str, object]]]

MOST_POINTS = 10_000_000
_CHUNK_BYTES = 64 * 1024
_MOST_MISFITS_TOLD = 1000
_ROW_OVERHEAD_BYTES = 200
_MOST_WAITING_BYTES = 4 * 1024 * 1024


def require_h5py() -> None:
    """
    Make sure that HDF5 files can be written.

    Raises:
        ConfigError: If h5py is not installed.
    """
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            'writing HDF5 files needs h5py; install it with: pip install "labspine[files]"'
        ) from error


class NexusFile:
    """
    Write one scan into one HDF5 file, point by point.

    Columns that hold numbers are float64, so that a missing point can be NaN; arrays keep their type; text is
    UTF-8. After each :meth:`flush` other programs can open the file, and it stays readable if this process is
    killed: that is why it is written without SWMR, whose files cannot be opened after a crash.

    Args:
        path: The file to make; it must not exist.
        facts: The scan.

    Raises:
        OSError: If the file cannot be made; also from each later call.
    """

    def __init__(self, path: Path, facts: ScanFacts) -> None:
        import h5py

        self.path = path
        self.facts = facts
        self._columns = Columns(facts)
        self._dimension = ""
        self._axes: list[str] = []
        self._points = 0
        self._waiting_bytes = 0
        self._written: set[int] = set()
        self._grown: dict[str, GrowingColumn] = {}
        self._disk = ForgivingFile(path)
        self._file = h5py.File(self._disk, "w", libver=("earliest", "v108"), track_order=True)
        write_head(self._file, facts, file_name=path.name)
        self.flush()

    def write_point(self, point_id: int, data: Data) -> None:
        """
        Take one point; a second reading of the same point replaces the first. It is in the file after
        :meth:`flush`.

        Args:
            point_id: Number of the point, from 0. Points that are left out read as NaN.
            data: ``{device: {signal: {"value": v, "timestamp": t}}}``.

        Raises:
            InvalidArgument: If the number is negative or above ten million.
        """
        if not 0 <= point_id < MOST_POINTS:
            raise InvalidArgument(
                f"point number {point_id} of scan {self.facts.number}; allowed are 0 to {MOST_POINTS}"
            )
        if not self._dimension:
            self._begin_data(data)
        self._points = max(self._points, point_id + 1)
        self._written.add(point_id)
        self._grown["time"].put(point_id, point_time(data))
        for device, signals in data.items():
            for signal, reading in signals.items():
                self._write_value(point_id, device, signal, reading)
        if self._waiting_bytes >= _MOST_WAITING_BYTES:
            self.flush()

    def write_baseline(self, data: Data) -> None:
        """
        Write what was read once; a second reading is kept beside the first, with ``_2`` and so on in its
        name.

        Args:
            data: As for a point.
        """
        write_baseline(self._file, self._columns, data)

    def flush(self) -> None:
        """Hand everything to the operating system, so that others can read it."""
        self._write_waiting()
        self._file.flush()
        self._disk.commit()

    def close(
        self,
        *,
        exit_status: str,
        reason: str | None = None,
        end_utc_s: float | None = None,
        missing: Sequence[int] = (),
    ) -> list[str]:
        """
        Write how the scan ended, and close the file; a second call does nothing.

        Args:
            exit_status: For example ``closed``, ``aborted``, ``halted`` or ``interrupted``.
            reason: Why, if somebody said so.
            end_utc_s: When, in seconds since 1970-01-01 UTC; None when it is not known.
            missing: Numbers of the points that never came.

        Returns:
            Paths in the file that are worth a look, the best first.
        """
        if not self._file:
            return []
        self._write_waiting()
        entry = self._file["entry"]
        entry["exit_status"][()] = exit_status
        if reason:
            entry["exit_reason"] = reason
        if end_utc_s is not None:
            entry["end_time"] = iso_time(end_utc_s)
            entry["duration"] = max(0.0, end_utc_s - self.facts.start_utc_s)
            entry["duration"].attrs["units"] = "s"
        if missing:
            entry["missing_points"] = np.asarray(missing, dtype=np.int64)
            entry["missing_points"].make_scale("missing_points")
        entry["number_of_points"] = len(self._written)
        paths = ["/entry/data"] if self._dimension else []
        if (
            not missing
            and self._dimension
            and write_grid(self._file, self.facts.shape, self._axes, self._points)
        ):
            paths.append("/entry/grid")
        paths += ["/entry/baseline"] if "baseline" in entry else []
        self._file.close()
        try:
            self._disk.commit()
            self._disk.sync()
        finally:
            self._disk.close()
        return paths

    def abandon(self) -> None:
        """Close the file as it is, after an error."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._file.close()
        self._disk.close()

    def _begin_data(self, data: Data) -> None:
        group = require_group(self._file, "/entry/data", "NXdata")
        axes = [
            (d, s)
            for d, s in self._columns.axis_signals(data)
            if isinstance(as_scalar(data[d][s].get("value")), float)
        ]
        self._axes = [self._columns.name_of(device, signal) for device, signal in axes]
        # One motor is a coordinate that all columns depend on; of several, none can be the only one.
        self._dimension = self._axes[0] if len(self._axes) == 1 else "point"
        first = self._new_column(self._dimension, (), np.int64 if self._dimension == "point" else np.float64)
        first.make_scale(self._dimension)
        if self._dimension != "point":
            self._place_in_instrument(*axes[0], first)
            describe(first, self._columns, device=axes[0][0], signal=axes[0][1])
            self._new_column("point", (), np.int64)
        self._new_column("time", (), np.float64).attrs["units"] = "seconds since 1970-01-01 00:00:00"
        for device, signal in axes[1:] if self._dimension != "point" else axes:
            self._column_for(device, signal, data[device][signal].get("value"))
        plots = [
            name
            for device, signal in self._columns.plot_signals(data)
            if (name := self._column_for(device, signal, data[device][signal].get("value")))
            and self._grown[name].is_number
        ]
        if plots:
            group.attrs["signal"] = plots[0]
        if plots[1:]:
            group.attrs["auxiliary_signals"] = plots[1:]
        group.attrs["axes"] = [self._dimension]
        for name in self._axes:
            group.attrs[f"{name}_indices"] = 0
        if self.facts.shape:
            group.attrs["shape"] = np.asarray(self.facts.shape, dtype=np.int64)
            group.attrs["motors"] = self._axes

    def _column_for(self, device: str, signal: str, value: object) -> str:
        name = self._columns.name_of(device, signal)
        if name in self._grown:
            return name
        import h5py

        array = as_array(value)
        if array is not None:
            dataset = self._new_column(name, array.shape, array.dtype)
        elif isinstance(as_scalar(value), float):
            dataset = self._new_column(name, (), np.float64)
        else:
            dataset = self._new_column(name, (), h5py.string_dtype())
        describe(dataset, self._columns, device=device, signal=signal)
        self._place_in_instrument(device, signal, dataset)
        return name

    def _new_column(self, name: str, shape: tuple[int, ...], dtype: object) -> h5py.Dataset:
        group = self._file["/entry/data"]
        item_bytes = max(8, int(np.prod(shape, dtype=np.int64)) * getattr(np.dtype(dtype), "itemsize", 8))  # type: ignore[call-overload]
        chunk = (max(1, min(1024, _CHUNK_BYTES // item_bytes)), *shape)
        fill = np.nan if np.dtype(dtype).kind == "f" else None  # type: ignore[call-overload]
        dataset = group.create_dataset(
            name, (0, *shape), maxshape=(None, *shape), chunks=chunk, dtype=dtype, fillvalue=fill
        )
        self._grown[name] = GrowingColumn(dataset)
        if name != self._dimension:
            dataset.dims[0].attach_scale(self._grown[self._dimension].dataset)
            coordinates = [c for c in ("point", "time", *self._axes) if c not in (name, self._dimension)]
            if name not in ("point", "time", *self._axes):
                dataset.attrs["coordinates"] = " ".join(coordinates)
        for scale in add_scales(dataset, first=1):
            self._file[scale.name.rpartition("/")[2]] = scale
        if name not in self._file:
            self._file[name] = dataset
        return dataset

    def _write_value(self, point_id: int, device: str, signal: str, reading: Mapping[str, object]) -> None:
        value = reading.get("value")
        name = self._column_for(device, signal, value)
        if not self._grown[name].put(point_id, value):
            self._mark_misfit(self._grown[name].dataset, point_id)
        self._waiting_bytes += self._grown[name].row_bytes + _ROW_OVERHEAD_BYTES
        self._grown[_stamps(name)].put(point_id, reading.get("timestamp"))

    def _mark_misfit(self, dataset: h5py.Dataset, point_id: int) -> None:
        """Remember that a reading had another shape or type than the first one and is not in the file."""
        before = dataset.attrs.get("points_of_other_shape", np.empty(0, dtype=np.int64))
        if len(before) < _MOST_MISFITS_TOLD:
            dataset.attrs["points_of_other_shape"] = np.append(before, point_id)

    def _write_waiting(self) -> None:
        self._waiting_bytes = 0
        if not self._dimension:
            return
        numbers = self._grown["point"].dataset
        before = numbers.shape[0]
        for column in self._grown.values():
            column.write(self._points)
        if before < self._points:
            numbers[before:] = np.arange(before, self._points)

    def _place_in_instrument(self, device: str, signal: str, dataset: h5py.Dataset) -> None:
        kind = "NXpositioner" if device in self.facts.motors else "NXdetector"
        group = require_group(self._file, f"/entry/instrument/{device.replace('/', '_')}", kind)
        name = dataset.name.rpartition("/")[2]
        group[name] = dataset
        stamps = group.create_dataset(
            f"{name}_timestamp",
            (0,),
            maxshape=(None,),
            chunks=(1024,),
            dtype=np.float64,
            fillvalue=np.nan,
        )
        stamps.attrs["units"] = "s"
        stamps.dims[0].attach_scale(self._grown[self._dimension].dataset)
        self._grown[_stamps(name)] = GrowingColumn(stamps)


def _stamps(name: str) -> str:
    return f"timestamps of {name}"
