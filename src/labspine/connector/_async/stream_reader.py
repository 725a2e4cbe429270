"""The reader of streams: one task and one connection that waits for entries of all registered streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import LabspineError, NotConnected
from ...flows import EntryId, streams
from ..streams_followed import FollowedStreams
from ..subscriptions import Subscription
from ..timing import FIRST_PAUSE_S, MOST_HURRIES, STREAM_WAIT_S, next_pause_s, with_jitter
from .workers import AsyncWorkers

__all__ = ["AsyncStreamReader"]

_log = logging.getLogger("labspine.connector")


class AsyncStreamReader:
    """
    Follow streams.

    Args:
        perform: Performs a flow on the connector's wire.
        workers: Run callbacks.
        break_off: Ends what a task waits for on the server.
    """

    def __init__(
        self,
        perform: Callable[..., Any],
        workers: AsyncWorkers,
        *,
        break_off: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._perform = perform
        self._break_off = break_off
        self._is_closed = False
        self._followed = FollowedStreams(workers.wake)
        self._task: asyncio.Task[None] | None = None
        self._generation = 0

    async def add(self, subscriptions: Sequence[Subscription]) -> None:
        """
        Follow streams from where they end now, or from where the subscription says.

        Raises:
            NotConnected: If there is no connection.
            PermissionDenied: If the server's rules refuse a stream.
        """
        keys = {s.endpoint.endpoint for s in subscriptions}
        places = {key: await self._perform(streams.place_of(key)) for key in keys}
        if self._is_closed:
            raise NotConnected("this connector is closed")
        self._followed.add(subscriptions, places)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        else:
            await self._hurry(self._task)

    async def _hurry(self, task: asyncio.Task[None]) -> None:
        """Break off the wait of the task, which does not know the new streams, until it knows them."""
        wanted = self._followed.generation
        for _ in range(MOST_HURRIES):
            if self._generation >= wanted or task.done():
                return
            self._break_off(task)
            await asyncio.sleep(STREAM_WAIT_S / MOST_HURRIES)

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
        pause_s, was_cut = FIRST_PAUSE_S, False
        while positions := self._followed.positions():
            self._generation = generation = self._followed.generation
            try:
                if was_cut:
                    await self._look_again(positions)
                    was_cut = False
                    continue
                for key, entries in await self._perform(streams.wait_for_entries(positions, STREAM_WAIT_S)):
                    self._followed.heard(key, entries)
                pause_s = FIRST_PAUSE_S
            except LabspineError as error:
                was_cut = True
                if generation != self._followed.generation:
                    continue  # broken off on purpose; nothing is lost, it goes on by position
                _log.warning("cannot follow streams, trying again: %s", error)
                await asyncio.sleep(with_jitter(pause_s))
                pause_s = next_pause_s(pause_s)

    async def _look_again(self, positions: dict[str, EntryId]) -> None:
        """After a cut: tell what was trimmed meanwhile."""
        for key in positions:
            self._followed.resumed(key, await self._perform(streams.place_of(key)))
