"""A scan server dies in the middle: nothing that waits is lost, nothing runs twice silently."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.lab import Lab, ScanServer, connect, default_plans, simulated_beamline
from labspine.messages import ScanStatusMessage

WAIT_S = 20.0

SERVER = """
import signal, sys, threading
from labspine.connector import RedisConnector
from labspine.lab import ScanServer, default_plans, simulated_beamline
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
with RedisConnector(sys.argv[1], name="scan_server") as connector:
    server = ScanServer(connector, simulated_beamline(speed=5.0, seed=1), default_plans())
    server.start()
    print("ready", flush=True)
    while not ended.wait(0.2):  # a signal may reach another thread, which does not wake up this one
        pass
    server.stop()
"""


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"in {timeout_s} s it did not happen: {what}"
        time.sleep(0.005)


@pytest.fixture
def lab(fresh_broker_url: str) -> Iterator[Lab]:
    with connect(fresh_broker_url) as client:
        yield client


@pytest.fixture
def server(lab: Lab) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVER, lab.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        yield process
    finally:
        process.kill()
        process.wait(10)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def points_of(lab: Lab, scan_id: str) -> int:
    return len(lab.connector.keys(MessageEndpoints.pattern("public_scan_segment", scan_id=scan_id)))


@pytest.mark.fault
def test_killed_server_is_reported_and_the_waiting_requests_go_on(
    lab: Lab, server: subprocess.Popen[str]
) -> None:
    heard: list[ScanStatusMessage] = []
    lab.connector.register(MessageEndpoints.scan_status(), lambda m: heard.append(m.value))
    running = lab.scans.scan(["det"], "x", -5, 5, 500)
    waiting = [lab.scans.count(["det"], 2), lab.scans.scan(["det2"], "y", 0, 1, 3)]
    scan_id = running.wait_begun(WAIT_S)
    wait_until(lambda: points_of(lab, scan_id) >= 3, "first points")

    os.kill(server.pid, signal.SIGKILL)
    server.wait(10)
    died = lab.connector.get(MessageEndpoints.scan_status())
    assert died.status == "open", "nobody could say that it ended"
    announced = points_of(lab, scan_id)

    with RedisConnector(lab.url, name="scan_server") as connector:
        successor = ScanServer(connector, simulated_beamline(speed=100.0), default_plans())
        successor.start()
        try:
            assert running.wait(WAIT_S).status == "aborted"
            assert "died" in (running.error or "")
            for report in waiting:
                assert report.wait(WAIT_S).status == "closed", report.error
        finally:
            successor.stop()
    lost = lab.connector.get(MessageEndpoints.public_scan_info(scan_id))
    assert (lost.status, lost.reason, lost.num_monitored_readouts) == ("aborted", "alarm", announced)
    assert [report.scan_number for report in waiting] == [2, 3], "numbers count on"
    assert [m.status for m in heard if m.scan_id == scan_id] == ["open", "aborted"], "it was not run again"
    history = lab.connector.lrange(MessageEndpoints.scan_queue_history(), 0, -1)
    assert [(entry.status, entry.info["reason"]) for entry in history] == [
        ("COMPLETED", None),
        ("COMPLETED", None),
        ("STOPPED", "restart"),
    ]
    assert lab.connector.llen(MessageEndpoints.scan_queue_waiting()) == 0
    assert lab.connector.llen(MessageEndpoints.scan_queue_waiting("primary.running")) == 0
    assert lab.connector.get(MessageEndpoints.alarm()).info.exception_type == "ScanInterrupted"
    assert [m.point_id for m in lab.segments(scan_id, timeout_s=WAIT_S)] == list(range(announced))


@pytest.mark.fault
def test_terminated_server_ends_in_time_without_a_traceback(lab: Lab, server: subprocess.Popen[str]) -> None:
    running = lab.scans.scan(["det"], "x", -5, 5, 500)
    waiting = lab.scans.count(["det"], 2)
    running.wait_begun(WAIT_S)
    began = time.monotonic()
    server.terminate()
    assert server.wait(10) == 0
    assert time.monotonic() - began < 3.0
    assert server.stderr is not None
    assert server.stderr.read() == ""
    assert running.wait(WAIT_S).status == "aborted"
    assert waiting.status == "waiting"
    assert lab.connector.llen(MessageEndpoints.scan_queue_waiting()) == 1
