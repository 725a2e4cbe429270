"""The registry of devices: names, descriptions, readings, and clear errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from ophyd.sim import motor as ophyd_motor
from ophyd_async.core import soft_signal_rw

from labspine.errors import DeviceError, InvalidArgument, InvalidName
from labspine.lab import DeviceRegistry, simulated_beamline
from labspine.lab.simulation import SimMotor, Timeline


@pytest.fixture
def registry() -> DeviceRegistry:
    return simulated_beamline(speed=1000.0)


def test_wrong_name_suggests_the_nearest(registry: DeviceRegistry) -> None:
    with pytest.raises(DeviceError, match='no device "dett" — did you mean "det"'):
        _ = registry["dett"]
    with pytest.raises(DeviceError, match="devices are x, y, th"):
        _ = registry["zzzzzz"]
    with pytest.raises(DeviceError):
        _ = registry[["x"]]  # type: ignore[index]
    with pytest.raises(DeviceError, match="not registered yet"):
        _ = DeviceRegistry()["x"]


def test_names_are_checked(registry: DeviceRegistry) -> None:
    timeline = Timeline()
    with pytest.raises(InvalidName, match="already"):
        registry.add(SimMotor("x", timeline=timeline))
    for wrong in ("", "a b", "1x", "x/y", "x\n"):
        with pytest.raises(InvalidName, match="not allowed"):
            registry.add(SimMotor(wrong, timeline=timeline))
    with pytest.raises(InvalidName, match="not allowed"):
        registry.add(object())
    with pytest.raises(InvalidName, match="its readings carry"):
        registry.add(SimMotor("z", timeline=timeline), name="zz")
    with pytest.raises(InvalidArgument, match="monitored, baseline, on_request"):
        registry.add(SimMotor("z", timeline=timeline), readout_priority="sometimes")  # type: ignore[arg-type]


def test_names_by_priority_and_removal(registry: DeviceRegistry) -> None:
    assert registry.names("monitored") == ["det", "det2", "i0"]
    assert registry.names("baseline") == ["x", "y", "th", "temperature", "ring"]
    registry.remove("ring")
    assert "ring" not in registry
    assert len(registry) == 7
    with pytest.raises(DeviceError):
        registry.remove("ring")


def test_description_is_plain_data(registry: DeviceRegistry) -> None:
    assert registry.describe("x") == {
        "name": "x",
        "class": "SimMotor",
        "kind": "movable",
        "readout_priority": "baseline",
        "tags": ["sample", "motor"],
        "limits": [-50.0, 50.0],
        "units": "mm",
        "hints": {"fields": ["x"]},
        "signals": {
            name: {"dtype": "number", "shape": [], "units": "mm", "precision": 4}
            for name in ("x", "x_setpoint")
        },
        "problem": None,
    }
    assert [d["kind"] for d in registry.describe_all()] == ["movable"] * 3 + ["readable"] * 5


def test_ophyd_device_is_understood() -> None:
    registry = DeviceRegistry()
    registry.add(ophyd_motor)
    assert registry.describe("motor")["kind"] == "movable"
    assert set(registry.read("motor")) == {"motor", "motor_setpoint"}
    assert "motor_velocity" in registry.read_configuration("motor")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()


def test_asynchronous_device_is_read_on_its_loop(loop: asyncio.AbstractEventLoop) -> None:
    signal = soft_signal_rw(float, 4.2, name="soft")
    asyncio.run_coroutine_threadsafe(signal.connect(), loop).result(5)
    registry = DeviceRegistry(loop=loop)
    registry.add(signal)
    assert registry.read("soft")["soft"]["value"] == 4.2
    assert registry.data_keys("soft")["soft"]["dtype"] == "number"


class Broken:
    name = "broken"

    def read(self) -> None:
        raise OSError("cable torn")

    describe = read


def test_a_device_that_fails_is_named() -> None:
    registry = DeviceRegistry()
    registry.add(Broken())
    with pytest.raises(DeviceError, match=r'device "broken": read\(\) failed: cable torn'):
        registry.read("broken")
    assert "cable torn" in str(registry.describe("broken")["problem"])
    assert registry.read_configuration("broken") == {}
