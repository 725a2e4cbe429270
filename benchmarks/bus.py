"""
Measure the bus beside its peers: interleaved rounds, each case in a fresh process, medians and ratios.

Run ``python benchmarks/bus.py [--rounds 5] [--only get]``; it starts a broker of its own. CPU time per
operation is the figure that a busy machine disturbs least. ``--only growth`` sends a million durable events
from one process to another and tells by how much each of them, and the server, has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROUNDS = 5
READS = 5000
EVENTS = 10_000
PACED = 300
MILLION = 1_000_000
WARM_UP = 50_000


def signals() -> dict[str, Any]:
    return {f"dev{n}": {"value": 1.5 * n, "timestamp": 1.7e9 + n} for n in range(10)}


# --- peers: each gives get(), publish() and listen(callback) ---


def ours(url: str, **options: Any) -> dict[str, Any]:
    from labspine.connector import RedisConnector
    from labspine.endpoints import MessageEndpoints
    from labspine.messages import DeviceMessage

    connector = RedisConnector(url, **options)
    endpoint = MessageEndpoints.device_read("samx")
    number = MessageEndpoints.scan_number()

    def publish(stamp: float) -> None:
        connector.set_and_publish(endpoint, DeviceMessage(signals=signals(), metadata={"t": stamp}))

    def flood(count: int) -> None:
        with connector.pipeline() as pipe:
            for _ in range(count):
                pipe.set_and_publish(endpoint, DeviceMessage(signals=signals(), metadata={"t": 0.0}))

    def listen(callback: Callable[[float], None]) -> None:
        connector.register(endpoint, lambda message: callback(message.value.metadata["t"]))

    return {"get": lambda: connector.get(number), "publish": publish, "listen": listen, "flood": flood}


def bec(url: str) -> dict[str, Any]:
    from bec_lib.endpoints import EndpointInfo, MessageEndpoints, MessageOp
    from bec_lib.messages import DeviceMessage, VariableMessage
    from bec_lib.redis_connector import RedisConnector

    connector = RedisConnector("localhost:1", unix_socket_path=url.removeprefix("unix://"))
    endpoint = MessageEndpoints.device_read("samx")
    keep: list[Any] = []

    def publish(stamp: float) -> None:
        connector.set_and_publish(endpoint, DeviceMessage(signals=signals(), metadata={"t": stamp}))

    def listen(callback: Callable[[float], None]) -> None:
        def heard(message: Any, **_: Any) -> None:
            callback(message.value.metadata["t"])

        keep.append(heard)
        connector.register(endpoint, cb=heard)
        time.sleep(0.3)

    def flood(count: int) -> None:
        pipe = connector.pipeline()
        for _ in range(count):
            connector.set_and_publish(
                endpoint, DeviceMessage(signals=signals(), metadata={"t": 0.0}), pipe=pipe
            )
        pipe.execute()

    value = EndpointInfo("public/scans/scan_number", VariableMessage, MessageOp.KEY_VALUE)
    return {"get": lambda: connector.get(value), "publish": publish, "listen": listen, "flood": flood}


def redis_py(url: str) -> dict[str, Any]:
    import redis

    from labspine.messages import DeviceMessage, decode, encode

    client = redis.Redis(unix_socket_path=url.removeprefix("unix://"))

    def publish(stamp: float) -> None:
        payload = encode(DeviceMessage(signals=signals(), metadata={"t": stamp}))
        pipe = client.pipeline()
        pipe.set("bench:redis-py", payload)
        pipe.publish("bench:redis-py", payload)
        pipe.execute()

    def listen(callback: Callable[[float], None]) -> None:
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(
            **{"bench:redis-py": lambda message: callback(decode(message["data"]).metadata["t"])}
        )
        pubsub.run_in_thread(sleep_time=1.0, daemon=True)
        time.sleep(0.3)

    def flood(count: int) -> None:
        pipe = client.pipeline()
        for _ in range(count):
            payload = encode(DeviceMessage(signals=signals(), metadata={"t": 0.0}))
            pipe.set("bench:redis-py", payload)
            pipe.publish("bench:redis-py", payload)
        pipe.execute()

    def get() -> Any:
        return decode(client.get("public/scans/scan_number"))

    return {"get": get, "publish": publish, "listen": listen, "flood": flood}


def raw(url: str) -> dict[str, Any]:
    import hiredis

    link = socket.socket(socket.AF_UNIX)
    link.connect(url.removeprefix("unix://"))
    reader = hiredis.Reader()
    key = b"public/scans/scan_number"
    words = b"*2\r\n$3\r\nGET\r\n$%d\r\n%b\r\n" % (len(key), key)

    def get() -> Any:
        link.send(words)
        reader.feed(link.recv(65536))
        return reader.gets()

    return {"get": get}


PEERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "raw": raw,
    "ours": ours,
    "ours plain": lambda url: ours(url, history=False),
    "redis-py": redis_py,
    "bec_lib": bec,
}


# --- cases: each runs in a process of its own and prints figures ---


def case_get(peer: str, url: str) -> dict[str, float]:
    from labspine.connector import RedisConnector
    from labspine.endpoints import MessageEndpoints
    from labspine.messages import VariableMessage

    with RedisConnector(url) as connector:  # 256 bytes
        connector.set(MessageEndpoints.scan_number(), VariableMessage(value="x" * 165))
    get = PEERS[peer](url)["get"]
    for _ in range(200):
        assert get() is not None
    times = []
    cpu = time.process_time()
    for _ in range(READS):
        began = time.perf_counter()
        get()
        times.append(time.perf_counter() - began)
    return {"p50_us": statistics.median(times) * 1e6, "cpu_us": (time.process_time() - cpu) / READS * 1e6}


def case_publish(peer: str, url: str) -> dict[str, float]:
    publish = PEERS[peer](url)["publish"]
    for _ in range(200):
        publish(0.0)
    cpu = time.process_time()
    for _ in range(EVENTS):
        publish(0.0)
    return {"cpu_us": (time.process_time() - cpu) / EVENTS * 1e6}


def _publisher(peer: str, url: str, count: int, pace_s: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, __file__, "--publish", peer, url, str(count), str(pace_s)], stdin=subprocess.PIPE
    )


def case_subscribe(peer: str, url: str) -> dict[str, float]:
    """Subscriber CPU a message under load, then p50 latency at 200 a second."""
    client = PEERS[peer](url)
    got: list[float] = []
    client["listen"](lambda stamp: got.append(time.time() - stamp))
    figures: dict[str, float] = {}
    for name, count, pace_s in (("cpu_us", EVENTS, 0.0), ("p50_us", PACED, 0.005)):
        got.clear()
        source = _publisher(peer, url, count, pace_s)
        assert source.stdin is not None
        cpu = time.process_time()
        source.stdin.write(b"go")
        source.stdin.close()
        deadline = time.monotonic() + 60
        while len(got) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        source.wait()
        assert len(got) == count, f"{peer}: {len(got)} of {count}"
        used = (time.process_time() - cpu) / count * 1e6
        figures[name] = used if name == "cpu_us" else statistics.median(got) * 1e6
    return figures


def case_busy_main(peer: str, url: str) -> dict[str, float]:
    """Latency of a callback while the main thread computes, with a switch interval of 50 µs."""
    client = ours(url, switch_interval_s=0.00005) if peer == "ours" else PEERS[peer](url)
    got: list[float] = []
    client["listen"](lambda stamp: got.append(time.time() - stamp))
    source = _publisher(peer, url, PACED, 0.005)
    assert source.stdin is not None
    source.stdin.write(b"go")
    source.stdin.close()
    deadline = time.monotonic() + 30
    while len(got) < PACED and time.monotonic() < deadline:
        sum(range(1000))
    source.wait()
    return {"p50_us": statistics.median(got) * 1e6}


def case_asyncio(peer: str, url: str) -> dict[str, float]:
    from labspine.connector import RedisConnector
    from labspine.endpoints import MessageEndpoints
    from labspine.messages import VariableMessage

    with RedisConnector(url) as first:
        first.set(MessageEndpoints.scan_number(), VariableMessage(value="x" * 165))

    async def run() -> dict[str, float]:
        if peer == "redis-py":
            import redis.asyncio

            client = redis.asyncio.Redis(unix_socket_path=url.removeprefix("unix://"))

            async def get() -> Any:
                return await client.get("public/scans/scan_number")
        else:
            from labspine.connector import AsyncConnector

            connector = AsyncConnector(url)

            async def get() -> Any:
                return await connector.get(MessageEndpoints.scan_number())

        async def many(count: int) -> None:
            for _ in range(count):
                await get()

        await many(100)
        times = []
        for _ in range(READS):
            began = time.perf_counter()
            await get()
            times.append(time.perf_counter() - began)
        began = time.perf_counter()
        await asyncio.gather(*[many(READS // 32) for _ in range(64)])
        rate = 64 * (READS // 32) / (time.perf_counter() - began)
        return {"p50_us": statistics.median(times) * 1e6, "us_of_64_callers": 1e6 / rate}

    return asyncio.run(run())


def case_import(peer: str, url: str) -> dict[str, float]:
    module = {"ours": "labspine.connector", "bec_lib": "bec_lib.redis_connector", "redis-py": "redis"}[peer]
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        times.append((time.perf_counter() - began) * 1000)
    return {"ms": min(times)}


def resident_mb(pid: int | str = "self") -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def case_growth(peer: str, url: str) -> dict[str, float]:
    """Growth in MB while a million events go from one process to another, after a warm-up."""
    from labspine.connector import RedisConnector
    from labspine.endpoints import MessageEndpoints

    count = 0

    def heard(message: object) -> None:
        nonlocal count
        count += 1

    with RedisConnector(url) as connector:
        connector.register(MessageEndpoints.scan_segment(), heard)
        source = subprocess.Popen([sys.executable, __file__, "--flood", url], stdout=subprocess.PIPE)
        while count < WARM_UP:
            time.sleep(0.01)
        before = resident_mb()
        server_before = connector.server_report().used_memory_bytes
        told = json.loads(source.communicate()[0])
        deadline = time.monotonic() + 60
        while count < MILLION + WARM_UP and time.monotonic() < deadline:
            time.sleep(0.01)
        assert count == MILLION + WARM_UP, f"{count} heard"
        assert connector.counters.gaps == 0
        server = (connector.server_report().used_memory_bytes - server_before) / 1e6
        return {"subscriber_mb": resident_mb() - before, "server_mb": server, **told}


def flood_with_events(url: str) -> None:
    """Send the events of `case_growth`, in pipelines, and print this process's growth and rate."""
    from labspine.connector import RedisConnector
    from labspine.endpoints import MessageEndpoints
    from labspine.messages import ScanMessage

    endpoint = MessageEndpoints.scan_segment()
    with RedisConnector(url) as connector:
        before, began = 0.0, 0.0
        for first in range(0, MILLION + WARM_UP, 500):
            if first == WARM_UP:
                before, began = resident_mb(), time.monotonic()
            with connector.pipeline() as pipe:
                for number in range(first, first + 500):
                    pipe.send(endpoint, ScanMessage(point_id=number, scan_id="s", data={}))
        rate = MILLION / (time.monotonic() - began)
        print(json.dumps({"publisher_mb": resident_mb() - before, "events_per_s": rate}))


