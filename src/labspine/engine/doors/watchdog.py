"""Notices that a plan, device or callback keeps the engine's thread to itself, and tells where."""

from __future__ import annotations

import logging
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from ..errors import BlockedStep
from ..session import Session

if TYPE_CHECKING:
    from ..base import EngineBase

__all__ = ["Watchdog", "place_of"]

logger = logging.getLogger("labspine.engine")

OURS = __name__.rpartition(".")[0].rpartition(".")[0]


class Watchdog:
    """
    Watch the engine's thread during one call.

    Args:
        engine: Its engine; ``watchdog_s`` and ``blocked_hook`` are its settings.
        session: The call.
        thread_id: The thread that performs the plan.
    """

    def __init__(self, engine: EngineBase, session: Session, thread_id: int) -> None:
        self._engine = engine
        self._session = session
        self._thread_id = thread_id
        self._over = threading.Event()
        self._limit_s = float(engine.watchdog_s or 0.0)
        self._thread = threading.Thread(target=self._watch, name="labspine-watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        if self._limit_s > 0:
            self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(self._limit_s / 2):
            answered = threading.Event()
            try:
                self._session.loop.call_soon_threadsafe(answered.set)
            except RuntimeError:
                return  # the loop is closed
            if answered.wait(self._limit_s) or self._over.is_set():
                continue
            self._tell()
            while not (answered.wait(1.0) or self._over.is_set()):
                pass

    def _tell(self) -> None:
        where = place_of(sys._current_frames().get(self._thread_id))
        text = (
            f"step {self._session.step} has kept the engine busy for more than {self._limit_s:g} s in "
            f"{where}; pause, stop and abort take effect when it lets go: wait in plans with 'sleep' and "
            "'wait', and in devices with a status"
        )
        logger.error("%s", text)
        self._session.errors.append(BlockedStep(text))
        self._session.attention = True
        hook = self._engine.blocked_hook
        if hook is not None:
            try:
                hook(text)
            except Exception:
                logger.exception("blocked_hook failed")


def place_of(frame: FrameType | None) -> str:
    """
    Name what keeps a thread.

    Args:
        frame: The innermost frame of the thread, or None.

    Returns:
        The innermost place outside of the engine, or the innermost of all, in words.
    """
    found = frame
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith((OURS, "threading", "asyncio")):
            found = frame
            break
        frame = frame.f_back
    if found is None:
        return "a place that is not known"
    code = found.f_code
    return f"{code.co_name} ({code.co_filename}, line {found.f_lineno})"
