"""Measuring: trigger and read at once, and the steps that scans are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labspine.engine import Msg

from .base import Plan, group_name, separate_devices

__all__ = [
    "Shot",
    "TakeReading",
    "move_per_step",
    "one_1d_step",
    "one_nd_step",
    "one_shot",
    "trigger_and_read",
]

TakeReading = Callable[[Sequence[Any]], Plan]
"""Takes devices and returns the plan that measures them."""


class Shot:
    """
    One measurement of always the same devices, prepared once for many points.

    Args:
        devices: Detectors and motors; parts of others are read with these.
    """

    __slots__ = ("_devices", "_group", "_is_rewindable", "_triggered")

    def __init__(self, devices: Sequence[Any]) -> None:
        self._devices = separate_devices(devices)
        self._triggered = [device for device in self._devices if hasattr(device, "trigger")]
        self._group = group_name("trigger")
        self._is_rewindable = all(_is_rewindable(device) for device in self._devices)

    def take(self, name: str = "primary") -> Plan:
        """
        Trigger, wait, read.

        Args:
            name: Stream of the event.

        Returns:
            A plan whose value is the readings, by key.
        """
        return self._measure(name) if self._is_rewindable else self._measure_once(name)

    def _measure(self, name: str) -> Plan:
        # Steps are made anew for each point: preprocessors tell them apart by identity.
        if self._triggered:
            for device in self._triggered:
                yield Msg("trigger", device, group=self._group)
            yield Msg("wait", None, group=self._group)
        yield Msg("create", None, name=name)
        readings: dict[str, Any] = {}
        try:
            for device in self._devices:
                reading = yield Msg("read", device)
                if reading:
                    readings.update(reading)
        except Exception:
            yield Msg("drop")
            raise
        yield Msg("save")
        return readings

    def _measure_once(self, name: str) -> Plan:
        # A device that must not be triggered twice: the engine does not replay these steps after a pause.
        before = yield Msg("rewindable", None, None)
        if before:
            yield Msg("rewindable", None, False)
        is_closed = False
        try:
            return (yield from self._measure(name))
        except GeneratorExit:
            is_closed = True
            raise
        finally:
            if before and not is_closed:
                yield Msg("rewindable", None, True)


def _is_rewindable(device: Any) -> bool:
    rule = getattr(device, "rewindable", None)
    return True if rule is None else bool(rule.get())


def trigger_and_read(devices: Sequence[Any], name: str = "primary") -> Plan:
    """
    Trigger devices, wait, and read them into one event.

    Args:
        devices: Detectors, motors, signals; those without ``trigger`` are only read.
        name: Stream of the event.

    Returns:
        A plan whose value is the readings, by key.
    """
    return Shot(list(devices)).take(name)


def one_shot(detectors: Sequence[Any], take_reading: TakeReading | None = None) -> Plan:
    """
    Measure once: what ``count`` does at each point.

    Args:
        detectors: Devices.
        take_reading: Instead of :func:`trigger_and_read`.
    """
    yield Msg("checkpoint")
    yield from (take_reading or trigger_and_read)(list(detectors))


def one_1d_step(
    detectors: Sequence[Any], motor: Any, step: Any, take_reading: TakeReading | None = None
) -> Plan:
    """
    Move one motor and measure.

    Args:
        detectors: Devices.
        motor: The motor; it is read as well.
        step: Where to.
        take_reading: Instead of :func:`trigger_and_read`.

    Returns:
        A plan whose value is the readings.
    """
    group = group_name("set")
    yield Msg("checkpoint")
    yield Msg("set", motor, step, group=group)
    yield Msg("wait", None, group=group)
    return (yield from (take_reading or trigger_and_read)([*detectors, motor]))


def move_per_step(step: Mapping[Any, Any], pos_cache: dict[Any, Any]) -> Plan:
    """
    Move motors to a point; those that are there already are left alone.

    Args:
        step: Target by motor.
        pos_cache: Last target by motor; kept up to date here.
    """
    yield Msg("checkpoint")
    group = group_name("set")
    is_moving = False
    for motor, target in step.items():
        if target == pos_cache.get(motor):
            continue
        yield Msg("set", motor, target, group=group)
        pos_cache[motor] = target
        is_moving = True
    if is_moving:
        yield Msg("wait", None, group=group)


def one_nd_step(
    detectors: Sequence[Any],
    step: Mapping[Any, Any],
    pos_cache: dict[Any, Any],
    take_reading: TakeReading | None = None,
) -> Plan:
    """
    Move motors and measure: what scans do at each point.

    Args:
        detectors: Devices.
        step: Target by motor; the motors are read as well.
        pos_cache: Last target by motor.
        take_reading: Instead of :func:`trigger_and_read`.
    """
    yield from move_per_step(step, pos_cache)
    yield from (take_reading or trigger_and_read)([*detectors, *step])
