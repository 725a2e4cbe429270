"""amqps: RabbitMQ with a certificate of our own authority."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import AmqpConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import NotConnected
from labspine.testing.rabbitmq import RabbitProcess, find_rabbitmq

NOTE = m.NotificationMessage(event="x", message=[m.MessagingServiceTextContent(content="hello")])


@pytest.fixture(scope="module")
def tls_port(
    certificates: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, RabbitProcess]]:
    """Give the encrypted port of a RabbitMQ; it takes connections without a certificate, too."""
    scripts = find_rabbitmq()
    if scripts is None:
        pytest.skip("needs rabbitmq-server")
    certificate, key = certificates.server("rabbit", "DNS:localhost,IP:127.0.0.1")
    directory: Path = tmp_path_factory.mktemp("amqps")
    server = RabbitProcess(
        directory,
        scripts,
        settings=(
            "listeners.ssl.1 = 127.0.0.1:{second_port}",
            f"ssl_options.cacertfile = {certificates.path('ca.pem')}",
            f"ssl_options.certfile = {certificate}",
            f"ssl_options.keyfile = {key}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = false",
        ),
    )
    try:
        server.start()
        yield server.second_port, server
    finally:
        server.end()


@pytest.fixture
def bus() -> Iterator[Callable[[str], AmqpConnector]]:
    made: list[AmqpConnector] = []

    def make(url: str) -> AmqpConnector:
        made.append(AmqpConnector(url))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_an_encrypted_link_works(tls_port: Any, certificates: Any, bus: Any) -> None:
    url = f"amqps://guest:guest@127.0.0.1:{tls_port[0]}/?ssl_ca_certs={certificates.path('ca.pem')}"

    assert bus(url).send(MessageEndpoints.notification("tls"), NOTE) == 0


def test_a_certificate_that_nobody_knows_is_refused(tls_port: Any, bus: Any) -> None:
    with pytest.raises(NotConnected, match="certificate"):
        bus(f"amqps://guest:guest@127.0.0.1:{tls_port[0]}/").connect()


def test_the_plain_port_is_named(tls_port: Any, bus: Any) -> None:
    with pytest.raises(NotConnected, match="TLS"):
        bus(f"amqps://guest:guest@127.0.0.1:{tls_port[1].port}/").connect()
