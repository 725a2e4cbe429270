"""A simulated beamline: devices that need time, have limits and noise, and know the bluesky protocols."""

from .beamline import simulated_beamline
from .detectors import Peak, SimDetector, SimMonitor, SimSensor
from .device import Reading, ReadingCallback
from .motors import SimMotor
from .timing import SimStatus, Timeline, Timer

__all__ = [
    "Peak",
    "Reading",
    "ReadingCallback",
    "SimDetector",
    "SimMonitor",
    "SimMotor",
    "SimSensor",
    "SimStatus",
    "Timeline",
    "Timer",
    "simulated_beamline",
]
