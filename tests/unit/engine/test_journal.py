"""The journal of an engine: what is on disk when, who owns it, and what is thrown away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labspine.engine import (
    CannotResume,
    Journal,
    JournalError,
    Msg,
    RunEngine,
    is_resumable,
    not_resumable,
)
from labspine.engine.journal import Position, Tail, read_records
from labspine.engine.journal.book import ENDED, OPEN
from labspine.engine.journal.reader import is_read
from labspine.engine.journal.recovery import bring_to_rest, close_call
from labspine.engine.journal.story import read_story
from labspine.errors import ConfigError, InvalidArgument

_made: list[RunEngine] = []


def engine_at(journal: Any = None, **options: Any) -> RunEngine:
    """Make an engine that is closed after the test."""
    _made.append(RunEngine(journal=journal, **options))
    return _made[-1]


@pytest.fixture(autouse=True)
def _engines_are_closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def events(det: Any, count: int, motor: Any = None) -> Any:
    yield Msg("open_run")
    for number in range(count):
        yield Msg("checkpoint")
        if motor is not None:
            yield Msg("set", motor, float(number), group="a")
            yield Msg("wait", None, "a")
        yield Msg("create", name="primary")
        yield Msg("read", det)
        yield Msg("save")
    yield Msg("close_run")


def on_disk(place: Path) -> list[Any]:
    (path,) = Journal(place).paths()
    return [record for _, record in read_records(path)]


def documents_on_disk(place: Path) -> list[str]:
    return [record[2]["uid"] for record in on_disk(place) if record[0] == "D"]


# -- what is on disk, and when -----------------------------------------------------------------------


def test_a_document_is_on_disk_before_a_subscriber_hears_it(place: Path, kit: Any) -> None:
    engine = engine_at(place)
    heard: list[tuple[str, bool]] = []
    engine.subscribe(lambda name, doc: heard.append((name, doc["uid"] in documents_on_disk(place))))

    engine(events(kit.Detector(), 3))

    assert heard == [(name, True) for name in ("start", "descriptor", "event", "event", "event", "stop")]


def test_a_device_is_in_the_journal_before_it_is_touched(place: Path, kit: Any) -> None:
    motor, detector = kit.Motor(), kit.Detector()
    known: list[Any] = []

    def told(what: str) -> None:
        known.append([what, [r[1:3] for r in on_disk(place) if r[0] == "T"]])

    move, stage = motor.set, motor.stage
    motor.set = lambda value: (told("set"), move(value))[1]
    motor.stage = lambda: (told("stage"), stage())[1]

    def plan() -> Any:
        yield Msg("stage", motor)
        yield from events(detector, 1, motor)
        yield Msg("unstage", motor)

    engine_at(place)(plan())

    assert known == [["stage", [["stage", "x"]]], ["set", [["stage", "x"], ["set", "x"]]]]


def test_every_answered_step_is_kept_in_order(place: Path, kit: Any) -> None:
    engine_at(place)(events(kit.Detector(), 2))

    (path,) = Journal(place).paths()
    story = read_story(path)
    commands = [step[0] for step in story.steps]
    assert commands == ["open_run", *["checkpoint", "create", "read", "save"] * 2, "close_run"]
    assert story.ending is not None
    assert (story.ending["exit_status"], path.suffix) == ("success", ENDED)
    assert story.steps[0][4] == story.steps[-1][4] == next(iter(story.runs))


def test_readings_with_arrays_come_back(place: Path, kit: Any) -> None:
    det = kit.Detector()
    image = np.arange(12, dtype="u2").reshape(3, 4)
    det.read = lambda: {"det": {"value": image, "timestamp": np.float64(1.5)}}
    det.describe = lambda: {"det": {"dtype": "array", "shape": [3, 4], "source": "test"}}

    engine_at(place)(events(det, 1))

    (event,) = [record[2] for record in on_disk(place) if record[0] == "D" and record[1] == "event"]
    np.testing.assert_array_equal(event["data"]["det"], image)
    assert event["timestamps"] == {"det": 1.5}


def test_an_image_is_kept_once_and_answers_have_it_again(place: Path, kit: Any) -> None:
    det = kit.Detector()
    images = [np.full((200, 300), number, dtype="u2") for number in range(6)]
    waiting = iter(images)
    det.read = lambda: {"det": {"value": next(waiting), "timestamp": 1.0}}
    det.describe = lambda: {"det": {"dtype": "array", "shape": [200, 300], "source": "test"}}

    engine_at(place)(events(det, 6))

    (path,) = Journal(place).paths()
    # The first answer is written with the descriptor, before there is an event.
    assert path.stat().st_size < 7.1 * images[0].nbytes
    answers = [step[4] for step in read_story(path).steps if step[0] == "read"]
    for answer, image in zip(answers, images, strict=True):
        np.testing.assert_array_equal(answer["det"]["value"], image)


def test_a_value_that_cannot_be_kept_does_not_harm_the_run(place: Path, kit: Any) -> None:
    det = kit.Detector()
    det.read = lambda: {"det": {"value": {1: object(), "big": 2**80}, "timestamp": 1.0}}

    engine_at(place)(events(det, 1))

    (event,) = [record[2] for record in on_disk(place) if record[0] == "D" and record[1] == "event"]
    assert "object" in str(event["data"]["det"])


def test_a_plan_that_touches_nothing_leaves_no_file(place: Path) -> None:
    engine_at(place)([Msg("null"), Msg("checkpoint")])

    assert not place.exists()


def test_a_paused_scan_keeps_both_readings_and_one_run(place: Path, kit: Any) -> None:
    engine = engine_at(place, call_returns_result=True)
    det = kit.Detector()

    def plan() -> Any:
        yield Msg("open_run")
        for number in range(3):
            yield Msg("checkpoint")
            yield Msg("create", name="primary")
            yield Msg("read", det)
            yield Msg("save")
            if number == 1:
                yield Msg("pause")
        yield Msg("close_run")

    with pytest.raises(Exception, match="interrupted"):
        engine(plan())
    engine.resume()

    story = read_story(Journal(place).paths()[0])
    numbers = [doc["seq_num"] for name, doc in story.documents if name == "event"]
    assert numbers == [1, 2, 2, 3]
    assert [step[0] for step in story.steps].count("save") == 3, "a repeated step is answered once"


@pytest.mark.parametrize("fsync", ["interval", "always", "never"])
def test_each_policy_writes_the_same(place: Path, kit: Any, fsync: Any) -> None:
    book = Journal(place, fsync=fsync)

    engine_at(book)(events(kit.Detector(), 2))
    book.close()

    assert len(documents_on_disk(place)) == 5


# -- settings ----------------------------------------------------------------------------------------


def test_wrong_settings_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="fsync is often; use one of interval, always, never"):
        Journal(tmp_path, fsync="often")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="cannot be negative"):
        Journal(tmp_path, keep_days=-1)
    with pytest.raises(ConfigError, match="True, a directory or a Journal"):
        engine_at(7)  # type: ignore[arg-type]
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        engine_at(tmp_path / "file")


def test_true_means_the_place_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kit: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    engine_at(True)(events(kit.Detector(), 1))

    assert len(list((tmp_path / "labspine" / "journal").glob(f"*{ENDED}"))) == 1


def test_a_directory_that_cannot_be_made_ends_the_plan_before_anything_moves(
    tmp_path: Path, kit: Any
) -> None:
    (tmp_path / "file").touch()
    motor = kit.Motor()

    with pytest.raises(JournalError, match="cannot be made"):
        engine_at(tmp_path / "file" / "journal")([Msg("set", motor, 1.0)])

    assert motor.moves == []


# -- who owns it -------------------------------------------------------------------------------------


def test_a_journal_of_a_living_process_is_left_alone(place: Path, kit: Any) -> None:
    det = kit.Detector()
    seen: list[Any] = []

    def plan() -> Any:
        yield from events(det, 1)
        book = Journal(place)
        (path,) = book.paths(OPEN)
        seen.append(book.orphans())
        try:
            close_call(book, path)
        except JournalError as error:
            seen.append(str(error))
        yield Msg("null")

    engine_at(place)(plan())

    assert seen[0] == []
    assert "belongs to a process that lives" in seen[1]


def test_an_orphan_can_be_taken_over_by_one_process_only(place: Path) -> None:
    path = dead_call(place)
    _, journal = Journal(place).adopt(path)

    with pytest.raises(JournalError, match="belongs to a process that lives"):
        Journal(place).adopt(path)

    journal.give_back()
    assert Journal(place).orphans() == [path]


def test_a_forked_child_does_not_keep_the_journal_of_a_dead_owner(place: Path) -> None:
    program = f"""
