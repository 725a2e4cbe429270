"""Queues of both doors on each broker; another broker is one more parameter and one more line of `bus`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine.ids import new_sender
from labspine.queues import AsyncQueue, AsyncWorker, Queue, Worker
from labspine.testing.doors import Blocking

OpenQueue = Callable[..., Any]


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bus(broker: str, connect: Any, request: pytest.FixtureRequest) -> Any:
    """Give a connector of the door and broker under test."""
    return connect(request.getfixturevalue({"redis": "broker_url", "rabbitmq": "rabbitmq_url"}[broker]))


@pytest.fixture
def name() -> str:
    """Give the name of a queue that nobody else uses."""
    return f"work-{new_sender()}"


def at_door(bus: Any, kinds: tuple[type, type], *args: Any, **options: Any) -> Any:
    """Make an object of the blocking or of the asyncio door; the latter behind a blocking face."""
    if not isinstance(bus, Blocking):
        return kinds[0](bus, *args, **options)

    async def build() -> Any:
        return kinds[1](bus._target, *args, **options)

    return Blocking(bus._loop.run(build()), bus._loop)


@pytest.fixture
def open_queue(bus: Any, name: str) -> Iterator[OpenQueue]:
    """Give a function that makes claimers of one queue; all are closed at the end."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(at_door(bus, (Queue, AsyncQueue), options.pop("queue", name), **options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(open_queue: OpenQueue) -> Any:
    return open_queue(lease_s=30.0)


@pytest.fixture
def start_worker(bus: Any) -> Iterator[Callable[..., Any]]:
    """Give a function that starts a worker; all are stopped at the end."""
    made: list[Any] = []

    def start(*handlers: Any, **options: Any) -> Any:
        made.append(at_door(bus, (Worker, AsyncWorker), *handlers, **options))
        made[-1].start()
        return made[-1]

    yield start
    for worker in made:
        worker.stop(5.0)
