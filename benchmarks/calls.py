"""
Measure calls beside a bare GET, beside bare sockets, and beside OpenTera's own client and service.

Run ``scripts/opentera-peer`` once, then ``python benchmarks/calls.py [--rounds 7]``; without the real
package its rows are left out. Broker, services and callers are processes of their own on one TCP port. The
figures are p50 and rate of one caller, rates of 32 tasks and of 32 threads; medians of interleaved
rounds, and the ratios to a GET of the same round (the quicker one of two series).
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
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "compat"))
CALLS = 2000
THEIR_CALLS = 320
TEXT = "x" * 100


def bare_get(port: int) -> float:
    """Return the p50 of a GET over a socket and a parser, and nothing else."""
    import hiredis

    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = hiredis.Reader()
    ask = b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\n"
    took = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        link.sendall(ask)
        while True:
            reader.feed(link.recv(65536))
            if reader.gets() is not False:
                break
        took.append(time.perf_counter() - begin)
    link.close()
    return statistics.median(took)


def serve(port: int) -> None:
    """Serve until the standard input ends."""
    from labspine.service import Service

    service = Service("bench", url=f"redis://127.0.0.1:{port}")

    @service.procedure
    def echo(text: str) -> str:
        return text

    with service:
        print("ready", flush=True)
        sys.stdin.read()


def call(port: int) -> None:
    """Call in a process of its own; prints GET, p50 and the rates."""
    from labspine.service import AsyncRpc, Rpc

    url = f"redis://127.0.0.1:{port}"
    with Rpc(url, timeout_s=60.0) as rpc:
        for _ in range(200):
            rpc.call_service("bench", "echo", TEXT)
        get_s = bare_get(port)
        took = []
        cpu = time.process_time()
        for _ in range(CALLS):
            begin = time.perf_counter()
            rpc.call_service("bench", "echo", TEXT)
            took.append(time.perf_counter() - begin)
        cpu = (time.process_time() - cpu) / CALLS
        get_s = min(get_s, bare_get(port))  # on a loaded machine one of them may be three times the other

        def some() -> None:
            for _ in range(CALLS // 32):
                rpc.call_service("bench", "echo", TEXT)

        threads = [threading.Thread(target=some) for _ in range(32)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        threads_rate = CALLS // 32 * 32 / (time.perf_counter() - begin)

    async def tasks() -> float:
        async with AsyncRpc(url, timeout_s=60.0) as client:

            async def some(count: int) -> None:
                for _ in range(count):
                    await client.call_service("bench", "echo", TEXT)

            await some(100)
            begin = time.perf_counter()
            await asyncio.gather(*(some(CALLS * 4 // 32) for _ in range(32)))
            return CALLS * 4 // 32 * 32 / (time.perf_counter() - begin)

    tasks_rate = asyncio.run(tasks())
    print(
        json.dumps([get_s, statistics.median(took), 1 / statistics.mean(took), tasks_rate, threads_rate, cpu])
    )


def run(*words: object) -> list[float]:
    done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, timeout=300)
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(rounds: int) -> dict[str, list[float]]:
    from conftest import TOPICS, OpenTera  # type: ignore[import-not-found]  # of tests/compat
    from labspine.testing.waiting import wait_until
    from opentera import broker  # type: ignore[import-not-found]  # benchmarks/opentera.py beside this

    python = ROOT / ".venv" / "opentera" / "bin" / "python"
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        server, port = broker(directory)
        service = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        peer = OpenTera(python, port, Path(directory) / "log") if python.exists() else None
        try:
            assert service.stdout is not None
            service.stdout.readline()
            if peer is not None:
                wait_until(lambda: peer.topics_served() >= TOPICS, timeout_s=20.0, what="OpenTera")
            for _ in range(rounds):
                get_s, p50_s, alone, tasks, threads, cpu_s = run(sys.executable, __file__, "--call", port)
                raw = run(sys.executable, ROOT / "benchmarks" / "peers" / "raw_calls.py", port, CALLS)
                get_s, stream_s, channel_s = min(get_s, raw[0]), raw[1], raw[2]
                row = {
                    "GET, p50 us": get_s * 1e6,
                    "bare sockets, stream and list, p50 x GET": stream_s / get_s,
                    "bare sockets, PUBLISH both ways, p50 x GET": channel_s / get_s,
                    "ours, p50 us": p50_s * 1e6,
                    "ours, p50 x GET": p50_s / get_s,
                    "ours, p50 x bare sockets": p50_s / stream_s,
                    "ours, caller's CPU us": cpu_s * 1e6,
                    "ours, calls/s, 1 caller": alone,
                    "ours, calls/s, 32 tasks": tasks,
                    "ours, calls/s, 32 threads": threads,
                }
                if peer is not None:
                    program = ROOT / "benchmarks" / "peers" / "opentera_calls.py"
                    their_p50_s, one, many = run(python, program, port, "PeerService", THEIR_CALLS)
                    row |= {
                        "OpenTera, p50 us": their_p50_s * 1e6,
                        "OpenTera, p50 x GET": their_p50_s / get_s,
                        "OpenTera, calls/s, 1 caller": one,
                        "OpenTera, calls/s, 32 threads": many,
                        "calls/s, 1 caller, ours / OpenTera": alone / one,
                        "calls/s, 32 callers, ours / OpenTera": tasks / many,
                    }
                for name, value in row.items():
                    found.setdefault(name, []).append(value)
        finally:
            if peer is not None:
                peer.close()
            service.communicate(timeout=10)
            server.terminate()
            server.wait(10)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--call", type=int)
    parser.add_argument("--serve", type=int)
    options = parser.parse_args()
    if options.call:
        call(options.call)
        return
    if options.serve:
        serve(options.serve)
        return
    found = measure(options.rounds)
    for name, values in found.items():
        print(
            f"{name:44s} median {statistics.median(values):10.1f}   {min(values):10.1f} .. {max(values):.1f}"
        )
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "cases": {
            name: {"median": statistics.median(values), "all": [round(v, 1) for v in values]}
            for name, values in found.items()
        },
    }
    (ROOT / "benchmarks" / "results" / "calls.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
