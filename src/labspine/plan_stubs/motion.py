"""Moving: absolute and relative, one device or several, and where something is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from labspine.engine import Msg, present_position
from labspine.errors import shown

from .base import BadPlan, Plan, group_name, pairs

__all__ = [
    "abs_set",
    "mov",
    "movr",
    "mv",
    "mvr",
    "position_of",
    "rd",
    "rel_set",
    "shifted",
    "stage_all",
    "unstage_all",
]


def abs_set(obj: Any, *args: Any, group: Hashable | None = None, wait: bool = False, **kwargs: Any) -> Plan:
    """
    Set a value.

    Args:
        obj: The device.
        args: The value, and what else its ``set`` takes.
        group: Key for ``wait``.
        wait: Wait here until it is done.
        kwargs: Go to ``set``.

    Returns:
        A plan whose value is the status.
    """
    if wait and group is None:
        group = group_name("set")
    status = yield Msg("set", obj, *args, group=group, **kwargs)
    if wait:
        yield Msg("wait", None, group=group)
    return status


def rel_set(obj: Any, *args: Any, group: Hashable | None = None, wait: bool = False, **kwargs: Any) -> Plan:
    """
    Set a value relative to the present one; arguments as for :func:`abs_set`.
    """
    if not args:
        raise BadPlan("rel_set takes a device and how far to move it")
    return _rel_set(obj, args, group=group, wait=wait, kwargs=kwargs)


def _rel_set(
    obj: Any, args: tuple[Any, ...], *, group: Hashable | None, wait: bool, kwargs: dict[str, Any]
) -> Plan:
    origin = yield from position_of(obj)
    target = shifted(origin, args[0])
    return (yield from abs_set(obj, target, *args[1:], group=group, wait=wait, **kwargs))


def mv(*args: Any, group: Hashable | None = None, timeout: float | None = None, **kwargs: Any) -> Plan:
    """
    Move devices at the same time and wait until all have arrived.

    Args:
        args: device, target, device, target ...
        group: Key of the moves; a new one by default.
        timeout: Seconds to wait at most.
        kwargs: Go to each ``set``.

    Returns:
        A plan whose value is the tuple of statuses.

    Raises:
        BadPlan: If the arguments are not pairs, or a device is named twice.
    """
    return _mv(pairs(args, what="mv"), group, timeout, kwargs)


def _mv(
    targets: list[tuple[Any, Any]], group: Hashable | None, timeout: float | None, kwargs: dict[str, Any]
) -> Plan:
    group = group or group_name("mv")
    statuses = []
    for device, target in targets:
        statuses.append((yield Msg("set", device, target, group=group, **kwargs)))
    yield Msg("wait", None, group=group, timeout=timeout)
    return tuple(statuses)


def mvr(*args: Any, group: Hashable | None = None, timeout: float | None = None, **kwargs: Any) -> Plan:
    """
    Move devices by distances; arguments as for :func:`mv`.
    """
    return _mvr(pairs(args, what="mvr"), group, timeout, kwargs)


def _mvr(
    distances: list[tuple[Any, Any]], group: Hashable | None, timeout: float | None, kwargs: dict[str, Any]
) -> Plan:
    targets = []
    for device, distance in distances:
        origin = yield from position_of(device)
        targets.append((device, shifted(origin, distance)))
    return (yield from _mv(targets, group, timeout, kwargs))


mov = mv
movr = mvr


def position_of(obj: Any) -> Plan:
    """
    Find out where a device was sent to: what relative moves start from.

    Args:
        obj: A device with ``locate``, ``position`` or one reading.

    Returns:
        A plan whose value is the position.

    Raises:
        BadPlan: If it has several readings and does not say which one is its position.
    """
    if hasattr(obj, "locate"):
        location = yield Msg("locate", obj)
        return 0 if location is None else location["setpoint"]
    if hasattr(obj, "position"):
        return present_position(obj)
    reading = yield Msg("read", obj)
    if not reading:
        return 0
    fields = hinted_fields(obj) or list(reading)
    if len(fields) > 1 and hinted_fields(obj):
        raise BadPlan(f"{obj.name} has several hinted readings, {fields}; move one of its axes instead")
    return reading[fields[0]]["value"]


def shifted(origin: Any, distance: Any) -> Any:
    """
    Add a distance to a position, axis by axis if it has several.

    Args:
        origin: A number, or a tuple of numbers.
        distance: The same.

    Returns:
        The sum, of the type of the origin.
    """
    if isinstance(origin, tuple):
        sums = [a + b for a, b in zip(origin, distance, strict=True)]
        return type(origin)(*sums) if hasattr(origin, "_fields") else tuple(sums)
    return origin + distance


def hinted_fields(obj: Any) -> list[str]:
    """
    List the readings of a device that people want to see.

    Args:
        obj: The device.

    Returns:
        Keys; none if it does not say.
    """
    hints = getattr(obj, "hints", None)
    return list(hints.get("fields", [])) if isinstance(hints, dict) else []


def rd(obj: Any, *, default_value: Any = 0) -> Plan:
    """
    Read the one value of a device.

    Args:
        obj: The device.
        default_value: The answer in a simulation that knows no readings.

    Returns:
        A plan whose value is the value.

    Raises:
        BadPlan: If it is not clear which of its readings is meant.
    """
    if hasattr(obj, "locate"):
        location = yield Msg("locate", obj)
        return default_value if location is None else location["readback"]
    fields = hinted_fields(obj)
    if len(fields) > 1:
        raise _unclear(obj, fields)
    reading = yield Msg("read", obj)
    if reading is None:
        return default_value
    if fields:
        return reading[fields[0]]["value"]
    if len(reading) != 1:
        raise _unclear(obj, list(reading))
    return next(iter(reading.values()))["value"]


def _unclear(obj: Any, fields: list[str]) -> BadPlan:
    return BadPlan(
        f"{obj.name} has {len(fields)} readings ({shown(', '.join(fields))}), and it is not clear which "
        "one is its value: hint one of them, or read a part of the device"
    )


def stage_all(*args: Any, group: Hashable | None = None) -> Plan:
    """Stage devices, then wait for those that take time."""
    return _all("stage", args, group)


def unstage_all(*args: Any, group: Hashable | None = None) -> Plan:
    """Unstage devices, then wait for those that take time."""
    return _all("unstage", args, group)


def _all(command: str, devices: tuple[Any, ...], group: Hashable | None) -> Plan:
    group = group or group_name(command)
    is_pending = False
    for device in devices:
        answer = yield Msg(command, device, group=group)
        is_pending = is_pending or hasattr(answer, "add_callback")
    if is_pending:
        yield Msg("wait", None, group=group)
