"""What all simulated devices share: a name, a simulated time, staging, and subscribers."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from .timing import Timeline

__all__ = ["Reading", "ReadingCallback", "SimDevice"]

Reading = dict[str, dict[str, object]]
"""``{signal: {"value": ..., "timestamp": ...}}``"""

ReadingCallback = Callable[[Reading], None]


class SimDevice(ABC):
    """
    Be staged, and tell subscribers each new reading.

    Args:
        name: Name of the device and of its first signal.
        timeline: The simulated time in which it acts.
    """

    parent = None

    def __init__(self, name: str, timeline: Timeline) -> None:
        self.name = name
        self._timeline = timeline
        self._lock = threading.RLock()
        self._subscribers: list[ReadingCallback] = []

    @property
    def hints(self) -> dict[str, list[str]]:
        """Name the signal that a plot should show."""
        return {"fields": [self.name]}

    @abstractmethod
    def read(self) -> Reading:
        """Return the present values with their times."""

    def stage(self) -> list[object]:
        """Prepare for a run; nothing to do."""
        return [self]

    def unstage(self) -> list[object]:
        """Go back to the state before the run; nothing to do."""
        return [self]

    def subscribe(self, function: ReadingCallback) -> None:
        """
        Call a function with a reading now and after each change.

        Args:
            function: Called with what ``read`` returns, on the thread of the timeline.
        """
        with self._lock:
            if function not in self._subscribers:
                self._subscribers.append(function)
        function(self.read())

    def clear_sub(self, function: ReadingCallback) -> None:
        """
        Stop calling a function.

        Args:
            function: What was given to ``subscribe``; an unknown one is ignored.
        """
        with self._lock:
            if function in self._subscribers:
                self._subscribers.remove(function)

    def _tell(self) -> None:
        """Call the subscribers with a reading, if there are any; holds no lock meanwhile."""
        with self._lock:
            subscribers = list(self._subscribers)
        if subscribers:
            reading = self.read()
            for function in subscribers:
                function(reading)
