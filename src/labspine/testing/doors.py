"""One face for both doors, so that a test is written once and runs on the blocking and the asyncio one."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Blocking", "Loop", "connecting"]


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine on the loop and wait for its outcome, a minute at most."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def close(self) -> None:
        """
        End the loop.

        Raises:
            AssertionError: If tasks are left behind on it.
        """
        left = self.run(self._left())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
        assert not left, f"tasks left behind: {left}"

    async def _left(self) -> list[str]:
        for _ in range(200):
            tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            if not tasks:
                return []
            await asyncio.sleep(0.01)
        return [repr(task) for task in tasks]


class Blocking:
    """Call an asyncio connector (or pipeline) as if it were the blocking one."""

    def __init__(self, target: Any, loop: Loop) -> None:
        self._target = target
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            result = value(*map(self._bare, args), **{k: self._bare(v) for k, v in kwargs.items()})
            if inspect.isawaitable(result):
                return self._loop.run(result)
            return Blocking(result, self._loop) if hasattr(result, "execute") else result

        return call

    def __len__(self) -> int:
        return len(self._target)

    @staticmethod
    def _bare(value: Any) -> Any:
        return value._target if isinstance(value, Blocking) else value


@contextmanager
def connecting(door: str) -> Iterator[Callable[..., Any]]:
    """
    Give a function that makes connectors; all of them are closed at the end.

    Args:
        door: ``"sync"`` or ``"async"``; the latter's connectors are wrapped in `Blocking`.

    Yields:
        ``connect(url, **options)``.
    """
    from ..connector import AsyncConnector, connect_async
    from ..connector import connect as connect_blocking

    made: list[Any] = []
    loop = Loop() if door == "async" else None

    def connect(url: str, **options: Any) -> Any:
        if loop is None:
            connector: Any = connect_blocking(url, **options)
        else:

            async def build() -> AsyncConnector:
                return connect_async(url, **options)

            connector = Blocking(loop.run(build()), loop)
        made.append(connector)
        return connector

    try:
        yield connect
    finally:
        for connector in made:
            connector.close()
        if loop is not None:
            loop.close()