import os, signal, sys, time
from labspine.engine import Msg, RunEngine
class Det:
    name, parent = "det", None
    def read(self): return {{"det": {{"value": 1, "timestamp": 1.0}}}}
    def describe(self): return {{"det": {{"dtype": "number", "shape": [], "source": "t"}}}}
def plan():
    yield Msg("open_run")
    child = os.fork()
    if child == 0:
        os.close(1)
        os.close(2)
        time.sleep(30)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    yield Msg("null")
RunEngine(journal={str(place)!r})(plan())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    child = int(done.stdout)
    try:
        assert len(Journal(place).orphans()) == 1
    finally:
        os.kill(child, 9)


def dead_call(place: Path, *, events_before: int = 2) -> Path:
    """Leave a journal as a killed process does."""
    from labspine.engine.journal.writer import CallJournal

    book = Journal(place, fsync="never")
    call = CallJournal(book, {"plan": "test", "readers": []})
    start = {"uid": "s", "time": 1.0, "scan_id": 7}
    keys = {"dtype": "number", "shape": [], "source": "t", "object_name": "det"}
    descriptor = {
        "uid": "d",
        "time": 1.0,
        "run_start": "s",
        "name": "primary",
        "data_keys": {"det": keys},
        "configuration": {},
        "object_keys": {"det": ["det"]},
        "hints": {},
    }
    call.touch("stage", Named("det"))
    call.touch("set", Named("x"))
    call.document("start", start)
    call.steps += [(Msg("open_run"), "s", None), (Msg("checkpoint"), None, None)]
    call.write_steps()
    call.document("descriptor", descriptor)
    for number in range(1, events_before + 1):
        event = {
            "uid": f"e{number}",
            "time": 1.0,
            "descriptor": "d",
            "seq_num": number,
            "data": {"det": 1.0},
            "timestamps": {"det": 1.0},
            "filled": {},
        }
        call.document("event", event)
    assert call.path is not None
    call.give_back()
    return Path(call.path)


