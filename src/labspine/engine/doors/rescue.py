"""
What can be done while a device or plan keeps the engine's thread: from another thread, and not for ever.

Nobody can interrupt a blocking call in Python. The other devices can be stopped all the same, the runs can be
closed, and a program that was told to end can end.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..errors import TransitionError, kinds
from ..interrupt import CLEAN_UP_S, note
from ..journal import JournalError
from ..session import Session
from .watchdog import place_of

if TYPE_CHECKING:
    from ..base import EngineBase

__all__ = ["abandon", "rescue", "see_it_end"]

logger = logging.getLogger("labspine.engine")

RESCUE_S = 0.5
"""How much longer than its limit a device may take before it counts as hanging."""
LOOK_S = 0.05
_abandoning = threading.RLock()


class _Pulse:
    """Tells how long the thread of a session has not answered."""

    def __init__(self, session: Session) -> None:
        self._loop = session.loop
        self._asked_mono_s = 0.0
        self._answered = threading.Event()
        self._answered.set()

    def silence_s(self) -> float:
        if self._answered.is_set():
            self._asked_mono_s, self._answered = time.monotonic(), threading.Event()
            try:
                self._loop.call_soon_threadsafe(self._answered.set)
            except RuntimeError:
                return float("inf")  # the loop is closed
        return time.monotonic() - self._asked_mono_s


def see_it_end(engine: EngineBase, why: str) -> bool:
    """
    Wait for a plan that was told to end; halt it when it is late, leave it when it keeps the engine's thread.

    Args:
        engine: The engine; ``exit_limit_s`` is its limit for the plan, then for each device.
        why: Why the plan must end.

    Returns:
        True when it was left.
    """
    session = engine._session
    if session is None:
        return False
    limit_s = engine.exit_limit_s
    pulse, halt_at = _Pulse(session), time.monotonic() + limit_s
    # As long as the thread answers, each device has its own limit; this is for what swallows even those.
    leave_at = halt_at + limit_s * (3 + len(session.moved) + len(session.staged))
    while not session.is_over:
        is_silent = pulse.silence_s() > limit_s + RESCUE_S
        if session.is_abandoned or is_silent or time.monotonic() > leave_at:
            abandon(session, limit_s=limit_s)
            return not session.is_over
        if time.monotonic() > halt_at:
            halt_at = float("inf")
            logger.warning("%s: the plan has not ended within %g s; it is halted", why, limit_s)
            with contextlib.suppress(*kinds(TransitionError)):
                engine._request_ending("halting")
        session.rest.wait(LOOK_S)
    return False


def rescue(session: Session) -> str | None:
    """
    Stop the other devices from the caller's thread when the ``stop()`` of one keeps the engine's thread.

    Args:
        session: The call.

    Returns:
        What hangs and what was done, in words; None as long as nothing hangs.
    """
    hanging = session.in_stop
    if hanging is None or time.monotonic() - hanging[0] < CLEAN_UP_S + RESCUE_S:
        return None
    stopped = _stop_elsewhere(session, _left_to_stop(session), CLEAN_UP_S)
    return (
        f"{_name(hanging[1])}.stop() does not return and keeps the engine's thread; stopped from elsewhere: "
        f"{', '.join(stopped) or 'nothing'}. The run is closed when it returns; else make a new engine"
    )


def abandon(session: Session, *, limit_s: float) -> str:
    """
    Leave a call whose thread does not come back, because the program must end; a second call changes nothing.

    Devices that still move are stopped and the runs are closed, from other threads. The journal is left as
    that of a dead process, so the next start unstages what is still staged, and does not go on with the plan.

    Args:
        session: The call.
        limit_s: Seconds for the devices, and again for the documents.

    Returns:
        What keeps the thread and what was done, in words.
    """
    with _abandoning:
        if session.is_over or session.is_abandoned:
            return ""
        session.is_abandoned = True
        where = place_of(sys._current_frames().get(session.thread_id))
        is_stopping = hasattr(session, "statuses") and session.statuses.is_pardoning
        moving = _left_to_stop(session) if is_stopping else list(session.moved.values())
        stopped = _stop_elsewhere(session, moving, limit_s)
        words = (
            f"{where} keeps the engine's thread, and the program must end; stopped from elsewhere: "
            f"{', '.join(stopped) or 'nothing'}"
        )
        staged = ", ".join(_name(device) for device in session.staged.values())
        if staged:
            words += f"; perhaps still staged: {staged}"
        if not _within(limit_s, lambda: _close_elsewhere(session, words)):
            words += "; the run could not be closed"
        logger.error("%s", words)
        session.engine.change_state("panicked")
        session.rest.set()
        return words


def _left_to_stop(session: Session) -> list[Any]:
    left = []
    while session.to_stop:
        left.append(session.to_stop.popleft())
    return left


def _stop_elsewhere(session: Session, devices: Iterable[Any], limit_s: float) -> list[str]:
    """Stop each in a thread of its own, all at once; give the names of those that have stopped."""
    stopped: list[str] = []

    def stop(device: Any) -> None:
        try:
            answer = device.stop(success=False)
        except Exception as error:
            note(session, f"{_name(device)}.stop() failed: {error!r}")
            return
        if inspect.iscoroutine(answer):
            answer.close()
            note(session, f"{_name(device)}.stop() needs the engine's thread, which is not free")
        else:
            stopped.append(_name(device))

    threads = [_begun(stop, device) for device in devices if hasattr(device, "stop")]
    deadline = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return stopped


def _close_elsewhere(session: Session, words: str) -> None:
    mine = threading.get_ident()
    earlier = session.is_told

    def is_told(name: str, doc: dict[str, Any]) -> bool:
        # Should the thread come back after all, nobody may hear of a second end.
        return threading.get_ident() != mine or (earlier is not None and earlier(name, doc))

    session.is_told = is_told
    reason = f"{session.reason}; {words}" if session.reason else words
    if session.journal is not None and session.journal.path is not None:
        with contextlib.suppress(JournalError):
            session.journal.note("abandoned", reason=reason)
    for run in session.open_runs():
        if run.is_open:
            run.close("abort", reason)


def _within(limit_s: float, act: Callable[[], None]) -> bool:
    done: list[bool] = []

    def work() -> None:
        try:
            act()
            done.append(True)
        except Exception:
            logger.exception("a run could not be closed")

    thread = _begun(work)
    thread.join(limit_s)
    return bool(done)


def _begun(work: Callable[..., None], *args: Any) -> threading.Thread:
    # A daemon: code of a device that never comes back must not keep this process.
    thread = threading.Thread(target=work, args=args, name="labspine-rescue", daemon=True)
    thread.start()
    return thread


def _name(device: Any) -> str:
    return str(getattr(device, "name", None) or device)
