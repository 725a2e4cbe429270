"""All services in one process, and what happens when the broker or the host goes away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import ConfigError, NotConnected
from labspine.lab import LabHost, connect, resolve_url, simulated_beamline
from labspine.messages import ScanMessage
from labspine.wire.embedded import EmbeddedBroker

WAIT_S = 20.0

HOST = """
import signal, sys, threading
from labspine.lab import LabHost, simulated_beamline
ended = threading.Event()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: ended.set())
with LabHost(sys.argv[1], simulated_beamline(speed=5.0), data_dir=sys.argv[2]):
    print("ready", flush=True)
    while not ended.wait(0.2):  # a signal may reach another thread, which does not wake up this one
        pass
"""


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"in {timeout_s} s it did not happen: {what}"
        time.sleep(0.005)


@pytest.fixture
def host_process(fresh_broker_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOST, fresh_broker_url, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_scan_through_the_host_ends_in_a_file(fresh_broker_url: str, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    host = LabHost(fresh_broker_url, simulated_beamline(speed=200.0, seed=3), data_dir=tmp_path)
    with host, connect(fresh_broker_url) as lab:
        report = lab.scans.scan(["det"], "x", -5, 5, 21).wait(WAIT_S)
        path = Path(report.file_path or "")
        assert path.is_file()
        assert tmp_path in path.parents
    host.stop()  # twice does nothing
    left = lambda: [t.name for t in set(threading.enumerate()) - before]  # noqa: E731
    wait_until(lambda: not left(), f"all threads ended: {left()}")


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_host_ends_within_three_seconds_during_a_scan(
    fresh_broker_url: str, host_process: subprocess.Popen[str], signal_number: signal.Signals
) -> None:
    with connect(fresh_broker_url) as lab:
        report = lab.scans.scan(["det"], "x", -5, 5, 500)
        report.wait_begun(WAIT_S)
        began = time.monotonic()
        os.kill(host_process.pid, signal_number)
        assert host_process.wait(10) == 0
        assert time.monotonic() - began < 3.0
        assert report.wait(WAIT_S).status == "aborted"
    assert host_process.stderr is not None
    assert host_process.stderr.read() == ""


def test_host_without_broker_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    host = LabHost(f"unix://{tmp_path}/nobody.sock", simulated_beamline(), data_dir=tmp_path)
    with pytest.raises(NotConnected):
        host.start()
    wait_until(lambda: not set(threading.enumerate()) - before, "threads ended")


@pytest.mark.fault
@pytest.mark.slow
def test_scan_goes_on_while_the_broker_is_frozen_and_nothing_is_lost(
    broker_process: EmbeddedBroker, tmp_path: Path
) -> None:
    points: list[int] = []

    def take(message: object) -> None:
        value = message.value  # type: ignore[attr-defined]
        if isinstance(value, ScanMessage):
            points.append(value.point_id)

    url = broker_process.url
    registry = simulated_beamline(speed=20.0, seed=3)
    with LabHost(url, registry, data_dir=tmp_path), connect(url) as lab, RedisConnector(url) as other:
        other.register(MessageEndpoints.scan_segment(), take)
        report = lab.scans.count(["det"], 300, delay=0.01)
        wait_until(lambda: len(points) > 20, "first points")
        os.kill(broker_process.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            detector = registry["det"]
            seen = {detector.read()["det"]["timestamp"]}  # type: ignore[attr-defined]
            while time.monotonic() - began < 3.0:
                seen.add(detector.read()["det"]["timestamp"])  # type: ignore[attr-defined]
                time.sleep(0.01)
            assert len(seen) > 100, "the engine did not wait for the broker"
        finally:
            os.kill(broker_process.pid, signal.SIGCONT)
        assert report.wait(30).status == "closed"
        wait_until(lambda: len(points) >= 300, "all points")
    assert points == list(range(300))


def test_address_is_looked_for_in_a_fixed_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = {"LABSPINE_URL": "redis://first", "REDIS_URL": "redis://second"}
    assert resolve_url("given:1", environ=both) == "given:1"
    assert resolve_url(environ=both) == "redis://first"
    assert resolve_url(environ={"REDIS_URL": "redis://second"}) == "redis://second"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(ConfigError, match="labspine up --demo"):
        resolve_url(environ={})
