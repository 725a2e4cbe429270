"""
Going on with a plan whose process died: an image of the journal is taken at every step, and continued from there.

Such an image is exactly what a death at that moment leaves on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine.engine import AsyncRunEngine, CannotResume, Journal, Msg, RunEngine, RunEngineInterrupted
from labspine.engine.journal.book import ENDED, OPEN
from labspine.engine.journal.story import read_story

OF_ONE_PROCESS = ("uid", "time", "timestamps", "descriptor", "run_start", "versions")
Plan = Callable[[], Any]

_made: list[RunEngine] = []


def engine_at(place: Path) -> RunEngine:
    _made.append(RunEngine(journal=Journal(place, fsync="never"), context_managers=[]))
    return _made[-1]


@pytest.fixture(autouse=True)
def _engines_are_closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


class Deaths:
    """Runs a plan, and keeps an image of the journal at each step."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.images: list[bytes] = []
        self.documents: list[Any] = []

    def run(self, plan: Any, **metadata: Any) -> None:
        engine = engine_at(self.place / "first")
        assert engine.journal is not None

        def take(_: Any) -> None:
            call = engine.journal.current if engine.journal is not None else None
            if call is not None and call.path is not None and call.position:
                image = Path(call.path).read_bytes()[: call.position]
                if not self.images or self.images[-1] != image:
                    self.images.append(image)

        engine.msg_hook = take
        engine.subscribe(lambda name, doc: take(None))
        engine(plan, **metadata)
        (path,) = engine.journal.paths()
        self.documents = read_story(path).documents

    def left_at(self, number: int) -> Path:
        place = self.place / f"image-{number}"
        place.mkdir()
        path = place / f"20260101-000000-000-{number:08d}{OPEN}"
        path.write_bytes(self.images[number])
        return path


@pytest.fixture
def deaths(tmp_path: Path) -> Deaths:
    return Deaths(tmp_path)


def comparable(documents: list[Any]) -> list[Any]:
    kept = [(name, {k: v for k, v in doc.items() if k not in OF_ONE_PROCESS}) for name, doc in documents]
    return json.loads(json.dumps(kept, default=str))


def point(det: Any, motor: Any, position: float, *, run: Any = None) -> Any:
    yield Msg("checkpoint")
    yield Msg("set", motor, position, group="a")
    yield Msg("wait", None, "a")
    yield Msg("create", name="primary", run=run)
    reading = yield Msg("read", motor, run=run)
    yield Msg("read", det, run=run)
    yield Msg("save", run=run)
    return reading


def following(kit: Any) -> Any:
    """Each position depends on the reading before it."""
    motor, det = kit.Motor(), kit.Motor("det")
    yield Msg("stage", motor)
    yield Msg("open_run", plan_name="following")
    position = 1.0
    for _ in range(5):
        reading = yield from point(det, motor, position)
        position = reading["x"]["value"] * 2 + 1
    yield Msg("close_run")
    yield Msg("unstage", motor)


def two_runs_at_once(kit: Any) -> Any:
    motor, det = kit.Motor(), kit.Motor("det")
    yield Msg("open_run", run="one")
    yield Msg("open_run", run="two")
    for number in range(3):
        yield from point(det, motor, number, run="one")
        yield from point(det, motor, number + 0.5, run="two")
    yield Msg("close_run", run="one")
    yield from point(det, motor, 9.0, run="two")
    yield Msg("close_run", run="two")


def declared(kit: Any) -> Any:
    motor, det = kit.Motor(), kit.Motor("det")
    yield Msg("open_run")
    yield Msg("declare_stream", None, motor, det, name="primary")
    for number in range(3):
        yield from point(det, motor, number)
    yield Msg("close_run")


def with_clean_up(kit: Any) -> Any:
    motor, det = kit.Motor(), kit.Motor("det")
    yield Msg("open_run")
    try:
        for number in range(3):
            yield from point(det, motor, number)
            where = yield Msg("locate", motor)
            assert where["readback"] == number
    finally:
        yield Msg("set", motor, 0.0, group="back")
        yield Msg("wait", None, "back")
        yield Msg("close_run")


@pytest.fixture
def kit_with_locate(kit: Any) -> Any:
    class Motor(kit.Motor):  # type: ignore[misc]
        def locate(self) -> dict[str, float]:
            return {"setpoint": self.position, "readback": self.position}

    kit.Motor = Motor
    return kit


