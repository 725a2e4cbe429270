"""A broker on a TCP port of the loopback, as the tutorials use it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labspine.wire.embedded.binary import find_binary


@pytest.fixture
def tcp_broker(tmp_path: Path) -> Iterator[str]:
    """Start a real server of our own on a free port; give ``host:port``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(find_binary()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        str(tmp_path),
        "--save",
        "",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if "Ready to accept connections" in line:
            break
    try:
        yield f"localhost:{port}"
    finally:
        server.terminate()
        server.communicate(timeout=10)
