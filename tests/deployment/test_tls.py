"""Encrypted links to a real redis-server: they work, and each thing that can be wrong has its sentence."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import quote

import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.errors import ConfigError, NotConnected
from labspine.testing.waiting import wait_until

SCAN_NUMBER = MessageEndpoints.scan_number()


def tls_server(redis_process: Any, certificates: Any, name: str, alternative: str, **how: Any) -> Any:
    certificate, key = certificates.server(name, alternative, days=how.get("days", "2"))
    files = (
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        certificates.path("ca.pem"),
    )
    return redis_process(
        *files, "--tls-auth-clients", how.get("clients", "no"), *how.get("more", ()), tls=True
    )


def url_of(server: Any, ca: str | None, *, host: str = "localhost", more: str = "") -> str:
    wanted = f"?ssl_ca_certs={quote(ca)}{more}" if ca else ""
    return f"rediss://{host}:{server.port}{wanted}"


@pytest.fixture
def server(redis_process: Any, certificates: Any) -> Any:
    return tls_server(redis_process, certificates, "good", "DNS:localhost,IP:127.0.0.1")


def test_everything_works_encrypted(connect: Any, server: Any, certificates: Any) -> None:
    bus = connect(url_of(server, certificates.path("ca.pem")))
    got: list[Any] = []
    bus.register(MessageEndpoints.scan_segment(), cb=got.append)
    bus.set(SCAN_NUMBER, m.VariableMessage(value=5))
    assert bus.get(SCAN_NUMBER).value == 5
    large = m.ScanMessage(point_id=1, scan_id="s", data={"samx": {"samx": {"value": "x" * 3_000_000}}})
    bus.send(MessageEndpoints.scan_segment(), m.ScanMessage(point_id=0, scan_id="s", data={}))
    bus.send(MessageEndpoints.scan_segment(), large)
    wait_until(lambda: len(got) == 2)
    assert got[1].value == large


def test_the_ip_address_and_the_callers_own_settings_work(
    connect: Any, server: Any, certificates: Any
) -> None:
    settings = ssl.create_default_context(cafile=certificates.path("ca.pem"))
    bus = connect(url_of(server, None, host="127.0.0.1"), tls=settings)
    bus.connect()


def test_an_idle_link_is_kept(connect: Any, server: Any, certificates: Any, say: Any) -> None:
    url = url_of(server, certificates.path("ca.pem"))
    bus = connect(url)
    bus.connect()
    first = say(url, "INFO", "stats")
    wait_until(lambda: not bus.get(SCAN_NUMBER) and _rounds_of_idle(bus), timeout_s=10)
    opened = _connections(say(url, "INFO", "stats")) - _connections(first)
    assert opened == 1  # that of the second question itself


def _rounds_of_idle(bus: Any, pause_s: float = 0.7) -> bool:
    """Let the link be idle longer than the 0.5 s after which it is looked at, then use it."""
    import time

    time.sleep(pause_s)  # what is tested is that nothing happens meanwhile
    return bus.get(SCAN_NUMBER) is None


def _connections(info: bytes) -> int:
    return int(info.partition(b"total_connections_received:")[2].split()[0])


def test_old_protocols_are_refused(connect: Any, redis_process: Any, certificates: Any) -> None:
    server = tls_server(
        redis_process, certificates, "new", "DNS:localhost", more=("--tls-protocols", "TLSv1.2")
    )
    connect(url_of(server, certificates.path("ca.pem"))).connect()
    from labspine.wire import parse_address
    from labspine.wire.tls import tls_context

    context = tls_context(parse_address(url_of(server, certificates.path("ca.pem"))), None)
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_foreign_authority_is_refused(connect: Any, server: Any, certificates: Any) -> None:
    for ca in (None, certificates.authority("other")):
        with pytest.raises(NotConnected, match=r"authority that is not trusted here.*ssl_ca_certs"):
            connect(url_of(server, ca)).connect()
    with pytest.raises(NotConnected, match=r"not trusted"):
        connect(url_of(server, None)).register(MessageEndpoints.scan_segment(), cb=print)


def test_a_wrong_host_name_is_refused(connect: Any, redis_process: Any, certificates: Any) -> None:
    server = tls_server(redis_process, certificates, "elsewhere", "DNS:elsewhere.example")
    for host in ("localhost", "127.0.0.1"):
        with pytest.raises(NotConnected, match=f'for another name than "{host}"'):
            connect(url_of(server, certificates.path("ca.pem"), host=host)).connect()


def test_an_expired_certificate_is_refused(connect: Any, redis_process: Any, certificates: Any) -> None:
    server = tls_server(redis_process, certificates, "old", "DNS:localhost", days="-1")
    with pytest.raises(NotConnected, match=r"has expired: renew it"):
        connect(url_of(server, certificates.path("ca.pem"))).connect()


def test_a_plain_port_is_told_from_a_tls_port(connect: Any, redis_process: Any, server: Any) -> None:
    plain = redis_process()
    with pytest.raises(NotConnected, match=r"plain port|speak TLS"):
        connect(url_of(plain, None), connect_timeout_s=1.0).connect()
    with pytest.raises(NotConnected, match=r"TLS port.*rediss://"):
        connect(server.url).connect()


def test_a_server_that_wants_our_certificate_says_so(
    connect: Any, redis_process: Any, certificates: Any
) -> None:
    server = tls_server(redis_process, certificates, "strict", "DNS:localhost", clients="yes")
    ca = certificates.path("ca.pem")
    with pytest.raises(NotConnected, match=r"ssl_certfile"):
        connect(url_of(server, ca)).connect()
    certificate, key = certificates.server("me", "DNS:me")
    own = f"&ssl_certfile={quote(certificate)}&ssl_keyfile={quote(key)}"
    connect(url_of(server, ca, more=own)).connect()


def test_files_that_do_not_work_are_named(
    connect: Any, server: Any, certificates: Any, tmp_path: Any
) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.pem"):
        connect(url_of(server, "/nowhere.pem")).connect()
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"holds no CA certificates"):
        connect(url_of(server, str(rubbish))).connect()
    more = f"&ssl_certfile={quote(str(rubbish))}"
    with pytest.raises(ConfigError, match=r"and its key do not work"):
        connect(url_of(server, certificates.path("ca.pem"), more=more)).connect()


def test_settings_for_a_link_that_is_not_encrypted_are_refused(connect: Any) -> None:
    with pytest.raises(ConfigError, match=r"use rediss://"):
        connect("redis://localhost:1", tls=ssl.create_default_context()).connect()


def test_checking_can_be_switched_off_loudly(
    connect: Any, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connect(f"rediss://localhost:{server.port}?ssl_cert_reqs=none").connect()
    assert "NOT checked" in caplog.text
