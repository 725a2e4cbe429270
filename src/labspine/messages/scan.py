"""Messages about scans: status, points, baseline, history."""

import time
from typing import Any, ClassVar, Literal

import msgspec

from .base import Message, Part, Timestamp

__all__ = [
    "ScanBaselineMessage",
    "ScanHistoryMessage",
    "ScanMessage",
    "ScanStatusMessage",
    "StoredDataInfo",
]

ExitStatus = Literal["closed", "aborted", "halted", "user_completed"]


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
    timestamp: Timestamp = msgspec.field(default_factory=time.time)


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


class StoredDataInfo(Part, kw_only=True):
    """Shape and numpy dtype of one signal in the file of a scan."""

    shape: tuple[int, ...] = ()
    dtype: str | None = None


class ScanHistoryMessage(Message, kw_only=True):
    """One finished scan; times in s UTC."""

    msg_type: ClassVar[str] = "scan_history_message"

    scan_id: str
    scan_number: int
    dataset_number: int
    file_path: str
    exit_status: ExitStatus
    reason: Literal["user", "alarm"] | None = None
    start_time: Timestamp
    end_time: Timestamp
    scan_name: str
    num_points: int | None = None
    num_monitored_readouts: int | None = None
    request_inputs: dict[str, Any] | None = None
    stored_data_info: dict[str, dict[str, StoredDataInfo]] | None = None
