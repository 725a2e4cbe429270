"""Pause, resume, abort and the order of the queue, through the bus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import ConfigError, DeviceError, NoScanServer
from labspine.lab import (
    DeviceRegistry,
    Lab,
    PlanRegistry,
    ScanServer,
    connect,
    default_plans,
    simulated_beamline,
)
from labspine.lab.simulation import SimDetector, SimStatus, Timeline
from labspine.messages import ScanQueueModificationMessage

WAIT_S = 20.0


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"in {timeout_s} s it did not happen: {what}"
        time.sleep(0.005)


class FallingDetector(SimDetector):
    """A detector that breaks at its third exposure, as real ones do."""

    def trigger(self) -> SimStatus:
        self.exposures = getattr(self, "exposures", 0) + 1
        if self.exposures == 3:
            raise DeviceError("the detector fell off")
        return super().trigger()


@pytest.fixture
def registry() -> DeviceRegistry:
    registry = simulated_beamline(speed=20.0, seed=1)
    registry.add(FallingDetector("falling", timeline=Timeline(20.0), rate_per_s=lambda: 100.0))
    return registry


@pytest.fixture
def plans() -> PlanRegistry:
    return default_plans()


@pytest.fixture
def server(fresh_broker_url: str, registry: DeviceRegistry, plans: PlanRegistry) -> Iterator[ScanServer]:
    with RedisConnector(fresh_broker_url, name="scan_server") as connector:
        server = ScanServer(connector, registry, plans)
        server.start()
        yield server
        assert server.stop(timeout_s=2.0)


@pytest.fixture
def lab(server: ScanServer, fresh_broker_url: str) -> Iterator[Lab]:
    with connect(fresh_broker_url) as client:
        yield client


def points_of(lab: Lab, scan_id: str) -> int:
    return len(lab.connector.keys(MessageEndpoints.pattern("public_scan_segment", scan_id=scan_id)))


def begun(lab: Lab, points: int = 5) -> Any:
    """Start a long scan and wait for its first points."""
    report = lab.scans.scan(["det"], "x", -5, 5, 400)
    scan_id = report.wait_begun(WAIT_S)
    wait_until(lambda: points_of(lab, scan_id) >= points, "first points")
    return report


@pytest.mark.parametrize("at_once", [False, True])
def test_pause_and_resume_lose_and_repeat_nothing(lab: Lab, registry: DeviceRegistry, at_once: bool) -> None:
    seen: list[int] = []
    report = lab.scans.scan(["det"], "x", -5, 5, 60)
    scan_id = report.wait_begun(WAIT_S)
    reader = threading.Thread(
        target=lambda: seen.extend(m.point_id for m in lab.segments(scan_id, timeout_s=WAIT_S))
    )
    reader.start()
    for pause_after in (10, 25):
        wait_until(lambda n=pause_after: points_of(lab, scan_id) >= n, "points before the pause")
        lab.pause(at_once=at_once)
        wait_until(lambda: report.status == "paused", "paused")
        assert lab.queue_status()["info"][0]["status"] == "PAUSED"
        here, where = points_of(lab, scan_id), registry["x"].position  # type: ignore[attr-defined]
        time.sleep(0.05)  # real time passes: nothing may happen in a pause
        assert points_of(lab, scan_id) == here
        assert registry["x"].position == where  # type: ignore[attr-defined]
        lab.resume()
        wait_until(lambda: report.status == "open", "going on")
    report.wait(WAIT_S)
    reader.join(WAIT_S)
    assert report.status == "closed"
    assert seen == list(range(60))


@pytest.mark.parametrize(
    ("call", "status"), [("abort", "aborted"), ("halt", "halted"), ("finish", "user_completed")]
)
@pytest.mark.parametrize("paused_first", [False, True])
def test_scan_ends_early_in_each_way(
    lab: Lab, registry: DeviceRegistry, call: str, status: str, paused_first: bool
) -> None:
    report = begun(lab)
    if paused_first:
        lab.pause(at_once=True)
        wait_until(lambda: report.status == "paused", "paused")
    began = time.monotonic()
    getattr(lab, call)()
    report.wait(WAIT_S)
    assert time.monotonic() - began < 2.0
    assert report.status == status
    last = lab.scan_status()
    assert last is not None
    assert last.reason == (None if status == "closed" else "user")
    assert 5 <= (last.num_monitored_readouts or 0) < 400
    assert points_of(lab, report.scan_id) == last.num_monitored_readouts
    assert not registry["x"].is_moving  # type: ignore[attr-defined]
    following = lab.scans.count(["det"]).wait(WAIT_S)
    assert (following.status, following.scan_number) == ("closed", 2)


def test_three_requests_run_in_order(lab: Lab) -> None:
    running: list[list[tuple[str, str]]] = []

    def look(message: MessageObject) -> None:
        entries = message.value.queue["primary"]["info"]
        running.append([(e["request_blocks"][0]["msg"]["scan_type"], e["status"]) for e in entries])

    lab.connector.register(MessageEndpoints.scan_queue_status(), look)
    first = lab.scans.count(["det"], 30, delay=0.02)
    second = lab.scans.scan(["det"], "x", 0, 1, 5)
    third = lab.scans.rel_scan(["det2"], "y", -1, 1, 3)
    assert len(lab.queue_status()["info"]) == 3
    for report in (first, second, third):
        report.wait(WAIT_S)
        assert report.status == "closed"
    assert [r.scan_number for r in (first, second, third)] == [1, 2, 3]
    wait_until(lambda: lab.queue_status()["info"] == [], "empty queue")
    assert [("count", "RUNNING"), ("scan", "PENDING"), ("rel_scan", "PENDING")] in running
    names = [e.info["request_blocks"][0]["msg"]["scan_type"] for e in lab.connector.lrange(
        MessageEndpoints.scan_queue_history(), 0, -1)]  # fmt: skip
    assert names == ["rel_scan", "scan", "count"]


def test_waiting_requests_can_be_taken_out(lab: Lab) -> None:
    running = begun(lab)
    waiting = [lab.scans.count(["det"]) for _ in range(3)]
    only = ScanQueueModificationMessage(action="abort", parameter={}, request_id=waiting[1].rid)
    lab.connector.send(MessageEndpoints.scan_queue_modification_request(), only)
    assert waiting[1].wait(WAIT_S).status == "aborted"
    assert running.status == "open"
    lab.clear_queue()
    assert [report.wait(WAIT_S).status for report in waiting] == ["aborted"] * 3
    assert len(lab.queue_status()["info"]) == 1
    lab.abort()
    running.wait(WAIT_S)


def test_a_button_pressed_for_an_old_scan_does_not_touch_the_new_one(lab: Lab) -> None:
    old = lab.scans.count(["det"]).wait(WAIT_S)
    new = begun(lab)
    late = ScanQueueModificationMessage(action="abort", parameter={}, scan_id=old.scan_id)
    lab.connector.send(MessageEndpoints.scan_queue_modification_request(), late)
    notes = lambda: lab.connector.get_last(MessageEndpoints.client_info())  # noqa: E731
    wait_until(lambda: notes() is not None, "a note to the people")
    assert new.status == "open"
    meant = ScanQueueModificationMessage(action="abort", parameter={}, scan_id=new.scan_id)
    lab.connector.send(MessageEndpoints.scan_queue_modification_request(), meant)
    assert new.wait(WAIT_S).status == "aborted"


def test_failing_plan_raises_an_alarm_and_the_queue_goes_on(lab: Lab) -> None:
    failing = lab.scans.count(["falling"], 5)
    after = lab.scans.count(["det"])
    assert failing.wait(WAIT_S).status == "aborted"
    assert "the detector fell off" in (failing.error or "")
    status = lab.connector.get(MessageEndpoints.public_scan_info(failing.scan_id or ""))
    assert (status.reason, status.info["exit_status"]) == ("alarm", "fail")
    assert status.num_monitored_readouts == 2
    assert after.wait(WAIT_S).status == "closed"
    alarm = lab.connector.get(MessageEndpoints.alarm())
    assert alarm.severity == 2
    assert alarm.info.exception_type == "DeviceError"
    assert "the detector fell off" in alarm.info.error_message


def test_second_scan_server_is_refused(lab: Lab, registry: DeviceRegistry, plans: PlanRegistry) -> None:
    with RedisConnector(lab.url) as connector:
        second = ScanServer(connector, registry, plans)
        with pytest.raises(ConfigError, match="serves this broker already"):
            second.start()
        second.stop()
    assert lab.scans.count(["det"]).wait(WAIT_S).status == "closed"


def test_stop_during_a_scan_is_quick_and_leaves_no_thread(
    fresh_broker_url: str, registry: DeviceRegistry, plans: PlanRegistry
) -> None:
    with connect(fresh_broker_url) as lab:
        before = set(threading.enumerate())
        with RedisConnector(fresh_broker_url, name="scan_server") as connector:
            server = ScanServer(connector, registry, plans)
            server.start()
            report = begun(lab)
            waiting = lab.scans.count(["det"])
            began = time.monotonic()
            assert server.stop(timeout_s=2.0)
            assert time.monotonic() - began < 2.0
        assert report.wait(WAIT_S).status == "aborted"
        assert waiting.status == "waiting"
        assert not registry["x"].is_moving  # type: ignore[attr-defined]
        assert lab.connector.llen(MessageEndpoints.scan_queue_waiting()) == 1
        assert lab.connector.get(MessageEndpoints.service_status("scan_server")) is None
        own = lambda: [t for t in set(threading.enumerate()) - before if not t.name.startswith("labspine-")]  # noqa: E731
        wait_until(lambda: not own(), f"threads ended: {own()}")


def test_wait_ends_when_the_scan_server_vanishes(fresh_broker_url: str, registry: DeviceRegistry) -> None:
    with connect(fresh_broker_url) as lab, RedisConnector(fresh_broker_url) as connector:
        server = ScanServer(connector, registry, default_plans())
        server.start()
        begun(lab)
        waiting = lab.scans.count(["det"])
        server.stop()
        began = time.monotonic()
        with pytest.raises(NoScanServer, match="has vanished"):
            waiting.wait(WAIT_S)
        assert time.monotonic() - began < 12.0
