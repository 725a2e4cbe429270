"""
Scans whose process is killed at random moments: nothing that was told is lost, and the run goes on.

25 deaths in the suite; ``make test-faults`` sets LABSPINE_KILLS to 200.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from labspine.engine.journal.book import Journal
from labspine.engine.journal.reader import has_header
from labspine.engine.journal.story import CallStory, read_story

pytestmark = pytest.mark.fault

KILLS = int(os.environ.get("LABSPINE_KILLS", "25"))
SEED = int(os.environ.get("LABSPINE_SEED", "20261121"))
PLANS = ("grid", "adaptive", "alternating")
OF_ONE_PROCESS = ("uid", "time", "timestamps", "descriptor", "run_start", "scan_id", "versions")

Documents = list[tuple[str, dict[str, Any]]]


class Deathbed:
    """The program that forks scans, and kills them."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("journal_lab.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, what: str, place: Path, **order: Any) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"what": what, "place": str(place), **order}) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline())["said"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def deathbed() -> Iterator[Deathbed]:
    program = Deathbed()
    yield program
    program.close()


@dataclass
class Trial:
    """What is left on disk of one scan."""

    place: Path

    @property
    def story(self) -> CallStory:
        paths = Journal(self.place / "journal").paths()
        assert len(paths) == 1, "one call, one journal"
        return read_story(paths[0])

    @property
    def has_story(self) -> bool:
        return any(has_header(path) for path in Journal(self.place / "journal").paths())

    def seen(self, name: str = "seen") -> Documents:
        path = self.place / name
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]

    def device_calls(self) -> dict[str, list[str]]:
        calls: dict[str, list[str]] = {}
        path = self.place / "devices"
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            name, what = line.split(" ", 1)
            calls.setdefault(name, []).append(what)
        return calls


@pytest.fixture
def new_trial(tmp_path: Path) -> Iterator[Any]:
    numbers = iter(range(1_000_000))

    def make() -> Trial:
        place = tmp_path / f"trial-{next(numbers)}"
        place.mkdir()
        return Trial(place)

    return make


def comparable(documents: Documents) -> list[Any]:
    """What two equal scans have in common."""
    found = []
    for name, doc in documents:
        kept = {key: value for key, value in doc.items() if key not in OF_ONE_PROCESS}
        if name == "descriptor":
            for part in kept["configuration"].values():
                part.pop("timestamps", None)
        found.append((name, kept))
    return json.loads(json.dumps(found))


def assert_prefix(trial: Trial) -> None:
    """What subscribers saw is the beginning of what is on disk, without a gap; one more may be on disk."""
    on_disk = [doc["uid"] for _, doc in trial.story.documents]
    told = [doc["uid"] for _, doc in trial.seen()]
    assert on_disk[: len(told)] == told
    assert len(on_disk) - len(told) <= 1


def assert_one_stop_each(documents: Documents) -> None:
    starts = [doc["uid"] for name, doc in documents if name == "start"]
    stops = [doc["run_start"] for name, doc in documents if name == "stop"]
    assert sorted(starts) == sorted(stops)
    numbers = Counter((doc["descriptor"], doc["seq_num"]) for name, doc in documents if name == "event")
    assert set(numbers.values()) <= {1}, "no event twice"


def assert_devices_at_rest(trial: Trial) -> None:
    for name, calls in trial.device_calls().items():
        kept = [call for call in calls if call in ("stage", "unstage")]
        assert not kept or kept[-1] == "unstage", f"{name} is still staged: {calls}"


