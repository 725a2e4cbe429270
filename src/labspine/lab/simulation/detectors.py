"""Simulated detectors: counters with a peak and counting noise, a drifting monitor, slow sensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Protocol

import numpy as np

from labspine.clock import utc_s
from labspine.errors import DeviceError, InvalidArgument, shown

from .device import Reading, SimDevice
from .motors import SimMotor
from .timing import SimStatus, Timeline, Timer

__all__ = ["Peak", "SimDetector", "SimMonitor", "SimSensor"]


class HasScanStatus(Protocol):
    """What a device may look at in a scan status: identity, number and state of the scan."""

    @property
    def scan_id(self) -> str | None: ...

    @property
    def status(self) -> str: ...


class Peak:
    """
    A gaussian on a flat background, over one motor or several.

    Args:
        axes: For each motor the centre and the standard deviation, in its units.
        height_per_s: Counts per second at the top, above the background.
        background_per_s: Counts per second far away.
    """

    def __init__(
        self,
        axes: Mapping[SimMotor, tuple[float, float]],
        *,
        height_per_s: float = 12_000.0,
        background_per_s: float = 120.0,
    ) -> None:
        self.axes = dict(axes)
        self.height_per_s = height_per_s
        self.background_per_s = background_per_s

    def __call__(self) -> float:
        """Return the expected counts per second at the present positions."""
        squares = (((motor.position - centre) / width) ** 2 for motor, (centre, width) in self.axes.items())
        return self.background_per_s + self.height_per_s * math.exp(-0.5 * sum(squares))


class SimDetector(SimDevice):
    """
    Count for an exposure time; the counts follow a rate and Poisson's law.

    It satisfies bluesky's Triggerable, Readable, Configurable, Stoppable, Stageable, Subscribable and
    HasHints protocols without importing bluesky.

    Args:
        name: Name of the device and of its signal.
        timeline: The simulated time in which it counts.
        rate_per_s: Gives the expected counts per second at this moment.
        exposure_s: Counting time in simulated seconds, above 0.
        rng: Source of the noise; None gives an unpredictable one.

    Raises:
        InvalidArgument: If the exposure time is not above 0.
    """

    units = "counts"

    def __init__(
        self,
        name: str,
        *,
        timeline: Timeline,
        rate_per_s: Callable[[], float],
        exposure_s: float = 0.07,
        rng: np.random.Generator | None = None,
    ) -> None:
        if not 0 < exposure_s < math.inf:
            raise InvalidArgument(f"{name}: exposure is {exposure_s!r} s; it must be a finite number above 0")
        super().__init__(name, timeline)
        self.exposure_s = float(exposure_s)
        self.prepared_for = ""
        self._rate_per_s = rate_per_s
        self._rng = rng if rng is not None else np.random.default_rng()
        self._value, self._value_utc_s = 0, utc_s()
        self._status: SimStatus | None = None
        self._timer: Timer | None = None

    def trigger(self) -> SimStatus:
        """
        Start one exposure.

        Returns:
            The status that ends with the exposure; then ``read`` gives its counts.

        Raises:
            DeviceError: If an exposure is under way.
        """
        status = SimStatus()
        with self._lock:
            if self._status is not None:
                raise DeviceError(f"{self.name}: an exposure is under way; wait for it or stop it")
            self._status = status
            self._timer = self._timeline.call_later(self.exposure_s, lambda: self._end_exposure(status))
        return status

    def _end_exposure(self, status: SimStatus) -> None:
        with self._lock:
            if self._status is not status:
                return
            self._value = int(self._rng.poisson(max(0.0, self._rate_per_s()) * self.exposure_s))
            self._value_utc_s = utc_s()
            self._status = self._timer = None
        status.finish()
        self._tell()

    def stop(self, *, success: bool = True) -> None:
        """
        Give up the exposure under way; the last counts stay.

        Args:
            success: True ends its status as a success; False as a failure.
        """
        with self._lock:
            status, self._status = self._status, None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if status is not None:
            status.finish(None if success else DeviceError(f"{self.name}: the exposure was stopped"))

    def read(self) -> Reading:
        """Return the counts of the last exposure."""
        with self._lock:
            return {self.name: {"value": self._value, "timestamp": self._value_utc_s}}

    def describe(self) -> dict[str, dict[str, object]]:
        """Return the data key of ``read`` as the event model wants it."""
        return {
            self.name: {"source": f"SIM:{self.name}", "dtype": "integer", "shape": [], "units": self.units}
        }

    def read_configuration(self) -> Reading:
        """Return the exposure time and the scan for which the detector has prepared itself."""
        now = utc_s()
        return {
            f"{self.name}_exposure": {"value": self.exposure_s, "timestamp": now},
            f"{self.name}_prepared_for": {"value": self.prepared_for, "timestamp": now},
        }

    def describe_configuration(self) -> dict[str, dict[str, object]]:
        """Return the data keys of ``read_configuration``."""
        source = f"SIM:{self.name}"
        return {
            f"{self.name}_exposure": {
                "source": f"{source}.exposure",
                "dtype": "number",
                "shape": [],
                "units": "s",
            },
            f"{self.name}_prepared_for": {
                "source": f"{source}.prepared_for",
                "dtype": "string",
                "shape": [],
            },
        }

    def configure(self, values: Mapping[str, object]) -> tuple[Reading, Reading]:
        """
        Change the exposure time.

        Args:
            values: ``{"exposure_s": seconds above 0}``.

        Returns:
            The configuration before and after.

        Raises:
            DeviceError: If another name is given or the number makes no sense.
        """
        before = self.read_configuration()
        exposure_s = values.get("exposure_s", self.exposure_s)
        if set(values) - {"exposure_s"} or isinstance(exposure_s, bool) or not isinstance(exposure_s, Real):
            raise DeviceError(f"{self.name}: can set only exposure_s (a number), not {shown(dict(values))}")
        if not 0 < float(exposure_s) < math.inf:
            raise DeviceError(f"{self.name}: exposure {exposure_s} s is not a finite number above 0")
        self.exposure_s = float(exposure_s)
        return before, self.read_configuration()

    def on_scan_status(self, message: HasScanStatus) -> None:
        """
        Prepare for the scan that has been announced.

        Args:
            message: The scan status that the device server passes on.
        """
        if message.status == "open" and message.scan_id:
            self.prepared_for = message.scan_id


class SimMonitor(SimDetector):
    """
    Count the incoming beam, which drifts slowly.

    Args:
        name: Name of the device and of its signal.
        timeline: The simulated time in which it counts.
        level_per_s: Mean counts per second.
        drift: Largest relative deviation from the mean.
        period_s: Period of the drift in simulated seconds.
        rng: Source of the noise; None gives an unpredictable one.
    """

    def __init__(
        self,
        name: str,
        *,
        timeline: Timeline,
        level_per_s: float = 1.0e6,
        drift: float = 0.02,
        period_s: float = 120.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        def rate_per_s() -> float:
            return level_per_s * (1.0 + drift * math.sin(2.0 * math.pi * timeline.now_s() / period_s))

        super().__init__(name, timeline=timeline, rate_per_s=rate_per_s, exposure_s=0.05, rng=rng)


class SimSensor:
    """
    Show a slowly changing quantity, such as a temperature; it has nothing to trigger.

    Args:
        name: Name of the device and of its signal.
        timeline: The simulated time in which it changes.
        value: Gives the quantity from the simulated time in seconds.
        units: Units of the quantity.
    """

    parent = None

    def __init__(
        self, name: str, *, timeline: Timeline, value: Callable[[float], float], units: str = ""
    ) -> None:
        self.name = name
        self.units = units
        self._timeline = timeline
        self._value = value

    @property
    def hints(self) -> dict[str, list[str]]:
        """Name the signal that a plot should show."""
        return {"fields": [self.name]}

    def read(self) -> Reading:
        """Return the present value."""
        return {self.name: {"value": round(self._value(self._timeline.now_s()), 4), "timestamp": utc_s()}}

    def describe(self) -> dict[str, dict[str, object]]:
        """Return the data key of ``read`` as the event model wants it."""
        return {
            self.name: {"source": f"SIM:{self.name}", "dtype": "number", "shape": [], "units": self.units}
        }

    def read_configuration(self) -> Reading:
        """Return nothing: there is nothing to configure."""
        return {}

    def describe_configuration(self) -> dict[str, dict[str, object]]:
        """Return nothing: there is nothing to configure."""
        return {}
