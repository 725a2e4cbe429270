"""Both doors behind one face: the same tests run on the blocking and on the asyncio connector."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine.connector import AsyncConnector, RedisConnector

Connect = Callable[..., Any]


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def close(self) -> None:
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
            result = value(*args, **kwargs)
            if inspect.isawaitable(result):
                return self._loop.run(result)
            return Blocking(result, self._loop) if hasattr(result, "execute") else result

        return call


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(door: str) -> Iterator[Connect]:
    """Give a function that makes connectors of the door under test; all are closed at the end."""
    made: list[Any] = []
    loop = Loop() if door == "async" else None

    def make(url: str, **options: Any) -> Any:
        if loop is None:
            connector: Any = RedisConnector(url, **options)
        else:

            async def build() -> AsyncConnector:
                return AsyncConnector(url, **options)

            connector = Blocking(loop.run(build()), loop)
        made.append(connector)
        return connector

    yield make
    for connector in made:
        connector.close()
    if loop is not None:
        loop.close()
