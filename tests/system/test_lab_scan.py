"""A scan runs, and everybody sees it: real broker, real engine, real bluesky plans."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import NoScanServer, RequestRefused
from labspine.lab import (
    DeviceServer,
    Lab,
    ScanServer,
    connect,
    default_plans,
    simulated_beamline,
    words_to_request,
)
from labspine.messages import BECStatus, ScanMessage, ScanStatusMessage

WAIT_S = 20.0


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"in {timeout_s} s it did not happen: {what}"
        time.sleep(0.005)


class Heard:
    """What a subscriber has heard, bundles taken apart."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.topics: list[str] = []

    def __call__(self, message: MessageObject, **_: object) -> None:
        values = message.value if isinstance(message.value, list) else [message.value]
        self.messages.extend(values)
        self.topics.append(message.topic)

    def points(self) -> list[int]:
        return [m.point_id for m in self.messages if isinstance(m, ScanMessage)]

    def statuses(self) -> list[str]:
        return [m.status for m in self.messages if isinstance(m, ScanStatusMessage)]


@pytest.fixture
def lab(fresh_broker_url: str) -> Iterator[Lab]:
    registry = simulated_beamline(speed=200.0, seed=1)
    with (
        RedisConnector(fresh_broker_url, name="device_server") as first,
        RedisConnector(fresh_broker_url, name="scan_server") as second,
        connect(fresh_broker_url) as client,
    ):
        devices, scans = DeviceServer(first, registry), ScanServer(second, registry, default_plans())
        devices.start()
        scans.start()
        yield client
        assert scans.stop(timeout_s=2.0)
        devices.stop()


def test_subscriber_from_before_the_scan_gets_each_point_once_and_in_order(lab: Lab) -> None:
    with RedisConnector(lab.url) as other:
        heard, statuses = Heard(), Heard()
        other.register(MessageEndpoints.scan_segment(), heard)
        other.register(MessageEndpoints.scan_status(), statuses)
        report = lab.scans.scan(["det"], "x", -5, 5, 101, md={"sample": "LaB6"}).wait(WAIT_S)
        assert report.status == "closed"
        wait_until(lambda: len(heard.messages) >= 101 and "closed" in statuses.statuses(), "all points")
    assert heard.points() == list(range(101))
    assert statuses.statuses() == ["open", "closed"]
    positions = [m.data["x"]["x"]["value"] for m in heard.messages]
    assert positions == pytest.approx([-5 + 0.1 * i for i in range(101)])
    counts = [m.data["det"]["det"]["value"] for m in heard.messages]
    assert 40 <= counts.index(max(counts)) <= 60
    first, last = statuses.messages
    assert first.info["data_keys"]["det"]["det"] == {"dtype": "integer", "shape": [], "units": "counts"}
    assert first.readout_priority["monitored"] == ["x", "det"]
    assert first.user_metadata == {"sample": "LaB6"}
    assert (first.num_points, first.scan_number, first.scan_name) == (101, 1, "scan")
    assert first.info["scan_args"]["args"] == [["det"], "x", -5, 5, 101]
    assert last.num_monitored_readouts == 101
    assert last.metadata["RID"] == report.rid


def test_everything_of_the_scan_can_be_read_afterwards(lab: Lab) -> None:
    report = lab.scans.scan(["det", "i0"], "x", -1, 1, 5).wait(WAIT_S)
    scan_id = report.scan_id or ""
    get = lab.connector.get
    assert get(MessageEndpoints.public_scan_info(scan_id)).status == "closed"
    assert get(MessageEndpoints.scan_status()).scan_id == scan_id
    assert get(MessageEndpoints.scan_number()).content["value"] == 1
    assert set(get(MessageEndpoints.public_scan_segment(scan_id, 4)).data) == {"x", "det", "i0"}
    baseline = get(MessageEndpoints.public_scan_baseline(scan_id))
    assert set(baseline.data) == {"x", "y", "th", "temperature", "ring"}
    assert get(MessageEndpoints.scan_baseline()).scan_id == scan_id
    wait_until(lambda: get(MessageEndpoints.scan_progress()).done, "progress done")
    progress = get(MessageEndpoints.scan_progress())
    assert (progress.value, progress.max_value) == (5.0, 5.0)
    history = lab.connector.lrange(MessageEndpoints.scan_queue_history(), 0, -1)
    assert [entry.status for entry in history] == ["COMPLETED"]
    assert history[0].info["scan_id"] == [scan_id]
    assert lab.connector.llen(MessageEndpoints.scan_queue_waiting()) == 0


