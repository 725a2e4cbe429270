"""Parts of messages about devices: how signals are put together, described and transported."""

from typing import Any, ClassVar, Literal

from msgspec import field

from .base import Part

__all__ = [
    "DeviceAsyncUpdate",
    "DeviceRuntimeInfo",
    "RedisSignalTransport",
    "SignalInfo",
    "ZMQSignalTransport",
]


class DeviceAsyncUpdate(Part, kw_only=True):
    """
    How updates of an asynchronous signal become one array.

    ``add`` appends along the first axis, ``add_slice`` extends row ``index`` of a two-dimensional array,
    ``replace`` replaces all. In ``max_shape`` None stands for "no limit" and comes first.
    """

    type: Literal["add", "add_slice", "replace"]
    max_shape: list[int | None] | None = None
    index: int | None = None

    def __post_init__(self) -> None:
        """Check that shape and index fit the type."""
        if self.max_shape is not None:
            _check_max_shape(self.max_shape)
        if self.type != "replace" and not self.max_shape:
            raise ValueError(f"type {self.type!r} needs a max_shape that is not empty")
        if self.type == "add_slice":
            self._check_slice(self.max_shape or [])

    def _check_slice(self, max_shape: list[int | None]) -> None:
        if len(max_shape) != 2:
            raise ValueError(f"type 'add_slice' needs a max_shape of two dimensions, got {len(max_shape)}")
        if self.index is None or self.index < 0:
            raise ValueError(f"type 'add_slice' needs an index of 0 or more, got {self.index}")
        if max_shape[0] is not None and self.index >= max_shape[0]:
            raise ValueError(f"index {self.index} is not below max_shape[0] = {max_shape[0]}")


def _check_max_shape(max_shape: list[int | None]) -> None:
    sizes = [size for size in max_shape if size is not None]
    if any(size <= 0 for size in sizes):
        raise ValueError(f"max_shape {max_shape}: sizes are 1 or more")
    if None in max_shape[len(max_shape) - len(sizes) :]:
        raise ValueError(f"max_shape {max_shape}: None comes first")
    if not sizes and len(max_shape) > 2:
        raise ValueError(f"max_shape {max_shape}: at most two dimensions without a limit")


class RedisSignalTransport(Part, kw_only=True, tag_field="transport", tag="redis"):
    """A signal is published at an endpoint."""

    transport: ClassVar[str] = "redis"

    endpoint: str
    message_type: str
    message_op: list[str]

    def __post_init__(self) -> None:
        """Demand names that are not empty."""
        if not self.endpoint or not self.message_type:
            raise ValueError("endpoint and message_type must not be empty")


class ZMQSignalTransport(Part, kw_only=True, tag_field="transport", tag="zmq"):
    """A signal is published on a ZeroMQ socket, described as its receiver sees it."""

    transport: ClassVar[str] = "zmq"

    address: str
    socket_type: Literal["sub", "pull"] = "sub"
    connection_mode: Literal["connect", "bind"] = "connect"
    topic: str | None = None
    encoder: str

    def __post_init__(self) -> None:
        """Refuse a topic where there are none, and empty names."""
        if self.socket_type == "pull" and self.topic is not None:
            raise ValueError("a topic is for socket_type 'sub' only")
        if not self.address or not self.encoder:
            raise ValueError("address and encoder must not be empty")


class SignalInfo(Part, kw_only=True):
    """What a signal is for."""

    data_type: Literal["raw", "processed"] = "raw"
    saved: bool = True
    ndim: Literal[0, 1, 2] | None = None
    scope: Literal["scan", "continuous"] = "scan"
    role: Literal["main", "preview", "diagnostic", "file_event", "progress"] = "main"
    enabled: bool = True
    rpc_access: bool = False
    signals: list[tuple[str, int]] | None = None
    signal_metadata: dict[str, Any] | None = None
    correlation_group: str | None = None
    use_alias: bool = False
    transports: list[RedisSignalTransport | ZMQSignalTransport] | None = None


class DeviceRuntimeInfo(Part, kw_only=True):
    """The signals of one device at the start of a scan."""

    signal_info: dict[str, SignalInfo] = field(default_factory=dict)
    disabled_signals: list[str] = field(default_factory=list)
