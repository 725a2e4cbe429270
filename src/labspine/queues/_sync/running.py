"""What differs between an event loop and threads."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ...clock import mono_s
from ..handlers import Handler, call_async, call_plain
from ..items import Item

__all__ = ["INTERRUPTIONS", "Closing", "Crew", "stop_signals"]

INTERRUPTIONS: tuple[type[BaseException], ...] = ()
"""What ends a handler from outside: nothing ends a thread."""


class Closing:
    """Something ends: others wait for that, or for a time."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def is_set(self) -> bool:
        """Tell whether it ends."""
        return self._event.is_set()

    def set(self) -> None:
        """Say that it ends."""
        self._event.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it ends, or for a time in seconds; tells whether it ends."""
        return self._event.wait(timeout_s)


class Crew:
    """
    The threads of a worker; each that calls ``async`` handlers has an event loop of its own.

    Args:
        size: How many handlers run at the same time.
    """

    def __init__(self, size: int) -> None:
        self._hands: list[threading.Thread] = []
        self._attendants: list[threading.Thread] = []
        self._own = threading.local()
        self._size = size

    def begin(self, work: Callable[..., None], *arguments: object) -> None:
        """Begin to work in a thread of its own."""
        self._hands.append(self._started(self._with_loop, work, *arguments))

    def attend(self, work: Callable[[], None]) -> None:
        """Do something beside the work."""
        self._attendants.append(self._started(work))

    @staticmethod
    def _started(work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name="labspine-worker", daemon=True)
        thread.start()
        return thread

    def _with_loop(self, work: Callable[..., None], *arguments: object) -> None:
        with asyncio.Runner() as runner:
            self._own.runner = runner
            work(*arguments)

    def call(self, handler: Handler, item: Item) -> None:
        """
        Call a handler here; an ``async`` one on the loop of this thread.

        Raises:
            DeadlinePassed: If an ``async`` handler runs longer than its time limit.
            BaseException: What the handler raises.
        """
        if handler.is_async:
            runner: asyncio.Runner = self._own.runner
            runner.run(call_async(handler, item))
        else:
            call_plain(handler, item)

    def end(self, timeout_s: float, ended: Closing) -> bool:
        """Wait for the work, end the rest; tells whether all was done."""
        deadline_mono_s = mono_s() + timeout_s
        for thread in self._hands:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_mono_s - mono_s()))
        ended.set()
        for thread in self._attendants:
            thread.join(5.0)
        return not any(thread.is_alive() for thread in self._hands)


@contextlib.contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call a function at the first SIGTERM or SIGINT, in the main thread; the second acts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[int, Any] = {}

    def heard(number: int, frame: object) -> None:
        for one, handler in before.items():
            signal.signal(one, handler)
        stop()

    for chosen in (signal.SIGTERM, signal.SIGINT):
        before[chosen] = signal.signal(chosen, heard)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
