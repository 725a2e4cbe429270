"""What all stubs need: the type of a plan, names for groups, families of devices."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from labspine.engine import Msg
from labspine.errors import PlanError

__all__ = ["BadPlan", "Plan", "ancestors", "group_name", "pairs", "separate_devices"]

Plan = Generator[Msg, Any, Any]
"""A plan: yields steps, receives their answers, may return a value."""

_numbers = itertools.count(1)


class BadPlan(PlanError, ValueError, TypeError):
    """A plan was given arguments that cannot work; it was not begun."""


def group_name(label: str) -> str:
    """
    Make a name for a group that no other plan uses.

    Args:
        label: What it is for.

    Returns:
        A text; unlike in a loop of random names, the numbers tell the order.
    """
    return f"{label}-{os.getpid():x}-{next(_numbers)}"


def pairs(args: Sequence[Any], *, what: str) -> list[tuple[Any, Any]]:
    """
    Read ``motor, value, motor, value ...``.

    Args:
        args: The arguments.
        what: Name of the plan, for the error text.

    Returns:
        Pairs, in order.

    Raises:
        BadPlan: If one is left over, a value stands where a device should, or a device comes twice.
    """
    if not args or len(args) % 2:
        raise BadPlan(f"{what} takes device, value, device, value ...; got {len(args)} arguments")
    found = list(zip(args[::2], args[1::2], strict=True))
    seen: set[int] = set()
    for number, (device, _) in enumerate(found):
        if not hasattr(device, "name"):
            raise BadPlan(f"{what}: argument {2 * number + 1} must be a device, got {device!r}")
        if id(device) in seen:
            raise BadPlan(f"{what}: {device.name} is named twice; it can be in one place only")
        seen.add(id(device))
    return found


def ancestors(obj: Any) -> list[Any]:
    """
    List a device, its parent, the parent of that, and so on.

    Args:
        obj: A device; one without ``parent`` has none.

    Returns:
        At least the device itself.
    """
    line = [obj]
    while (parent := getattr(line[-1], "parent", None)) is not None:
        line.append(parent)
    return line


def separate_devices(devices: Iterable[Any]) -> list[Any]:
    """
    Leave out devices that are part of another one in the list, and repetitions.

    Args:
        devices: Devices; a part is read with its whole.

    Returns:
        The wholes, in order.
    """
    devices = list(devices)
    if len(devices) == 1:
        return devices
    given = {id(device) for device in devices}
    kept: dict[int, Any] = {}
    for device in devices:
        if not any(id(elder) in given for elder in ancestors(device)[1:]):
            kept.setdefault(id(device), device)
    return list(kept.values())
