"""
Whose turn it is to read.

The reader's thread runs quick callbacks itself. A second thread looks at it every few milliseconds while
there is traffic (and sleeps while there is none); when a callback takes long, another thread goes on reading,
and the one that is stuck leaves as soon as its callback returns. So a callback that blocks delays nobody
else for longer than about `STUCK_S`, and one that does not block costs no hand-over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...clock import mono_s
from ..subscriptions import Subscription

__all__ = ["STUCK_S", "Turn"]

STUCK_S = 0.02
_SLOW_CALL_S = 0.001
_SLOW_FOR_S = 10.0
_LOOK_EVERY_S = 0.01
_LOOKS_BEFORE_SLEEP = 100


class Turn:
    """
    Let one thread read at a time.

    Args:
        go_on: Begins a thread that reads, with the number of its turn.
        stop: Set when reading ends for good.
    """

    def __init__(self, go_on: Callable[[int], None], stop: threading.Event) -> None:
        self.number = 0
        self._go_on = go_on
        self._stop = stop
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._busy_since_mono_s = 0.0
        self._running: Subscription | None = None
        self._calls_before = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="labspine-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the watching thread end."""
        self._awake.set()

    def begin(self, now_mono_s: float, subscription: Subscription) -> None:
        """Note that the reading thread begins to run callbacks of a subscription."""
        with self._lock:
            self._running = subscription
            self._calls_before = subscription.calls
            self._busy_since_mono_s = now_mono_s
        if not self._awake.is_set():
            self._awake.set()

    def end(self, number: int, now_mono_s: float) -> bool:
        """
        Note that the callbacks have returned.

        Args:
            number: The turn of the calling thread.
            now_mono_s: The time.

        Returns:
            Whether it is still this thread's turn; if not it must leave at once.
        """
        with self._lock:
            if number != self.number:
                return False
            if self._running is not None and self._is_slow(self._running, now_mono_s):
                self._running.is_slow_until_mono_s = now_mono_s + _SLOW_FOR_S
            self._running = None
            self._busy_since_mono_s = 0.0
            return True

    def _is_slow(self, subscription: Subscription, now_mono_s: float) -> bool:
        """Tell whether each call since `begin` took long; many quick ones are no reason to hand over."""
        busy_s = now_mono_s - self._busy_since_mono_s
        return busy_s > _SLOW_CALL_S * max(2, subscription.calls - self._calls_before)

    def _watch(self) -> None:
        quiet_looks = 0
        while not self._stop.is_set():
            if self._busy_since_mono_s:
                quiet_looks = 0
                self._hand_over_if_stuck()
            else:
                quiet_looks += 1
            if quiet_looks > _LOOKS_BEFORE_SLEEP:
                self._awake.clear()
                if not self._busy_since_mono_s and not self._stop.is_set():
                    self._awake.wait()
                quiet_looks = 0
            self._stop.wait(_LOOK_EVERY_S)

    def _hand_over_if_stuck(self) -> None:
        now_mono_s = mono_s()
        with self._lock:
            since_mono_s = self._busy_since_mono_s
            running = self._running
            if not since_mono_s or running is None or now_mono_s - since_mono_s < STUCK_S:
                return
            if not self._is_slow(running, now_mono_s):
                return
            running.is_slow_until_mono_s = now_mono_s + _SLOW_FOR_S
            self._running = None
            self._busy_since_mono_s = 0.0
            self.number += 1
            number = self.number
        if not self._stop.is_set():
            self._go_on(number)
