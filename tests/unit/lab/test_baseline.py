"""The baseline devices are read once at the start of each run, by the real engine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bluesky.plans import count

from labspine.engine import Msg, RunEngine
from labspine.lab import DeviceRegistry, simulated_beamline
from labspine.lab.scans.baseline import with_baseline


@pytest.fixture
def registry() -> DeviceRegistry:
    return simulated_beamline(speed=1000.0)


@pytest.fixture
def engine(registry: DeviceRegistry) -> Iterator[RunEngine]:
    loop = asyncio.new_event_loop()
    with_it = [lambda plan: with_baseline(plan, registry)]
    yield RunEngine(context_managers=[], preprocessors=with_it, loop=loop)
    loop.call_soon_threadsafe(loop.stop)
    deadline = time.monotonic() + 10
    while loop.is_running():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    loop.close()


def streams(documents: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, int]]:
    names = {doc["uid"]: doc["name"] for kind, doc in documents if kind == "descriptor"}
    return [(names[doc["descriptor"]], doc["seq_num"]) for kind, doc in documents if kind == "event"]


def test_baseline_comes_first_and_once_a_run(engine: RunEngine, registry: DeviceRegistry) -> None:
    documents: list[tuple[str, dict[str, Any]]] = []
    engine(count([registry["det"]], 2), lambda name, doc: documents.append((name, doc)))
    assert streams(documents) == [("baseline", 1), ("primary", 1), ("primary", 2)]
    keys = next(doc["object_keys"] for kind, doc in documents if kind == "descriptor")
    assert list(keys) == ["x", "y", "th", "temperature", "ring"]


def test_answers_errors_and_return_value_reach_the_plan(engine: RunEngine) -> None:
    said: list[object] = []

    def plan() -> Iterator[Msg]:
        said.append((yield Msg("open_run")))
        try:
            yield Msg("sleep", None, -1)
        except ValueError as error:
            said.append(type(error).__name__)
        yield Msg("close_run")

    (uid,) = engine(plan())
    assert said == [uid, "BadStep"]


def test_plan_without_a_run_is_left_alone(registry: DeviceRegistry) -> None:
    steps = [Msg("null"), Msg("sleep", None, 0)]
    assert list(with_baseline(steps, registry)) == steps
