"""
Call with bare sockets and fixed bytes: what the broker and two processes take by themselves.

``raw_calls.py PORT CALLS`` prints the p50 in seconds of a GET, of a call by stream and list (the commands of
our durable call), and of one by PUBLISH both ways (at most once).
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import hiredis

from labspine.wire import Template

BODY = b"x" * 140
TAKE = ("XREADGROUP", "GROUP", "raw", "me", "COUNT", 1, "BLOCK", 5000, "STREAMS", "raw/requests", ">")
ANSWER = Template(
    (
        ("RPUSH", "raw/replies", BODY),
        ("PEXPIRE", "raw/replies", 60_000),
        ("XACK", "raw/requests", "raw", None),
        ("XDEL", "raw/requests", None),
        TAKE,
    )
)
CALL = (
    ("EXISTS", "raw/alive"),
    ("XADD", "raw/requests", "*", "c", "caller-1", "t", 10_000, "b", BODY),
    ("BLMPOP", 5, 1, "raw/replies", "LEFT", "COUNT", 64),
)


class Link:
    """A socket and a parser."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._buffer = bytearray(16 * 1024)

    def read(self, count: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < count:
            reply = self._reader.gets()
            if reply is False:
                taken = self.socket.recv_into(self._buffer)
                if not taken:
                    raise EOFError
                self._reader.feed(self._buffer, 0, taken)
            else:
                found.append(reply)
        return found

    def ask(self, *commands: tuple[object, ...]) -> list[Any]:
        self.socket.sendall(packed(*commands))
        return self.read(len(commands))


def packed(*commands: tuple[object, ...]) -> bytes:
    return Template(commands).fill()  # type: ignore[arg-type]  # words and numbers


def serve_stream(port: int) -> None:
    link = Link(port)
    link.ask(("XGROUP", "CREATE", "raw/requests", "raw", "0", "MKSTREAM"), ("SET", "raw/alive", 1))
    link.socket.sendall(packed(TAKE))
    print("ready", flush=True)
    due = 1
    while found := link.read(due)[-1]:
        entry = found[0][1][0][0]
        link.socket.sendall(ANSWER.fill(entry, entry))
        due = 5


def serve_channel(port: int) -> None:
    link, replies = Link(port), Link(port)
    link.ask(("SUBSCRIBE", "raw/calls"))
    replies.socket.sendall(packed(("CLIENT", "REPLY", "OFF")))
    print("ready", flush=True)
    answer = packed(("PUBLISH", "raw/answers", BODY))
    while link.read(1):
        replies.socket.sendall(answer)


def p50_of(call: Any, calls: int) -> float:
    took = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def measured(kind: str, port: int, calls: int) -> tuple[float, float]:
    """Return the p50 of a GET and of a call."""
    server = subprocess.Popen([sys.executable, __file__, kind, str(port)], stdout=subprocess.PIPE)
    link, answers = Link(port), Link(port)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        answers.ask(("SUBSCRIBE", "raw/answers"))
        asked = packed(*CALL) if kind == "stream" else packed(("PUBLISH", "raw/calls", BODY))

        def by_stream() -> None:
            link.socket.sendall(asked)
            link.read(len(CALL))

        def by_channel() -> None:
            link.socket.sendall(asked)
            link.read(1)
            answers.read(1)

        took_s = p50_of(by_stream if kind == "stream" else by_channel, calls)
        get_s = p50_of(lambda: link.ask(("GET", "x")), calls)
    finally:
        server.terminate()
        server.wait(10)
        link.socket.close()
        answers.socket.close()
    return get_s, took_s


def main() -> None:
    if sys.argv[1] in ("stream", "channel"):
        (serve_stream if sys.argv[1] == "stream" else serve_channel)(int(sys.argv[2]))
        return
    port, calls = int(sys.argv[1]), int(sys.argv[2])
    get_s, stream_s = measured("stream", port, calls)
    again_s, channel_s = measured("channel", port, calls)
    print(json.dumps([min(get_s, again_s), stream_s, channel_s]))
    Link(port).ask(("DEL", "raw/requests", "raw/replies", "raw/alive"))


if __name__ == "__main__":
    main()
