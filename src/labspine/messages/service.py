"""Messages of services: variables, status, metrics, logs, alarms, files, notes to clients."""

import enum
import time
from typing import Any, ClassVar, Literal

import msgspec

from ..ids import new_uid
from .base import Message

__all__ = [
    "AlarmMessage",
    "BECStatus",
    "ClientInfoMessage",
    "ErrorInfo",
    "FileMessage",
    "LogMessage",
    "RawMessage",
    "ServiceInfo",
    "ServiceMetricMessage",
    "StatusMessage",
    "VariableMessage",
]


class BECStatus(enum.Enum):
    """The state of a service, with the numbers that travel."""

    RUNNING = 2
    BUSY = 1
    IDLE = 0
    ERROR = -1


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, for an alarm."""

    id: str = msgspec.field(default_factory=new_uid)
    error_message: str
    compact_error_message: str | None = None
    exception_type: str
    device: str | list[str] | None = None


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs a service and where; timestamp in s UTC."""

    user: str
    hostname: str
    timestamp: float = msgspec.field(default_factory=time.time)
    versions: dict[str, str] = msgspec.field(default_factory=dict)


class FileMessage(Message, kw_only=True):
    """A file that is being written or is done."""

    msg_type: ClassVar[str] = "file_message"

    file_path: str
    done: bool
    successful: bool
    is_master_file: bool = False
    device_name: str | list[str] | None = None
    file_type: str = "h5"
    hinted_h5_entries: dict[str, str] | None = None


class VariableMessage(Message, kw_only=True):
    """One value of any kind."""

    msg_type: ClassVar[str] = "var_message"

    value: Any


class StatusMessage(Message, kw_only=True):
    """The heartbeat of a service."""

    msg_type: ClassVar[str] = "status_message"

    name: str
    status: BECStatus
    info: dict[str, Any]


class ServiceMetricMessage(Message, kw_only=True):
    """Load figures of a service."""

    msg_type: ClassVar[str] = "service_metric_message"

    name: str
    metrics: dict[str, Any]


class LogMessage(Message, kw_only=True):
    """One line of a log."""

    msg_type: ClassVar[str] = "log_message"

    log_type: Literal[
        "trace",
        "debug",
        "info",
        "success",
        "warning",
        "error",
        "critical",
        "console_log",
        "console_log_error",
    ]
    log_msg: dict[str, Any] | str


class AlarmMessage(Message, kw_only=True):
    """Something that a person must know; severity 0 warning, 1 minor, 2 major."""

    msg_type: ClassVar[str] = "alarm_message"

    severity: int
    info: ErrorInfo


class ClientInfoMessage(Message, kw_only=True):
    """A note to the people at the clients."""

    msg_type: ClassVar[str] = "client_info"

    message: str
    show_asap: bool = True
    RID: str | None = None
    source: (
        Literal[
            "bec_ipython_client",
            "scan_server",
            "device_server",
            "scan_bundler",
            "file_writer",
            "scihub",
            "dap",
        ]
        | None
    ) = None
    scope: str | None = None
    severity: int = 0
    expire: float = 60.0


class RawMessage(Message, kw_only=True):
    """What a foreign publisher sent as JSON."""

    msg_type: ClassVar[str] = "raw_message"

    data: Any
