"""
Measure calls by OpenTera's convention: our client beside its own, on the same responder.

Run ``scripts/opentera-peer`` once, then ``python benchmarks/opentera.py [--rounds 7]``. Their client runs
in the environment of the real package, ours in this one, each in a process of its own, in interleaved
rounds; the responder is their ServiceOpenTera, then our RpcServer. Medians and ratios are printed. The codec
is measured beside it, ours against their compiled protobuf classes in their own process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "compat"))
CALLS = 500
MESSAGES = 5000


def seconds_each(action: Callable[[int], object], count: int) -> float:
    begin = time.perf_counter()
    for number in range(count):
        action(number)
    return (time.perf_counter() - begin) / count


def our_rate(port: int, key: str) -> None:
    """Call in a process of its own; prints seconds a call by one thread, and by eight."""
    from concurrent.futures import ThreadPoolExecutor

    from labspine import RedisConnector
    from labspine.compat.opentera import RpcClient

    with RedisConnector(f"redis://127.0.0.1:{port}") as bus, RpcClient(bus) as rpc:
        assert rpc.call_service(key, "add", 20, 22) == 42
        alone_s = seconds_each(lambda n: rpc.call_service(key, "add", n, 22), CALLS)
        with ThreadPoolExecutor(8) as pool:
            begin = time.perf_counter()
            assert all(pool.map(lambda n: rpc.call_service(key, "add", n, 22) == n + 22, range(CALLS)))
            together_s = (time.perf_counter() - begin) / CALLS
    print(json.dumps([alone_s, together_s]))


def serve(port: int) -> None:
    """Serve until the standard input ends."""
    from labspine import RedisConnector
    from labspine.compat.opentera import RpcServer

    def add(a: int, b: int) -> int:
        return a + b

    with RedisConnector(f"redis://127.0.0.1:{port}") as bus, RpcServer(bus, add, key="ours"):
        print("ready", flush=True)
        sys.stdin.read()


def codec() -> tuple[float, float]:
    """Return seconds for writing and for reading one request of ours."""
    from labspine.compat.opentera import RPCMessage
    from labspine.messages import decode, encode

    message = RPCMessage(method="add", reply_to="labspine.rpc.0123456789", id=7, args=[20, 2.5, "text", True])
    payload = encode(message)
    write_s = seconds_each(lambda _: encode(message), MESSAGES)
    return write_s, seconds_each(lambda _: decode(payload, RPCMessage), MESSAGES)


def run_ours(port: int, key: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, __file__, "--rate", str(port), key],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found: list[float] = json.loads(done.stdout)
    return found


def broker(directory: str) -> tuple[subprocess.Popen[bytes], int]:
    import socket

    from conftest import answers  # type: ignore[import-not-found]  # of tests/compat
    from labspine.testing.waiting import wait_until
    from labspine.wire.embedded.binary import find_binary

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        str(find_binary()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        directory,
        "--save",
        "",
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: answers(port), timeout_s=15.0, what="the broker")
    return server, port


def measure(rounds: int) -> dict[str, Any]:
    from conftest import TOPICS, OpenTera
    from labspine.testing.waiting import wait_until

    python = ROOT / ".venv" / "opentera" / "bin" / "python"
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        server, port = broker(directory)
        peer = OpenTera(python, port, Path(directory) / "log")
        service = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert service.stdout is not None
            service.stdout.readline()
            wait_until(
                lambda: peer.topics_served() >= TOPICS, timeout_s=20.0, what="OpenTera's subscriptions"
            )
            for _ in range(rounds):
                for responder, key in (("theirs", "PeerService"), ("ours", "ours")):
                    theirs_s = peer.rate(key, "add", CALLS)
                    alone_s, together_s = run_ours(port, key)
                    for name, value in (
                        ("their client", theirs_s),
                        ("our client", alone_s),
                        ("our client, 8 threads", together_s),
                    ):
                        found.setdefault(f"{name} on {responder}", []).append(value)
                their_codec, our_codec = peer.codec_rate(MESSAGES), codec()
                for name, theirs_s, ours_s in zip(("write", "read"), their_codec, our_codec, strict=True):
                    found.setdefault(f"{name} a request, theirs", []).append(theirs_s)
                    found.setdefault(f"{name} a request, ours", []).append(ours_s)
        finally:
            peer.close()
            service.communicate(timeout=10)
            server.terminate()
            server.wait(10)
    return {
        name: {"median_us": statistics.median(values) * 1e6, "all_us": [round(v * 1e6, 1) for v in values]}
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rate", nargs=2)
    parser.add_argument("--serve", type=int)
    options = parser.parse_args()
    if options.rate:
        our_rate(int(options.rate[0]), options.rate[1])
        return
    if options.serve:
        serve(options.serve)
        return
    found = measure(options.rounds)
    for name, row in found.items():
        print(f"{name:40s} {row['median_us']:9.1f} us")
    for responder in ("theirs", "ours"):
        theirs = found[f"their client on {responder}"]["median_us"]
        for name in ("our client", "our client, 8 threads"):
            ratio = theirs / found[f"{name} on {responder}"]["median_us"]
            print(f"calls a second, {name} on {responder}: {ratio:.1f} x")
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "cases": found,
    }
    (ROOT / "benchmarks" / "results" / "opentera.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
