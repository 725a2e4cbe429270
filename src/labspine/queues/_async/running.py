"""What differs between an event loop and threads."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..handlers import Handler, call_async, call_plain
from ..items import Item

__all__ = ["INTERRUPTIONS", "Closing", "Crew", "stop_signals"]

INTERRUPTIONS = (asyncio.CancelledError,)
"""What ends a handler from outside."""


class Closing:
    """Something ends: others wait for that, or for a time."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def is_set(self) -> bool:
        """Tell whether it ends."""
        return self._event.is_set()

    def set(self) -> None:
        """Say that it ends."""
        self._event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until it ends, or for a time in seconds; tells whether it ends."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class Crew:
    """
    The tasks of a worker, and the threads in which plain handlers run.

    Args:
        size: How many handlers run at the same time.
    """

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="labspine-handler")
        self._hands: list[asyncio.Task[None]] = []
        self._attendants: list[asyncio.Task[None]] = []

    def begin(self, work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
        """Begin to work in a task of its own."""
        self._hands.append(asyncio.get_running_loop().create_task(work(*arguments)))

    def attend(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something beside the work."""
        self._attendants.append(asyncio.get_running_loop().create_task(work()))

    async def call(self, handler: Handler, item: Item) -> None:
        """
        Call a handler: on the loop if it is ``async``, else in a thread.

        Raises:
            DeadlinePassed: If an ``async`` handler runs longer than its time limit.
            BaseException: What the handler raises.
        """
        if handler.is_async:
            await call_async(handler, item)
        else:
            await asyncio.get_running_loop().run_in_executor(self._pool, call_plain, handler, item)

    async def end(self, timeout_s: float, ended: Closing) -> bool:
        """Wait for the work, cancel what goes on after that, end the rest; tells whether all was done."""
        late: set[asyncio.Task[None]] = set()
        if self._hands:
            _, late = await asyncio.wait(self._hands, timeout=timeout_s)
        for task in late:
            task.cancel()
        ended.set()
        rest = [*late, *self._attendants]
        if rest:
            await asyncio.wait(rest, timeout=5.0)
        self._pool.shutdown(wait=not late, cancel_futures=True)
        return not late


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call a function at the first SIGTERM or SIGINT, in the main thread; the second acts as usual."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    chosen = (signal.SIGTERM, signal.SIGINT)

    def heard() -> None:
        for number in chosen:
            loop.remove_signal_handler(number)
        stop()

    for number in chosen:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in chosen:
            loop.remove_signal_handler(number)
