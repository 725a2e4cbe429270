"""Ctrl-C while a plan runs: once pauses at the next checkpoint, twice at once, more is the way out."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..errors import TransitionError, kinds

if TYPE_CHECKING:
    from .facade import RunEngine

__all__ = ["SigintHandler", "get_handler", "set_handler"]

DEBOUNCE_S = 0.1
FORGET_S = 10.0
GRACE_S = 1.0
MOST_PRESSES = 10

# The functions of "signal" look for an enumeration member in each handler, which takes longer than the rest
# of a call; those of the module below it do not.
_plain = sys.modules.get("_signal", signal)
set_handler: Callable[[int, Any], Any] = _plain.signal
get_handler: Callable[[int], Any] = _plain.getsignal


class SigintHandler:
    """
    Handle SIGINT during one blocking call; does nothing outside the main thread.

    Args:
        engine: The engine that the call belongs to.
    """

    def __init__(self, engine: RunEngine) -> None:
        self._engine = engine
        self._presses = 0
        self._last_mono_s = 0.0
        self._pause_mono_s = 0.0
        self._is_out = False
        self._is_installed = False
        self._previous: Any = None

    def __enter__(self) -> SigintHandler:
        if threading.current_thread() is threading.main_thread():
            self._previous = get_handler(signal.SIGINT)
            set_handler(signal.SIGINT, self._pressed)
            self._is_installed = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_installed:
            self._is_installed = False
            set_handler(signal.SIGINT, self._previous if self._previous is not None else signal.SIG_DFL)

    def _pressed(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._is_out or (self._presses and now - self._last_mono_s < DEBOUNCE_S):
            return
        if now - self._last_mono_s > FORGET_S:
            self._presses = 0
        self._presses += 1
        self._last_mono_s = now
        if self._presses == 1:
            self._ask_pause(defer=True)
            _say("Ctrl-C: pausing at the next checkpoint. Press again to pause at once.")
        elif self._presses == 2 or (now - self._pause_mono_s < GRACE_S and self._presses <= MOST_PRESSES):
            if self._presses == 2:
                self._pause_mono_s = now
            self._ask_pause(defer=False)
            _say("Ctrl-C: pausing now. If nothing happens, press again after a second to get out.")
        else:
            self._is_out = True
            raise KeyboardInterrupt

    def _ask_pause(self, *, defer: bool) -> None:
        try:
            self._engine.request_pause(defer=defer)
        except kinds(TransitionError):
            pass  # the plan has just ended, or is being ended


def _say(text: str) -> None:
    try:
        sys.stderr.write(f"\n{text}\n")
        sys.stderr.flush()
    except (RuntimeError, OSError, ValueError):
        pass  # the signal came while this very stream was being written, or it is closed
