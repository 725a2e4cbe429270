"""A status that never finishes: the limit of its device, or of the engine, ends the wait."""

from __future__ import annotations

import time
from typing import Any

import pytest
from ophyd.status import Status

from labspine.engine import DeviceTimeout, FailedStatus, Msg, RunEngine


class Stuck:
    """Moves, but never arrives, unless its status is finished by hand."""

    parent = None

    def __init__(self, name: str = "stuck") -> None:
        self.name = name
        self.status: Any = None
        self.stops = 0

    def set(self, value: float) -> Any:
        self.status = Status()
        return self.status

    def stop(self, success: bool = False) -> None:
        self.stops += 1


def move(device: Any) -> Any:
    yield Msg("set", device, 1, group="g")
    yield Msg("wait", None, "g")


@pytest.fixture
def engine() -> Any:
    with RunEngine(context_managers=[]) as made:
        yield made


def test_the_engine_s_limit_ends_a_wait_and_the_device_is_stopped(engine: RunEngine) -> None:
    engine.device_timeout_s = 0.05
    device = Stuck()
    with pytest.raises(DeviceTimeout, match=r"stuck\.set\(\) was not done after 0\.05 s") as late:
        engine(move(device))
    assert isinstance(late.value, FailedStatus)
    assert isinstance(late.value, TimeoutError)
    assert late.value.args == (device.status,)
    assert device.stops == 1
    assert engine.state == "idle"


def test_bluesky_s_name_of_the_error_catches_it(engine: RunEngine) -> None:
    import bluesky.utils

    engine.device_timeout_s = 0.05

    def careful() -> Any:
        try:
            yield from move(Stuck())
        except bluesky.utils.FailedStatus:
            return "caught"

    engine._call_returns_result = True
    assert engine(careful()).plan_result == "caught"


def test_a_device_has_a_limit_of_its_own(engine: RunEngine) -> None:
    engine.device_timeout_s = 60.0
    device = Stuck()
    device.device_timeout_s = 0.05  # type: ignore[attr-defined]
    began = time.monotonic()
    with pytest.raises(DeviceTimeout):
        engine(move(device))
    assert time.monotonic() - began < 30


def test_a_device_without_limit_may_take_its_time(engine: RunEngine) -> None:
    engine.device_timeout_s = 0.05
    device = Stuck()
    device.device_timeout_s = None  # type: ignore[attr-defined]

    def plan() -> Any:
        yield Msg("set", device, 1, group="g")
        yield Msg("sleep", None, 0.15)
        device.status.set_finished()
        yield Msg("wait", None, "g")

    engine(plan())
    assert device.status.success


def test_without_a_limit_nothing_is_told(engine: RunEngine) -> None:
    assert engine.device_timeout_s is None
    device = Stuck()

    def plan() -> Any:
        yield Msg("set", device, 1, group="g")
        device.status.set_finished()
        yield Msg("wait", None, "g")

    engine(plan())
