"""The simulated devices move, count, stop and satisfy the bluesky protocols."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest
from bluesky import protocols

from labspine.errors import DeadlinePassed, DeviceError, InvalidArgument
from labspine.lab.simulation import Peak, SimDetector, SimMonitor, SimMotor, Timeline, simulated_beamline


def wait_until(condition, timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.002)


def timeline_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "sim-timeline"]


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(speed=50.0)


def test_motor_and_detectors_satisfy_the_bluesky_protocols() -> None:
    registry = simulated_beamline(speed=100.0)
    motor, det, i0, temperature = (registry[n] for n in ("x", "det", "i0", "temperature"))
    of_motors = "Movable Locatable Readable Configurable Stoppable Checkable Stageable Subscribable HasHints"
    for protocol in of_motors.split():
        assert isinstance(motor, getattr(protocols, protocol)), protocol
    for device in (det, i0):
        for protocol in ("Triggerable", "Readable", "Configurable", "Stoppable", "Stageable", "Subscribable"):
            assert isinstance(device, getattr(protocols, protocol)), protocol
    assert isinstance(temperature, protocols.Readable)
    assert isinstance(motor.set(1.0), protocols.Status)


def test_motor_needs_the_time_that_its_velocity_says(timeline: Timeline) -> None:
    motor = SimMotor("x", timeline=timeline, velocity_mm_s=5.0)
    began = time.monotonic()
    motor.set(10.0).wait(5.0)
    took_s = (time.monotonic() - began) * timeline.speed
    assert 2.0 <= took_s < 2.0 + 0.02 * timeline.speed
    assert motor.position == 10.0


def test_motor_is_on_the_way_in_between(timeline: Timeline) -> None:
    motor = SimMotor("x", timeline=timeline, velocity_mm_s=1.0)
    status = motor.set(10.0)
    wait_until(lambda: motor.position > 1.0)
    assert 0.0 < motor.position < 10.0
    assert motor.is_moving
    assert not status.done
    assert motor.locate()["setpoint"] == 10.0
    with pytest.raises(DeadlinePassed):
        status.exception(0.001)
    status.wait(5.0)


def test_stop_really_stops(timeline: Timeline) -> None:
    motor = SimMotor("x", timeline=timeline, velocity_mm_s=1.0)
    status = motor.set(40.0)
    wait_until(lambda: motor.position > 0.2)
    motor.stop(success=False)
    where = motor.position
    assert status.done
    assert not status.success
    assert "stopped" in str(status.exception())
    assert 0.2 < where < 40.0
    time.sleep(0.02)  # real time passes: it must not move on
    assert motor.position == where


def test_stop_as_planned_is_a_success(timeline: Timeline) -> None:
    motor = SimMotor("x", timeline=timeline, velocity_mm_s=1.0)
    status = motor.set(40.0)
    motor.stop(success=True)
    assert status.success


def test_new_target_fails_the_old_status_and_wins(timeline: Timeline) -> None:
    motor = SimMotor("x", timeline=timeline, velocity_mm_s=5.0)
    old, new = motor.set(40.0), motor.set(-1.0)
    new.wait(5.0)
    assert not old.success
    assert "replaced by -1" in str(old.exception())
    assert motor.position == -1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, "abc", 1j, None, True, [1.0]])
def test_what_is_no_number_is_refused(timeline: Timeline, value: object) -> None:
    motor = SimMotor("x", timeline=timeline)
    with pytest.raises(DeviceError, match="finite number"):
        motor.set(value)  # type: ignore[arg-type]
    assert not motor.is_moving


def test_outside_limits_is_refused_with_limits_and_units(timeline: Timeline) -> None:
    motor = SimMotor("x", timeline=timeline)
    with pytest.raises(DeviceError, match=r"x: 500 is outside limits \[-50, 50\] mm"):
        motor.check_value(500)


def test_subscriber_hears_the_way_and_the_end(timeline: Timeline) -> None:
    motor = SimMotor("x", timeline=timeline, velocity_mm_s=0.5)
    heard: list[float] = []

    def follow(reading: dict[str, dict[str, object]]) -> None:
        heard.append(float(reading["x"]["value"]))  # type: ignore[arg-type]

    motor.subscribe(follow)
    motor.set(5.0).wait(5.0)
    wait_until(lambda: heard[-1] == 5.0)
    assert heard[0] == 0.0
    assert len(heard) >= 4, "10 simulated seconds at speed 50 are 0.2 s: ticks each 50 ms"
    assert heard == sorted(heard)
    motor.clear_sub(follow)
    count = len(heard)
    motor.set(5.1).wait(5.0)
    assert len(heard) == count


def test_status_calls_back_once_and_also_late(timeline: Timeline) -> None:
    status = SimMotor("x", timeline=timeline).set(0.5)
    seen: list[object] = []
    status.add_callback(seen.append)
    status.wait(5.0)
    wait_until(lambda: len(seen) == 1)
    status.add_callback(seen.append)
    status.finish(DeviceError("too late"))
    assert seen == [status, status]
    assert status.success


def test_detector_counts_follow_the_peak_and_poisson() -> None:
    timeline = Timeline(speed=2000.0)
    motor = SimMotor("x", timeline=timeline)
    peak = Peak({motor: (0.0, 1.0)}, height_per_s=10_000.0, background_per_s=100.0)
    detector = SimDetector(
        "det", timeline=timeline, rate_per_s=peak, exposure_s=0.1, rng=np.random.default_rng(1)
    )
    top = []
    for _ in range(200):
        detector.trigger().wait(5.0)
        top.append(detector.read()["det"]["value"])
    assert abs(np.mean(top) - 1010.0) < 5 * math.sqrt(1010.0 / 200)
    assert 0.7 < np.var(top) / np.mean(top) < 1.4
    motor.set(20.0).wait(5.0)
    detector.trigger().wait(5.0)
    assert detector.read()["det"]["value"] < 40


def test_second_trigger_during_an_exposure_is_refused() -> None:
    timeline = Timeline(speed=1.0)
    detector = SimDetector("det", timeline=timeline, rate_per_s=lambda: 1.0, exposure_s=10.0)
    status = detector.trigger()
    with pytest.raises(DeviceError, match="under way"):
        detector.trigger()
    detector.stop(success=False)
    assert "stopped" in str(status.exception())


def test_configuration_can_be_changed_and_nonsense_is_refused(timeline: Timeline) -> None:
    detector = SimDetector("det", timeline=timeline, rate_per_s=lambda: 1.0)
    before, after = detector.configure({"exposure_s": 0.2})
    assert (before["det_exposure"]["value"], after["det_exposure"]["value"]) == (0.07, 0.2)
    for wrong in ({"exposure": 1}, {"exposure_s": 0}, {"exposure_s": "long"}, {"exposure_s": math.inf}):
        with pytest.raises(DeviceError):
            detector.configure(wrong)
    motor = SimMotor("x", timeline=timeline)
    assert motor.configure({"velocity": 2})[1]["x_velocity"]["value"] == 2.0
    with pytest.raises(DeviceError):
        motor.configure({"velocity": -1})
    assert set(motor.read_configuration()) == set(motor.describe_configuration())
    assert set(detector.read_configuration()) == set(detector.describe_configuration())


def test_monitor_drifts_within_its_band() -> None:
    timeline = Timeline(speed=5000.0)
    monitor = SimMonitor("i0", timeline=timeline, drift=0.1, period_s=5.0, rng=np.random.default_rng(2))
    values = []
    for _ in range(100):
        monitor.trigger().wait(5.0)
        values.append(float(monitor.read()["i0"]["value"]))  # type: ignore[arg-type]
    assert 0.85 * 5e4 < min(values) < 0.97 * 5e4 < 1.03 * 5e4 < max(values) < 1.15 * 5e4


def test_same_seed_gives_the_same_noise() -> None:
    readings = []
    for _ in range(2):
        detector = simulated_beamline(speed=1000.0, seed=7)["det"]
        detector.trigger().wait(5.0)
        readings.append(detector.read()["det"]["value"])
    assert readings[0] == readings[1]


def test_readings_match_their_descriptions() -> None:
    registry = simulated_beamline(speed=1000.0)
    assert list(registry) == ["x", "y", "th", "det", "det2", "i0", "temperature", "ring"]
    for name in registry:
        reading, keys = registry.read(name), registry.data_keys(name)
        assert list(reading) == list(keys)
        kinds = {"number": float, "integer": int, "string": str}
        for signal, part in reading.items():
            assert isinstance(part["value"], kinds[str(keys[signal]["dtype"])])
            assert abs(float(part["timestamp"]) - time.time()) < 60


def test_timeline_leaves_no_thread_behind() -> None:
    SimMotor("x", timeline=Timeline(speed=1000.0)).set(1.0).wait(5.0)
    wait_until(lambda: not timeline_threads(), timeout_s=5.0)


@pytest.mark.parametrize("speed", [0, -1, math.inf, math.nan])
def test_speed_must_be_above_zero(speed: float) -> None:
    with pytest.raises(InvalidArgument):
        simulated_beamline(speed=speed)


def test_wrong_parameters_of_devices_are_refused(timeline: Timeline) -> None:
    with pytest.raises(InvalidArgument, match="velocity"):
        SimMotor("x", timeline=timeline, velocity_mm_s=0)
    with pytest.raises(InvalidArgument, match="limits"):
        SimMotor("x", timeline=timeline, limits=(1, 1))
    with pytest.raises(InvalidArgument, match="exposure"):
        SimDetector("d", timeline=timeline, rate_per_s=lambda: 1.0, exposure_s=0)
