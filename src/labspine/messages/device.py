"""Messages about devices: readings, arrays, information, status, configuration, instructions."""

import time
from typing import Any, ClassVar, Literal

import msgspec

from .arrays import Array
from .base import Message, Part, Timestamp
from .service import ErrorInfo
from .signals import DeviceAsyncUpdate, DeviceRuntimeInfo

__all__ = [
    "DeviceAsyncSignalIndexMessage",
    "DeviceConfigMessage",
    "DeviceInfoMessage",
    "DeviceInitializationProgressMessage",
    "DeviceInstructionMessage",
    "DeviceInstructionResponse",
    "DeviceMessage",
    "DeviceMonitor1DMessage",
    "DeviceMonitor2DMessage",
    "DevicePreviewMessage",
    "DeviceRPCMessage",
    "DeviceReqStatusMessage",
    "DeviceStatusMessage",
    "DeviceUserROIMessage",
    "ROIAnalysisConfig",
    "ROIAvailableAnalysisMessage",
    "ROIConfig",
    "ROIConfigurationMessage",
    "ScanDeviceInfoMessage",
]


class DeviceMessage(Message, kw_only=True):
    """Readings of a device: ``signals = {name: {"value": v, "timestamp": t}}``, timestamps in s UTC."""

    msg_type: ClassVar[str] = "device_message"
    plain: ClassVar[bool] = True

    signals: dict[str, dict[Literal["value", "timestamp"], Any]]

    def __post_init__(self) -> None:
        """Check how asynchronous data is to be put together, when the metadata says so."""
        if "async_update" in self.metadata:
            msgspec.convert(self.metadata["async_update"], DeviceAsyncUpdate)


class DeviceAsyncSignalIndexMessage(Message, kw_only=True):
    """Where an update of asynchronous signals lies in the whole; indices count from 0."""

    msg_type: ClassVar[str] = "device_async_signal_index"

    scan_id: str
    device: str
    signal: str
    shapes: dict[str, list[int]]
    indices: dict[str, int]
    async_update: DeviceAsyncUpdate


class DeviceMonitor1DMessage(Message, kw_only=True):
    """A one-dimensional array of a device, shape (n,)."""

    msg_type: ClassVar[str] = "device_monitor1d_message"

    device: str
    data: Array
    timestamp: Timestamp = msgspec.field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Check the number of dimensions, as the schema demands."""
        if self.data.ndim != 1:
            raise ValueError(f"data has {self.data.ndim} dimensions, expected 1")

    def array(self) -> Array:
        """Return the data with its static type."""
        return self.data


class DeviceMonitor2DMessage(Message, kw_only=True):
    """An image of a device, shape (rows, columns) or (rows, columns, 3)."""

    msg_type: ClassVar[str] = "device_monitor2d_message"

    device: str
    data: Array
    timestamp: Timestamp = msgspec.field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Check the shape, as the schema demands."""
        if self.data.ndim != 2 and (self.data.ndim != 3 or self.data.shape[2] != 3):
            raise ValueError(
                f"data has shape {self.data.shape}, expected (rows, columns) or (rows, columns, 3)"
            )


class DevicePreviewMessage(Message, kw_only=True):
    """An array of a signal at a rate for watching, any shape."""

    msg_type: ClassVar[str] = "device_preview_message"

    device: str
    signal: str
    data: Array
    timestamp: Timestamp = msgspec.field(default_factory=time.time)


class DeviceInfoMessage(Message, kw_only=True):
    """What a device is: class, signals, limits, units."""

    msg_type: ClassVar[str] = "device_info_message"

    device: str
    info: dict[str, Any]


class ScanDeviceInfoMessage(Message, kw_only=True):
    """What the signals of all devices were when a scan began."""

    msg_type: ClassVar[str] = "scan_device_info_message"

    scan_id: str
    devices: dict[str, DeviceRuntimeInfo]


class DeviceStatusMessage(Message, kw_only=True):
    """The state of a device as a number: 0 idle, 1 busy."""

    msg_type: ClassVar[str] = "device_status_message"

    device: str
    status: int


class DeviceReqStatusMessage(Message, kw_only=True):
    """Whether a request to a device succeeded."""

    msg_type: ClassVar[str] = "device_req_status_message"

    device: str
    success: bool
    request_id: str


class DeviceConfigMessage(Message, kw_only=True):
    """A request to change the set of devices, or the news that it has changed."""

    msg_type: ClassVar[str] = "device_config_message"

    action: Literal["add", "set", "update", "reload", "remove", "reset", "cancel"] | None = None
    config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """Demand a configuration where the action needs one."""
        if self.action in ("add", "set", "update") and not self.config:
            raise ValueError(f"action {self.action!r} needs a config that is not empty")


class DeviceInitializationProgressMessage(Message, kw_only=True):
    """How far the start of all devices is: device number ``index`` of ``total``."""

    msg_type: ClassVar[str] = "device_initialization_progress_message"

    device: str
    finished: bool
    success: bool
    index: int
    total: int


class DeviceInstructionMessage(Message, kw_only=True):
    """What the device server is to do with a device, or with several."""

    msg_type: ClassVar[str] = "device_instruction"

    device: str | list[str] | None
    action: Literal[
        "rpc", "set", "read", "kickoff", "complete", "trigger", "stage", "unstage", "pre_scan", "wait",
        "scan_report_instruction", "open_scan", "baseline_reading", "close_scan", "publish_data_as_read",
        "broadcast_scan_device_info",
    ]  # fmt: skip
    parameter: dict[str, Any]


class DeviceInstructionResponse(Message, kw_only=True):
    """How far an instruction is."""

    msg_type: ClassVar[str] = "device_instruction_response"

    device: str | list[str] | None
    status: Literal["completed", "running", "error"]
    error_info: ErrorInfo | None = None
    instruction: DeviceInstructionMessage
    instruction_id: str
    result_is_status: bool | None = None
    result: Any = None

    def __post_init__(self) -> None:
        """Demand a reason for an error."""
        if self.status == "error" and self.error_info is None:
            raise ValueError("status 'error' needs error_info")


class DeviceRPCMessage(Message, kw_only=True):
    """What a call of a device's method returned; ``out`` is what it printed, or what went wrong."""

    msg_type: ClassVar[str] = "device_rpc_message"

    device: str
    return_val: Any
    out: str | dict[str, Any]
    success: bool = True


class DeviceUserROIMessage(Message, kw_only=True):
    """A region that a person has drawn, such as ``{"x": 100, "y": 200, "width": 50, "height": 50}``."""

    msg_type: ClassVar[str] = "device_user_roi_message"

    device: str
    signal: str
    roi_type: str
    roi: dict[str, Any]
    timestamp: Timestamp = msgspec.field(default_factory=time.time)


class ROIConfig(Part, kw_only=True):
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int


class ROIConfigurationMessage(Message, kw_only=True):
    """Which region of a signal is analysed, and how."""

    msg_type: ClassVar[str] = "roi_configuration_message"

    device: str
    signal: str
    name: str
    active: bool
    roi_config: ROIConfig
    selected_operations: list[str]
    block_while_scanning: bool = True


class ROIAnalysisConfig(Part, kw_only=True):
    """What can be computed from a region."""

    available_operations: list[str]
    waveform_results: list[str]
    scalar_results: list[str]


class ROIAvailableAnalysisMessage(Message, kw_only=True):
    """What can be computed from the regions of a signal."""

    msg_type: ClassVar[str] = "roi_available_analysis_message"

    device: str
    signal: str
    config: ROIAnalysisConfig
