"""
What the files of a scan are made of: facts about the scan, and one column for each signal.

Pure: no file, no broker. `nexus` and `csv_file` give the same names to the same signals: both ask here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...messages import ScanStatusMessage

__all__ = ["Columns", "ScanFacts", "as_array", "as_scalar", "point_time"]

RESERVED = frozenset({"entry", "point", "time", "grid"})
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class ScanFacts:
    """
    What is known about a scan when it begins, taken from its status message.

    Attributes:
        scan_id: Identifier of the run.
        number: Scan number; 0 when it has none.
        name: Name of the plan.
        motors: Names of the moved devices, slowest first.
        detectors: Names of the read devices.
        shape: Points along each motor, slowest first; empty when it is not a grid.
        fields: Signals to show first, for each device.
        data_keys: ``{device: {signal: {"units": ..., ...}}}``.
        start_utc_s: Beginning in seconds since 1970-01-01 UTC.
        info: Everything that the status says, for the file.
        user_metadata: What the person said about the sample and the purpose.
    """

    scan_id: str
    number: int = 0
    name: str = "scan"
    motors: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    data_keys: Mapping[str, Mapping[str, Mapping[str, object]]] = field(default_factory=dict)
    start_utc_s: float = 0.0
    info: Mapping[str, object] = field(default_factory=dict)
    user_metadata: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_status(cls, status: ScanStatusMessage) -> ScanFacts:
        """
        Take the facts out of a status message; what is missing or of another type counts as not known.

        Args:
            status: Any status of the scan; the first one is best.

        Returns:
            The facts.
        """
        info = status.info
        hints = _mapping(info.get("hints"))
        started = info.get("start_utc_s")
        return cls(
            scan_id=status.scan_id or "",
            number=status.scan_number or 0,
            name=status.scan_name or str(info.get("plan_name") or "scan"),
            motors=_names(info.get("motors")),
            detectors=_names(info.get("detectors")),
            shape=_shape(info.get("shape")),
            fields={device: _names(signals) for device, signals in _mapping(hints.get("fields")).items()},
            data_keys={
                device: {signal: _mapping(key) for signal, key in _mapping(signals).items()}
                for device, signals in _mapping(info.get("data_keys")).items()
            },
            start_utc_s=float(started) if isinstance(started, int | float) else status.timestamp,
            info=info,
            user_metadata=status.user_metadata or _mapping(info.get("user_metadata")),
        )

    def file_stem(self, directory: Path) -> Path:
        """
        Say where the files of this scan belong.

        Args:
            directory: Root of all data files.

        Returns:
            ``<directory>/<YYYY>/<MM>/<DD>/<number>_<name>`` without suffix; the day is that of the local
            clock.
        """
        day = datetime.fromtimestamp(self.start_utc_s).astimezone()
        name = _UNSAFE.sub("_", self.name).strip("._")[:80] or "scan"
        return directory / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}" / f"{self.number:05d}_{name}"


class Columns:
    """
    Give each signal of a scan one unique column name.

    A column is named by its signal, as in the documents of bluesky; when two devices use the same name, or
    when the name is taken by the file itself, the device goes in front.

    Args:
        facts: The scan.
    """

    def __init__(self, facts: ScanFacts) -> None:
        self._facts = facts
        self._names: dict[tuple[str, str], str] = {}
        self._owners: dict[str, tuple[str, str]] = {}

    def name_of(self, device: str, signal: str) -> str:
        """
        Name the column of a signal; the same one each time.

        Args:
            device: Name of the device.
            signal: Name of its signal.

        Returns:
            A name that is unique in this scan and holds no slash.
        """
        key = (device, signal)
        if key not in self._names:
            name = signal.replace("/", "_") or device
            if name in self._owners or name in RESERVED:
                name = f"{device}_{signal}".replace("/", "_")
            while name in self._owners or name in RESERVED:
                name += "_"
            self._names[key] = name
            self._owners[name] = key
        return self._names[key]

    def units_of(self, device: str, signal: str) -> str | None:
        """
        Say in which units a signal is.

        Args:
            device: Name of the device.
            signal: Name of its signal.

        Returns:
            The units, or None when they are not known.
        """
        units = self._facts.data_keys.get(device, {}).get(signal, {}).get("units")
        return units if isinstance(units, str) and units else None

    def axis_signals(self, data: Mapping[str, Mapping[str, object]]) -> list[tuple[str, str]]:
        """
        Say which signals are the positions of the moved devices.

        Args:
            data: The first point.

        Returns:
            Device and signal for each motor that the point holds, slowest motor first.
        """
        return [
            (motor, self._main_signal(motor, data[motor])) for motor in self._facts.motors if data.get(motor)
        ]

    def plot_signals(self, data: Mapping[str, Mapping[str, object]]) -> list[tuple[str, str]]:
        """
        Say which signals are worth a plot, the best one first.

        Args:
            data: The first point.

        Returns:
            Device and signal: the hinted fields of the detectors, then everything else that is no motor.
        """
        detectors = [d for d in self._facts.detectors if d in data]
        detectors += [d for d in data if d not in detectors and d not in self._facts.motors]
        found = [(d, s) for d in detectors for s in self._facts.fields.get(d, ()) if s in data[d]]
        found += [(d, s) for d in detectors for s in data[d] if (d, s) not in found]
        return found

    def _main_signal(self, device: str, signals: Mapping[str, object]) -> str:
        hinted = [signal for signal in self._facts.fields.get(device, ()) if signal in signals]
        candidates = [*hinted, *(s for s in (device, f"{device}_readback", "readback") if s in signals)]
        return candidates[0] if candidates else next(iter(signals))


def as_scalar(value: object) -> float | str | None:
    """
    Turn a reading into something for one cell of a table.

    Args:
        value: What was read.

    Returns:
        Numbers and booleans as float (exact up to 2**53), None as NaN, text as it is; None for arrays and
        lists.
    """
    if value is None:
        return float("nan")
    if isinstance(value, bool | int | float | np.bool_ | np.integer | np.floating):
        return float(value)
    if isinstance(value, np.ndarray | list | tuple):
        if isinstance(value, np.ndarray) and value.ndim == 0:
            return as_scalar(value.item())
        return None
    return value if isinstance(value, str) else str(value)


def as_array(value: object) -> NDArray[np.generic] | None:
    """
    Turn a reading into an array of numbers.

    Args:
        value: What was read.

    Returns:
        The array, one dimension or more, booleans as uint8; None for everything that is no array of numbers.
    """
    if not isinstance(value, np.ndarray | list | tuple):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return None
    if array.ndim == 0 or array.size == 0:
        return None
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    return array if array.dtype.kind in "iufc" else None


def point_time(data: Mapping[str, Mapping[str, Mapping[str, object]]]) -> float:
    """
    Say when a point was measured.

    Args:
        data: The point.

    Returns:
        The latest timestamp of its signals, in seconds since 1970-01-01 UTC; NaN when there is none.
    """
    times = [
        float(stamp)
        for signals in data.values()
        for reading in signals.values()
        if isinstance(stamp := reading.get("timestamp"), int | float)
    ]
    return max(times, default=float("nan"))


def _mapping(value: object) -> Mapping[str, object]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(name) for name in value) if isinstance(value, list | tuple) else ()


def _shape(value: object) -> tuple[int, ...]:
    if isinstance(value, list | tuple) and all(isinstance(n, int) and n > 0 for n in value):
        return tuple(value)
    return ()
