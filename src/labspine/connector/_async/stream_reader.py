"""The reader of streams: one task and one connection that waits for entries of all registered streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import LabspineError, NotConnected
from ...flows import history, streams
from ..streams_followed import FollowedStreams
from ..subscriptions import Subscription
from ..timing import FIRST_PAUSE_S, next_pause_s, with_jitter
from .workers import AsyncWorkers

__all__ = ["AsyncStreamReader"]

_log = logging.getLogger("labspine.connector")
_WAIT_S = 0.25


class AsyncStreamReader:
    """
    Follow streams.

    Args:
        perform: Performs a flow on the connector's wire.
        workers: Run callbacks.
    """

    def __init__(self, perform: Callable[..., Any], workers: AsyncWorkers) -> None:
        self._perform = perform
        self._is_closed = False
        self._followed = FollowedStreams(workers.wake)
        self._task: asyncio.Task[None] | None = None

    async def add(self, subscriptions: Sequence[Subscription]) -> None:
        """
        Follow streams from where they end now, or from where the subscription says.

        Raises:
            NotConnected: If there is no connection.
            PermissionDenied: If the server's rules refuse a stream.
        """
        positions = await self._perform(history.last_ids([s.endpoint.endpoint for s in subscriptions]))
        if self._is_closed:
            raise NotConnected("this connector is closed")
        self._followed.add(subscriptions, positions)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Stop subscriptions."""
        self._followed.remove(subscriptions)

    def subscriptions(self) -> list[Subscription]:
        """List the subscriptions."""
        return self._followed.subscriptions()

    async def close(self) -> None:
        """Stop, and wait until the task has ended."""
        self._is_closed = True
        self._followed.remove(self._followed.subscriptions())
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=5.0)

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while positions := self._followed.positions():
            try:
                for key, entries in await self._perform(streams.wait_for_entries(positions, _WAIT_S)):
                    self._followed.heard(key, entries)
                pause_s = FIRST_PAUSE_S
            except LabspineError as error:
                _log.warning("cannot follow streams, trying again: %s", error)
                await asyncio.sleep(with_jitter(pause_s))
                pause_s = next_pause_s(pause_s)
