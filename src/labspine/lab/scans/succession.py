"""What a scan server says of its dead predecessor's requests: those that are over, and those that go on."""

from __future__ import annotations

from typing import Protocol

from labspine.clock import utc_s
from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.engine.journal.story import CallStory
from labspine.messages import ScanStatusMessage

from .aftermath import Aftermath, Left, entry_from, request_id
from .queue import QueueEntry, ScanQueue
from .sender import Outgoing, Sender

__all__ = ["Successor"]


class _Alarm(Protocol):
    def __call__(self, kind: str, words: str, *, severity: int) -> None: ...


class Successor:
    """
    Settle the requests that a dead scan server left, once, when the next one starts.

    Args:
        connector: The door to the broker.
        sender: Sends what is said.
        queue: The queue, restored from the broker.
        alarm: Tells people what was cut off.
    """

    def __init__(self, connector: RedisConnector, sender: Sender, queue: ScanQueue, *, alarm: _Alarm) -> None:
        self._connector = connector
        self._sender = sender
        self._queue = queue
        self._alarm = alarm

    def clear_up(
        self, found: Aftermath, interrupted: list[QueueEntry]
    ) -> tuple[list[QueueEntry], list[tuple[QueueEntry, Left]]]:
        """
        Settle what a dead predecessor has left in the journals.

        Args:
            found: What was found there.
            interrupted: Requests that the broker shows as running.

        Returns:
            The interrupted requests of which no journal tells, and those with which the plan goes on.
        """
        to_resume = []
        by_rid = {entry.rid: entry for entry in (*self._queue.pending(), *interrupted)}
        told = {request_id(left.story) for left in (*found.resumable, *found.closed)} | found.ended.keys()
        for left in found.resumable:
            entry = by_rid.get(request_id(left.story)) or entry_from(left.story.request or {})
            self._queue.readmit(entry)
            to_resume.append((entry, left))
        for left in found.closed:
            known = by_rid.get(request_id(left.story))
            if known is not None:
                self._finish_closed(known, left)
                found.ended.pop(known.rid, None)
        for rid, story in found.ended.items():
            if rid in by_rid:
                self._finish_ended(by_rid[rid], story)
        return [entry for entry in interrupted if entry.rid not in told], to_resume

    def _finish_ended(self, entry: QueueEntry, story: CallStory) -> None:
        """Conclude a request whose plan came to its end, but whose server died before it could say so."""
        _note_story(entry, story)
        ending = story.ending or {}
        if ending.get("exit_status") == "success":
            self._queue.finish(entry, "COMPLETED", reason=None)
        else:
            entry.error = str(ending.get("reason", ""))
            self._queue.finish(entry, "STOPPED", reason="alarm")

    def _finish_closed(self, entry: QueueEntry, left: Left) -> None:
        _note_story(entry, left.story)
        entry.error = f"{left.story.words()}; {left.why_closed}"
        self._queue.finish(entry, "STOPPED", reason="restart")
        text = f"{entry.message.scan_type}: {entry.error}; submit it again if it is still wanted"
        self._alarm("ScanInterrupted", text, severity=1)

    def report_interrupted(self, entry: QueueEntry) -> None:
        """
        Tell that a request was cut off by the death of the former scan server; it is not run again.

        Args:
            entry: The request.
        """
        words = "the scan server died while this scan was running"
        status = self._connector.get(MessageEndpoints.scan_status())
        if status is not None and status.metadata.get("RID") == entry.rid:
            entry.scan_ids, entry.scan_numbers = [status.scan_id], [status.scan_number]
            if status.status in ("open", "paused"):
                self._announce_lost(status, words)
        entry.error = words
        self._queue.finish(entry, "STOPPED", reason="restart")
        text = f"{entry.message.scan_type}: {words}; submit it again if it is still wanted"
        self._alarm("ScanInterrupted", text, severity=1)

    def _announce_lost(self, status: ScanStatusMessage, words: str) -> None:
        scan_id = status.scan_id or ""
        kept = self._connector.keys(MessageEndpoints.pattern("public_scan_segment", scan_id=scan_id))
        fields = {
            **status.content,
            "metadata": status.metadata,
            "status": "aborted",
            "reason": "alarm",
            "num_monitored_readouts": len(kept),
            "info": {**status.info, "reason": words},
            "timestamp": utc_s(),
        }
        lost = ScanStatusMessage(**fields)
        self._sender.put(
            Outgoing("set", MessageEndpoints.public_scan_info(scan_id), lost, expire_s=1800.0),
            Outgoing("set_and_publish", MessageEndpoints.scan_status(), lost),
        )


def _note_story(entry: QueueEntry, story: CallStory) -> None:
    runs = story.runs.values()
    entry.scan_ids = [run.uid for run in runs]
    entry.scan_numbers = [run.start.get("scan_id") for run in runs]
