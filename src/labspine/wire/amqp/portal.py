"""One thread with an event loop for all blocking doors of a process; it is there while somebody needs it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...errors import NotConnected

__all__ = ["Portal", "portal"]

T = TypeVar("T")
_JOIN_S = 5.0


class Portal:
    """Run coroutines for threads; `enter` and `leave` say how many need it."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        """Start without a thread; so does a forked child."""
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def enter(self) -> asyncio.AbstractEventLoop:
        """Need the loop from now on; starts it if nobody needed it before."""
        with self._lock:
            self._users += 1
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._serve, args=(self._loop,), name="labspine-amqp", daemon=True
                )
                self._thread.start()
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def leave(self) -> None:
        """Need the loop no longer; the last one ends it."""
        with self._lock:
            self._users -= 1
            if self._users > 0 or self._loop is None:
                return
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    @staticmethod
    def run(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
        """
        Run a coroutine on the loop, and wait for its outcome; the coroutine keeps its own deadline.

        Raises:
            NotConnected: If the loop ended meanwhile.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError as error:
            coroutine.close()
            raise NotConnected("this connector is closed") from error
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise NotConnected("this connector was closed meanwhile") from error
        except BaseException:
            future.cancel()
            raise


portal = Portal()
os.register_at_fork(after_in_child=portal._begin)
