"""A simulated motor: it needs time to move, has limits, and really stops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

from labspine.clock import utc_s
from labspine.errors import DeviceError, InvalidArgument, shown

from .device import Reading, SimDevice
from .timing import SimStatus, Timeline, Timer

__all__ = ["SimMotor"]

_TICK_REAL_S = 0.05
"""While a motor moves, its subscribers hear a new position every 50 ms of real time."""


class SimMotor(SimDevice):
    """
    Move at a constant velocity between two limits.

    It satisfies bluesky's Movable, Locatable, Readable, Configurable, Stoppable, Checkable, Stageable,
    Subscribable and HasHints protocols without importing bluesky.

    Args:
        name: Name of the device and of its position signal.
        timeline: The simulated time in which it moves.
        velocity_mm_s: Velocity in units per second (mm/s for a linear axis, deg/s for a rotation).
        limits: Lowest and highest position that is allowed.
        units: Units of the position.

    Raises:
        InvalidArgument: If velocity or limits make no sense.
    """

    def __init__(
        self,
        name: str,
        *,
        timeline: Timeline,
        velocity_mm_s: float = 5.0,
        limits: tuple[float, float] = (-50.0, 50.0),
        units: str = "mm",
    ) -> None:
        if not velocity_mm_s > 0:
            raise InvalidArgument(f"{name}: velocity is {velocity_mm_s!r}; it must be above 0")
        if not limits[0] < limits[1]:
            raise InvalidArgument(f"{name}: limits are {limits!r}; the first must be below the second")
        super().__init__(name, timeline)
        self.limits = (float(limits[0]), float(limits[1]))
        self.units = units
        self.velocity_mm_s = float(velocity_mm_s)
        self._start, self._target, self._started_s = 0.0, 0.0, 0.0
        self._changed_utc_s = self._asked_utc_s = utc_s()
        self._status: SimStatus | None = None
        self._timer: Timer | None = None

    @property
    def position(self) -> float:
        """Where the motor is now, in its units."""
        with self._lock:
            if self._status is None:
                return self._start
            way = self._target - self._start
            done = (self._timeline.now_s() - self._started_s) * self.velocity_mm_s
            return self._target if done >= abs(way) else self._start + math.copysign(done, way)

    @property
    def is_moving(self) -> bool:
        """Say whether a movement is under way."""
        return self._status is not None

    def check_value(self, value: object) -> None:
        """
        Test a target without moving.

        Args:
            value: The position to test, in the units of the motor.

        Raises:
            DeviceError: If it is not a finite real number or is outside the limits.
        """
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise DeviceError(f"{self.name}: {shown(value)} is not a position; give a finite number")
        low, high = self.limits
        if not low <= float(value) <= high:
            raise DeviceError(
                f"{self.name}: {float(value):g} is outside limits [{low:g}, {high:g}] {self.units}"
            )

    def set(self, value: float) -> SimStatus:
        """
        Start to move; a movement under way ends as failed, because its target has been replaced.

        Args:
            value: Target in the units of the motor.

        Returns:
            The status that ends when the motor has arrived or was stopped.

        Raises:
            DeviceError: If the target is not a finite number within the limits.
        """
        self.check_value(value)
        status = SimStatus()
        with self._lock:
            replaced = self._freeze()
            self._target, self._status = float(value), status
            self._asked_utc_s = utc_s()
            self._started_s = self._timeline.now_s()
            self._plan_tick(status)
        if replaced is not None:
            replaced.finish(DeviceError(f"{self.name}: its target was replaced by {value:g}"))
        return status

    def stop(self, *, success: bool = True) -> None:
        """
        Stop where the motor is.

        Args:
            success: True ends the movement under way as a success; False as a failure.
        """
        with self._lock:
            status = self._freeze()
        if status is not None:
            where = f"{self.name}: stopped at {self._start:g} {self.units}"
            status.finish(None if success else DeviceError(where))
            self._tell()

    def _freeze(self) -> SimStatus | None:
        """End the bookkeeping of the movement under way; the caller ends its status outside the lock."""
        self._start = self._target = self.position
        self._changed_utc_s = utc_s()
        if self._timer is not None:
            self._timer.cancel()
        status, self._status, self._timer = self._status, None, None
        return status

    def _plan_tick(self, status: SimStatus) -> None:
        left_s = abs(self._target - self.position) / self.velocity_mm_s
        delay_s = min(left_s, _TICK_REAL_S * self._timeline.speed) if self._subscribers else left_s
        self._timer = self._timeline.call_later(delay_s, lambda: self._tick(status))

    def _tick(self, status: SimStatus) -> None:
        with self._lock:
            if self._status is not status:
                return
            arrived = self.position == self._target
            if arrived:
                self._freeze()
            else:
                self._changed_utc_s = utc_s()
                self._plan_tick(status)
        self._tell()
        if arrived:
            status.finish()

    def locate(self) -> dict[str, float]:
        """Return where the motor was sent (``setpoint``) and where it is (``readback``)."""
        with self._lock:
            return {"setpoint": self._target, "readback": self.position}

    def read(self) -> Reading:
        """Return position and setpoint with the time of their last change."""
        with self._lock:
            changed = utc_s() if self._status is not None else self._changed_utc_s
            return {
                self.name: {"value": self.position, "timestamp": changed},
                f"{self.name}_setpoint": {"value": self._target, "timestamp": self._asked_utc_s},
            }

    def describe(self) -> dict[str, dict[str, object]]:
        """Return the data keys of ``read`` as the event model wants them."""
        key = {
            "source": f"SIM:{self.name}",
            "dtype": "number",
            "shape": [],
            "units": self.units,
            "precision": 4,
        }
        limits = {"control": {"low": self.limits[0], "high": self.limits[1]}}
        return {
            self.name: {**key, "limits": limits},
            f"{self.name}_setpoint": {**key, "limits": limits},
        }

    def read_configuration(self) -> Reading:
        """Return the velocity."""
        return {f"{self.name}_velocity": {"value": self.velocity_mm_s, "timestamp": utc_s()}}

    def describe_configuration(self) -> dict[str, dict[str, object]]:
        """Return the data keys of ``read_configuration``."""
        key: dict[str, object] = {
            "source": f"SIM:{self.name}.velocity",
            "dtype": "number",
            "shape": [],
            "units": f"{self.units}/s",
        }
        return {f"{self.name}_velocity": key}

    def configure(self, values: Mapping[str, object]) -> tuple[Reading, Reading]:
        """
        Change the velocity.

        Args:
            values: ``{"velocity": number above 0}``.

        Returns:
            The configuration before and after.

        Raises:
            DeviceError: If another name is given or the number makes no sense.
        """
        before = self.read_configuration()
        velocity = values.get("velocity", self.velocity_mm_s)
        if set(values) - {"velocity"} or isinstance(velocity, bool) or not isinstance(velocity, Real):
            raise DeviceError(f"{self.name}: can set only velocity (a number), not {shown(dict(values))}")
        if not 0 < float(velocity) < math.inf:
            raise DeviceError(f"{self.name}: velocity {velocity} is not a finite number above 0")
        self.velocity_mm_s = float(velocity)
        return before, self.read_configuration()
