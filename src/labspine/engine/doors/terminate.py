"""
SIGTERM, SIGHUP and the end of the program while a plan runs or is paused: devices stop and the run is closed.

The plan is aborted, as by hand; one that does not end soon is halted; one that keeps the engine's thread is
left behind. Then the signal does what it would have done without us, so that the program ends with the code
that its parent expects.
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
from .rescue import abandon, see_it_end
from .sigint import get_handler, set_handler

if TYPE_CHECKING:
    from .facade import RunEngine

__all__ = ["TerminationHandler"]

logger = logging.getLogger("labspine.engine")

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
LOOK_S = 0.05
LEAVE_S = 2.0
"""How long the caller's thread may take to leave a call that was left behind."""


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
            session = None if engine is None else engine._session
            if engine is not None and session is not None:
                abandon(session, limit_s=engine.exit_limit_s)  # its thread hangs in a stop()
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
            see_it_end(engine, name)
            self.relax()
        elif is_first:
            threading.Thread(target=self._see_us_leave, args=(engine, name), daemon=True).start()

    def _see_us_leave(self, engine: RunEngine, name: str) -> None:
        if not see_it_end(engine, name):
            return
        # The caller's thread was told to go; should something else keep it, nothing is left to be done here.
        deadline = time.monotonic() + LEAVE_S
        while (number := self._wanted) is not None and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        if number is not None:
            logger.error("the main thread does not come back either; the program ends at once")
            os._exit(128 + number)


def _end(engine: RunEngine, how: str, why: str) -> None:
    with contextlib.suppress(*kinds(TransitionError)):
        engine._request_ending(how, f"the program was told to end: {why}")


_guards: weakref.WeakKeyDictionary[RunEngine, _Guard] = weakref.WeakKeyDictionary()


@atexit.register
def _program_ends() -> None:
    # A script that ends while its plan is paused: nobody is left to call abort.
    for engine in list(_guards):
        if engine._session is not None and _guards[engine]._pid == os.getpid():
            _end(engine, "aborting", "its script is over")
            see_it_end(engine, "its script is over")
