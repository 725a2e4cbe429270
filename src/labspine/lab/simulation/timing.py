"""Simulated time: one thread for all waiting devices, and the status that tells when something is done."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from labspine.clock import mono_s
from labspine.errors import DeadlinePassed, InvalidArgument

__all__ = ["SimStatus", "Timeline", "Timer"]

_IDLE_S = 0.25
"""The thread of a timeline ends after this many seconds without work, so nothing is left behind."""


class SimStatus:
    """
    Tell when a movement or an exposure has ended, by bluesky's ``Status`` protocol.

    Callbacks are called once, on the thread that ends the status, or at once when it has ended already.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[SimStatus], None]] = []

    @property
    def done(self) -> bool:
        """Say whether it has ended, well or badly."""
        return self._ended.is_set()

    @property
    def success(self) -> bool:
        """Say whether it has ended well."""
        return self._ended.is_set() and self._error is None

    def add_callback(self, callback: Callable[[SimStatus], None]) -> None:
        """
        Call a function with this status once it has ended.

        Args:
            callback: Called with this status; at once when it has already ended.
        """
        with self._lock:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """
        Return why it failed.

        Args:
            timeout: Seconds to wait for the end; None waits without limit.

        Returns:
            The error, or None when it ended well.

        Raises:
            DeadlinePassed: If it has not ended in time.
        """
        if not self._ended.wait(timeout):
            raise DeadlinePassed(f"not ended within {timeout} s")
        return self._error

    def wait(self, timeout_s: float | None = None) -> None:
        """
        Wait for the end.

        Args:
            timeout_s: Seconds to wait; None waits without limit.

        Raises:
            DeadlinePassed: If it has not ended in time.
            Exception: The error with which it failed.
        """
        error = self.exception(timeout_s)
        if error is not None:
            raise error

    def finish(self, error: BaseException | None = None) -> None:
        """
        End it; a second end is ignored.

        Args:
            error: Why it failed, or None when all went well.
        """
        with self._lock:
            if self._ended.is_set():
                return
            self._error = error
            self._ended.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


class Timer:
    """A planned action; ``cancel()`` makes sure that it is not started any more."""

    __slots__ = ("_changed", "action", "cancelled")

    def __init__(self, action: Callable[[], None], changed: threading.Condition) -> None:
        self.action = action
        self.cancelled = False
        self._changed = changed

    def cancel(self) -> None:
        """Forget the action."""
        with self._changed:
            self.cancelled = True
            self._changed.notify()


class Timeline:
    """
    Run simulated time ``speed`` times as fast as real time.

    All waiting devices of a beamline share the one thread of its timeline. The thread exists only while
    something waits.

    Args:
        speed: Simulated seconds per real second, above 0.

    Raises:
        InvalidArgument: If the speed is not above 0.
    """

    def __init__(self, speed: float = 1.0) -> None:
        if not 0 < speed < float("inf"):
            raise InvalidArgument(f"speed is {speed!r}; it must be a finite number above 0")
        self.speed = float(speed)
        self._origin_mono_s = mono_s()
        self._changed = threading.Condition()
        self._planned: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def now_s(self) -> float:
        """Return the simulated seconds since the start of this timeline."""
        return (mono_s() - self._origin_mono_s) * self.speed

    def call_later(self, delay_s: float, action: Callable[[], None]) -> Timer:
        """
        Plan an action.

        Args:
            delay_s: Simulated seconds from now; 0 or less means as soon as possible.
            action: Called on the thread of the timeline; it must be short and must not raise.

        Returns:
            The handle with which the action can be cancelled.
        """
        timer = Timer(action, self._changed)
        due_mono_s = mono_s() + max(0.0, delay_s) / self.speed
        with self._changed:
            heapq.heappush(self._planned, (due_mono_s, next(self._order), timer))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="sim-timeline", daemon=True)
                self._thread.start()
            else:
                self._changed.notify()
        return timer

    def _work(self) -> None:
        while True:
            timer = self._next_timer()
            if timer is None:
                return
            if not timer.cancelled:
                timer.action()

    def _next_timer(self) -> Timer | None:
        idle_until_mono_s = mono_s() + _IDLE_S
        with self._changed:
            while True:
                now = mono_s()
                while self._planned and self._planned[0][2].cancelled:
                    heapq.heappop(self._planned)
                if self._planned and self._planned[0][0] <= now:
                    return heapq.heappop(self._planned)[2]
                if not self._planned and now >= idle_until_mono_s:
                    self._thread = None
                    return None
                until = self._planned[0][0] if self._planned else idle_until_mono_s
                self._changed.wait(until - now)
                if self._planned:
                    idle_until_mono_s = mono_s() + _IDLE_S
