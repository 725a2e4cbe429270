"""Tells which device a plan waits for when a step takes unusually long, instead of hanging in silence."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ...errors import shown
from ..msg import device_name

if TYPE_CHECKING:
    import asyncio

    from ..session import Session

__all__ = ["SlowSteps"]

logger = logging.getLogger("labspine.engine")


class SlowSteps:
    """
    Looks now and then whether the same step is still under way; steps themselves pay nothing for it.

    Args:
        session: The call.
        limit_s: From when on a step is told; told again each time that its age has doubled.
    """

    def __init__(self, session: Session, limit_s: float) -> None:
        self._session = session
        self._limit_s = limit_s
        self._flight = 0
        self._since_s = 0.0
        self._tell_at_s = limit_s
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Look again after half of the limit; on the loop only."""
        self._timer = self._session.loop.call_later(self._limit_s / 2, self._look)

    def end(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        session = self._session
        if session.is_over:
            return
        now_s = session.loop.time()
        if session.in_flight is None or session.flight_number != self._flight:
            self._flight, self._since_s, self._tell_at_s = session.flight_number, now_s, self._limit_s
        elif now_s - self._since_s >= self._tell_at_s and session.in_flight not in {"sleep", "input"}:
            self._tell_at_s *= 2
            self._tell(now_s - self._since_s)
        self.begin()

    def _tell(self, age_s: float) -> None:
        session = self._session
        waits = [f"{device_name(t.obj)}.{t.what}" for t in session.statuses.pending() if t.obj is not None]
        text = f"step {session.step}, '{session.in_flight}', has taken more than {age_s:.3g} s"
        if waits:
            text += f"; still busy: {', '.join(waits)}"
        logger.warning("%s", text, extra={"step": session.step, "command": session.in_flight, "busy": waits})
        hook: Any = session.engine.slow_hook
        if hook is not None:
            try:
                hook(text)
            except Exception:
                logger.exception("slow_hook failed: %s", shown(hook))
