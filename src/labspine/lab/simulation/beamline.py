"""The simulated beamline of the demo."""

from __future__ import annotations

import math

import numpy as np

from ..devices import DeviceRegistry
from .detectors import Peak, SimDetector, SimMonitor, SimSensor
from .motors import SimMotor
from .timing import Timeline

__all__ = ["simulated_beamline"]


def simulated_beamline(*, speed: float = 1.0, seed: int | None = None) -> DeviceRegistry:
    """
    Build eight simulated devices that belong together.

    ``det`` has a peak over ``x`` (centre 0, standard deviation 1 mm), ``det2`` a peak over ``x`` and ``y``
    (centre 1 and -1, standard deviations 2 and 1.5 mm); both count with Poisson noise. ``i0`` drifts.
    A scan of ``det`` over 101 points from -5 to 5 takes about 10 s at speed 1.

    Args:
        speed: Simulated seconds per real second; 1 for people, 100 and more for tests.
        seed: Makes the noise repeatable; None gives new noise each time.

    Returns:
        The registry with x, y, th (motors), det, det2, i0 (monitored), temperature and ring (baseline).

    Raises:
        InvalidArgument: If the speed is not above 0.
    """
    timeline = Timeline(speed)
    noise = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(3)]
    x = SimMotor("x", timeline=timeline)
    y = SimMotor("y", timeline=timeline)
    th = SimMotor("th", timeline=timeline, velocity_mm_s=20.0, limits=(-180.0, 180.0), units="deg")
    line = Peak({x: (0.0, 1.0)})
    spot = Peak({x: (1.0, 2.0), y: (-1.0, 1.5)})
    registry = DeviceRegistry()
    for motor in (x, y, th):
        registry.add(motor, readout_priority="baseline", tags=("sample", "motor"))
    registry.add(SimDetector("det", timeline=timeline, rate_per_s=line, rng=noise[0]), tags=("detector",))
    registry.add(SimDetector("det2", timeline=timeline, rate_per_s=spot, rng=noise[1]), tags=("detector",))
    registry.add(SimMonitor("i0", timeline=timeline, rng=noise[2]), tags=("monitor",))
    for sensor in (
        SimSensor("temperature", timeline=timeline, value=_temperature_c, units="degC"),
        SimSensor("ring", timeline=timeline, value=_ring_ma, units="mA"),
    ):
        registry.add(sensor, readout_priority="baseline", tags=("environment",))
    return registry


def _temperature_c(now_s: float) -> float:
    return 23.5 + 0.3 * math.sin(2.0 * math.pi * now_s / 600.0)


def _ring_ma(now_s: float) -> float:
    """Decay from 400 mA, filled up again to 400 mA each 2 minutes (top-up)."""
    return 400.0 * math.exp(-(now_s % 120.0) / 3.6e4)
