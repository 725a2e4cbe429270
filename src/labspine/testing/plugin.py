"""
Fixtures for pytest: a real broker for each test session.

The plugin is found by pytest as soon as Labspine is installed. It imports nothing of Labspine before a
fixture is used, so that test suites that do not need a broker pay nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..wire.embedded import EmbeddedBroker
    from .rabbitmq import RabbitProcess

__all__ = [
    "broker_process",
    "broker_url",
    "fresh_broker_url",
    "rabbitmq_process",
    "rabbitmq_server",
    "rabbitmq_url",
]


def _start(data_dir: Path) -> EmbeddedBroker:
    from ..ids import new_sender
    from ..wire import embedded

    return embedded.start(f"test-{os.getpid()}-{new_sender()[:8]}", data_dir=data_dir)


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a real broker that all tests of the session share; use unique names in it."""
    with _start(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.url


@pytest.fixture(scope="session")
def _fresh_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with _start(tmp_path_factory.mktemp("fresh-broker")) as broker:
        yield broker


@pytest.fixture
def fresh_broker_url(_fresh_broker: EmbeddedBroker) -> str:
    """Give the address of a real broker without any key, function or script."""
    from ..wire.embedded.probe import ask

    socket_path = Path(_fresh_broker.url.removeprefix("unix://"))
    for command in (b"FLUSHALL SYNC", b"FUNCTION FLUSH SYNC", b"SCRIPT FLUSH SYNC"):
        answer = ask(socket_path, command, timeout_s=5.0)
        assert answer == b"+OK", f"{command!r} gave {answer!r}"
    return _fresh_broker.url


@pytest.fixture
def broker_process(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    """Give a broker of this test alone, which it may kill, freeze and start again."""
    with _start(tmp_path / "broker-data") as broker:
        yield broker


def _rabbit(directory: Path) -> Iterator[RabbitProcess]:
    from .rabbitmq import RabbitProcess, find_rabbitmq

    scripts = find_rabbitmq()
    if scripts is None:
        pytest.skip("needs rabbitmq-server")
    server = RabbitProcess(directory, scripts)
    try:
        server.start()
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitProcess]:
    """Give the RabbitMQ that all tests of the session share: cut its connections, but do not kill it."""
    yield from _rabbit(tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq_server: RabbitProcess) -> str:
    """Give the address of a real RabbitMQ that all tests of the session share; use unique names in it."""
    return rabbitmq_server.url


@pytest.fixture
def rabbitmq_process(tmp_path: Path) -> Iterator[RabbitProcess]:
    """Give a RabbitMQ of this test alone, which it may kill and start again; each start takes 5 s."""
    directory = tmp_path / "rabbitmq"
    directory.mkdir()
    yield from _rabbit(directory)