@pytest.fixture(scope="module")
def references(deathbed: Deathbed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    found = {}
    for plan in (*PLANS, "without_checkpoints"):
        trial = Trial(tmp_path_factory.mktemp(plan))
        assert deathbed.do("run", trial.place, plan=plan) == "done"
        assert trial.story.ending is not None
        found[plan] = comparable(trial.story.documents)
    return found


def test_a_scan_that_is_killed_at_any_moment_goes_on_as_if_nothing_had_happened(
    deathbed: Deathbed, references: dict[str, list[Any]], new_trial: Any
) -> None:
    rng = random.Random(SEED)
    counts: Counter[str] = Counter()
    for number in range(KILLS):
        plan = PLANS[number % len(PLANS)]
        trial = new_trial()
        way = (
            {"kill_at_write": rng.randint(1, 32)}
            if number % 2
            else {"kill_after_s": rng.uniform(0.0, 0.08 if plan == "grid" else 0.05)}
        )
        said = deathbed.do("run", trial.place, plan=plan, **way)
        if not trial.has_story:
            counts["before the first record"] += 1
            continue
        if trial.story.ending is not None or said == "done":
            counts["after the end"] += 1
        else:
            assert_prefix(trial)
            if number % 5 == 0:  # the process that goes on is killed as well
                deathbed.do("recover", trial.place, plan=plan, kill_at_write=rng.randint(1, 20))
            said = deathbed.do("recover", trial.place, plan=plan)
            counts[said if said in ("resumed", "nothing to do") else "closed"] += 1
            assert said in ("resumed", "nothing to do") or not trial.story.documents, (way, said)
        documents = trial.story.documents
        assert_one_stop_each(documents)
        assert_devices_at_rest(trial)
        if documents:
            assert comparable(documents) == references[plan], way
        told = [doc["uid"] for name in ("seen", "seen-again") for _, doc in trial.seen(name)]
        assert len(told) == len(set(told)), "nobody hears a document twice"
    print(f"\n{KILLS} deaths, seed {SEED}: {dict(counts)}")
    assert counts["resumed"] >= KILLS / 2, counts


@pytest.mark.parametrize("write", [3, 9, 20])
def test_a_plan_without_checkpoints_is_closed(
    deathbed: Deathbed, references: dict[str, list[Any]], new_trial: Any, write: int
) -> None:
    trial = new_trial()
    assert deathbed.do("run", trial.place, plan="without_checkpoints", kill_at_write=write) == "killed"
    before = trial.story

    said = deathbed.do("recover", trial.place, plan="without_checkpoints")

    documents = trial.story.documents
    assert_one_stop_each(documents)
    if before.num_events:
        assert "the plan makes no checkpoints" in said
        name, stop = documents[-1]
        assert (name, stop["exit_status"]) == ("stop", "abort")
        assert "process died at" in stop["reason"]
        assert stop["num_events"] == {"primary": before.num_events}
        assert documents[:-1] == before.documents
        assert trial.device_calls()["x"][-1] == "stop"
    elif documents:
        assert comparable(documents) == references["without_checkpoints"], "nothing was measured yet"
    assert_devices_at_rest(trial)


def test_a_plan_that_does_other_things_than_before_is_not_resumed(deathbed: Deathbed, new_trial: Any) -> None:
    trial = new_trial()
    assert deathbed.do("run", trial.place, plan="grid", kill_at_write=20) == "killed"
    events = trial.story.num_events

    said = deathbed.do("recover", trial.place, plan="other")

    assert said.startswith("CannotResume: process died at")
    assert "'stage' on" in said
    assert "and now" in said
    documents = trial.story.documents
    assert_one_stop_each(documents)
    assert documents[-1][1]["reason"] == said.removeprefix("CannotResume: ")
    assert trial.story.num_events == events


def test_closing_twice_writes_one_stop_document(deathbed: Deathbed, new_trial: Any) -> None:
    trial = new_trial()
    assert deathbed.do("run", trial.place, plan="grid", kill_at_write=20) == "killed"

    assert deathbed.do("close", trial.place) == "closed"
    assert deathbed.do("close", trial.place) == "nothing to do"

    assert_one_stop_each(trial.story.documents)
    assert trial.story.ending is not None


def test_a_process_that_dies_while_it_closes_leaves_work_for_the_next_one(
    deathbed: Deathbed, new_trial: Any
) -> None:
    for write in (1, 2):
        trial = new_trial()
        assert deathbed.do("run", trial.place, plan="grid", kill_at_write=20) == "killed"
        assert deathbed.do("close", trial.place, kill_at_write=write) == "killed"

        assert deathbed.do("close", trial.place) == "closed"

        assert_one_stop_each(trial.story.documents)
        assert trial.story.ending is not None
