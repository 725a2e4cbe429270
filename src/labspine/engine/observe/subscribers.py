"""
What may become of a run when a subscriber raises, blocks or is slow: a policy for each of them.

- Without a policy a subscriber is bluesky's: called on the thread of the loop; what it raises ends the plan.
- ``critical=False``: what it raises is counted and logged; the run goes on.
- ``critical=True``: what it raises ends the run, whatever ``ignore_callback_exceptions`` says.
- ``background=True``: it is called in a thread of its own and may take its time. Documents wait in a queue of
  limited length; where that is full, events are left out and counted; with ``critical=True`` the run ends.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import shown
from ..errors import SubscriberOverrun

__all__ = ["Background", "Guarded", "SubscriberReport"]

logger = logging.getLogger("labspine.engine.subscribers")

Subscriber = Callable[[str, dict[str, Any]], object]
OnError = Callable[[Exception], None]

DROPPABLE = frozenset({"event", "event_page", "datum", "datum_page", "bulk_events", "bulk_datum"})
"""What may be left out when a queue is full; a run can be understood without one of them."""
EXIT_S = 5.0


@dataclass(frozen=True)
class SubscriberReport:
    """
    How a subscriber with a policy is doing.

    Args:
        token: What ``subscribe`` returned.
        subscriber: Who it is, in words.
        delivered: Documents that it took.
        failed: Documents on which it raised.
        dropped: Documents that it never got, because it was too slow.
        waiting: Documents in its queue.
        slowest_s: Longest time that it took for one document.
        last_error: What it raised last, in words.
    """

    token: int
    subscriber: str
    delivered: int
    failed: int
    dropped: int
    waiting: int
    slowest_s: float
    last_error: str


class Guarded:
    """
    Call a subscriber where the engine is, and keep what it raises from the plan.

    Args:
        func: The subscriber.
        on_error: Called with what it raised when that must end the run; None when it must not.
    """

    def __init__(self, func: Subscriber, on_error: OnError | None) -> None:
        self.func = func
        self.words = shown(func)
        self.delivered = self.failed = self.dropped = 0
        self.slowest_s = 0.0
        self.last_error = ""
        self._on_error = on_error

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document."""
        self.call(name, doc)

    def call(self, name: str, doc: dict[str, Any]) -> None:
        """
        Have the subscriber take a document; nothing that it raises comes out.

        Args:
            name: Name of the document.
            doc: The document.
        """
        began = time.perf_counter()
        try:
            self.func(name, doc)
            self.delivered += 1
        except Exception as error:
            self.failed += 1
            self.last_error = shown(repr(error), 200)
            if self._on_error is not None:
                error.add_note(f"raised by the subscriber {self.words} on a {name} document")
                self._on_error(error)
            else:
                # The whole trace once; a subscriber that fails for each event must not fill the log.
                logger.log(
                    logging.ERROR,
                    "%s raised %s on a %s document; the run goes on",
                    self.words,
                    self.last_error,
                    name,
                    exc_info=error if self.failed == 1 else None,
                )
        finally:
            self.slowest_s = max(self.slowest_s, time.perf_counter() - began)

    @property
    def waiting(self) -> int:
        """Documents in its queue: it has none."""
        return 0

    def report(self, token: int) -> SubscriberReport:
        """
        Tell how it is doing.

        Args:
            token: Its token.

        Returns:
            The numbers.
        """
        return SubscriberReport(
            token=token,
            subscriber=self.words,
            delivered=self.delivered,
            failed=self.failed,
            dropped=self.dropped,
            waiting=self.waiting,
            slowest_s=self.slowest_s,
            last_error=self.last_error,
        )

    def drain(self, timeout_s: float) -> bool:
        """
        Wait until it has taken everything.

        Args:
            timeout_s: Longest time.

        Returns:
            True: it takes each document at once.
        """
        return True

    def end(self) -> None:
        """Forget it; it was unsubscribed."""


class Background(Guarded):
    """
    Call a subscriber in a thread of its own.

    Args:
        func: The subscriber.
        on_error: Called with what it raised when that must end the run; None when it must not.
        limit: Most documents in its queue.
    """

    def __init__(self, func: Subscriber, on_error: OnError | None, *, limit: int) -> None:
        super().__init__(func, on_error)
        self._limit = limit
        self._queue: deque[tuple[str, dict[str, Any]]] = deque()
        self._change = threading.Condition()
        self._is_busy = self._is_over = False
        self._thread: threading.Thread | None = None
        _backgrounds.add(self)

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Put a document into the queue; this never waits."""
        with self._change:
            is_full = len(self._queue) >= self._limit
            if is_full and name in DROPPABLE:
                self.dropped += 1
            else:
                self._queue.append((name, doc))
                self._change.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="labspine-subscriber", daemon=True)
                self._thread.start()
        if is_full and name in DROPPABLE:
            self._tell_overrun()

    def _tell_overrun(self) -> None:
        if self._on_error is not None and self.dropped == 1:
            self._on_error(
                SubscriberOverrun(
                    f"{self.words} is critical and {self._limit} documents behind: make it faster, give it "
                    "a larger limit, or let it miss events (critical=False)"
                )
            )
        elif self.dropped == 1:
            logger.warning(
                "%s is %d documents behind: events are left out for it until it has caught up",
                self.words,
                self._limit,
            )

    def _work(self) -> None:
        while True:
            with self._change:
                self._is_busy = False
                self._change.notify_all()
                while not self._queue:
                    if self._is_over:
                        return
                    self._change.wait()
                name, doc = self._queue.popleft()
                self._is_busy = True
            self.call(name, doc)
            if name == "stop" and self.dropped:
                logger.warning("%s has missed %d documents so far", self.words, self.dropped)

    @property
    def waiting(self) -> int:
        """Documents in its queue."""
        return len(self._queue)

    def drain(self, timeout_s: float) -> bool:
        """
        Wait until the queue is empty and the last document is dealt with.

        Args:
            timeout_s: Longest time.

        Returns:
            False when the time was over first, or when the subscriber itself asks.
        """
        if threading.current_thread() is self._thread:
            return False
        with self._change:
            return self._change.wait_for(lambda: not (self._queue or self._is_busy), timeout_s)

    def end(self) -> None:
        """Let the thread end when the queue is empty."""
        with self._change:
            self._is_over = True
            self._change.notify_all()


_backgrounds: weakref.WeakSet[Background] = weakref.WeakSet()


@atexit.register
def _finish() -> None:
    # Their threads are daemons: what a file writer has not written yet would be lost with the program.
    deadline = time.monotonic() + EXIT_S
    for background in list(_backgrounds):
        background.drain(max(0.0, deadline - time.monotonic()))
