"""``lab.devices.x`` and ``lab.scans.scan(...)``: names that can be completed at a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeviceError, did_you_mean

if TYPE_CHECKING:
    from .lab import Lab
    from .report import ScanReport

__all__ = ["DeviceView", "Devices", "ScanCall", "Scans", "plain_argument"]


class DeviceView:
    """
    One device, as the device server describes it.

    Args:
        connector: The door to the broker.
        description: What the device server says about it.
    """

    def __init__(self, connector: RedisConnector, description: Mapping[str, Any]) -> None:
        self._connector = connector
        self._description = dict(description)

    @property
    def name(self) -> str:
        """The name of the device."""
        return str(self._description["name"])

    @property
    def limits(self) -> tuple[float, float] | None:
        """Lowest and highest position in its units; None when it has no limits."""
        limits = self._description.get("limits")
        return (float(limits[0]), float(limits[1])) if limits else None

    @property
    def units(self) -> str | None:
        """Units of its position or main signal; None when unknown."""
        return self._description.get("units")

    @property
    def is_movable(self) -> bool:
        """Say whether it can be moved or set."""
        return self._description.get("kind") == "movable"

    @property
    def position(self) -> float:
        """
        The last position that was published, in its units.

        Raises:
            DeviceError: If it has published no number yet.
        """
        reading = self.read()
        value = reading.get(self.name, next(iter(reading.values()), {})).get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise DeviceError(f'device "{self.name}" has no position')
        return float(value)

    def read(self) -> dict[str, dict[str, Any]]:
        """
        Return the last reading that the device server has published.

        Returns:
            ``{signal: {"value": ..., "timestamp": seconds UTC}}``.

        Raises:
            DeviceError: If nothing was published yet.
        """
        return self._signals("device_read")

    def read_configuration(self) -> dict[str, dict[str, Any]]:
        """
        Return the last configuration that the device server has published.

        Returns:
            As `read`.

        Raises:
            DeviceError: If nothing was published yet.
        """
        return self._signals("device_read_configuration")

    def describe(self) -> dict[str, Any]:
        """Return everything that the device server says about the device."""
        return dict(self._description)

    def _signals(self, endpoint: str) -> dict[str, dict[str, Any]]:
        message = self._connector.get(getattr(MessageEndpoints, endpoint)(self.name))
        if message is None:
            raise DeviceError(
                f'device "{self.name}" has published no {endpoint} yet; does a device server run?'
            )
        return {str(signal): dict(reading) for signal, reading in message.signals.items()}

    def __repr__(self) -> str:
        kind = self._description.get("class", "device")
        return f"<{kind} {self.name}>"


class Devices(Mapping[str, DeviceView]):
    """
    The devices of the lab by name or attribute.

    Args:
        connector: The door to the broker.
    """

    def __init__(self, connector: RedisConnector) -> None:
        self._connector = connector

    def _descriptions(self) -> dict[str, Mapping[str, Any]]:
        message = self._connector.get(MessageEndpoints.device_config())
        listed = message.resource if message is not None else []
        return {str(d["name"]): d for d in listed if isinstance(d, Mapping) and "name" in d}

    def __getitem__(self, name: str) -> DeviceView:
        """Look up a device; raises `UnknownDevice` (a KeyError) with the nearest name."""
        found = self._descriptions()
        if name not in found:
            raise UnknownDevice(f'no device "{name}"{did_you_mean(name, found) or _listed(found)}')
        return DeviceView(self._connector, found[name])

    def __getattr__(self, name: str) -> DeviceView:
        """Look up a device by attribute; raises AttributeError with the nearest name."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except UnknownDevice as error:
            raise AttributeError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._descriptions())

    def __len__(self) -> int:
        """Count the devices."""
        return len(self._descriptions())

    def __dir__(self) -> list[str]:
        """Offer the names of the devices for completion."""
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        return f"<Devices {', '.join(self)}>"


class UnknownDevice(DeviceError, KeyError):
    """A device was named that the device server does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])


class ScanCall:
    """
    One plan that can be called like a function.

    Args:
        lab: Where the request goes.
        name: Name of the plan.
        description: What the scan server says about it.
    """

    def __init__(self, lab: Lab, name: str, description: Mapping[str, Any]) -> None:
        self._lab = lab
        self._name = name
        self.__name__ = name
        self.__doc__ = f"{name}{description.get('signature', '(...)')}\n\n{description.get('doc', '')}"

    def __call__(
        self, *args: object, md: Mapping[str, object] | None = None, timeout_s: float = 5.0, **kwargs: object
    ) -> ScanReport:
        """
        Request this plan.

        Args:
            args: Positional arguments of the plan; devices by name or as ``lab.devices.x``.
            md: What goes into the start of the run.
            timeout_s: Longest wait for the answer in seconds.
            kwargs: Keyword arguments of the plan.

        Returns:
            The report with which the scan can be followed.

        Raises:
            RequestRefused: If the scan server does not accept it.
            NoScanServer: If nobody answers.
        """
        return self._lab.submit(self._name, args, kwargs, metadata=md, timeout_s=timeout_s)

    def __repr__(self) -> str:
        return f"<plan {self.__doc__}>"


class Scans:
    """
    The plans of the scan server by attribute.

    Args:
        lab: Where requests go.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def _descriptions(self) -> dict[str, Mapping[str, Any]]:
        message = self._lab.connector.get(MessageEndpoints.available_scans())
        return dict(message.resource) if message is not None and isinstance(message.resource, Mapping) else {}

    def __getattr__(self, name: str) -> Callable[..., ScanReport]:
        """Look up a plan; raises AttributeError with the nearest name."""
        if name.startswith("_"):
            raise AttributeError(name)
        found = self._descriptions()
        if found and name not in found:
            raise AttributeError(f'no plan "{name}"{did_you_mean(name, found) or _listed(found)}')
        return ScanCall(self._lab, name, found.get(name, {}))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the plans."""
        return iter(self._descriptions())

    def describe(self) -> dict[str, Mapping[str, Any]]:
        """Return what the scan server says about its plans, by name."""
        return self._descriptions()

    def __dir__(self) -> list[str]:
        """Offer the names of the plans for completion."""
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        return f"<Scans {', '.join(self)}>"


def plain_argument(value: Any) -> Any:
    """
    Replace device views by their names, inside lists and maps too.

    Args:
        value: An argument of a plan.

    Returns:
        The argument as it can be sent.
    """
    if isinstance(value, DeviceView):
        return value.name
    if isinstance(value, Mapping):
        return {key: plain_argument(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_argument(item) for item in value]
    return value


def _listed(names: Mapping[str, object]) -> str:
    return f"; there are {', '.join(names)}" if names else "; nobody has announced any yet"
