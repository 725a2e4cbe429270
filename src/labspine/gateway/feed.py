"""From the bus into the model: what the gateway listens to, and what it says while the broker is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from labspine.clock import mono_s, utc_s
from labspine.connector import AsyncConnector, Gap, MessageObject
from labspine.endpoints import MessageEndpoints, Profile
from labspine.errors import LabspineError, NotConnected
from labspine.messages import (
    AlarmMessage,
    FileMessage,
    ProgressMessage,
    ScanMessage,
    ScanQueueModificationMessage,
    ScanQueueStatusMessage,
    ScanStatusMessage,
    StatusMessage,
)
from labspine.wire import Address

from .live import LiveModel

__all__ = ["Feed"]

_log = logging.getLogger(__name__)
_WATCH_S = 1.0
_ANSWER_S = 2.0
_RETRY_S = 0.5
_CLOCK_MARGIN_S = 60.0
_CHUNK = 256
_MOST_CHUNKS = 40
_TRIES = 3


class Feed:
    """
    Keep a model up to date from a broker.

    Args:
        model: What to fill; everything happens in the loop that runs `run`.
        broker: Address of the broker.
        profile: Names of the channels.
    """

    def __init__(self, model: LiveModel, broker: Address, *, profile: Profile = "seed") -> None:
        self._model = model
        self._broker = broker
        self._options = {"name": "gateway", "profile": profile}
        self._connector: AsyncConnector | None = None
        self._sought: tuple[str | None, int, int] = (None, 0, 0)

    async def run(self) -> None:
        """Listen until cancelled; connect again and again while the broker is away."""
        while True:
            try:
                async with AsyncConnector(self._broker, **self._options) as connector:
                    async with asyncio.timeout(10 * _ANSWER_S):
                        await self._attach(connector)
                    self._connector = connector
                    await self._watch(connector)
            except (LabspineError, TimeoutError) as error:
                _log.info("the broker cannot be reached: %s", error)
                self._model.set_broker("down", mono_s())
            finally:
                self._connector = None
            await asyncio.sleep(_RETRY_S)

    async def send(self, request: ScanQueueModificationMessage) -> int:
        """
        Publish a request for the scan server.

        Args:
            request: What to do with the scan.

        Returns:
            How many received it; 0 means that no scan server listens.

        Raises:
            LabspineError: If it was not sent, or if that is not known; the class says which.
        """
        if self._connector is None:
            raise NotConnected("the broker cannot be reached; nothing was sent")
        return await self._connector.send(MessageEndpoints.scan_queue_modification_request(), request)

    async def _attach(self, connector: AsyncConnector) -> None:
        # First listen to the statuses, then ask for the present one: a scan that begins in between is heard.
        await connector.register(MessageEndpoints.scan_status(), cb=self._heard)
        self._take(await connector.get(MessageEndpoints.scan_status()))
        self._take(await connector.get(MessageEndpoints.scan_queue_status()))
        begun = self._model.begun_utc_s
        since = (utc_s() if begun is None else begun) - _CLOCK_MARGIN_S
        await connector.register(MessageEndpoints.scan_segment(), cb=self._heard, since_utc_s=since)
        file_events = MessageEndpoints.pattern("file_event")
        await connector.register(patterns=file_events, cb=self._heard, since_utc_s=since)
        await connector.register(MessageEndpoints.scan_queue_status(), cb=self._heard)
        await connector.register(MessageEndpoints.scan_progress(), cb=self._heard)
        await connector.register(MessageEndpoints.alarm(), cb=self._heard)
        await connector.register(patterns=MessageEndpoints.pattern("service_status"), cb=self._heard)
        self._take(await connector.get(MessageEndpoints.scan_progress()))
        self._model.set_broker("connected", mono_s())

    async def _watch(self, connector: AsyncConnector) -> None:
        """Ask the broker something each second: an open connection alone does not prove that it lives."""
        while True:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    self._take(await connector.get(MessageEndpoints.scan_status()))
                    await self._fill(connector)
                self._model.set_broker("connected", mono_s())
            except (LabspineError, TimeoutError):
                self._model.set_broker("down", mono_s())
            await asyncio.sleep(_WATCH_S)

    async def _fill(self, connector: AsyncConnector) -> None:
        """Fetch points by name that the history no longer has; try three times, then they are gone."""
        scan_id = self._model.scan_id
        missing = self._model.missing(_CHUNK * _MOST_CHUNKS)
        if scan_id is None or not missing:
            return
        sought_id, count, tries = self._sought
        tries = tries + 1 if (sought_id, count) == (scan_id, len(missing)) else 1
        if tries > _TRIES:
            return
        self._sought = (scan_id, len(missing), tries)
        for start in range(0, len(missing), _CHUNK):
            part = missing[start : start + _CHUNK]
            found = await connector.mget([MessageEndpoints.public_scan_segment(scan_id, n) for n in part])
            for message in found:
                self._take(message)

    def _heard(self, message: MessageObject) -> None:
        values: Iterable[object] = message.value if isinstance(message.value, list) else (message.value,)
        for value in values:
            # What was missed is found by `_fill`; for everything else the last value is enough.
            if not isinstance(value, Gap):
                self._take(value)

    def _take(self, message: object) -> None:
        model = self._model
        match message:
            case ScanMessage():
                model.scan_segment(message, mono_s())
            case ScanStatusMessage():
                model.scan_status(message)
            case ProgressMessage():
                model.scan_progress(message)
            case ScanQueueStatusMessage():
                model.scan_queue_status(message)
            case StatusMessage():
                model.service_status(message, mono_s())
            case AlarmMessage():
                model.alarm(message, utc_s())
            case FileMessage():
                model.file_event(message)
            case _:
                pass
