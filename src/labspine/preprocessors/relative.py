"""Plans that begin where the motors stand, and bring them back there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from labspine.engine import Msg
from labspine.plan_stubs.base import Plan, group_name
from labspine.plan_stubs.motion import position_of, shifted

from .cleaning import finalize_wrapper
from .mutating import as_decorator, rewritten

__all__ = [
    "relative_set_decorator",
    "relative_set_wrapper",
    "reset_positions_decorator",
    "reset_positions_wrapper",
]


def relative_set_wrapper(plan: Any, devices: Iterable[Any] | None = None) -> Plan:
    """
    Take the targets of a plan as distances from where the motors stand when they are first set.

    Args:
        plan: The plan.
        devices: The motors; all by default.

    Returns:
        A plan whose value is that of the plan.
    """
    chosen = _ids(devices)
    origins: dict[int, Any] = {}

    def act(msg: Any) -> Plan | None:
        if msg.command != "set" or (chosen is not None and id(msg.obj) not in chosen):
            return None
        return shift(msg)

    def shift(msg: Any) -> Plan:
        key = id(msg.obj)
        if key not in origins:
            origins[key] = yield from position_of(msg.obj)
        return (yield msg._replace(args=(shifted(origins[key], msg.args[0]), *msg.args[1:])))

    return rewritten(plan, act)


def reset_positions_wrapper(plan: Any, devices: Iterable[Any] | None = None) -> Plan:
    """
    Bring motors back, after a plan, to where they stood before it.

    Args:
        plan: The plan.
        devices: The motors; all that it sets by default.

    Returns:
        A plan whose value is that of the plan.
    """
    chosen = _ids(devices)
    origins: dict[int, tuple[Any, Any]] = {}

    def act(msg: Any) -> Plan | None:
        if msg.command != "set" or id(msg.obj) in origins:
            return None
        return remember(msg) if chosen is None or id(msg.obj) in chosen else None

    def remember(msg: Any) -> Plan:
        origin = yield from position_of(msg.obj)
        origins[id(msg.obj)] = (msg.obj, origin)
        return (yield msg)

    def reset() -> Plan:
        group = group_name("reset")
        for device, origin in origins.values():
            yield Msg("set", device, origin, group=group)
        if origins:
            yield Msg("wait", None, group=group)

    return finalize_wrapper(rewritten(plan, act), reset)


def _ids(devices: Iterable[Any] | None) -> set[int] | None:
    return None if devices is None else {id(device) for device in devices}


relative_set_decorator = as_decorator(relative_set_wrapper)
reset_positions_decorator = as_decorator(reset_positions_wrapper)