@pytest.mark.parametrize("plan", [following, two_runs_at_once, declared, with_clean_up])
def test_a_death_at_any_step_gives_the_same_run(deaths: Deaths, kit_with_locate: Any, plan: Any) -> None:
    deaths.run(plan(kit_with_locate))
    assert len(deaths.images) >= 10
    for number, image in enumerate(deaths.images):
        path = deaths.left_at(number)
        engine = engine_at(path.parent)
        heard = kit_with_locate.Docs()

        engine.recover(path, plan(kit_with_locate), heard)

        story = read_story(path.with_suffix(ENDED))
        assert comparable(story.documents) == comparable(deaths.documents), len(image)
        assert [doc["uid"] for _, doc in heard] == [doc["uid"] for _, doc in story.documents], "all is heard"
        assert story.ending is not None
        assert story.ending["exit_status"] == "success"


def test_devices_get_the_state_that_the_plan_had_given_them(deaths: Deaths, kit: Any) -> None:
    def plan(slow: Any, motor: Any) -> Any:
        yield Msg("stage", slow)
        yield Msg("open_run")
        yield Msg("set", slow, 7.5, group="s")
        yield Msg("wait", None, "s")
        for number in range(3):
            yield from point(slow, motor, number)
        yield Msg("close_run")
        yield Msg("unstage", slow)

    deaths.run(plan(kit.Motor("slow"), kit.Motor()))
    slow, motor = kit.Motor("slow"), kit.Motor()
    path = deaths.left_at(len(deaths.images) - 4)
    left = read_story(path)
    before = [step[2] for step in left.steps[: left.point()] if step[:2] == ("set", "x")]
    assert before

    engine_at(path.parent).recover(path, plan(slow, motor))

    assert [value for value, _ in slow.moves] == [7.5], "set again, before the rest is measured"
    assert slow.log == ["unstage", "stage", "unstage"]
    assert slow.stops, "first of all everything comes to rest"
    assert motor.moves[0][0] == before[-1], "where it was at the last checkpoint"
    story = read_story(path.with_suffix(ENDED))
    data = [doc["data"]["slow"] for name, doc in story.documents if name == "event"]
    assert data == [7.5, 7.5, 7.5]


def test_a_monitored_signal_is_listened_to_again(deaths: Deaths, kit: Any) -> None:
    def plan(signal: Any, motor: Any) -> Any:
        yield Msg("open_run")
        yield Msg("monitor", signal, name="watched")
        det = kit.Motor("det")
        for number in range(4):
            yield from point(det, motor, number)
            signal.put(number)
        yield Msg("unmonitor", signal)
        yield Msg("close_run")

    deaths.run(plan(kit.Signal(), kit.Motor()))
    path = deaths.left_at(len(deaths.images) // 2)
    signal = kit.Signal()

    engine_at(path.parent).recover(path, plan(signal, kit.Motor()))

    story = read_story(path.with_suffix(ENDED))
    (run,) = story.runs.values()
    names = {uid: doc["name"] for uid, doc in run.descriptors.items()}
    assert Counter(names.values()) == {"watched": 1, "primary": 1}
    for stream in ("watched", "primary"):
        numbers = [
            d["seq_num"] for n, d in story.documents if n == "event" and names[d["descriptor"]] == stream
        ]
        assert numbers == list(range(1, len(numbers) + 1)), stream
    assert signal.subscribers == []


def test_the_asynchronous_door_goes_on_as_well(deaths: Deaths, kit_with_locate: Any) -> None:
    deaths.run(following(kit_with_locate))
    path = deaths.left_at(len(deaths.images) // 2)

    async def go_on() -> Any:
        engine = AsyncRunEngine(journal=Journal(path.parent, fsync="never"))
        return await engine.recover(path, following(kit_with_locate))

    result = asyncio.run(go_on())

    assert result.exit_status == "success"
    story = read_story(path.with_suffix(ENDED))
    assert comparable(story.documents) == comparable(deaths.documents)
    assert result.run_start_uids == tuple(story.runs)


def waits_for_a_task(kit: Any) -> Any:
    motor, det = kit.Motor(), kit.Motor("det")
    yield Msg("open_run")
    yield Msg("wait_for", None, [lambda: asyncio.sleep(0)])
    yield from point(det, motor, 1.0)
    yield from point(det, motor, 2.0)
    yield Msg("close_run")


def forbids_it(kit: Any) -> Any:
    motor, det = kit.Motor(), kit.Motor("det")
    yield Msg("open_run")
    yield Msg("clear_checkpoint")
    yield from point(det, motor, 1.0)
    yield from point(det, motor, 2.0)
    yield Msg("close_run")


def survives_an_error(kit: Any) -> Any:
    motor, det = kit.Motor(), kit.Motor("det")
    yield Msg("open_run")
    try:
        yield Msg("set", kit.Detector(), 1)
    except Exception:
        yield Msg("null")
    yield from point(det, motor, 1.0)
    yield from point(det, motor, 2.0)
    yield Msg("close_run")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (waits_for_a_task, "step 2, 'wait_for' on None, gave an answer that cannot be kept"),
        (forbids_it, "the plan has forbidden to go back to a checkpoint"),
        (survives_an_error, "step 2, 'set' on det, gave an error"),
    ],
)
def test_what_cannot_go_on_is_closed_and_says_why(deaths: Deaths, kit: Any, plan: Any, words: str) -> None:
    deaths.run(plan(kit))
    path = deaths.left_at(len(deaths.images) - 3)
    events = read_story(path).num_events
    docs = kit.Docs()

    with pytest.raises(CannotResume, match=words):
        engine_at(path.parent).recover(path, plan(kit), docs)

    story = read_story(path.with_suffix(ENDED))
    (run,) = story.runs.values()
    assert run.stop is not None
    assert run.stop["exit_status"] == "abort"
    assert words in run.stop["reason"]
    assert story.num_events == events
    assert docs.names == ["stop"]


