"""The gateway's doors, tried from outside over real sockets: keys, hosts, origins, sizes, nonsense."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from labspine.errors import ConfigError, InvalidOperation
from labspine.gateway import Gateway

KEY = "the-key-of-these-tests"
SOCKET = "/socket.io/?EIO=4&transport=websocket"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Serve the page without a broker."""
    nowhere = tmp_path_factory.mktemp("none") / "none.sock"
    with Gateway(f"unix://{nowhere}", port=0, key=KEY, most_sockets=4) as running:
        yield running


def ask(gateway: Gateway, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """Send one request; the body is read."""
    link = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
    link.request(method, path, headers=headers)
    answer = link.getresponse()
    answer.text = answer.read().decode()  # type: ignore[attr-defined]
    link.close()
    return answer


def raw(gateway: Gateway, request: bytes) -> bytes:
    """Send bytes and read what comes, up to the end or one second."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=1) as link:
        link.sendall(request)
        got = b""
        try:
            while part := link.recv(65536):
                got += part
        except TimeoutError:
            pass
    return got


def log_in(gateway: Gateway) -> str:
    """Exchange the key for a cookie."""
    answer = ask(gateway, f"/?k={KEY}")
    assert answer.status == 303
    assert answer.getheader("location") == "/"
    said = answer.getheader("set-cookie") or ""
    assert "HttpOnly" in said
    assert "SameSite=lax" in said
    return said.partition(";")[0]


def open_socket(gateway: Gateway, **headers: str | None) -> ClientConnection:
    """Open the socket as the page does, except for what is given."""
    wanted: dict[str, str | None] = {
        "Cookie": log_in(gateway), "Origin": gateway.address.rstrip("/"), **headers,
    }  # fmt: skip
    return connect(
        f"ws://127.0.0.1:{gateway.port}{SOCKET}",
        additional_headers={name: value for name, value in wanted.items() if value is not None},
        proxy=None,
        open_timeout=5,
        close_timeout=1,
    )


def talk(link: ClientConnection) -> None:
    """Do the handshake of Engine.IO and Socket.IO."""
    assert str(link.recv(timeout=5)).startswith("0{")
    link.send("40")
    assert str(link.recv(timeout=5)).startswith("40{")


def read_to_the_end(link: ClientConnection) -> None:
    """Read until the other side ends it."""
    while True:
        link.recv(timeout=7)


def answer_to(link: ClientConnection, event: str, *said: object) -> Any:
    """Send an event and wait for its acknowledgement."""
    link.send("421" + json.dumps([event, *said]))
    while True:
        got = str(link.recv(timeout=5))
        if got.startswith("431"):
            return json.loads(got[3:])[0]


def test_the_page_needs_the_key_once_and_the_session_then(gateway: Gateway) -> None:
    for path in ("/", "/?k=", "/?k=wrong", "/?k=" + KEY[:-1], "/?k=%00%ff"):
        answer = ask(gateway, path)
        assert answer.status == 401, path
        assert "needs its key" in answer.text  # type: ignore[attr-defined]
        assert answer.getheader("set-cookie") is None
    cookie = log_in(gateway)
    answer = ask(gateway, "/", Cookie=cookie)
    assert answer.status == 200
    assert 'id="plot"' in answer.text  # type: ignore[attr-defined]
    assert answer.getheader("cache-control") == "no-store"
    assert ask(gateway, "/session", Cookie=cookie).status == 200
    assert ask(gateway, "/session", Cookie=cookie + "x").status == 401


def test_every_answer_has_the_protecting_headers(gateway: Gateway) -> None:
    for path in ("/", "/static/main.js", "/static/style.css", "/nothing", "/session"):
        answer = ask(gateway, path)
        policy = answer.getheader("content-security-policy") or ""
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.getheader("x-content-type-options") == "nosniff"
        assert answer.getheader("referrer-policy") == "no-referrer"
        assert answer.getheader("server") is None


def test_the_page_has_no_script_in_it_and_names_no_other_host() -> None:
    from labspine.gateway import web

    for file in web.PAGE.iterdir():
        if file.suffix in (".html", ".js", ".css"):
            text = file.read_text(encoding="utf-8")
            assert "http://" not in text, file
            assert "https://" not in text, file
    index = (web.PAGE / "index.html").read_text(encoding="utf-8")
    assert index.count("<script") == 1
    assert " on" + "click" not in index
    assert "style=" not in index


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "127.0.0.1:{port}.evil.example", ""]
)
def test_other_hosts_are_refused(gateway: Gateway, host: str) -> None:
    assert ask(gateway, "/static/main.js", Host=host.format(port=gateway.port)).status == 421


def test_a_missing_or_doubled_host_is_refused(gateway: Gateway) -> None:
    good = f"Host: 127.0.0.1:{gateway.port}\r\n".encode()
    assert raw(gateway, b"GET / HTTP/1.0\r\n\r\n").split()[1] in (b"400", b"421")
    assert raw(gateway, b"GET / HTTP/1.1\r\n" + good + b"Host: evil\r\n\r\n").split()[1] in (b"400", b"421")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods_are_refused(gateway: Gateway, method: str) -> None:
    for path in ("/", "/session", "/socket.io/?EIO=4&transport=polling", "/static/main.js"):
        assert ask(gateway, path, method).status == 405


def test_a_body_is_refused_before_it_is_read(gateway: Gateway) -> None:
    host = f"Host: 127.0.0.1:{gateway.port}\r\n".encode()
    for body in (b"Content-Length: 5000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        begun_s = time.monotonic()
        assert raw(gateway, b"GET / HTTP/1.1\r\n" + host + body).split()[1] == b"413"
        assert time.monotonic() - begun_s < 3


def test_long_and_broken_requests_are_refused(gateway: Gateway) -> None:
    host = f"Host: 127.0.0.1:{gateway.port}\r\n".encode()
    for request in (
        b"GET / HTTP/1.1\r\n" + host + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"X\x00: 1\r\n\r\n",
    ):
        got = raw(gateway, request)
        assert not got or got.split()[1] in (b"400", b"414", b"431"), got[:80]
    assert ask(gateway, "/session").status == 401, "it goes on"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd",
        "/static/%00", "/static/", "/static", "/static/nothing.js", "/app.py", "/static/..\\app.py",
    ],
)  # fmt: skip
def test_only_files_of_the_page_are_served(gateway: Gateway, path: str) -> None:
    answer = ask(gateway, path)
    assert answer.status in (307, 404, 405)
    assert "class Gateway" not in answer.text  # type: ignore[attr-defined]


def test_polling_is_not_offered(gateway: Gateway) -> None:
    cookie = log_in(gateway)
    for query in ("EIO=4&transport=polling", "EIO=3&transport=websocket", "EIO=4&transport=smoke", ""):
        assert ask(gateway, f"/socket.io/?{query}", Cookie=cookie).status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": None}, {"Cookie": "labspine=1"}, {"Origin": None}, {"Origin": "null"},
        {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"}, {"Host": "evil.example"},
    ],
)  # fmt: skip
def test_a_socket_without_session_or_from_elsewhere_is_never_opened(
    gateway: Gateway, headers: dict[str, str | None]
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        open_socket(gateway, **headers)
    assert refused.value.response.status_code in (400, 403)


def test_sockets_are_counted_and_freed(gateway: Gateway) -> None:
    def is_refused() -> bool:
        try:
            with open_socket(gateway):
                return False
        except InvalidStatus:
            return True

    with contextlib.ExitStack() as links:
        for _ in range(4):
            links.enter_context(open_socket(gateway))
        assert is_refused()
    deadline_s = time.monotonic() + 5
    while is_refused():
        assert time.monotonic() < deadline_s


def test_the_state_comes_after_the_browser_has_spoken(gateway: Gateway) -> None:
    with open_socket(gateway) as link:
        talk(link)
        assert answer_to(link, "resume", {"epoch": None, "scan_id": None, "have": 0}) == {"ok": True}
        event, update = json.loads(str(link.recv(timeout=5)).lstrip("0123456789"))
        assert event == "update"
        assert update["state"]["scan"] is None
        assert update["points"] is None


def test_every_event_gets_an_answer(gateway: Gateway) -> None:
    with open_socket(gateway) as link:
        talk(link)
        for said, code in [
            (("command", {"action": "explode", "scan_id": "x"}), "E-ARG"),
            (("command", {"action": ["abort"], "scan_id": {}}), "E-ARG"),
            (("command", {"action": "abort", "scan_id": "x"}), "E-OP"),
            (("command", {}), "E-ARG"),
            (("command",), "E-ARG"),
            (("command", 1, 2), "E-ARG"),
            (("command", None), "E-ARG"),
            (("resume", [[]]), "E-ARG"),
            (("nothing", {"a": 1}), "E-ARG"),
            (("__class__",), "E-ARG"),
        ]:
            answer = answer_to(link, *said)  # type: ignore[arg-type]
            assert (answer["ok"], answer["code"]) == (False, code), said
            assert "Traceback" not in answer["text"]


def test_a_handler_that_fails_answers_with_a_reference(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("labspine.gateway.sockets.reasons", broken)
    monkeypatch.setattr("labspine.gateway.live.LiveModel.scan_id", "s")
    with open_socket(gateway) as link, caplog.at_level(logging.ERROR):
        talk(link)
        monkeypatch.setattr("labspine.gateway.live.LiveModel.situation", broken)
        answer = answer_to(link, "command", {"action": "abort", "scan_id": "s"})
    assert answer["code"] == "E-LAB"
    assert "secret" not in answer["text"]
    reference = answer["text"].split("reference ")[1].split()[0]
    assert reference in caplog.text


def test_nonsense_on_the_socket_harms_nobody(gateway: Gateway) -> None:
    packets = [
        "", "9", "4", "42", "42{}", "42[]", '42[""]', "42[5]", '42["a"', "42" + "[" * 5000, "4" + "9" * 5000,
        '42-1["resume",{}]', "42" + "1" * 3000 + '["resume",{}]', '451-["a",{"_placeholder":true,"num":99}]',
        "45999999999-", "4\x00", "40/other,", '42["resume",{"have":1e999}]', "41", "3probe", "5", "6",
    ]  # fmt: skip
    for packet in packets:
        with open_socket(gateway) as link:
            talk(link)
            try:
                link.send(packet)
                link.send(b"\x04\xff\xfe")
                link.send(packet)
            except ConnectionClosed:
                continue
    with open_socket(gateway) as link:
        talk(link)
        assert answer_to(link, "resume", {}) == {"ok": True}


def test_a_large_message_closes_the_socket_with_the_right_code(gateway: Gateway) -> None:
    with open_socket(gateway) as link:
        talk(link)
        link.send('42["resume",{"a":"' + "x" * 100_000 + '"}]')
        with pytest.raises(ConnectionClosed) as closed:
            read_to_the_end(link)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009


def test_too_many_events_are_refused_then_cut_off(gateway: Gateway) -> None:
    codes: list[str] = []

    def flood(link: ClientConnection) -> None:
        for _ in range(2000):
            codes.append(answer_to(link, "nothing")["code"])

    with open_socket(gateway) as link:
        talk(link)
        with pytest.raises(ConnectionClosed):
            flood(link)
    assert 20 < codes.count("E-ARG") < 100
    assert 150 < codes.count("E-SIZE") < 250


def test_a_session_that_ends_takes_its_socket_with_it(tmp_path: Path) -> None:
    with Gateway(f"unix://{tmp_path}/none.sock", port=0, key=KEY, session_s=2.0) as gateway:
        with open_socket(gateway) as link:
            talk(link)
            begun_s = time.monotonic()
            with pytest.raises(ConnectionClosed):
                read_to_the_end(link)
        assert time.monotonic() - begun_s < 5


def test_stopping_is_quick_and_quiet_with_open_pages(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # Given a gateway with two pages, one of which never reads
    gateway = Gateway(f"unix://{tmp_path}/none.sock", port=0, key=KEY)
    gateway.start()
    with contextlib.ExitStack() as links:
        talk(links.enter_context(open_socket(gateway)))
        links.enter_context(open_socket(gateway))
        links.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
        # When it is stopped
        begun_s = time.monotonic()
        gateway.stop()
        took_s = time.monotonic() - begun_s
    # Then it is gone within a second, with nothing printed
    assert took_s < 1.0
    assert not gateway.is_serving
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", gateway.port), timeout=1)
    gateway.stop()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err


def test_a_taken_port_gives_the_next_one(tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/none.sock"
    with Gateway(nowhere, port=0) as first, Gateway(nowhere, port=first.port) as second:
        assert first.port < second.port <= first.port + 50
        assert second.url.startswith(f"http://127.0.0.1:{second.port}/?k=")
        assert ask(second, "/session").status == 401


def test_wrong_settings_are_refused_at_once(tmp_path: Path) -> None:
    nowhere = f"unix://{tmp_path}/none.sock"
    for settings in ({"port": 70000}, {"port": -1}, {"key": "short"}, {"host": "0.0.0.0"}):
        with pytest.raises(ConfigError):
            Gateway(nowhere, **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        Gateway("http://not-a-broker")
    with pytest.raises(ConfigError, match="cannot listen"):
        Gateway(nowhere, host="192.0.2.1", port=0, allowed_hosts=["lab"]).start()
    with Gateway(nowhere, port=0) as running, pytest.raises(InvalidOperation):
        running.start()


def test_the_key_is_in_no_representation_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Gateway(f"unix://{tmp_path}/none.sock", port=0, key=KEY) as gateway:
        ask(gateway, f"/?k={KEY}")
        ask(gateway, "/?k=wrong-but-long-enough")
        assert KEY not in repr(gateway)
        assert KEY not in gateway.address
        assert KEY in gateway.url
    assert KEY not in caplog.text
    assert "wrong-but-long-enough" not in caplog.text