def test_joiner_in_the_middle_gets_all_points_from_the_first(lab: Lab) -> None:
    report = lab.scans.count(["det"], 60, delay=0.02)
    scan_id = report.wait_begun(WAIT_S)
    place = MessageEndpoints.public_scan_segment(scan_id, 10)
    wait_until(lambda: lab.connector.get(place) is not None, "point 10")
    with connect(lab.url) as late:
        seen = [m.point_id for m in late.segments(timeout_s=WAIT_S)]
        assert seen == list(range(60))
        again = [m.point_id for m in late.segments(scan_id, timeout_s=WAIT_S)]
        assert again == list(range(60))
    assert report.wait(WAIT_S).status == "closed"


def test_segments_without_replay_begin_with_the_next_point(lab: Lab) -> None:
    report = lab.scans.count(["det"], 60, delay=0.02)
    scan_id = report.wait_begun(WAIT_S)
    place = MessageEndpoints.public_scan_segment(scan_id, 10)
    wait_until(lambda: lab.connector.get(place) is not None, "point 10")
    seen = [m.point_id for m in lab.segments(from_start=False, timeout_s=WAIT_S)]
    assert seen[0] > 5
    assert seen == list(range(seen[0], 60))


def test_segments_wait_for_the_next_scan(lab: Lab) -> None:
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.extend(m.point_id for m in lab.segments(timeout_s=WAIT_S)))
    reader.start()
    lab.scans.count(["det"], 20, delay=0.02).wait(WAIT_S)
    reader.join(WAIT_S)
    assert seen == list(range(20))


@pytest.mark.parametrize(
    ("request_words", "sentence"),
    [
        ("scna det x -5 5 101", 'no plan "scna" — did you mean "scan"?'),
        ("scan dett x -5 5 101", 'no device "dett" — did you mean "det"?'),
        ("scan det xx -5 5 101", 'no device "xx" — did you mean "x"?'),
        ("scan det x -5 500 101", "x: 50.55 is outside limits [-50, 50] (point 12 of 101)"),
        ("scan det x -5 5", "after the detectors come groups of motor start stop"),
        ("scan det x -5 5 0", "num must be a whole number from 1"),
        ("scan det x -5 5 2.5", "not 2.5"),
        ("scan det x -5 5 1000000000", "from 1 to 1000000"),
        ("scan det x a 5 11", "start of x must be a finite number, not a"),
        ("scan det x 0 1 x 0 1 5", "x is given twice"),
        ("scan det temperature 0 1 5", 'device "temperature" cannot be moved; devices that can: x, y, th'),
        ("scan det x 0 1 5 nun=3", 'scan has no argument "nun" — did you mean "num"?'),
        ("scan det x 0 1 num=abc", "num must be a whole number"),
        ("scan det,det x 0 1 5", "named twice"),
        ("count det num=-1", "num must be a whole number"),
        ("list_scan det x 5", "needs a list of positions"),
        ("grid_scan det x 0 1 2000 y 0 1 2000", "number of points of the grid"),
        ("mv x 51", "x: 51 is outside limits [-50, 50]"),
        ("mv det 1", 'device "det" cannot be moved'),
        ("spiral det x y 0 0 1 1", "missing a required argument: 'dr'"),
    ],
)
def test_what_is_wrong_is_refused_with_a_sentence(lab: Lab, request_words: str, sentence: str) -> None:
    plan, *words = request_words.split()
    began = time.monotonic()
    with pytest.raises(RequestRefused) as refused:
        lab.send_request(words_to_request(plan, words))
    assert sentence in str(refused.value)
    assert refused.value.code.startswith("E-")
    assert time.monotonic() - began < 0.5
    assert lab.connector.llen(MessageEndpoints.scan_queue_waiting()) == 0


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [({"a.b": 1}, "dot or slash"), ({"uid": "x"}, "set by the engine"), ({"": 1}, "not a text")],
)
def test_wrong_metadata_is_refused(lab: Lab, metadata: dict[str, object], sentence: str) -> None:
    with pytest.raises(RequestRefused, match=sentence):
        lab.submit("count", [["det"]], metadata=metadata)


def test_the_standard_plans_run(lab: Lab) -> None:
    requests = {
        "count det 3": 3,
        "rel_scan det x -1 1 5": 5,
        "list_scan det x [0,0.5,2]": 3,
        "log_scan det x 0 1 4": 4,
        "grid_scan det2 x -1 1 3 y -1 1 4": 12,
        "rel_grid_scan det2 x -1 1 3 y -1 1 2 snake_axes=True": 6,
        "list_grid_scan det2 x [0,1] y [1,2,3]": 6,
        "spiral_square det2 x y 0 0 2 2 3 3": 9,
        "adaptive_scan det det x 0 2 0.5 1 50 False": None,
    }
    for line, points in requests.items():
        plan, *words = line.split()
        report = lab.send_request(words_to_request(plan, words)).wait(WAIT_S)
        assert report.status == "closed", (line, report.error)
        status = lab.connector.get(MessageEndpoints.public_scan_info(report.scan_id or ""))
        assert points is None or status.num_monitored_readouts == points, line
        if plan == "grid_scan":
            assert status.info["shape"] == [3, 4]
            assert status.scan_report_devices == ["x", "y"]


