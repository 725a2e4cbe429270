"""Messages about scans: requests, queue, status, points, baseline, history."""

import time
from typing import Any, ClassVar, Literal

import msgspec

from .base import Message

__all__ = [
    "AvailableResourceMessage",
    "BundleMessage",
    "ProgressMessage",
    "RequestResponseMessage",
    "ScanBaselineMessage",
    "ScanHistoryMessage",
    "ScanMessage",
    "ScanQueueHistoryMessage",
    "ScanQueueMessage",
    "ScanQueueModificationMessage",
    "ScanQueueStatusMessage",
    "ScanStatusMessage",
]

ExitStatus = Literal["closed", "aborted", "halted", "user_completed"]


class BundleMessage(Message, kw_only=True):
    """Several messages in one; it is received as a list."""

    msg_type: ClassVar[str] = "bundle_message"

    messages: list[Any] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse anything but messages."""
        for index, item in enumerate(self.messages):
            if not isinstance(item, Message):
                raise ValueError(f"messages[{index}] is a {type(item).__name__}, not a message")  # noqa: TRY004  # msgspec adds the path to a ValueError only


class ScanQueueMessage(Message, kw_only=True):
    """A request to run a plan: ``parameter = {"args": [...], "kwargs": {...}}``, devices by name."""

    msg_type: ClassVar[str] = "scan_queue_message"

    scan_type: str
    parameter: dict[str, Any]
    queue: str = "primary"
    allow_restart: bool = True


class ScanQueueModificationMessage(Message, kw_only=True):
    """A request to change what the queue does: pause, continue, abort and so on."""

    msg_type: ClassVar[str] = "scan_queue_modification"

    scan_id: str | list[str | None] | None = None
    request_id: str | None = None
    action: Literal[
        "pause", "deferred_pause", "continue", "abort", "clear", "restart",
        "halt", "resume", "lock", "release_lock", "user_completed",
    ]  # fmt: skip
    parameter: dict[str, Any]
    queue: str = "primary"


class ScanQueueStatusMessage(Message, kw_only=True):
    """The whole queue: ``queue = {"primary": {"info": [...], "status": "RUNNING", "locks": []}}``."""

    msg_type: ClassVar[str] = "scan_queue_status"

    queue: dict[str, Any]

    def __post_init__(self) -> None:
        """Demand the queue that always exists."""
        if "primary" not in self.queue:
            raise ValueError("queue needs the key 'primary'")


class ScanQueueHistoryMessage(Message, kw_only=True):
    """One finished entry of the queue."""

    msg_type: ClassVar[str] = "queue_history"

    status: str
    queue_id: str
    info: dict[str, Any]
    queue: str = "primary"


class ScanStatusMessage(Message, kw_only=True):
    """The state of a scan and everything that others need to prepare for it; ``timestamp`` in s UTC."""

    msg_type: ClassVar[str] = "scan_status"

    scan_id: str | None
    status: Literal["open", "paused", "aborted", "halted", "closed", "user_completed"]
    reason: Literal["user", "alarm"] | None = None
    scan_number: int | None = None
    session_id: str | None = None
    num_points: int | None = None
    num_monitored_readouts: int | None = 0
    scan_name: str | None = None
    scan_type: Literal["step", "fly", "software_triggered", "hardware_triggered"] | None = None
    dataset_number: int | None = None
    scan_report_devices: list[str] | None = None
    user_metadata: dict[str, Any] | None = None
    readout_priority: (
        dict[Literal["monitored", "baseline", "async", "continuous", "on_request"], list[str]] | None
    ) = None
    scan_parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    request_inputs: dict[Literal["arg_bundle", "inputs", "kwargs"], Any] = msgspec.field(default_factory=dict)
    info: dict[str, Any]
    timestamp: float = msgspec.field(default_factory=time.time)


class ScanMessage(Message, kw_only=True):
    """One point: ``data = {device: {signal: {"value": v, "timestamp": t}}}``; ``point_id`` counts from 0."""

    msg_type: ClassVar[str] = "scan_message"
    plain: ClassVar[bool] = True

    point_id: int
    scan_id: str
    data: dict[str, Any]


class ScanBaselineMessage(Message, kw_only=True):
    """Readings of the baseline devices, taken once a scan; data as in `ScanMessage`."""

    msg_type: ClassVar[str] = "scan_baseline_message"
    plain: ClassVar[bool] = True

    scan_id: str
    data: dict[str, Any]


class ScanHistoryMessage(Message, kw_only=True):
    """One finished scan; times in s UTC."""

    msg_type: ClassVar[str] = "scan_history_message"

    scan_id: str
    scan_number: int
    dataset_number: int
    file_path: str
    exit_status: ExitStatus
    reason: Literal["user", "alarm"] | None = None
    start_time: float
    end_time: float
    scan_name: str
    num_points: int | None = None
    num_monitored_readouts: int | None = None
    request_inputs: dict[str, Any] | None = None
    stored_data_info: dict[str, Any] | None = None


class ProgressMessage(Message, kw_only=True):
    """How far something is: ``value`` of ``max_value``."""

    msg_type: ClassVar[str] = "progress_message"

    value: float
    max_value: float
    done: bool


class RequestResponseMessage(Message, kw_only=True):
    """The answer to a request: accepted, or refused with a sentence."""

    msg_type: ClassVar[str] = "request_response"

    accepted: bool
    message: str | dict[str, Any] | None = None


class AvailableResourceMessage(Message, kw_only=True):
    """A list of things that exist: plans, devices, plugins."""

    msg_type: ClassVar[str] = "available_resource_message"

    resource: dict[str, Any] | list[dict[str, Any]]