CASES: dict[str, tuple[Callable[[str, str], dict[str, float]], list[str]]] = {
    "get": (case_get, ["raw", "ours", "redis-py", "bec_lib"]),
    "publish": (case_publish, ["ours", "ours plain", "redis-py", "bec_lib"]),
    "subscribe": (case_subscribe, ["ours", "ours plain", "redis-py", "bec_lib"]),
    "busy main thread": (case_busy_main, ["ours", "bec_lib"]),
    "asyncio": (case_asyncio, ["ours", "redis-py"]),
    "import": (case_import, ["ours", "redis-py", "bec_lib"]),
    "growth": (case_growth, ["ours"]),
}
ON_REQUEST = {"growth"}


def publish_for_another(peer: str, url: str, count: str, pace_s: str) -> None:
    client = PEERS[peer](url)
    client["publish"](time.time())
    sys.stdin.read()
    left = int(count) - 1
    while left > 0:
        if float(pace_s):
            time.sleep(float(pace_s))
            client["publish"](time.time())
            left -= 1
        else:
            client["flood"](min(50, left))
            left -= 50
    os._exit(0)


def run_case(case: str, peer: str, url: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--case", case, peer, url],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{case} {peer} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(url: str, rounds: int, only: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for turn in range(rounds):
        for case, (_, peers) in CASES.items():
            if only != case and (only or case in ON_REQUEST):
                continue
            for peer in peers[turn % len(peers) :] + peers[: turn % len(peers)]:
                for name, value in run_case(case, peer, url).items():
                    found.setdefault(case, {}).setdefault(name, {}).setdefault(peer, []).append(value)
    return found


def show(found: dict[str, Any]) -> None:
    for case, names in found.items():
        for name, peers in names.items():
            base = statistics.median(peers["ours"])
            cells = []
            for peer, values in peers.items():
                middle = statistics.median(values)
                cells.append(f"{peer} {middle:.1f} (best {min(values):.1f}, x{middle / base:.2f})")
            print(f"{case:18} {name:18} " + " | ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--publish", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--flood", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.publish:
        publish_for_another(*given.publish)
    if given.flood:
        flood_with_events(given.flood)
        return
    if given.case:
        case, peer, url = given.case
        print(json.dumps(CASES[case][0](peer, url)), flush=True)
        os._exit(0)
    from labspine.wire import embedded

    with (
        tempfile.TemporaryDirectory(prefix="labspine-bench-") as place,
        embedded.start(f"bench-{os.getpid()}", data_dir=Path(place)) as broker,
    ):
        found = compare(broker.url, given.rounds, given.only)
    show(found)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
