"""
Run callbacks off the reader: a few threads, made when they are needed.

A subscription is worked on by one thread at a time, so its messages stay in order. When all threads are
busy in callbacks, the next subscription gets a new one: a callback that blocks delays nobody else.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from ...errors import DeadlinePassed
from ...flows import Numbering
from ...ids import new_sender
from ..subscriptions import Subscription

__all__ = ["MAY_BE_COROUTINE", "Gate", "Senders", "Workers", "call", "new_lock", "pause"]

_MOST_THREADS = 256
_IDLE_S = 10.0
_LONGEST_S = 1e9

MAY_BE_COROUTINE = False


class Workers:
    """Own the threads that run callbacks."""

    def __init__(self) -> None:
        self._is_closed = False
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._polled: queue.SimpleQueue[Subscription | None] = queue.SimpleQueue()
        self._idle = 0
        self._threads: set[threading.Thread] = set()

    def wake(self, subscription: Subscription) -> None:
        """Give a subscription a worker, which leaves when nothing is left to do; or keep it for who polls."""
        if subscription.is_polled:
            self._polled.put(subscription)
        else:
            self.submit(subscription.run)

    def poll(self, timeout_s: float | None) -> bool:
        """
        Work here on the subscriptions that wait to be polled.

        Args:
            timeout_s: Longest wait for the first one in seconds; None waits without limit.

        Returns:
            False if the connector is closed.

        Raises:
            DeadlinePassed: If nothing came in time.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + min(timeout_s, _LONGEST_S)
        called = False
        while not self._is_closed:
            try:
                left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
                found = self._polled.get_nowait() if called else self._polled.get(timeout=left_s)
            except queue.Empty:
                if called:
                    return True
                raise DeadlinePassed(f"no message came within {timeout_s} s") from None
            if found is not None:
                called = bool(found.run()) or called
        self._polled.put(None)  # for others who poll
        return called

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job in an idle thread, or in a new one if all are busy."""
        with self._lock:
            if self._is_closed:
                return
            self._jobs.put(job)
            if self._idle > 0:
                self._idle -= 1
                return
            if len(self._threads) >= _MOST_THREADS:
                return
            thread = threading.Thread(target=self._work, name="labspine-callbacks", daemon=True)
            self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_S)
            except queue.Empty:
                if self._may_leave():
                    return
                continue
            if job is None:
                break
            job()
            with self._lock:
                self._idle += 1
        self._threads.discard(threading.current_thread())

    def _may_leave(self) -> bool:
        with self._lock:
            if self._idle == 0:  # a job was put for this thread just now
                return False
            self._idle -= 1
            self._threads.discard(threading.current_thread())
            return True

    def close(self) -> None:
        """Let all threads end after their present callback; waits a little for them, never for itself."""
        with self._lock:
            self._is_closed = True
            threads = list(self._threads)
        self._polled.put(None)
        for _ in threads:
            self._jobs.put(None)
        deadline_s = time.monotonic() + 1.0
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))


class Gate:
    """Let one thread at a time read a history, so that others can share what it read; open after a fork."""

    def __init__(self) -> None:
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Senders:
    """Give the numbers of this connector's events; each thread is a sender, so that numbers keep order."""

    def __init__(self) -> None:
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._local = threading.local()

    def current(self) -> Numbering:
        """Return the numbers of the calling thread."""
        try:
            numbering: Numbering = self._local.numbering
        except AttributeError:
            numbering = self._local.numbering = Numbering(new_sender)
        return numbering


def call(callback: Callable[..., Any], message: object, kwargs: dict[str, Any]) -> None:
    """
    Call a callback.

    Raises:
        Exception: Whatever it raises; ``SystemExit`` and ``KeyboardInterrupt`` come out as `RuntimeError`, so
            that they do not end the thread.
    """
    try:
        callback(message, **kwargs)
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as stop:
        raise RuntimeError(f"the callback raised {type(stop).__name__}") from stop


def pause(pause_s: float) -> None:
    """Let some time pass."""
    time.sleep(pause_s)


def new_lock() -> AbstractContextManager[Any]:
    """Make what guards a subscription against the reader's thread."""
    return threading.Lock()


_alive: weakref.WeakSet[Gate | Workers | Senders] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for thing in list(_alive):
        thing._begin()


os.register_at_fork(after_in_child=_renew_after_fork)
