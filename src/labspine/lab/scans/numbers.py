"""The numbers of scans: counted on, also after a restart."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints

__all__ = ["ScanNumbers"]


class ScanNumbers:
    """
    Count scans; the last number is on the broker at ``scan_number``.

    The announcer writes each number before the status that carries it, so a number that somebody has seen is
    never given again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def load(self, connector: RedisConnector) -> None:
        """
        Read the last number from the broker.

        Args:
            connector: The door to the broker.

        Raises:
            NotConnected: If the broker cannot be reached.
        """
        message = connector.get(MessageEndpoints.scan_number())
        value = message.value if message is not None else 0
        if isinstance(value, Mapping):  # BEC keeps one number for each account
            value = max((n for n in value.values() if isinstance(n, int)), default=0)
        with self._lock:
            self._last = max(self._last, value if isinstance(value, int) else 0)

    def at_least(self, number: int) -> None:
        """
        Count on from a number that was given before.

        Args:
            number: It will not be given again.
        """
        with self._lock:
            self._last = max(self._last, number)

    @property
    def last(self) -> int:
        """The number that was given last; 0 before the first."""
        return self._last

    def next(self) -> int:
        """Give the next number; called when a run opens."""
        with self._lock:
            self._last += 1
            return self._last
