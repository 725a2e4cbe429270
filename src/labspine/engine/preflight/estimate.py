"""How long steps take and how much data they make, as far as devices tell without being used."""

from __future__ import annotations

import contextlib
import inspect
import math
from typing import Any

from .answers import close_quietly, number

__all__ = ["Estimate"]

VELOCITIES = ("velocity_mm_s", "velocity")
EXPOSURES = ("exposure_s", "exposure_time", "count_time", "acquire_time", "exposure")
NUMBER_BYTES = 8
TEXT_BYTES = 32


class Estimate:
    """Adds up times and sizes on the way through a plan; what devices do not tell counts as nothing."""

    def __init__(self) -> None:
        self.duration_s = 0.0
        self.size_bytes = 0
        self.silent: dict[int, str] = {}
        self.sizeless: dict[int, str] = {}
        self._groups: dict[Any, float] = {}
        self._told: dict[tuple[int, str], float | None] = {}

    def move(self, obj: Any, distance: float | None, group: Any) -> None:
        """
        Add a movement, which goes on at the same time as others of its group.

        Args:
            obj: The motor.
            distance: How far, in its unit; None when that is unknown.
            group: Key for ``wait``.
        """
        velocity = self._tell(obj, VELOCITIES)
        if not velocity or distance is None:
            self._be_silent(obj)
            return
        self._begin(group, abs(distance) / velocity)

    def trigger(self, obj: Any, group: Any) -> None:
        """
        Add a measurement, which goes on at the same time as others of its group.

        Args:
            obj: The detector.
            group: Key for ``wait``.
        """
        exposure = self._tell(obj, EXPOSURES)
        if exposure is None:
            self._be_silent(obj)
            return
        self._begin(group, exposure)

    def wait(self, group: Any) -> None:
        """
        Add the time that a group takes.

        Args:
            group: Its key.
        """
        self.duration_s += self._groups.pop(group, 0.0)

    def sleep(self, seconds: float) -> None:
        """
        Add a pause.

        Args:
            seconds: Its length.
        """
        self.duration_s += seconds

    def read(self, obj: Any) -> None:
        """
        Add the size of a reading.

        Args:
            obj: The device.
        """
        size = self._told.get((id(obj), "size"))
        if size is None:
            told = _size_of(obj)
            if told is None:
                self.sizeless[id(obj)] = str(getattr(obj, "name", obj))
            size = self._told[(id(obj), "size")] = float(told or 0)
        self.size_bytes += int(size)

    def _begin(self, group: Any, seconds: float) -> None:
        self._groups[group] = max(self._groups.get(group, 0.0), seconds)

    def _be_silent(self, obj: Any) -> None:
        self.silent.setdefault(id(obj), str(getattr(obj, "name", obj)))

    def _tell(self, obj: Any, names: tuple[str, ...]) -> float | None:
        key = (id(obj), names[0])
        if key not in self._told:
            self._told[key] = _first_number(obj, names)
        return self._told[key]


def _first_number(obj: Any, names: tuple[str, ...]) -> float | None:
    for name in names:
        value = getattr(obj, name, None)
        if value is None:
            continue
        asked = getattr(value, "get", None)
        if callable(asked):
            with contextlib.suppress(Exception):
                value = asked()
        found = number(value)
        if found is not None and math.isfinite(found) and found >= 0:
            return found
    return None


def _size_of(obj: Any) -> int | None:
    try:
        described = obj.describe()
    except Exception:
        return None
    if inspect.isawaitable(described):
        close_quietly(described)
        return None
    return sum(_size_of_key(key) for key in described.values() if isinstance(key, dict))


def _size_of_key(key: dict[str, Any]) -> int:
    count = 1
    for size in key.get("shape") or ():
        count *= size if isinstance(size, int) and size > 0 else 1
    kind = str(key.get("dtype_numpy") or "")
    digits = "".join(c for c in kind if c.isdigit()) if kind[:1] in "|<>" else ""
    width = int(digits) if digits else TEXT_BYTES if key.get("dtype") == "string" else NUMBER_BYTES
    # And the time stamp.
    return count * width + NUMBER_BYTES
