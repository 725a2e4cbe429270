"""Messages of services: status, metrics, logs, alarms, notes to clients."""

import enum
import time
from typing import Any, ClassVar, Literal

import msgspec

from ..ids import new_uid
from .base import Message, Part, Timestamp

__all__ = [
    "AlarmMessage",
    "BECStatus",
    "BoolMetric",
    "ClientInfoMessage",
    "ClientRestartMessage",
    "DynamicMetricMessage",
    "ErrorInfo",
    "FloatMetric",
    "IntMetric",
    "LogMessage",
    "ServiceInfo",
    "ServiceMetricMessage",
    "ServiceVersions",
    "StatusMessage",
    "StrMetric",
]


NOT_FOUND = "Not found"
"""What bec_lib says of a package that is not installed."""


class BECStatus(enum.Enum):
    """The state of a service, with the numbers that travel."""

    RUNNING = 2
    BUSY = 1
    IDLE = 0
    ERROR = -1


class ErrorInfo(Part, kw_only=True):
    """What went wrong, for an alarm."""

    id: str = msgspec.field(default_factory=new_uid)
    error_message: str
    compact_error_message: str | None = None
    exception_type: str
    device: str | list[str] | None = None


class ServiceVersions(Part, kw_only=True):
    """Versions of BEC's packages, for its own clients; ours stand in the same map under their names."""

    bec_lib: str = NOT_FOUND
    bec_server: str = NOT_FOUND
    bec_ipython_client: str = NOT_FOUND
    bec_widgets: str = NOT_FOUND
    ophyd_devices: str = NOT_FOUND


class ServiceInfo(Part, kw_only=True):
    """Who runs a service and where; timestamp in s UTC."""

    user: str
    hostname: str
    timestamp: Timestamp = msgspec.field(default_factory=time.time)
    versions: ServiceVersions = msgspec.field(default_factory=ServiceVersions)


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


class StrMetric(Part, kw_only=True, tag_field="type_name", tag="str"):
    """One of several words."""

    value: str
    possible_values: list[str]

    def __post_init__(self) -> None:
        """Demand that the word is one of the possible ones, each of which stands once."""
        if self.value not in self.possible_values:
            raise ValueError(f"value {self.value!r} is not one of {self.possible_values}")
        if len(set(self.possible_values)) != len(self.possible_values):
            raise ValueError(f"possible_values holds a word twice: {self.possible_values}")


class IntMetric(Part, kw_only=True, tag_field="type_name", tag="int"):
    """A whole number."""

    value: int


class FloatMetric(Part, kw_only=True, tag_field="type_name", tag="float"):
    """A number."""

    value: float


class BoolMetric(Part, kw_only=True, tag_field="type_name", tag="bool"):
    """Yes or no."""

    value: bool


class DynamicMetricMessage(Message, kw_only=True):
    """Figures of a service under names of its own choice; timestamp in s UTC."""

    msg_type: ClassVar[str] = "dynamic_metric_message"

    metrics: dict[str, StrMetric | IntMetric | FloatMetric | BoolMetric]
    timestamp: Timestamp = msgspec.field(default_factory=time.time)


class LogMessage(Message, kw_only=True):
    """One line of a log."""

    msg_type: ClassVar[str] = "log_message"

    log_type: Literal[
        "trace", "debug", "info", "success", "warning", "error", "critical",
        "console_log", "console_log_error",
    ]  # fmt: skip
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


class ClientRestartMessage(Message, kw_only=True):
    """A request to the clients to start again."""

    msg_type: ClassVar[str] = "client_restart"

    reason: str = ""
