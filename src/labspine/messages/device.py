"""Messages about devices: readings, information, status and configuration."""

import time
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from .base import Message

__all__ = [
    "DeviceConfigMessage",
    "DeviceInfoMessage",
    "DeviceMessage",
    "DeviceMonitor1DMessage",
    "DeviceStatusMessage",
]


class DeviceMessage(Message, kw_only=True):
    """Readings of a device: ``signals = {name: {"value": v, "timestamp": t}}``, timestamps in s UTC."""

    msg_type: ClassVar[str] = "device_message"
    plain: ClassVar[bool] = True

    signals: dict[str, dict[Literal["value", "timestamp"], Any]]


class DeviceInfoMessage(Message, kw_only=True):
    """What a device is: class, signals, limits, units."""

    msg_type: ClassVar[str] = "device_info_message"

    device: str
    info: dict[str, Any]


class DeviceStatusMessage(Message, kw_only=True):
    """The state of a device as a number: 0 idle, 1 busy."""

    msg_type: ClassVar[str] = "device_status_message"

    device: str
    status: int


class DeviceMonitor1DMessage(Message, kw_only=True):
    """A one-dimensional array of a device, shape (n,)."""

    msg_type: ClassVar[str] = "device_monitor1d_message"

    device: str
    data: np.ndarray  # msgspec takes the bare class only
    timestamp: float = msgspec.field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Check the number of dimensions, as the schema demands."""
        if self.data.ndim != 1:
            raise ValueError(f"data has {self.data.ndim} dimensions, expected 1")

    def array(self) -> NDArray[Any]:
        """Return the data with its static type."""
        return self.data


class DeviceConfigMessage(Message, kw_only=True):
    """A request to change the set of devices, or the news that it has changed."""

    msg_type: ClassVar[str] = "device_config_message"

    action: Literal["add", "set", "update", "reload", "remove", "reset", "cancel"] | None = None
    config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Demand a configuration where the action needs one."""
        if self.action in ("add", "set", "update") and not self.config:
            raise ValueError(f"action {self.action!r} needs a config that is not empty")
