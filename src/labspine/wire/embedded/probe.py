"""
Ask a server on a unix socket one thing, without a connection object.

The embedded broker needs this before there is anything to connect to; everybody else uses a connector.
"""

from __future__ import annotations

import socket
from pathlib import Path

__all__ = ["ask", "is_answering", "version_of"]

_LARGEST_REPLY_BYTES = 1 << 20


def ask(socket_path: Path, command: bytes, *, timeout_s: float = 1.0) -> bytes | None:
    """
    Send one inline command and read one simple or bulk reply.

    Args:
        socket_path: The server's unix socket.
        command: The command without line end, for example ``b"PING"``.
        timeout_s: Limit for each step, in seconds.

    Returns:
        The reply with its first byte (``+``, ``-``, ``:``) and without line end, a bulk reply as its bare
        content; None when nobody answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(socket_path))
            connection.sendall(command + b"\r\n")
            return _read_reply(connection)
        except OSError:
            return None


def _read_reply(connection: socket.socket) -> bytes | None:
    data = b""
    wanted = _LARGEST_REPLY_BYTES
    while len(data) < wanted:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        data += chunk
        line, separator, rest = data.partition(b"\r\n")
        if not separator:
            continue
        if not line.startswith(b"$"):
            return line
        length = int(line[1:])
        wanted = len(line) + 2 + length + 2
        if len(data) >= wanted:
            return rest[:length]
    return None


def is_answering(socket_path: Path, *, timeout_s: float = 1.0) -> bool:
    """
    Tell whether a server is there and ready for commands.

    Args:
        socket_path: The server's unix socket.
        timeout_s: Limit for each step, in seconds.

    Returns:
        True after ``+PONG``; False when nobody answers and while the server still loads its data.
    """
    return ask(socket_path, b"PING", timeout_s=timeout_s) == b"+PONG"


def version_of(socket_path: Path) -> str:
    """
    Ask a server who it is.

    Args:
        socket_path: The server's unix socket.

    Returns:
        For example ``valkey 9.1.2`` or ``redis 7.0.15``; ``unknown`` when it does not say.
    """
    reply = ask(socket_path, b"INFO server") or b""
    facts = dict(line.split(":", 1) for line in reply.decode("utf-8", "replace").splitlines() if ":" in line)
    # Valkey says redis_version too, for old clients: its own name goes first.
    for program in ("valkey", "redis"):
        if f"{program}_version" in facts:
            return f"{program} {facts[f'{program}_version']}"
    return "unknown"