class Named:
    """A device of which only the name matters."""

    def __init__(self, name: str, **acts: Any) -> None:
        self.name = name
        vars(self).update(acts)


def test_an_orphan_is_closed_with_one_stop_document(place: Path) -> None:
    path = dead_call(place)

    story = close_call(Journal(place), path, why="for a test")

    (run,) = story.runs.values()
    assert run.stop is not None
    assert (run.stop["exit_status"], run.stop["num_events"]) == ("abort", {"primary": 2})
    assert run.stop["reason"].startswith("process died at ")
    assert run.stop["reason"].endswith("; for a test")
    assert Journal(place).orphans() == []
    closed = read_story(path.with_suffix(ENDED))
    assert [name for name, _ in closed.documents] == ["start", "descriptor", "event", "event", "stop"]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_tail_is_cut_off_before_anything_is_appended(place: Path, cut: int) -> None:
    path = dead_call(place)
    size = read_story(path).size
    with path.open("r+b") as file:
        file.truncate(size - cut)

    story = close_call(Journal(place), path)

    (run,) = story.runs.values()
    assert run.numbers == {"primary": 1}, "the last record was torn"
    assert [name for name, _ in read_story(path.with_suffix(ENDED)).documents][-1] == "stop"


def test_devices_of_a_dead_process_come_to_rest_although_one_hangs(place: Path) -> None:
    story = read_story(dead_call(place))
    done: list[str] = []
    devices = {
        "x": Named("x", stop=lambda: time.sleep(5)),
        "det": Named("det", unstage=lambda: done.append("det")),
    }

    report = bring_to_rest(story, devices.get, limit_s=0.1)

    assert done == ["det"]
    assert report.unstaged == ["det"]
    assert report.problems == ["x.stop() did not come back within 0.1 s"]


def test_parts_of_devices_are_found_and_unknown_ones_are_named(place: Path) -> None:
    from labspine.engine.journal.story import CallStory

    stopped: list[str] = []
    part = Named("stage_x", stop=lambda: stopped.append("stage_x"))
    whole = Named("stage", component_names=("x",), x=part)
    story = CallStory(place, {}, 0.0, touched=[("set", "stage_x", "stage"), ("set", "gone", "gone")])

    report = bring_to_rest(story, {"stage": whole}.get)

    assert stopped == report.stopped == ["stage_x"]
    assert report.missing == ["gone"]


# -- readers and old journals ------------------------------------------------------------------------


def test_a_reader_goes_on_where_it_was_and_sees_what_is_appended(place: Path) -> None:
    path = dead_call(place)
    tail = Tail(path)
    first = tail.read()
    assert [record[0] for _, record in first][:3] == ["O", "T", "T"]
    assert tail.read() == []
    position = Position(path, "bus")
    position.move(first[3][0])

    again = Tail(path, Position(path, "bus").offset).read()
    assert again == first[4:]
    close_call(Journal(place), path)
    assert [record[0] for _, record in tail.read()] == ["D", "E"]
    tail.close()


def test_only_journals_that_everybody_has_read_are_removed(place: Path, kit: Any) -> None:
    book = Journal(place, keep_days=0, readers=["bus"])
    engine = engine_at(book)
    engine(events(kit.Detector(), 1))
    (path,) = book.paths(ENDED)
    book.clean()
    assert book.paths() == [path]
    assert not is_read(path)

    position = Position(path, "bus")
    position.move(path.stat().st_size)
    position.close()
    book.clean()

    assert list(place.iterdir()) == []


