"""The queue of accepted scan requests: durable on the broker, told to everybody at each change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from labspine.clock import utc_s
from labspine.connector import RedisConnector
from labspine.endpoints import EndpointInfo, MessageEndpoints
from labspine.ids import new_uid
from labspine.messages import ScanQueueHistoryMessage, ScanQueueMessage, ScanQueueStatusMessage

from .sender import Outgoing, Sender

__all__ = ["EntryStatus", "QueueEntry", "ScanQueue"]

EntryStatus = Literal["PENDING", "RUNNING", "PAUSED", "COMPLETED", "STOPPED"]
QueueState = Literal["RUNNING", "PAUSED", "LOCKED"]

_HISTORY_SIZE = 100


@dataclass(slots=True, eq=False)
class QueueEntry:
    """One accepted request on its way through the queue."""

    message: ScanQueueMessage
    rid: str
    queue_id: str
    num_points: int | None = None
    status: EntryStatus = "PENDING"
    reason: str | None = None
    error: str | None = None
    scan_ids: list[str | None] = field(default_factory=list)
    scan_numbers: list[int | None] = field(default_factory=list)
    accepted_utc_s: float = 0.0
    started_utc_s: float | None = None
    ended_utc_s: float | None = None

    @classmethod
    def of(cls, message: ScanQueueMessage) -> QueueEntry:
        """Make an entry from a stored request; identity and time of acceptance are in its metadata."""
        metadata = message.metadata
        points = metadata.get("num_points")
        return cls(
            message=message,
            rid=str(metadata.get("RID") or new_uid()),
            queue_id=str(metadata.get("queue_id") or new_uid()),
            num_points=points if isinstance(points, int) else None,
            accepted_utc_s=float(metadata.get("accepted_utc_s") or utc_s()),
        )

    def describe(self) -> dict[str, Any]:
        """Describe the entry as plain data, with the field names that BEC's clients know."""
        block = {
            "msg": {
                "scan_type": self.message.scan_type,
                "parameter": self.message.parameter,
                "queue": self.message.queue,
                "metadata": self.message.metadata,
            },
            "RID": self.rid,
            "readout_priority": {},
            "is_scan": self.num_points != 0,
            "scan_number": self.scan_numbers[0] if self.scan_numbers else None,
            "scan_id": self.scan_ids[0] if self.scan_ids else None,
            "report_instructions": None,
        }
        return {
            "queue_id": self.queue_id,
            "scan_id": self.scan_ids or [None],
            "is_scan": [self.num_points != 0],
            "request_blocks": [block],
            "scan_number": self.scan_numbers or [None],
            "status": self.status,
            "active_request_block": block if self.status in ("RUNNING", "PAUSED") else None,
            "reason": self.reason,
            "error": self.error,
            "num_points": self.num_points,
            "accepted_utc_s": self.accepted_utc_s,
            "started_utc_s": self.started_utc_s,
            "ended_utc_s": self.ended_utc_s,
        }


