"""
What each browser gets next: at most one update on its way, the rest waits where it is. Pure.

The model is the buffer. A browser that reads slowly gets fewer and larger updates, one that does not read
gets nothing more; so nothing grows, whoever connects.
"""

from __future__ import annotations

from dataclasses import dataclass

from .access import Session
from .live import LiveModel

__all__ = ["LIMIT_ROWS", "PERIOD_S", "UNREAD_S", "BrowserPace", "Bucket"]

PERIOD_S = 0.05
"""Time between two updates of one browser: at most 20 a second."""

LIMIT_ROWS = 2000
"""Most points in one update."""

UNREAD_S = 30.0
"""A browser that has not read an update for this long is sent away; it may come back and resume."""

_STATE_EVERY_S = 1.0


@dataclass(slots=True)
class Bucket:
    """Allow ``rate`` events a second on average, and ``burst`` at once."""

    rate: float = 10.0
    burst: float = 30.0
    level: float = 30.0
    filled_mono_s: float = 0.0
    refused: int = 0

    def take(self, now_mono_s: float) -> bool:
        """
        Ask for one event.

        Args:
            now_mono_s: Monotonic time in seconds.

        Returns:
            False when there were too many; ``refused`` counts these.
        """
        self.level = min(self.burst, self.level + (now_mono_s - self.filled_mono_s) * self.rate)
        self.filled_mono_s = now_mono_s
        if self.level < 1.0:
            self.refused += 1
            return False
        self.level -= 1.0
        return True


class BrowserPace:
    """
    Remember what one browser has and decide what it gets.

    Args:
        session: Who it is.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.bucket = Bucket()
        self._is_listening = False
        self._scan_id: str | None = None
        self._have = 0
        self._revision = -1
        self._state_mono_s = float("-inf")
        self._sent_mono_s: float | None = None

    def resume(self, model: LiveModel, *, epoch: object, scan_id: object, have: object) -> None:
        """
        Take what a browser says that it has; nothing is sent before that.

        Args:
            model: The present picture.
            epoch: The epoch of its rows; another one than the model's means that it has nothing.
            scan_id: The scan that its rows belong to.
            have: The number of the next row that it needs.
        """
        self._is_listening = True
        self._sent_mono_s = None
        self._state_mono_s = float("-inf")
        same = epoch == model.epoch and isinstance(scan_id, str) and scan_id == model.scan_id
        self._scan_id = scan_id if same and isinstance(scan_id, str) else None
        knows = isinstance(have, int) and not isinstance(have, bool) and have >= 0
        self._have = have if same and knows and isinstance(have, int) else 0

    def next_update(self, model: LiveModel, now_utc_s: float, now_mono_s: float) -> dict[str, object] | None:
        """
        Decide what to send now.

        Args:
            model: The present picture.
            now_utc_s: Wall time in seconds.
            now_mono_s: Monotonic time in seconds.

        Returns:
            An update that the browser has to acknowledge; None when nothing is new or the last is unread.
        """
        if not self._is_listening or self._sent_mono_s is not None:
            return None
        points = self._next_points(model)
        is_due = now_mono_s - self._state_mono_s >= _STATE_EVERY_S
        if points is None and model.revision == self._revision and not is_due:
            return None
        self._revision = model.revision
        self._state_mono_s = self._sent_mono_s = now_mono_s
        state = model.view(now_utc_s, now_mono_s)
        return {"epoch": model.epoch, "state": state, "points": points}

    def acknowledge(self) -> None:
        """Note that the browser has read the last update."""
        self._sent_mono_s = None

    def is_stuck(self, now_mono_s: float) -> bool:
        """Say whether the last update has been unread for too long."""
        return self._sent_mono_s is not None and now_mono_s - self._sent_mono_s > UNREAD_S

    def _next_points(self, model: LiveModel) -> dict[str, object] | None:
        scan_id = model.scan_id
        if scan_id is None:
            return None
        if scan_id != self._scan_id:
            self._scan_id, self._have = scan_id, 0
        rows = model.rows(scan_id, self._have, LIMIT_ROWS)
        if rows is None or not rows.point_ids:
            return None
        self._have = rows.end
        return {
            "scan_id": scan_id,
            "start": rows.start,
            "point_ids": rows.point_ids,
            "times_utc_s": rows.times_utc_s,
            "columns": rows.columns,
        }
