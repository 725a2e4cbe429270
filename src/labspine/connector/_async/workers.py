"""Run callbacks off the reader: one task for each subscription that has something to do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ...errors import DeadlinePassed
from ...flows import Numbering
from ...ids import new_sender
from ..subscriptions import Subscription

__all__ = ["MAY_BE_COROUTINE", "AsyncGate", "AsyncWorkers", "Senders", "call", "new_lock", "pause"]

MAY_BE_COROUTINE = True


class AsyncWorkers:
    """Own the tasks that run callbacks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._polled: asyncio.Queue[Subscription | None] = asyncio.Queue()

    def wake(self, subscription: Subscription) -> None:
        """Give a subscription a worker, which leaves when nothing is left to do; or keep it for who polls."""
        if subscription.is_polled:
            self._polled.put_nowait(subscription)
        else:
            self.submit(subscription.run)

    async def poll(self, timeout_s: float | None) -> bool:
        """Work here on the subscriptions that wait to be polled; as the blocking door's."""
        deadline_s = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        called = False
        while not self._is_closed and not (called and self._polled.empty()):
            try:
                async with asyncio.timeout_at(deadline_s):
                    found = await self._polled.get()
            except TimeoutError:
                raise DeadlinePassed(f"no message came within {timeout_s} s") from None
            if found is not None:
                called = await self._polled_run(found) or called
        if self._is_closed:
            self._polled.put_nowait(None)  # for others who poll
        return called

    async def _polled_run(self, subscription: Subscription) -> bool:
        try:
            return bool(await subscription.run())
        except asyncio.CancelledError:
            self._polled.put_nowait(subscription)  # who polls next goes on with it
            raise

    def submit(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a job in a task of its own."""
        if self._is_closed:
            return
        task = asyncio.get_running_loop().create_task(job())
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended; the caller's own is left alone."""
        self._is_closed = True
        self._polled.put_nowait(None)
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=5.0)


class AsyncGate(asyncio.Lock):
    """Let one task at a time read a history, so that others can share what it read."""


class Senders:
    """Give the numbers of this connector's events; the tasks of one loop share one sender."""

    def __init__(self) -> None:
        self._numbering = Numbering(new_sender)

    def current(self) -> Numbering:
        """Return the numbers of the caller."""
        return self._numbering


async def call(callback: Callable[..., Any], message: object, kwargs: dict[str, Any]) -> None:
    """
    Call a callback, and await what it returns if that can be awaited.

    Raises:
        Exception: Whatever it raises; ``SystemExit`` and ``KeyboardInterrupt`` come out as `RuntimeError`, so
            that they do not end the loop.
    """
    try:
        outcome = callback(message, **kwargs)
        if outcome is not None and inspect.isawaitable(outcome):
            await outcome
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as stop:
        raise RuntimeError(f"the callback raised {type(stop).__name__}") from stop


async def pause(pause_s: float) -> None:
    """Let some time pass."""
    await asyncio.sleep(pause_s)


def new_lock() -> AbstractContextManager[Any]:
    """Make what guards a subscription: nothing, on one loop."""
    return nullcontext()
