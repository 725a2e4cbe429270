"""Parts of a NeXus file that do not grow: its head, its groups, the baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ..._version import __version__
from .columns import Columns, ScanFacts, as_array, as_scalar

if TYPE_CHECKING:
    import h5py

__all__ = ["add_scales", "describe", "iso_time", "require_group", "write_baseline", "write_head"]

Data = Mapping[str, Mapping[str, Mapping[str, object]]]


def require_group(file: h5py.File, path: str, nx_class: str) -> h5py.Group:
    """
    Find or make a group.

    Args:
        file: The open file.
        path: Its path.
        nx_class: Its NeXus class, for a new one.

    Returns:
        The group.
    """
    group = file.require_group(path)
    if "NX_class" not in group.attrs:
        group.attrs["NX_class"] = nx_class
    return group


def describe(dataset: h5py.Dataset, columns: Columns, *, device: str, signal: str) -> None:
    """
    Say in the attributes of a dataset what it holds.

    Args:
        dataset: The dataset.
        columns: Knows the units.
        device: Name of the device.
        signal: Name of its signal.
    """
    dataset.attrs["device"] = device
    dataset.attrs["signal_name"] = signal
    units = columns.units_of(device, signal)
    if units:
        dataset.attrs["units"] = units


def add_scales(dataset: h5py.Dataset, *, first: int = 0) -> list[h5py.Dataset]:
    """
    Give the dimensions of a dataset names: netCDF programs warn of dimensions without one.

    Args:
        dataset: The dataset.
        first: The first dimension to name.

    Returns:
        The scales that were made, ``<dataset>_dim_<number>`` with the values 0, 1, 2 ...
    """
    group = dataset.parent
    made = []
    for axis in range(first, dataset.ndim):
        name = f"{dataset.name.rpartition('/')[2]}_dim_{axis}"
        while name in group:
            name += "_"
        scale = group.create_dataset(name, data=np.arange(dataset.shape[axis], dtype=np.int64))
        scale.make_scale(name)
        dataset.dims[axis].attach_scale(scale)
        made.append(scale)
    return made


def write_baseline(file: h5py.File, columns: Columns, data: Data) -> None:
    """
    Write what was read once; a second reading is kept beside the first, with ``_2`` and so on in its
    name.

    Args:
        file: The open file.
        columns: Knows the units.
        data: ``{device: {signal: {"value": v, "timestamp": t}}}``.
    """
    group = require_group(file, "/entry/baseline", "NXcollection")
    for device, signals in data.items():
        target = require_group(file, f"/entry/baseline/{device.replace('/', '_')}", "NXcollection")
        for signal, reading in signals.items():
            name = base = signal.replace("/", "_")
            number = 1
            while name in target:
                number += 1
                name = f"{base}_{number}"
            value = reading.get("value")
            array, scalar = as_array(value), as_scalar(value)
            target[name] = array if array is not None else scalar if scalar is not None else repr(value)
            describe(target[name], columns, device=device, signal=signal)
            add_scales(target[name])
            stamp = reading.get("timestamp")
            if isinstance(stamp, int | float):
                target[name].attrs["timestamp"] = float(stamp)
    group.attrs["description"] = "readings of the baseline devices"


def write_head(file: h5py.File, facts: ScanFacts, *, file_name: str) -> None:
    """
    Write everything that is known when a scan begins.

    Args:
        file: The new file.
        facts: The scan.
        file_name: Its name on the disk.
    """
    import h5py

    file.attrs.update(
        {
            "NX_class": "NXroot",
            "default": "entry",
            "file_name": file_name,
            "file_time": iso_time(facts.start_utc_s),
            "creator": "labspine",
            "creator_version": __version__,
            "h5py_version": h5py.version.version,
            "HDF5_Version": h5py.version.hdf5_version,
        }
    )
    entry = require_group(file, "/entry", "NXentry")
    entry.attrs["default"] = "data"
    entry["title"] = f"{facts.number} {facts.name}"
    entry["entry_identifier"] = facts.scan_id
    entry["scan_number"] = facts.number
    entry["plan_name"] = facts.name
    entry["start_time"] = iso_time(facts.start_utc_s)
    entry.create_dataset("exit_status", data="running", dtype=h5py.string_dtype())
    entry["info"] = json.dumps(facts.info, default=_for_json)
    entry["info"].attrs["content"] = "JSON: everything that the status of the scan said"
    metadata = require_group(file, "/entry/user_metadata", "NXcollection")
    for key, value in facts.user_metadata.items():
        scalar = as_scalar(value)
        name = str(key).replace("/", "_") or "_"
        metadata[name] = json.dumps(value, default=_for_json) if scalar is None else scalar
    sample = facts.user_metadata.get("sample_name", facts.user_metadata.get("sample"))
    if isinstance(sample, str) and sample:
        require_group(file, "/entry/sample", "NXsample")["name"] = sample
    require_group(file, "/entry/instrument", "NXinstrument")


def iso_time(utc_s: float) -> str:
    """
    Write a time as NeXus wants it.

    Args:
        utc_s: Seconds since 1970-01-01 UTC.

    Returns:
        ISO 8601 with milliseconds and offset.
    """
    return datetime.fromtimestamp(utc_s, tz=UTC).isoformat(timespec="milliseconds")


def _for_json(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return repr(value)
