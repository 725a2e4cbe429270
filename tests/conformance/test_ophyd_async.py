"""Devices of ophyd-async: soft signals, simulated motors, detectors that write files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs
import bluesky.plans
import bluesky.preprocessors
import event_model
import pytest
from ophyd_async.core import (
    AsyncStatus,
    StandardReadable,
    StandardReadableFormat,
    StaticPathProvider,
    UUIDFilenameProvider,
    init_devices,
    soft_signal_rw,
)
from ophyd_async.sim import PatternGenerator, SimBlobDetector, SimMotor, SimPointDetector

import labspine
import labspine.plan_stubs
import labspine.plans
import labspine.preprocessors
from labspine.engine import FailedStatus, Msg, RunEngine


class Docs(list[tuple[str, dict[str, Any]]]):
    """Keeps documents, and refuses those that do not follow event-model."""

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
        self.append((name, doc))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self]

    def of(self, wanted: str) -> list[dict[str, Any]]:
        return [doc for name, doc in self if name == wanted]


class Slit(StandardReadable):
    """Two soft signals, one of them configuration."""

    def __init__(self, name: str = "") -> None:
        with self.add_children_as_readables():
            self.gap = soft_signal_rw(float, 1.0)
        with self.add_children_as_readables(StandardReadableFormat.CONFIG_SIGNAL):
            self.label = soft_signal_rw(str, "new")
        super().__init__(name)


@pytest.fixture(params=[bluesky, labspine], ids=["bluesky's plans", "our plans"])
def side(request: pytest.FixtureRequest) -> Any:
    """Give the package that plans, stubs and preprocessors come from."""
    return request.param


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    with RunEngine(context_managers=[]) as made:
        yield made


def test_soft_devices_are_set_and_read(engine: RunEngine, side: Any) -> None:
    docs = Docs()
    with init_devices():
        slit = Slit("slit")

    def plan() -> Any:
        yield from side.plan_stubs.abs_set(slit.gap, 2.5, wait=True)
        yield from side.plans.count([slit], 2)
        yield Msg("keep", None, (yield from side.plan_stubs.rd(slit.gap)))

    found = []
    engine.register_command("keep", lambda msg: found.append(msg.args[0]))
    engine(plan(), docs)
    assert found == [2.5]
    assert [doc["data"]["slit-gap"] for doc in docs.of("event")] == [2.5, 2.5]
    assert docs.of("descriptor")[0]["configuration"]["slit"]["data"] == {"slit-label": "new"}


def test_a_scan_of_a_simulated_motor_and_a_point_detector(engine: RunEngine, side: Any) -> None:
    docs = Docs()
    pattern = PatternGenerator()
    with init_devices():
        motor = SimMotor(instant=True)
        detector = SimPointDetector(pattern)
    engine(side.plans.rel_scan([detector], motor, 0, 1, 3), docs)
    assert docs.names == ["start", "descriptor", "event", "event", "event", "stop"]
    assert [doc["data"]["motor"] for doc in docs.of("event")] == [0.0, 0.5, 1.0]


def test_a_detector_that_writes_files_announces_each_frame(
    engine: RunEngine, side: Any, tmp_path: Path
) -> None:
    docs = Docs()
    with init_devices():
        camera = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path), PatternGenerator())
    engine(side.plans.count([camera], 3), docs)
    events = docs.of("event")
    assert [doc["seq_num"] for doc in events] == [1, 2, 3]
    assert all(doc["data"] == {} for doc in events)
    keys = [k for k, v in docs.of("descriptor")[0]["data_keys"].items() if v.get("external") == "STREAM:"]
    assert len(docs.of("stream_resource")) == len(keys) > 0
    assert len(docs.of("stream_datum")) == 3 * len(keys)
    last = docs.of("stream_datum")[-1]
    assert (last["indices"], last["seq_nums"]) == ({"start": 2, "stop": 3}, {"start": 3, "stop": 4})
    assert list(tmp_path.iterdir())


def test_a_fly_scan_collects_frames_while_they_come(engine: RunEngine, side: Any, tmp_path: Path) -> None:
    from ophyd_async.core import TriggerInfo

    docs = Docs()
    with init_devices():
        camera = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path), PatternGenerator())

    @side.preprocessors.stage_decorator([camera])
    @side.preprocessors.run_decorator()
    def plan() -> Any:
        yield from side.plan_stubs.prepare(camera, TriggerInfo(number_of_events=5, livetime=0.001), wait=True)
        yield from side.plan_stubs.declare_stream(camera, name="frames", collect=True)
        yield from side.plan_stubs.kickoff(camera, wait=True)
        yield from side.plan_stubs.collect_while_completing(
            flyers=[camera], dets=[camera], flush_period=0.05, stream_name="frames"
        )

    engine(plan(), docs)
    assert docs.names[:2] == ["start", "descriptor"]
    assert docs[-1][1]["num_events"] == {"frames": 5}
    assert max(doc["indices"]["stop"] for doc in docs.of("stream_datum")) == 5
    assert max(doc["seq_nums"]["stop"] for doc in docs.of("stream_datum")) == 6


def test_a_monitored_signal_gives_an_event_for_each_change(engine: RunEngine, side: Any) -> None:
    docs = Docs()
    with init_devices():
        slit = Slit("slit")

    def plan() -> Any:
        yield Msg("open_run")
        yield Msg("monitor", slit.gap, name="gap_monitor")
        for value in (3.0, 4.0):
            yield from side.plan_stubs.abs_set(slit.gap, value, wait=True)
        yield Msg("unmonitor", slit.gap)
        yield from side.plan_stubs.abs_set(slit.gap, 5.0, wait=True)
        yield Msg("close_run")

    engine(plan(), docs)
    assert [doc["data"]["slit-gap"] for doc in docs.of("event")] == [1.0, 3.0, 4.0]


def test_a_set_that_fails_reaches_the_plan(engine: RunEngine, side: Any) -> None:
    class Stuck(Slit):
        @AsyncStatus.wrap
        async def set(self, value: float) -> None:
            await asyncio.sleep(0.01)
            raise OSError("stuck")

    with init_devices():
        slit = Stuck("slit")
    with pytest.raises(FailedStatus) as caught:
        engine(side.plan_stubs.abs_set(slit, 5.0, wait=True))
    assert isinstance(caught.value.__cause__, OSError)


def test_a_preflight_sees_soft_motors_without_moving_them(engine: RunEngine, side: Any) -> None:
    with init_devices():
        motor = SimMotor(instant=True)
        detector = SimPointDetector(PatternGenerator())
    report = engine.preflight(side.plans.rel_scan([detector], motor, -1, 1, 3))
    assert report.problems == ()
    assert report.num_points == 3
    assert report.positions["motor"].num_moves == 4
    assert "motor" in report.notes[0]