def test_a_plan_that_was_paused_before_it_died_goes_on(deaths: Deaths, kit: Any) -> None:
    """The images of a run with a pause contain repeated steps; the plan was told each answer once."""

    def plan() -> Any:
        motor, det = kit.Motor(), kit.Motor("det")
        yield Msg("open_run")
        for number in range(4):
            yield from point(det, motor, number)
            if number == 1:
                yield Msg("pause")
        yield Msg("close_run")

    engine = engine_at(deaths.place / "first")
    images: list[bytes] = []

    def take(_: Any) -> None:
        call = engine.journal.current if engine.journal is not None else None
        if call is not None and call.path is not None:
            images.append(Path(call.path).read_bytes()[: call.position])

    engine.msg_hook = take
    with pytest.raises(Exception, match="interrupted"):
        engine(plan())
    engine.resume()
    deaths.images = images

    for number in range(len(images) // 2, len(images)):
        path = deaths.left_at(number)
        again = engine_at(path.parent)
        if again.journal is not None and not again.journal.orphans():
            continue
        with contextlib.suppress(RunEngineInterrupted):  # the plan pauses itself again
            again.recover(path, plan())
        if again.state == "paused":
            again.resume()
        story = read_story(path.with_suffix(ENDED))
        (run,) = story.runs.values()
        assert run.stop is not None
        assert run.stop["num_events"] == {"primary": 4}
        assert {d["seq_num"] for n, d in story.documents if n == "event"} == {1, 2, 3, 4}


def test_it_can_wait_for_a_person_before_anything_moves(deaths: Deaths, kit: Any) -> None:
    def plan(motor: Any) -> Any:
        det = kit.Motor("det")
        yield Msg("open_run")
        for number in range(4):
            yield from point(det, motor, number)
        yield Msg("close_run")

    deaths.run(plan(kit.Motor()))
    path = deaths.left_at(len(deaths.images) // 2)
    motor = kit.Motor()
    engine = engine_at(path.parent)

    with pytest.raises(RunEngineInterrupted):
        engine.recover(path, plan(motor), paused=True)
    assert engine.state == "paused"
    assert motor.moves == []

    engine.resume()

    story = read_story(path.with_suffix(ENDED))
    assert comparable(story.documents) == comparable(deaths.documents)


def test_runs_that_begin_later_have_the_metadata_of_the_call(deaths: Deaths, kit: Any) -> None:
    def plan() -> Any:
        motor, det = kit.Motor(), kit.Motor("det")
        for _ in range(2):
            yield Msg("open_run")
            yield from point(det, motor, 1.0)
            yield Msg("close_run")

    deaths.run(plan(), operator="ada")
    path = deaths.left_at(len(deaths.images) // 3)

    engine_at(path.parent).recover(path, plan())

    starts = [doc for name, doc in read_story(path.with_suffix(ENDED)).documents if name == "start"]
    assert [start["operator"] for start in starts] == ["ada", "ada"]