class ScanQueue:
    """
    Keep accepted requests until their scan has ended.

    On the broker an entry is in the list of waiting requests from acceptance to end, and in a second list
    while it runs. So a restarted scan server finds what was waiting, and knows which one was running when its
    predecessor died; that one is reported as stopped and never run again by itself.

    Args:
        connector: The door to the broker, for accepting and for finding what was left.
        sender: The thread that removes ended entries and tells the status, in order with the scan's messages.
        name: Name of the queue.
    """

    def __init__(self, connector: RedisConnector, sender: Sender, *, name: str = "primary") -> None:
        self.name = name
        self._connector = connector
        self._sender = sender
        self._changed = threading.Condition(threading.RLock())
        self._entries: list[QueueEntry] = []
        self._state: QueueState = "RUNNING"
        self._closed = False

    @property
    def waiting(self) -> EndpointInfo[ScanQueueMessage]:
        """The list of requests that have not ended."""
        return MessageEndpoints.scan_queue_waiting(self.name)

    @property
    def running(self) -> EndpointInfo[ScanQueueMessage]:
        """The list of requests that are being run; more than one only after a crash."""
        return MessageEndpoints.scan_queue_waiting(f"{self.name}.running")

    def restore(self) -> list[QueueEntry]:
        """
        Read what a former scan server left behind.

        Returns:
            The entries that were running when it died; they are out of the queue. Tell people about them,
            then call `finish` for each.

        Raises:
            NotConnected: If the broker cannot be reached.
        """
        interrupted = [QueueEntry.of(message) for message in self._connector.lrange(self.running, 0, -1)]
        dead = {entry.rid: entry for entry in interrupted}
        found = [QueueEntry.of(message) for message in self._connector.lrange(self.waiting, 0, -1)]
        with self._changed:
            self._entries = [entry for entry in found if entry.rid not in dead]
            self._changed.notify_all()
        return list(dead.values())

    def readmit(self, entry: QueueEntry) -> None:
        """
        Put back an entry that was running when a former scan server died, because it goes on.

        Args:
            entry: One that `restore` returned; it is on the broker still.
        """
        with self._changed:
            entry.status, entry.started_utc_s = "RUNNING", entry.started_utc_s or utc_s()
            self._entries = [entry, *(each for each in self._entries if each.rid != entry.rid)]
            self._tell()

    def accept(self, entry: QueueEntry) -> None:
        """
        Store a request on the broker and append it.

        Args:
            entry: The request; it is in the queue when this returns.

        Raises:
            NotConnected: If the broker cannot be reached; nothing was queued.
            DeliveryUnknown: If it broke on the way; the request may be found again after a restart.
        """
        self._connector.rpush(self.waiting, entry.message)
        with self._changed:
            self._entries.append(entry)
            self._tell()
            self._changed.notify_all()

    def next(self, timeout_s: float) -> QueueEntry | None:
        """
        Wait for the next entry that may run.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            The first waiting entry, still in the queue; None if none came, or the queue is paused or closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._ready() is not None, timeout_s)
            return None if self._closed else self._ready()

    def _ready(self) -> QueueEntry | None:
        if self._state != "RUNNING":
            return None
        return next((entry for entry in self._entries if entry.status == "PENDING"), None)

    def mark_running(self, entry: QueueEntry) -> None:
        """
        Note that an entry runs from now on.

        Args:
            entry: An entry of this queue.
        """
        with self._changed:
            entry.status, entry.started_utc_s = "RUNNING", utc_s()
            self._sender.put(Outgoing("rpush", self.running, entry.message))
            self._tell()

    def update(self, entry: QueueEntry, change: Callable[[QueueEntry], None]) -> None:
        """
        Change an entry and tell everybody.

        Args:
            entry: An entry of this queue.
            change: Called with the entry.
        """
        with self._changed:
            change(entry)
            self._tell()

    def finish(
        self, entry: QueueEntry, status: Literal["COMPLETED", "STOPPED"], *, reason: str | None
    ) -> None:
        """
        Take an entry out of the queue and write it into the history.

        Args:
            entry: An entry of this queue, or one that `restore` returned.
            status: How it ended.
            reason: Who or what ended it early: user, alarm or restart.
        """
        with self._changed:
            entry.status, entry.reason, entry.ended_utc_s = status, reason, utc_s()
            if entry not in self._entries:
                self._entries.insert(0, entry)
            self._tell()
            self._entries.remove(entry)
            history = ScanQueueHistoryMessage(
                status=status, queue_id=entry.queue_id, info=entry.describe(), queue=self.name
            )
            self._sender.put(
                Outgoing("lrem", self.waiting, entry.message),
                Outgoing("lrem", self.running, entry.message),
                Outgoing("lpush", MessageEndpoints.scan_queue_history(), history, max_size=_HISTORY_SIZE),
            )
            self._tell()
            self._changed.notify_all()

    def pending(self) -> list[QueueEntry]:
        """List the entries that wait to be run, in order."""
        with self._changed:
            return [entry for entry in self._entries if entry.status == "PENDING"]

    def __len__(self) -> int:
        """Count the entries that have not ended."""
        with self._changed:
            return len(self._entries)

    def set_state(self, state: QueueState) -> None:
        """
        Let the queue go on, or hold it after the running entry.

        Args:
            state: RUNNING or PAUSED.
        """
        with self._changed:
            if self._state != state:
                self._state = state
                self._tell()
                self._changed.notify_all()

    @property
    def state(self) -> QueueState:
        """Say whether the queue takes the next entry by itself."""
        with self._changed:
            return self._state

    def close(self) -> None:
        """Wake up who waits in `next`; the entries stay on the broker for the next scan server."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def tell(self) -> None:
        """Tell everybody the present status of the queue."""
        with self._changed:
            self._tell()

    def _tell(self) -> None:
        info = [entry.describe() for entry in self._entries]
        queue = {self.name: {"info": info, "status": self._state, "locks": []}}
        if self.name != "primary":
            queue["primary"] = {"info": [], "status": "RUNNING", "locks": []}
        message = ScanQueueStatusMessage(queue=queue, metadata={"timestamp": utc_s()})
        self._sender.put(Outgoing("set_and_publish", MessageEndpoints.scan_queue_status(), message))
