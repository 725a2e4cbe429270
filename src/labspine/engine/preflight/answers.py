"""What a plan is told during a preflight instead of the truth that only hardware knows."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from numbers import Real
from typing import Any

__all__ = [
    "DoneStatus",
    "World",
    "close_quietly",
    "limits_of",
    "number",
    "present_position",
    "walking_in",
]

walking_in: ContextVar[World | None] = ContextVar("walking_in", default=None)
"""The world of the preflight that walks through a plan right now."""


def present_position(obj: Any) -> Any:
    """
    Tell the position of a device, for plans that do not ask the engine for it.

    Args:
        obj: A device with the attribute ``position``.

    Returns:
        Its position; during a preflight, where the plan would have sent it by now.
    """
    world = walking_in.get()
    return obj.position if world is None else world.position(obj)


class DoneStatus:
    """A status that is done: in a preflight every move succeeds at once."""

    done = True
    success = True

    def add_callback(self, callback: Callable[[Any], object]) -> None:
        """
        Call back at once.

        Args:
            callback: Called with this status.
        """
        callback(self)

    def exception(self, timeout: float | None = None) -> None:
        """
        Tell why it failed: it did not.

        Args:
            timeout: Ignored.
        """


def close_quietly(answer: Any) -> None:
    """
    Forget an asynchronous answer without a warning.

    Args:
        answer: What a device returned.
    """
    if inspect.iscoroutine(answer):
        answer.close()


def number(value: Any) -> float | None:
    """
    Read a value as a real number.

    Args:
        value: Anything; truth values do not count.

    Returns:
        The number, or None.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, Real):
        return float(value)
    # Scalars and one-element arrays of numpy.
    if getattr(value, "size", 0) == 1 and getattr(getattr(value, "dtype", None), "kind", "") in "iuf":
        return float(value.item())
    return None


def limits_of(obj: Any) -> tuple[float, float] | None:
    """
    Find the limits of a motor.

    Args:
        obj: The motor.

    Returns:
        Lowest and highest position; None when it has none or both are equal, which means no limits.
    """
    limits = getattr(obj, "limits", None)
    if not isinstance(limits, tuple | list) or len(limits) != 2:
        return None
    low, high = number(limits[0]), number(limits[1])
    if low is None or high is None or not low < high:
        return None
    return low, high


class World:
    """Positions and readings as the plan would find them."""

    def __init__(self) -> None:
        self.positions: dict[int, Any] = {}
        self.notes: list[str] = []

    def move(self, obj: Any, target: Any) -> None:
        """
        Remember where a motor was sent.

        Args:
            obj: The motor.
            target: Its target.
        """
        self.positions[id(obj)] = target

    def position(self, obj: Any) -> Any:
        """
        Tell where a motor is: where the plan sent it, else where it stands now.

        Args:
            obj: The motor.

        Returns:
            Its position, or None when only hardware could tell.
        """
        if id(obj) in self.positions:
            return self.positions[id(obj)]
        try:
            position = getattr(obj, "position", None)
        except Exception:
            position = None
        if position is None and hasattr(obj, "locate"):
            located = self._ask(obj.locate)
            position = located.get("setpoint") if isinstance(located, dict) else None
        if position is None and hasattr(obj, "read"):
            reading = self._ask(obj.read)
            if isinstance(reading, dict) and reading:
                found = reading.get(getattr(obj, "name", ""), next(iter(reading.values())))
                position = found.get("value") if isinstance(found, dict) else None
        return position

    def locate(self, obj: Any) -> dict[str, Any]:
        """
        Answer ``locate``.

        Args:
            obj: The motor.

        Returns:
            A location.
        """
        position = self._position_or_zero(obj)
        return {"setpoint": position, "readback": position}

    def read(self, obj: Any) -> dict[str, Any]:
        """
        Answer ``read``.

        Args:
            obj: The device.

        Returns:
            A reading.
        """
        name = str(getattr(obj, "name", "object"))
        reading = self._ask(obj.read) if hasattr(obj, "read") else None
        if not isinstance(reading, dict):
            return {name: {"value": self._position_or_zero(obj), "timestamp": time.time()}}
        if id(obj) in self.positions and name in reading:
            reading = {**reading, name: {**reading[name], "value": self.positions[id(obj)]}}
        return reading

    def _position_or_zero(self, obj: Any) -> Any:
        position = self.position(obj)
        if position is None:
            name = getattr(obj, "name", obj)
            text = f"{name}: the present position is not known without asking it; 0 is assumed"
            if text not in self.notes:
                self.notes.append(text)
            return 0.0
        return position

    @staticmethod
    def _ask(call: Callable[[], Any]) -> Any:
        try:
            answer = call()
        except Exception:
            return None
        if inspect.isawaitable(answer):
            close_quietly(answer)
            return None
        return answer


def is_finite(value: float) -> bool:
    """
    Tell whether a number is neither NaN nor infinite.

    Args:
        value: The number.

    Returns:
        True for ordinary numbers.
    """
    return math.isfinite(value)
