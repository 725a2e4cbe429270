"""Calls at both doors on each broker; another broker is one more parameter and one more line of `url`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine.ids import new_sender
from labspine.service import AsyncRpc, Rpc, Service
from labspine.testing.doors import Blocking

OpenRpc = Callable[..., Any]


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(broker: str, request: pytest.FixtureRequest) -> str:
    """Give the address of the broker under test."""
    return str(request.getfixturevalue({"redis": "broker_url", "rabbitmq": "rabbitmq_url"}[broker]))


@pytest.fixture
def name() -> str:
    """Give the name of a service that nobody else uses."""
    return f"chiller-{new_sender()}"


@pytest.fixture
def serve(connect: Any, url: str, name: str) -> Iterator[Callable[..., Service]]:
    """Give a function that starts an instance of the service; all are stopped at the end."""
    started: list[Service] = []

    def start(*targets: object, **options: Any) -> Service:
        connector = connect(url)
        target = connector._target if isinstance(connector, Blocking) else connector
        service = Service(options.pop("name", name), *targets, connector=target, **options)
        service.start()
        started.append(service)
        return service

    yield start
    for service in started:
        service.stop(timeout_s=1.0)


@pytest.fixture
def open_rpc(connect: Any, url: str) -> Iterator[OpenRpc]:
    """Give a function that makes clients of the door under test; all are closed at the end."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        bus = connect(url)
        if not isinstance(bus, Blocking):
            made.append(Rpc(bus, **options))
            return made[-1]

        async def build() -> AsyncRpc:
            return AsyncRpc(bus._target, **options)

        made.append(Blocking(bus._loop.run(build()), bus._loop))
        return made[-1]

    yield make
    for rpc in made:
        rpc.close()


@pytest.fixture
def rpc(open_rpc: OpenRpc) -> Any:
    return open_rpc()


@pytest.fixture
def call(rpc: Any, name: str) -> Callable[..., Any]:
    """Call a procedure of the service under test."""

    def call(procedure: str, *args: Any, **kwargs: Any) -> Any:
        return rpc.call_service(name, procedure, *args, **kwargs)

    return call


@pytest.fixture
def results(open_rpc: OpenRpc, door: str, name: str) -> Callable[..., list[Any]]:
    """Take the results of a procedure that gives several; the first ``most`` of them."""

    def take(procedure: str, *args: Any, most: int | None = None, **kwargs: Any) -> list[Any]:
        rpc = open_rpc()
        if door == "sync":
            found = []
            for result in rpc.stream(name, procedure, *args, **kwargs):
                found.append(result)
                if len(found) == most:
                    break
            return found

        async def collect() -> list[Any]:
            found: list[Any] = []
            stream = rpc._target.stream(name, procedure, *args, **kwargs)
            try:
                async for result in stream:
                    found.append(result)
                    if len(found) == most:
                        break
            finally:
                await stream.aclose()
            return found

        return list(rpc._loop.run(collect()))

    return take
