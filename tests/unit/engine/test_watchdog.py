"""A step that keeps the engine's thread to itself is noticed, named, and ends its plan."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from labspine.engine import AsyncRunEngine, BlockedStep, Msg, RunEngine
from labspine.errors import PlanError


class Blocking:
    """Blocks in ``read`` until somebody lets it go."""

    parent = None
    name = "blocking"

    def __init__(self) -> None:
        self.release = threading.Event()

    def read(self) -> dict[str, Any]:
        assert self.release.wait(30)
        return {"blocking": {"value": 1, "timestamp": 1.0}}

    def describe(self) -> dict[str, Any]:
        return {"blocking": {"dtype": "number", "shape": [], "source": "test"}}


def test_a_blocking_device_is_named_and_its_plan_is_told() -> None:
    device, told = Blocking(), []

    def noticed(text: str) -> None:
        told.append(text)
        device.release.set()

    with RunEngine(context_managers=[]) as engine:
        engine.watchdog_s, engine.blocked_hook = 0.1, noticed
        with pytest.raises(BlockedStep) as blocked:
            engine([Msg("null"), Msg("read", device), Msg("sleep", None, 0)])
        assert engine.state == "idle"
    assert isinstance(blocked.value, PlanError)
    assert told == [str(blocked.value)]
    assert "step 2 has kept the engine busy for more than 0.1 s in read" in told[0]
    assert "test_watchdog.py" in told[0]


def test_a_stop_that_is_asked_for_meanwhile_takes_effect() -> None:
    device = Blocking()
    after: list[str] = []

    def plan() -> Any:
        try:
            yield Msg("read", device)
        except BlockedStep:
            pass
        yield Msg("null")
        after.append("went on")

    with RunEngine(context_managers=[]) as engine:
        engine.watchdog_s = 0.1

        def stop(text: str) -> None:
            engine.abort("enough")
            device.release.set()

        engine.blocked_hook = stop
        with pytest.raises(PlanError):
            engine(plan())
        assert engine.state == "idle"
    assert after == []


def test_without_a_limit_and_with_patience_nothing_is_told() -> None:
    told: list[str] = []
    with RunEngine(context_managers=[]) as engine:
        engine.blocked_hook = told.append
        engine([Msg("null")])
        engine.watchdog_s = 5.0
        engine([Msg("sleep", None, 0.05)])
    assert told == []


def test_the_asynchronous_door_watches_as_well() -> None:
    device = Blocking()

    async def main() -> None:
        engine = AsyncRunEngine()
        engine.watchdog_s, engine.blocked_hook = 0.1, lambda text: device.release.set()
        await engine.run([Msg("read", device), Msg("null")])

    with pytest.raises(BlockedStep, match=r"step 1 has kept the engine busy .* in read"):
        asyncio.run(main())