def test_a_move_without_run_is_followed_too(lab: Lab) -> None:
    report = lab.send_request(words_to_request("mv", ["x", "3", "y", "-2"])).wait(WAIT_S)
    assert (report.status, report.scan_id) == ("closed", None)
    wait_until(
        lambda: (lab.devices.x.position, lab.devices.y.position) == (3.0, -2.0), "positions on the bus"
    )


def test_devices_are_described_and_followed(lab: Lab) -> None:
    assert list(lab.devices) == ["x", "y", "th", "det", "det2", "i0", "temperature", "ring"]
    assert "x" in dir(lab.devices)
    assert lab.devices.x.limits == (-50.0, 50.0)
    assert lab.devices.x.units == "mm"
    assert lab.devices.x.is_movable
    assert not lab.devices["det"].is_movable
    with pytest.raises(AttributeError, match='did you mean "temperature"'):
        _ = lab.devices.temprature
    limits = lab.connector.get(MessageEndpoints.device_limits("x"))
    assert limits.signals["high"]["value"] == 50.0
    assert lab.connector.get(MessageEndpoints.device_info("x")).info["class"] == "SimMotor"
    assert lab.devices.x.read_configuration()["x_velocity"]["value"] == 5.0
    report = lab.scans.scan(["det"], lab.devices.x, 0, 2, 3).wait(WAIT_S)
    wait_until(lambda: lab.devices.x.position == 2.0, "end position")
    prepared = lambda: lab.devices.det.read_configuration()["det_prepared_for"]["value"]  # noqa: E731
    wait_until(lambda: prepared() == report.scan_id, "the detector was told the scan status")


def test_plans_are_announced_with_their_texts(lab: Lab) -> None:
    assert "scan" in dir(lab.scans)
    plans = lab.scans.describe()
    assert plans["scan"]["usage"] == "<detectors> <motor> <start> <stop> [...] <num>"
    assert plans["mv"]["parameters"][0]["kind"] == "var_positional"
    assert "per_step" not in str(plans)
    assert "detectors" in (lab.scans.scan.__doc__ or "")
    with pytest.raises(AttributeError, match='did you mean "scan"'):
        _ = lab.scans.scann


def test_scan_numbers_count_on_and_the_heartbeat_tells_the_state(lab: Lab) -> None:
    numbers = [lab.scans.count(["det"]).wait(WAIT_S).scan_number for _ in range(3)]
    assert numbers == [1, 2, 3]
    get = lambda: lab.connector.get(MessageEndpoints.service_status("scan_server"))  # noqa: E731
    wait_until(lambda: get().info["scan_number"] == 3 and get().status is BECStatus.IDLE, "heartbeat")
    assert get().info["queue_length"] == 0
    assert get().info["versions"]["labspine"]


def test_nobody_answers_without_a_scan_server(fresh_broker_url: str) -> None:
    with connect(fresh_broker_url) as lonely:
        began = time.monotonic()
        with pytest.raises(NoScanServer, match="labspine up --demo"):
            lonely.submit("count", [["det"]])
        assert time.monotonic() - began < 2.0
        with pytest.raises(NoScanServer):
            lonely.abort()


def test_expired_request_is_dropped(lab: Lab) -> None:
    request = words_to_request("count", ["det"])
    old = type(request)(**{**request.content, "metadata": {"RID": "old", "expires_utc_s": time.time() - 1}})
    lab.connector.send(MessageEndpoints.scan_queue_request(), old)
    assert lab.scans.count(["det"]).wait(WAIT_S).scan_number == 1


def test_repeated_request_is_answered_but_run_once(lab: Lab) -> None:
    request = words_to_request("count", ["det"])
    twice = type(request)(**{**request.content, "metadata": {"RID": "the-same"}})
    answers = Heard()
    lab.connector.register(MessageEndpoints.scan_queue_request_response(), answers)
    for _ in range(2):
        lab.connector.send(MessageEndpoints.scan_queue_request(), twice)
    wait_until(lambda: len(answers.messages) == 2, "two answers")
    assert [a.accepted for a in answers.messages] == [True, True]
    assert lab.scans.count(["det"]).wait(WAIT_S).scan_number == 2
