"""A broker on a TCP port, and the real OpenTera package in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine import RedisConnector
from labspine.testing.waiting import wait_until
from labspine.wire.embedded.binary import find_binary

TOPICS = 8
"""How many patterns the service and the module of the peer listen to."""
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tcp_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start a real server on a free port: OpenTera's clients know no unix sockets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    directory = tmp_path_factory.mktemp("tcp-broker")
    command = [
        str(find_binary()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(directory),
        "--save",
        "",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), timeout_s=15.0, what=f"the port {port}")
        yield port
    finally:
        server.terminate()
        server.wait(10)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


class OpenTera:
    """The conversation with the process of OpenTera; one word at a time, from any thread."""

    def __init__(self, python: Path, port: int, log: Path) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [python, Path(__file__).with_name("opentera_peer.py"), str(port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip
        self._lock = threading.Lock()
        self._answer()

    def __getattr__(self, word: str) -> Any:
        def tell(*args: object) -> Any:
            with self._lock:
                assert self.process.stdin is not None
                self.process.stdin.write(json.dumps([word, *args]) + "\n")
                self.process.stdin.flush()
                return self._answer()

        return tell

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self._log.read_text(errors="replace")[-3000:]
        kind, value = json.loads(line)
        assert kind == "ok", value
        return value

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(scope="session")
def opentera_python() -> Path:
    """Give the Python of the real OpenTera package; it is installed the first time."""
    script = ROOT / "scripts" / "opentera-peer"
    subprocess.run([script], check=True, timeout=110, env={**os.environ, "PYTHON": sys.executable})
    where = subprocess.run([script, "--where"], check=True, capture_output=True, text=True, timeout=10)
    return Path(where.stdout.strip())


@pytest.fixture(scope="module")
def opentera(
    opentera_python: Path, tcp_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenTera]:
    """Start OpenTera's own service and module, and give what they can be told."""
    peer = OpenTera(opentera_python, tcp_port, tmp_path_factory.mktemp("opentera") / "log")
    try:
        wait_until(lambda: peer.topics_served() >= TOPICS, timeout_s=20.0, what="OpenTera's subscriptions")
        yield peer
    finally:
        peer.close()


@pytest.fixture
def bus(tcp_port: int) -> Iterator[RedisConnector]:
    with RedisConnector(f"redis://127.0.0.1:{tcp_port}") as connector:
        yield connector
