"""
SIGTERM, SIGHUP and the end of the program while a plan runs or is paused: devices stop and the run is closed.

The plan is aborted, as by hand; one that does not end soon is halted. Then the signal does what it would have
done without us, so that the program ends with the code that its parent expects.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import threading
import time
import weakref
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import TransitionError, kinds
from .sigint import get_handler, set_handler

if TYPE_CHECKING:
    from .facade import RunEngine

__all__ = ["TerminationHandler"]

logger = logging.getLogger("labspine.engine")

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
CLEAN_UP_S = 5.0
"""How long a plan may clean up by itself before it is halted."""
HALT_S = 15.0


class TerminationHandler:
    """
    Handle the signals that end a program, during a call and while a plan is paused.

    Does nothing outside the main thread, and nothing for a signal that the program ignores.

    Args:
        engine: The engine that the call belongs to.
    """

    def __init__(self, engine: RunEngine) -> None:
        self._engine = engine

    def __enter__(self) -> TerminationHandler:
        if threading.current_thread() is threading.main_thread():
            guard = _guards.get(self._engine)
            if guard is None:
                guard = _guards[self._engine] = _Guard(self._engine)
            guard.arm()
        return self

    def __exit__(self, *exc_info: object) -> None:
        guard = _guards.get(self._engine)
        if guard is not None and threading.current_thread() is threading.main_thread():
            guard.relax()


class _Guard:
    def __init__(self, engine: RunEngine) -> None:
        self._engine = weakref.ref(engine)
        self._previous: dict[int, Any] = {}
        self._wanted: int | None = None
        self._pid = os.getpid()

    def arm(self) -> None:
        for number in SIGNALS:
            previous = get_handler(number)
            # An ignored signal stays ignored (nohup), and one from outside of Python is not ours to replace.
            if number not in self._previous and previous not in (signal.SIG_IGN, None):
                self._previous[number] = previous
                set_handler(number, self._received)

    def relax(self) -> None:
        engine = self._engine()
        if engine is not None and engine.state.is_paused and self._wanted is None:
            return  # a paused plan is still to be closed when the program is ended
        self._disarm()
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            os.kill(os.getpid(), wanted)

    def _disarm(self) -> None:
        for number, previous in self._previous.items():
            set_handler(number, previous)
        self._previous.clear()

    def _received(self, number: int, frame: FrameType | None) -> None:
        engine = self._engine()
        # A child that was forked while a plan ran has neither the plan's thread nor its devices.
        if engine is None or engine._session is None or os.getpid() != self._pid:
            self._disarm()
            os.kill(os.getpid(), number)
            return
        is_first, self._wanted = self._wanted is None, number
        was_paused = engine.state.is_paused
        name = signal.Signals(number).name
        _end(engine, "aborting" if is_first else "halting", name)
        if was_paused:
            _await_end(engine, name)
            self.relax()
        elif is_first:
            timer = threading.Timer(CLEAN_UP_S, _halt_late, (engine, engine._session, name))
            timer.daemon = True
            timer.start()


def _end(engine: RunEngine, how: str, why: str) -> None:
    with contextlib.suppress(*kinds(TransitionError)):
        engine._request_ending(how, f"the program was told to end: {why}")


def _halt_late(engine: RunEngine, session: Any, why: str) -> None:
    if engine._session is session:
        logger.warning("the plan has not ended %g s after %s; it is halted", CLEAN_UP_S, why)
        _end(engine, "halting", why)


def _await_end(engine: RunEngine, why: str) -> None:
    session = engine._session
    if session is None:
        return
    deadline = time.monotonic() + CLEAN_UP_S
    while not session.is_over and time.monotonic() < deadline:
        session.rest.wait(0.05)
    if not session.is_over:
        _halt_late(engine, session, why)
        session.rest.wait(HALT_S)


_guards: weakref.WeakKeyDictionary[RunEngine, _Guard] = weakref.WeakKeyDictionary()


@atexit.register
def _program_ends() -> None:
    # A script that ends while its plan is paused: nobody is left to call abort.
    for engine in list(_guards):
        if engine._session is not None and _guards[engine]._pid == os.getpid():
            _end(engine, "aborting", "its script is over")
            _await_end(engine, "the end of the script")
