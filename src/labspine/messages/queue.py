"""Messages about the scan queue: requests, their answers, changes, status and history."""

from typing import Any, ClassVar, Literal

import msgspec

from .base import Message, Part

__all__ = [
    "QueueInfoEntry",
    "RequestBlock",
    "RequestResponseMessage",
    "ScanQueueHistoryMessage",
    "ScanQueueLock",
    "ScanQueueMessage",
    "ScanQueueModificationMessage",
    "ScanQueueOrderMessage",
    "ScanQueueStatus",
    "ScanQueueStatusMessage",
    "ScanRestartMessage",
]

Readout = Literal["monitored", "baseline", "async", "continuous", "on_request"]


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


class ScanQueueOrderMessage(Message, kw_only=True):
    """A request to move an entry of the queue; ``target_position`` counts from 0."""

    msg_type: ClassVar[str] = "scan_queue_order"

    scan_id: str
    action: Literal["move_up", "move_down", "move_top", "move_bottom", "move_to"]
    queue: str = "primary"
    target_position: int | None = None


class ScanRestartMessage(Message, kw_only=True):
    """News that a scan was requested again in place of one that was stopped."""

    msg_type: ClassVar[str] = "scan_restart"

    original_scan_id: str
    scan_msg: ScanQueueMessage


class RequestBlock(Part, kw_only=True):
    """One request in an entry of the queue."""

    msg: ScanQueueMessage
    RID: str
    readout_priority: dict[Readout, list[str]]
    is_scan: bool
    scan_number: int | None
    scan_id: str | None
    report_instructions: list[dict[str, Any]] | None = None
    owned_device_locks: list[str] = msgspec.field(default_factory=list)
    pending_device_locks: list[str] = msgspec.field(default_factory=list)


class QueueInfoEntry(Part, kw_only=True):
    """One entry of the queue."""

    queue_id: str
    scan_id: list[str | None]
    is_scan: list[bool]
    request_blocks: list[RequestBlock]
    scan_number: list[int | None]
    status: str
    active_request_block: RequestBlock | None = None
    reason: Literal["user", "alarm", "restart"] | None = None


class ScanQueueLock(Part, kw_only=True):
    """Who holds the queue, and why."""

    reason: str
    identifier: str
    allow_device_instructions: bool = True


class ScanQueueStatus(Part, kw_only=True):
    """One queue with its entries and locks."""

    info: list[QueueInfoEntry]
    status: Literal["PAUSED", "RUNNING", "LOCKED"]
    locks: list[ScanQueueLock] = msgspec.field(default_factory=list)


class ScanQueueStatusMessage(Message, kw_only=True):
    """
    The whole queue: ``queue = {"primary": {"info": [...], "status": "RUNNING", "locks": []}}``.

    Each queue is a map with the fields of `ScanQueueStatus`; services may add fields of their own.
    """

    msg_type: ClassVar[str] = "scan_queue_status"

    queue: dict[str, Any]

    def __post_init__(self) -> None:
        """Demand the queue that always exists."""
        if "primary" not in self.queue:
            raise ValueError("queue needs the key 'primary'")


class ScanQueueHistoryMessage(Message, kw_only=True):
    """One finished entry of the queue; ``info`` has the fields of `QueueInfoEntry`, and may have more."""

    msg_type: ClassVar[str] = "queue_history"

    status: str
    queue_id: str
    info: dict[str, Any]
    queue: str = "primary"


class RequestResponseMessage(Message, kw_only=True):
    """The answer to a request: accepted, or refused with a sentence."""

    msg_type: ClassVar[str] = "request_response"

    accepted: bool
    message: str | dict[str, Any] | None = None
