"""A whole lab is killed in the middle of a scan: the next one tells the rest, and goes on or closes the run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from labspine.connector import MessageObject
from labspine.endpoints import MessageEndpoints
from labspine.engine.journal import Journal
from labspine.engine.journal.story import read_story
from labspine.lab import Lab
from labspine.lab import connect as connect_lab
from labspine.messages import ScanMessage, ScanStatusMessage
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault

WAIT_S = 40.0
POINTS = 60
OUTAGE_S = float(os.environ.get("LABSPINE_OUTAGE_S", "0"))
"""How long the broker stays away at least; ``make test-faults`` takes a minute."""

LAB = """
import json, signal, sys, threading
from labspine.lab import simulated_beamline
from labspine.lab.host import LabHost
url, data, recovery, speed = sys.argv[1:]
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
signal.signal(signal.SIGHUP, lambda *_: ended.set())
registry = simulated_beamline(speed=float(speed), seed=1)
with LabHost(url, registry, data_dir=data, recovery=recovery):
    print("ready", flush=True)
    while not ended.wait(0.05):
        pass
print(json.dumps({"moving": registry["x"].is_moving}), flush=True)
"""


class LabProcess:
    """A lab in a process of its own."""

    def __init__(self, url: str, data: Path, *, recovery: str = "resume", speed: float = 30.0) -> None:
        command = [sys.executable, "-c", LAB, url, str(data), recovery, str(speed)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.process.stderr and self.process.stderr.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def end(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)

    def close(self) -> None:
        self.kill()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def start_lab(broker: Any, tmp_path: Path) -> Iterator[Callable[..., LabProcess]]:
    labs: list[LabProcess] = []

    def start(**options: Any) -> LabProcess:
        labs.append(LabProcess(broker.url, tmp_path / "data", **options))
        return labs[-1]

    yield start
    for lab in labs:
        lab.close()


class Ear:
    """Hears everything about scans, from the beginning to the end."""

    def __init__(self, lab: Lab) -> None:
        self.points: list[tuple[str, int]] = []
        self.states: list[tuple[str, str]] = []
        for endpoint in (MessageEndpoints.scan_segment(), MessageEndpoints.scan_status()):
            lab.connector.register(endpoint, self._take, from_start=True)

    def _take(self, message: MessageObject) -> None:
        value = message.value
        if isinstance(value, ScanMessage):
            self.points.append((value.scan_id, value.point_id))
        elif isinstance(value, ScanStatusMessage):
            self.states.append((value.scan_id or "", value.status))

    def of(self, scan_id: str) -> list[int]:
        return [point for each, point in self.points if each == scan_id]


@pytest.fixture
def lab(broker: Any) -> Iterator[Lab]:
    with connect_lab(broker.url) as client:
        yield client


def journals(data: Path) -> Journal:
    return Journal(data / "journal")


def complete_file(data: Path, scan_id: str) -> dict[str, Any] | None:
    for path in sorted(data.rglob("*.h5")):
        with h5py.File(path, "r", locking=False) as file:
            entry = file["entry"]
            if entry["entry_identifier"].asstr()[()] != scan_id:
                continue
            status = entry["exit_status"].asstr()[()]
            if status != "running":
                return {"status": status, "points": len(entry["data"]["x"]), "path": path}
    return None


def events_on_disk(data: Path) -> int:
    return sum(read_story(path).num_events for path in journals(data).paths())


def test_a_killed_lab_goes_on_with_the_scan_and_everybody_has_each_point_once(
    start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path
) -> None:
    ear = Ear(lab)
    first = start_lab()
    report = lab.scans.scan(["det"], "x", -5, 5, POINTS)
    waiting = lab.scans.count(["det2"], 2)
    scan_id = report.wait_begun(WAIT_S)
    wait_until(lambda: len(ear.of(scan_id)) >= 5, timeout_s=WAIT_S, what="the first points")

    first.kill()
    start_lab(speed=200.0)

    assert report.wait(WAIT_S).status == "closed", report.error
    assert waiting.wait(WAIT_S).status == "closed", waiting.error
    wait_until(lambda: len(ear.of(scan_id)) >= POINTS, timeout_s=WAIT_S, what="all points")
    assert ear.of(scan_id) == list(range(POINTS)), "each once, in order"
    assert next(state for each, state in ear.states if each == scan_id) == "open"
    assert Counter(state for each, state in ear.states if each == scan_id)["closed"] == 1
    final = lab.connector.get(MessageEndpoints.public_scan_info(scan_id))
    assert (final.status, final.num_monitored_readouts) == ("closed", POINTS)
    data = tmp_path / "data"
    wait_until(lambda: complete_file(data, scan_id), timeout_s=WAIT_S, what="the file")
    file = complete_file(data, scan_id)
    assert file is not None
    assert (file["status"], file["points"]) == ("closed", POINTS)
    stories = [read_story(path) for path in journals(data).paths()]
    assert [len(story.runs) for story in stories] == [1, 1]
    assert all(story.ending is not None for story in stories)
    stops = [name for name, _ in stories[0].documents].count("stop")
    assert (stops, stories[0].num_resumed) == (1, 1)


def test_a_killed_lab_that_shall_not_resume_closes_the_run(
    start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path
) -> None:
    ear = Ear(lab)
    first = start_lab(speed=5.0)
    report = lab.scans.scan(["det"], "x", -5, 5, 500)
    scan_id = report.wait_begun(WAIT_S)
    wait_until(lambda: len(ear.of(scan_id)) >= 3, timeout_s=WAIT_S, what="the first points")

    first.kill()
    start_lab(recovery="close")

    final = report.wait(WAIT_S)
    assert final.status == "aborted"
    (story,) = [read_story(path) for path in journals(tmp_path / "data").paths()]
    (run,) = story.runs.values()
    assert run.stop is not None
    assert run.stop["exit_status"] == "abort"
    assert "process died at" in run.stop["reason"]
    wait_until(lambda: (scan_id, "aborted") in ear.states, timeout_s=WAIT_S, what="the end on the bus")
    told = lab.connector.get(MessageEndpoints.public_scan_info(scan_id))
    assert told.num_monitored_readouts == run.numbers["primary"]
    assert "process died at" in told.info["reason"]
    assert ear.of(scan_id) == list(range(run.numbers["primary"])), "what was written down was told"
    assert lab.connector.llen(MessageEndpoints.scan_queue_waiting()) == 0


def test_points_that_the_dead_process_could_not_tell_are_told_by_the_next_one(
    broker: Any, start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path
) -> None:
    ear = Ear(lab)
    data = tmp_path / "data"
    first = start_lab(speed=30.0)
    report = lab.scans.scan(["det"], "x", -5, 5, POINTS)
    scan_id = report.wait_begun(WAIT_S)
    wait_until(lambda: len(ear.of(scan_id)) >= 3, timeout_s=WAIT_S, what="the first points")
    broker.signal(signal.SIGSTOP)  # a broker that does not answer, and loses nothing
    seen = events_on_disk(data)
    wait_until(lambda: events_on_disk(data) >= seen + 8, timeout_s=WAIT_S, what="points on disk")
    first.kill()
    assert len(ear.of(scan_id)) < events_on_disk(data)

    broker.signal(signal.SIGCONT)
    start_lab(speed=200.0)

    assert report.wait(WAIT_S).status == "closed", report.error
    wait_until(lambda: len(set(ear.of(scan_id))) >= POINTS, timeout_s=WAIT_S, what="all points")
    assert ear.of(scan_id) == list(range(POINTS)), "each once, in order"


def test_a_broker_that_is_away_during_a_scan_costs_delay_only(
    broker: Any, start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    ear = Ear(lab)
    start_lab(speed=60.0)
    report = lab.scans.scan(["det"], "x", -5, 5, POINTS)
    scan_id = report.wait_begun(WAIT_S)
    wait_until(lambda: len(ear.of(scan_id)) >= 3, timeout_s=WAIT_S, what="the first points")
    time.sleep(1.2)  # the broker's own disk is up to a second behind (appendfsync everysec)
    broker.kill()
    went_mono_s = time.monotonic()
    wait_until(
        lambda: any(read_story(p).ending for p in journals(data).paths()),
        timeout_s=WAIT_S,
        what="the scan ends without the broker",
    )
    time.sleep(max(0.0, went_mono_s + OUTAGE_S - time.monotonic()))
    broker.start()

    assert report.wait(WAIT_S).status == "closed", report.error
    wait_until(lambda: len(set(ear.of(scan_id))) >= POINTS, timeout_s=WAIT_S, what="all points")
    assert sorted(ear.of(scan_id)) == list(range(POINTS)), "each once"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_lab_stops_its_devices_and_closes_the_run_within_two_seconds(
    start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path, number: int
) -> None:
    running = start_lab(speed=1.0)
    report = lab.scans.scan(["det"], "x", -40, 40, 100)
    report.wait_begun(WAIT_S)
    began, asked_utc_s = time.monotonic(), time.time()

    out, err = running.end(number)

    assert time.monotonic() - began < 4.0
    assert json.loads(out) == {"moving": False}
    assert "Traceback" not in err
    (story,) = [read_story(path) for path in journals(tmp_path / "data").paths()]
    assert story.ending is not None
    (run,) = story.runs.values()
    assert run.stop is not None
    assert run.stop["exit_status"] == "abort"
    assert run.stop["time"] - asked_utc_s < 2.0
    assert report.wait(WAIT_S).status == "aborted"


def recover(data: Path, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    command = [sys.executable, "-m", "labspine", "recover", "--data", str(data), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_the_command_lists_and_resumes_and_the_next_lab_tells_the_bus(
    start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    ear = Ear(lab)
    first = start_lab(speed=1.0)
    report = lab.scans.scan(["det"], "x", -2, 2, 40)
    scan_id = report.wait_begun(WAIT_S)
    wait_until(lambda: len(ear.of(scan_id)) >= 3, timeout_s=WAIT_S, what="the first points")
    assert recover(data) == (0, [], ""), "a journal whose process lives is left alone"
    first.kill()

    code, (listed,), _ = recover(data, "--list")
    assert code == 0
    assert (listed["state"], listed["can_resume"], listed["plan"]) == ("open", True, "scan")
    assert "x" in listed["moved"]
    assert "det" in listed["staged"]

    code, (resumed,), err = recover(data, "--resume", "--demo")
    assert (code, resumed["state"], resumed["why_not"]) == (0, "resumed", None), err
    assert resumed["runs"][0]["events"]["primary"] == 40
    assert resumed["runs"][0]["exit_status"] == "success"
    assert recover(data) == (0, [], "")

    start_lab(speed=200.0)
    wait_until(lambda: (scan_id, "closed") in ear.states, timeout_s=WAIT_S, what="the end on the bus")
    assert ear.of(scan_id) == list(range(40))


def test_the_command_closes_and_says_which_devices_it_could_not_stop(
    start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = start_lab(speed=5.0)
    lab.scans.scan(["det"], "x", -2, 2, 200).wait_begun(WAIT_S)
    wait_until(lambda: events_on_disk(data) >= 3, timeout_s=WAIT_S, what="points on disk")
    first.kill()

    code, (closed,), _ = recover(data, "--close")

    assert code == 0
    assert closed["state"] == "closed"
    assert {"x", "det"} <= set(closed["not_stopped"])
    assert closed["runs"][0]["exit_status"] == "abort"
    assert "process died at" in closed["runs"][0]["reason"]


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    assert recover(tmp_path, "--resume")[0] == 2
    assert recover(tmp_path, "--close", "--resume", "--demo")[0] == 2


def test_a_scan_that_was_paused_waits_for_a_person_in_the_next_lab(
    start_lab: Callable[..., LabProcess], lab: Lab, tmp_path: Path
) -> None:
    ear = Ear(lab)
    first = start_lab()
    report = lab.scans.scan(["det"], "x", -2, 2, 40)
    scan_id = report.wait_begun(WAIT_S)
    wait_until(lambda: len(ear.of(scan_id)) >= 3, timeout_s=WAIT_S, what="the first points")
    lab.pause()
    wait_until(lambda: (scan_id, "paused") in ear.states, timeout_s=WAIT_S, what="the pause")
    first.kill()
    points = events_on_disk(tmp_path / "data")

    second = start_lab(speed=200.0)

    def is_waiting() -> bool:
        told = lab.connector.get(MessageEndpoints.service_status("scan_server"))
        return told is not None and (told.info["pid"], told.info["state"]) == (second.process.pid, "paused")

    wait_until(is_waiting, timeout_s=WAIT_S, what="it is taken over")
    assert events_on_disk(tmp_path / "data") == points, "nothing was measured without a person"
    lab.resume()

    assert report.wait(WAIT_S).status == "closed", report.error
    wait_until(lambda: len(ear.of(scan_id)) >= 40, timeout_s=WAIT_S, what="all points")
    assert ear.of(scan_id) == list(range(40))
    assert [state for each, state in ear.states if each == scan_id] == ["open", "paused", "open", "closed"]
