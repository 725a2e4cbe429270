"""The points of a scan, from the first one on, live until its end."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

from labspine.clock import mono_s
from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeadlinePassed, InvalidArgument
from labspine.messages import ScanMessage, ScanStatusMessage

__all__ = ["follow_segments"]

_CLOCK_MARGIN_S = 60.0
_SLICE_S = 0.5
_LATE_S = 2.0
"""How long points may come after the final status, before they are looked for by name."""

_CHUNK = 256


def follow_segments(
    connector: RedisConnector,
    scan_id: str | None = None,
    *,
    from_start: bool = True,
    timeout_s: float | None = None,
) -> Iterator[ScanMessage]:
    """
    Yield the points of one scan in order, each exactly once, until the scan has ended.

    Args:
        connector: The door to the broker.
        scan_id: The scan; None takes the one that runs, or waits for the next.
        from_start: True begins with the first point, also in the middle of the scan; False with the next one.
        timeout_s: Longest wait for the next point or the end, in seconds; None waits without limit.

    Yields:
        The points; the iterator ends with the scan.

    Raises:
        InvalidArgument: If there is no scan of that identifier.
        DeadlinePassed: If nothing came in time.
    """
    follower = _Follower(connector, timeout_s)
    try:
        follower.begin(scan_id, from_start=from_start)
        yield from follower.points()
    finally:
        follower.end()


class _Follower:
    def __init__(self, connector: RedisConnector, timeout_s: float | None) -> None:
        self._connector = connector
        self._timeout_s = timeout_s
        self._heard: queue.SimpleQueue[ScanStatusMessage | ScanMessage] = queue.SimpleQueue()
        self._scan_id = ""
        self._next = 0
        self._total: int | None = None

    def _take(self, message: MessageObject, **_: object) -> None:
        values: Any = message.value if isinstance(message.value, list) else [message.value]
        for value in values:
            if isinstance(value, (ScanStatusMessage, ScanMessage)):
                self._heard.put(value)

    def begin(self, scan_id: str | None, *, from_start: bool) -> None:
        self._connector.register(MessageEndpoints.scan_status(), cb=self._take)
        status = self._status_of(scan_id) if scan_id else self._running()
        self._scan_id = status.scan_id or ""
        self._note_end(status)
        if from_start:
            begun = float(status.info.get("start_utc_s") or status.timestamp) - _CLOCK_MARGIN_S
            self._connector.register(MessageEndpoints.scan_segment(), cb=self._take, since_utc_s=begun)
        else:
            self._next = -1
            self._connector.register(MessageEndpoints.scan_segment(), cb=self._take)

    def end(self) -> None:
        for endpoint in (MessageEndpoints.scan_status(), MessageEndpoints.scan_segment()):
            self._connector.unregister(endpoint, cb=self._take)

    def _status_of(self, scan_id: str) -> ScanStatusMessage:
        status: ScanStatusMessage | None = self._connector.get(MessageEndpoints.public_scan_info(scan_id))
        if status is None:
            raise InvalidArgument(f'no scan "{scan_id}" is known; it may have ended over 30 minutes ago')
        return status

    def _running(self) -> ScanStatusMessage:
        status: ScanStatusMessage | None = self._connector.get(MessageEndpoints.scan_status())
        while status is None or status.status not in ("open", "paused"):
            heard = self._hear(self._timeout_s)
            if heard is None:
                raise DeadlinePassed(f"no scan has begun within {self._timeout_s:g} s")
            status = heard if isinstance(heard, ScanStatusMessage) else status
        return status

    def _hear(self, timeout_s: float | None) -> ScanStatusMessage | ScanMessage | None:
        try:
            return self._heard.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _note_end(self, status: ScanStatusMessage) -> None:
        if status.status not in ("open", "paused"):
            self._total = status.num_monitored_readouts or 0

    def points(self) -> Iterator[ScanMessage]:
        last_mono_s = mono_s()
        while self._total is None or self._next < self._total:
            heard = self._hear(_SLICE_S)
            if isinstance(heard, ScanStatusMessage) and heard.scan_id == self._scan_id:
                last_mono_s = mono_s()
                self._note_end(heard)
            elif isinstance(heard, ScanMessage) and heard.scan_id == self._scan_id:
                last_mono_s = mono_s()
                yield from self._ready(heard)
            silent_s = mono_s() - last_mono_s
            if self._total is not None and silent_s > _LATE_S:
                if self._next >= 0:
                    yield from self._fetch(self._total)
                return
            if self._timeout_s is not None and silent_s > self._timeout_s:
                raise DeadlinePassed(f"no point came within {self._timeout_s:g} s")

    def _ready(self, message: ScanMessage) -> Iterator[ScanMessage]:
        if self._next < 0:
            self._next = message.point_id
        if message.point_id < self._next:
            return
        if message.point_id > self._next:
            yield from self._fetch(message.point_id)
        self._next = message.point_id + 1
        yield message

    def _fetch(self, end: int) -> Iterator[ScanMessage]:
        """Look for points by name that did not come by themselves; those that have expired are missing."""
        first, self._next = max(self._next, 0), end
        for start in range(first, end, _CHUNK):
            numbers = range(start, min(end, start + _CHUNK))
            places = [MessageEndpoints.public_scan_segment(self._scan_id, number) for number in numbers]
            for found in self._connector.mget(places):
                if isinstance(found, ScanMessage):
                    yield found
