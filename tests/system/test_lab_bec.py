"""In profile bec4 a client of BEC sees our scans, and our client works on BEC's channel names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bec_lib import messages as bec_messages
from bec_lib.endpoints import MessageEndpoints as BecEndpoints
from bec_lib.redis_connector import RedisConnector as BecConnector

from labspine.connector import RedisConnector
from labspine.lab import DeviceServer, Lab, ScanServer, connect, default_plans, simulated_beamline

WAIT_S = 20.0


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"in {timeout_s} s it did not happen: {what}"
        time.sleep(0.005)


@pytest.fixture
def lab(fresh_broker_url: str) -> Iterator[Lab]:
    registry = simulated_beamline(speed=200.0, seed=1)
    with (
        RedisConnector(fresh_broker_url, profile="bec4") as first,
        RedisConnector(fresh_broker_url, profile="bec4") as second,
        connect(fresh_broker_url, profile="bec4") as client,
    ):
        devices, scans = DeviceServer(first, registry), ScanServer(second, registry, default_plans())
        devices.start()
        scans.start()
        yield client
        assert scans.stop()
        devices.stop()


@pytest.fixture
def bec(lab: Lab) -> Iterator[BecConnector]:
    connector = BecConnector("unused:1", unix_socket_path=lab.url.removeprefix("unix://"))
    yield connector
    connector.shutdown()


def test_client_of_bec_hears_the_points_and_reads_the_scan(lab: Lab, bec: BecConnector) -> None:
    points: list[int] = []

    def take(message: Any, **_: object) -> None:
        values = message.value if isinstance(message.value, list) else [message.value]
        points.extend(value.content["point_id"] for value in values)

    bec.register(BecEndpoints.scan_segment(), cb=take)
    time.sleep(
        0.3
    )  # bec_lib returns from register before the server has confirmed; it offers nothing to wait for
    report = lab.scans.scan(["det"], "x", -5, 5, 21).wait(WAIT_S)
    wait_until(lambda: len(points) >= 21, "all points at bec_lib")
    assert points == list(range(21))
    status = bec.get(BecEndpoints.scan_status())
    assert isinstance(status, bec_messages.ScanStatusMessage)
    assert (status.scan_id, status.status, status.num_monitored_readouts) == (report.scan_id, "closed", 21)
    reading = bec.get(BecEndpoints.device_read("x"))
    assert set(reading.content["signals"]) == {"x", "x_setpoint"}
    queue = bec.get(BecEndpoints.scan_queue_status())
    assert isinstance(queue, bec_messages.ScanQueueStatusMessage)
    info = bec.get(BecEndpoints.public_scan_info(report.scan_id))
    assert info.content["readout_priority"]["monitored"] == ["x", "det"]
    baseline = bec.get(BecEndpoints.public_scan_baseline(report.scan_id))
    assert "temperature" in baseline.content["data"]


def test_button_of_bec_aborts_our_scan(lab: Lab, bec: BecConnector) -> None:
    report = lab.scans.count(["det"], 1000, delay=0.01)
    report.wait_begun(WAIT_S)
    abort = bec_messages.ScanQueueModificationMessage(scan_id=report.scan_id, action="abort", parameter={})
    bec.send(BecEndpoints.scan_queue_modification_request(), abort)
    assert report.wait(WAIT_S).status == "aborted"


def test_our_client_follows_bundled_points(lab: Lab) -> None:
    report = lab.scans.count(["det"], 50)
    report.wait_begun(WAIT_S)
    assert [m.point_id for m in lab.segments(report.scan_id, timeout_s=WAIT_S)] == list(range(50))
