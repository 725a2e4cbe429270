"""What a service counts, as ``stats`` tells it."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Stats"]


@dataclass(slots=True)
class _Times:
    """What is counted of one procedure."""

    calls: int = 0
    errors: int = 0
    busy_s: float = 0.0
    longest_s: float = 0.0
    last_error: str = ""


class Stats:
    """Count the calls of one instance; its methods are called from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._procedures: dict[str, _Times] = {}
        self._counts = dict.fromkeys(("expired", "repeated", "cancelled", "busy", "died", "invalid"), 0)

    def end(self, procedure: str, duration_s: float, error: str = "") -> None:
        """Count a call that has ended; ``error`` says how, if it failed."""
        with self._lock:
            one = self._procedures.get(procedure)
            if one is None:
                one = self._procedures[procedure] = _Times()
            one.calls += 1
            one.busy_s += duration_s
            one.longest_s = max(one.longest_s, duration_s)
            if error:
                one.errors += 1
                one.last_error = error

    def count(self, what: str) -> None:
        """Count something else: ``expired``, ``repeated``, ``cancelled``, ``busy``, ``died``, ``invalid``."""
        with self._lock:
            self._counts[what] += 1

    def load(self, running: int) -> dict[str, Any]:
        """Return the few figures that go out with each sign of life; ``running`` is how many run now."""
        with self._lock:
            ended = list(self._procedures.values())
        errors = sum(one.errors for one in ended)
        return {"calls": sum(one.calls for one in ended), "errors": errors, "running": running}

    def report(self, running: int) -> dict[str, Any]:
        """Return everything."""
        with self._lock:
            procedures = {name: asdict(one) for name, one in self._procedures.items()}
            counts = dict(self._counts)
        return {**self.load(running), **counts, "procedures": procedures}