def test_the_oldest_journals_go_when_there_are_too_many_bytes(place: Path, kit: Any) -> None:
    book = Journal(place, keep_bytes=3000)
    engine = engine_at(book)
    for _ in range(6):
        engine(events(kit.Detector(), 2))
    newest = book.paths()[-1]

    book.clean()

    assert 0 < len(book.paths()) < 6
    assert newest in book.paths()
    assert sum(path.stat().st_size for path in book.paths()) <= 3000


# -- what cannot go on -------------------------------------------------------------------------------


def test_a_plan_can_declare_that_it_must_not_go_on(place: Path, kit: Any) -> None:
    @not_resumable
    def precious() -> Any:
        yield from events(kit.Detector(), 1)

    assert not is_resumable(precious)
    assert not is_resumable(precious())
    assert is_resumable(events)
    engine_at(place)(precious())

    story = read_story(Journal(place).paths()[0])
    assert story.why_not_resumable() == "the plan precious declares itself not resumable"


def test_recover_tells_the_whole_run_to_its_subscribers_and_closes_what_differs(
    place: Path, kit: Any
) -> None:
    path = dead_call(place)
    engine = engine_at(place)
    docs = kit.Docs()

    with pytest.raises(
        CannotResume, match=r"process died at .*; it cannot go on: step 1 was 'open_run'.*, and now 'null'"
    ):
        engine.recover(path, [Msg("null")], docs)

    assert docs[-1][0] == "stop"
    assert docs[-1][1]["exit_status"] == "abort"
    assert engine.state == "idle"
    assert read_story(path.with_suffix(ENDED)).ending is not None


def test_recover_refuses_what_is_no_journal(tmp_path: Path) -> None:
    other = tmp_path / f"other{OPEN}"
    other.write_text("something else, long enough to be looked at")

    with pytest.raises(JournalError, match="is no journal"):
        engine_at().recover(other, [])
    with pytest.raises(JournalError, match="cannot be opened"):
        engine_at().recover(tmp_path / "nothing", [])


# -- a full disk -------------------------------------------------------------------------------------

FULL = """
import resource, sys
from labspine.engine import Journal, Msg, RunEngine
policy, place, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
class Det:
    name, parent = "det", None
    count = 0
    def read(self):
        self.count += 1
        return {"det": {"value": "x" * 20_000, "timestamp": 1.0}}
    def describe(self): return {"det": {"dtype": "string", "shape": [], "source": "t"}}
det = Det()
def plan():
    yield Msg("open_run")
    for _ in range(500):
        yield Msg("checkpoint")
        yield Msg("create", name="primary")
        yield Msg("read", det)
        yield Msg("save")
    yield Msg("close_run")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
docs = []
book = Journal(place, on_full=policy)
told = []
book.full_hook = told.append
engine = RunEngine(journal=book)
engine.subscribe(lambda name, doc: docs.append((name, doc)))
try:
    engine(plan())
    said = "done"
except Exception as error:
    said = type(error).__name__
state, taken = str(engine.state), det.count
if state == "paused":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    engine.resume()
print(said, state, taken, det.count, docs[-1][0], docs[-1][1]["exit_status"], len(docs))
assert told and "is full" in told[0]
"""


def full_disk(place: Path, policy: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FULL, policy, str(place), str(4 * 1024 * 1024)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "is full; a reserve of 1 MB is left" in done.stderr
    return done.stdout.split()


@pytest.mark.fault
def test_a_full_disk_pauses_the_plan_and_it_goes_on_when_there_is_room(place: Path) -> None:
    said, state, taken, count, last, status, number = full_disk(place, "pause")

    assert (said, state) == ("RunEngineInterrupted", "paused")
    assert 0 < int(taken) < 500
    assert (int(count), last, status) == (500, "stop", "success")
    story = read_story(Journal(place).paths()[0])
    assert len(story.documents) == int(number), "nothing is missing in the journal"


@pytest.mark.fault
def test_a_full_disk_aborts_the_plan_when_that_is_the_policy(place: Path) -> None:
    _, state, taken, _, last, status, number = full_disk(place, "abort")

    assert (state, last, status) == ("idle", "stop", "abort")
    assert 0 < int(taken) < 500
    story = read_story(Journal(place).paths()[0])
    assert len(story.documents) == int(number)


@pytest.mark.fault
def test_a_used_up_reserve_ends_the_run_and_its_stop_document_still_fits(place: Path) -> None:
    said, state, _, _, last, status, number = full_disk(place, "continue")

    assert (said, state, last, status) == ("JournalError", "idle", "stop", "fail")
    story = read_story(Journal(place).paths()[0])
    assert len(story.documents) == int(number)
    (run,) = story.runs.values()
    assert run.stop is not None
