"""Which devices there are: names, priorities, descriptions and readings."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar, cast, get_args

from labspine.errors import DeviceError, InvalidArgument, InvalidName, did_you_mean, shown

__all__ = ["DeviceEntry", "DeviceRegistry", "ReadoutPriority", "RequestedDevice"]

T = TypeVar("T")
Signals = dict[str, dict[str, object]]
"""``{signal: {...}}``: a reading or a description, as the bluesky protocols have it."""

ReadoutPriority = Literal["monitored", "baseline", "on_request"]
"""When a device is read: at each point if the plan names it, once at the start of a run, or when asked."""

_ASYNC_READ_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """One registered device with what the lab knows about it."""

    name: str
    device: object
    readout_priority: ReadoutPriority
    tags: tuple[str, ...]

    @property
    def is_movable(self) -> bool:
        """Say whether the device can be set to a position or value."""
        return callable(getattr(self.device, "set", None))


class RequestedDevice(DeviceError, InvalidArgument):
    """A device was named that does not exist."""


class DeviceRegistry:
    """
    Hold the devices of a lab by name; looking up a wrong name suggests the nearest one.

    Args:
        loop: The running event loop on which coroutines of asynchronous devices are performed; None lets
            each call use a loop of its own. Give ophyd-async devices the loop they were connected on.
    """

    def __init__(self, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop
        self._entries: dict[str, DeviceEntry] = {}
        self._described: dict[str, Signals] = {}

    def add(
        self,
        device: object,
        *,
        name: str | None = None,
        readout_priority: ReadoutPriority = "monitored",
        tags: tuple[str, ...] = (),
    ) -> None:
        """
        Register a device.

        Args:
            device: Anything that satisfies the bluesky protocols.
            name: Its name; by default its own ``name``, and it must be equal to that.
            readout_priority: When it is read.
            tags: Free words for finding it.

        Raises:
            InvalidName: If the name is missing, not an identifier, taken, or not the device's own.
            InvalidArgument: If the priority is unknown.
        """
        own = getattr(device, "name", None)
        label = name if name is not None else own
        if not isinstance(label, str) or not label.isidentifier():
            raise InvalidName(f"device name {shown(label)} is not allowed; use letters, digits and _")
        if own != label:
            raise InvalidName(
                f'device "{shown(own)}" cannot be registered as "{label}": its readings carry "{shown(own)}"'
            )
        if label in self._entries:
            raise InvalidName(f'there is a device "{label}" already; remove it first')
        if readout_priority not in get_args(ReadoutPriority):
            known = ", ".join(get_args(ReadoutPriority))
            raise InvalidArgument(f"readout_priority {shown(readout_priority)} is none of {known}")
        self._entries[label] = DeviceEntry(label, device, readout_priority, tuple(tags))

    def remove(self, name: str) -> None:
        """
        Forget a device.

        Args:
            name: Name of a registered device.

        Raises:
            RequestedDevice: If there is none of this name.
        """
        self.entry(name)
        del self._entries[name]
        self._described.pop(name, None)

    def entry(self, name: str) -> DeviceEntry:
        """
        Look up a device with its priority and tags.

        Args:
            name: Name of a registered device.

        Returns:
            Its entry.

        Raises:
            RequestedDevice: If there is none of this name; the text suggests the nearest one.
        """
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            near = did_you_mean(str(name), self._entries)
            listed = near or f"; devices are {', '.join(self._entries) or 'not registered yet'}"
            raise RequestedDevice(f'no device "{shown(name)}"{listed}') from None

    def __getitem__(self, name: str) -> object:
        """Return the device itself; raises `RequestedDevice` for an unknown name."""
        return self.entry(name).device

    def __contains__(self, name: object) -> bool:
        """Say whether there is a device of this name."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in order of registration."""
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        """Count the devices."""
        return len(self._entries)

    @property
    def entries(self) -> Mapping[str, DeviceEntry]:
        """All entries by name, read-only."""
        return MappingProxyType(self._entries)

    def names(self, priority: ReadoutPriority | None = None) -> list[str]:
        """
        List device names.

        Args:
            priority: Only devices of this readout priority; None for all.

        Returns:
            The names in order of registration.
        """
        return [n for n, e in self._entries.items() if priority is None or e.readout_priority == priority]

    def read(self, name: str) -> Signals:
        """
        Read a device.

        Args:
            name: Name of a registered device.

        Returns:
            ``{signal: {"value": ..., "timestamp": seconds UTC}}``.

        Raises:
            DeviceError: If the device does not exist, cannot be read, or fails while read.
        """
        return self._ask(name, "read")

    def read_configuration(self, name: str) -> Signals:
        """
        Read the configuration signals of a device.

        Args:
            name: Name of a registered device.

        Returns:
            As `read`; empty when the device has none.

        Raises:
            DeviceError: If the device does not exist or fails while read.
        """
        if not callable(getattr(self[name], "read_configuration", None)):
            return {}
        return self._ask(name, "read_configuration")

    def data_keys(self, name: str) -> dict[str, dict[str, object]]:
        """
        Describe the signals of a device; asked from the device once.

        Args:
            name: Name of a registered device.

        Returns:
            ``{signal: {"dtype": ..., "shape": [...], "units": ...}}``.

        Raises:
            DeviceError: If the device does not exist or cannot describe itself.
        """
        if name not in self._described:
            keys = self._ask(name, "describe")
            self._described[name] = {signal: brief_key(key) for signal, key in keys.items()}
        return self._described[name]

    def limits(self, name: str) -> tuple[float, float] | None:
        """
        Return the lowest and highest position that a device allows.

        Args:
            name: Name of a registered device.

        Returns:
            The limits in the units of the device, or None when it has none.

        Raises:
            RequestedDevice: If there is none of this name.
        """
        limits = getattr(self[name], "limits", None)
        if isinstance(limits, tuple) and len(limits) == 2 and limits[0] < limits[1]:
            return float(limits[0]), float(limits[1])
        return None

    def describe(self, name: str) -> dict[str, object]:
        """
        Describe a device for clients, as plain data.

        Args:
            name: Name of a registered device.

        Returns:
            name, class, kind (``movable`` or ``readable``), readout_priority, tags, limits, units, hints
            and signals; what the device does not tell is None or empty.

        Raises:
            RequestedDevice: If there is none of this name.
        """
        entry = self.entry(name)
        problem = None
        try:
            signals = self.data_keys(name)
        except DeviceError as error:
            signals, problem = {}, str(error)
        units = getattr(entry.device, "units", None) or next((s.get("units") for s in signals.values()), None)
        limits = self.limits(name)
        return {
            "name": name,
            "class": type(entry.device).__name__,
            "kind": "movable" if entry.is_movable else "readable",
            "readout_priority": entry.readout_priority,
            "tags": list(entry.tags),
            "limits": list(limits) if limits else None,
            "units": units if isinstance(units, str) else None,
            "hints": dict(getattr(entry.device, "hints", None) or {}),
            "signals": signals,
            "problem": problem,
        }

    def describe_all(self) -> list[dict[str, object]]:
        """Describe all devices in order of registration, each as `describe` does."""
        return [self.describe(name) for name in self]

    def _ask(self, name: str, method: str) -> Signals:
        function = getattr(self[name], method, None)
        if not callable(function):
            raise DeviceError(f'device "{name}" has no {method}(); it cannot be read')
        try:
            return cast("Signals", self._settled(function()))
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(f'device "{name}": {method}() failed: {shown(str(error), 200)}') from error

    def _settled(self, value: T) -> T:
        """Perform a coroutine of an asynchronous device; anything else is the value already."""
        if not inspect.isawaitable(value):
            return value

        async def waited() -> T:
            return cast("T", await value)

        if self.loop is not None and self.loop.is_running():
            return asyncio.run_coroutine_threadsafe(waited(), self.loop).result(_ASYNC_READ_LIMIT_S)
        return asyncio.run(asyncio.wait_for(waited(), _ASYNC_READ_LIMIT_S))


def brief_key(key: Mapping[str, object]) -> dict[str, object]:
    """Keep of a data key what a viewer needs: dtype, shape, units (None when unknown), precision."""
    shape = key.get("shape")
    brief: dict[str, object] = {
        "dtype": key.get("dtype"),
        "shape": list(shape) if isinstance(shape, (list, tuple)) else [],
        "units": key.get("units"),
    }
    if key.get("precision") is not None:
        brief["precision"] = key["precision"]
    return brief
