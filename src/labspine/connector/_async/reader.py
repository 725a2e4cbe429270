"""
The reader: one connection for all subscriptions of a connector, served by its event loop.

It hands messages to queues and never runs a callback. It insists on hearing something every few seconds,
comes back by itself when the link breaks, subscribes again, and lets durable subscriptions catch up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ...clock import mono_s
from ...errors import DeadlinePassed, LabspineError, NotConnected
from ...flows import Exchange, history
from ...wire import AsyncConnection, ConnectionLost, settle
from ..counters import Counters
from ..routes import Route, Routes
from ..subscriptions import Subscription
from ..timing import FIRST_PAUSE_S, PING_EVERY_S, SILENCE_S, TICK_S, next_pause_s, with_jitter
from .workers import AsyncWorkers

__all__ = ["AsyncReader"]

_log = logging.getLogger("labspine.connector")


class AsyncReader:
    """
    Own the subscriber's connection.

    Args:
        connect: Opens a connection.
        perform: Performs a flow on the connector's wire.
        workers: Run what must not run here.
        distrust: Called when a link was silent: others may be dead, too.
        counters: Where to count.
        timeout_s: Longest wait for a confirmation, in seconds.
        in_cluster: Whether histories lie on other nodes than this connection leads to.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncConnection]],
        perform: Callable[..., Any],
        workers: AsyncWorkers,
        *,
        distrust: Callable[[], None],
        counters: Counters,
        timeout_s: float,
        in_cluster: bool = False,
    ) -> None:
        self._connect = connect
        self._perform = perform
        self._workers = workers
        self._distrust = distrust
        self._counters = counters
        self._timeout_s = timeout_s
        self._in_cluster = in_cluster
        self._is_closed = False
        self._routes = Routes(workers.wake)
        self._connection: AsyncConnection | None = None
        self._lost: asyncio.Event = asyncio.Event()
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._barrier_runs = False

    # --- the caller's side ---

    async def add(self, subscriptions: Sequence[Subscription]) -> None:
        """
        Subscribe, and return when the server has confirmed.

        Raises:
            PermissionDenied: If the server's rules refuse a channel or the history.
            NotConnected: If there is no connection in time.
        """
        sources = sorted({s.source for s in subscriptions if s.source is not None})
        positions = await self._perform(history.last_ids(sources))
        try:
            await self._start()
            waiting: list[asyncio.Future[None]] = []
            for subscription in subscriptions:
                waiting += self._add_one(subscription, positions)
            if waiting:
                async with asyncio.timeout(self._timeout_s):
                    await asyncio.gather(*waiting)
        except BaseException as error:
            await self.remove(subscriptions)
            if isinstance(error, TimeoutError) and not isinstance(error, LabspineError):
                raise DeadlinePassed(
                    f"the server did not confirm a subscription within {self._timeout_s:g} s"
                ) from error
            raise

    def _add_one(
        self, subscription: Subscription, positions: dict[str, history.EntryId]
    ) -> list[asyncio.Future[None]]:
        if subscription.source is not None:
            subscription.heard_since = positions[subscription.source]
            if not subscription.is_replay:
                subscription.position = subscription.heard_since
        route, is_new = self._routes.add(subscription)
        if is_new:
            self._write(self._routes.ask_subscribe([route]))
        return [] if route.is_confirmed else [self._confirmation(route)]

    def _confirmation(self, route: Route) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answer(error: LabspineError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        route.waiters.append(answer)
        return future

    async def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Stop subscriptions; the server is told about channels that nobody listens to any more."""
        empty: list[Route] = []
        for subscription in subscriptions:
            route = self._routes.remove(subscription)
            if route is not None:
                empty.append(route)
        if empty:
            self._write(self._routes.ask_unsubscribe(empty))

    def ask_whether_allowed(self) -> Exchange:
        """Ask whether a new login may listen to all this."""
        return self._routes.ask_whether_allowed()

    async def renew(self) -> None:
        """Come back with the connector's present login; returns when the server has confirmed everything."""
        if self._connection is None:
            return
        waiting = [self._confirmation(route) for route in self._routes.all_routes()]
        self._connection.close()
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.gather(*waiting)
        except TimeoutError as error:
            raise DeadlinePassed(
                f"the server did not confirm the subscriptions again within {self._timeout_s:g} s"
            ) from error

    def subscriptions(self) -> list[Subscription]:
        """List the subscriptions."""
        return self._routes.subscriptions()

    async def close(self) -> None:
        """Stop, and wait until the task has ended."""
        self._is_closed = True
        await self.remove(self._routes.subscriptions())
        self._routes.give_up(NotConnected("this connector is closed"))
        if self._connection is not None:
            self._connection.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=5.0)

    # --- the task ---

    async def _start(self) -> None:
        async with self._starting:
            if self._is_closed:
                raise NotConnected("this connector is closed")
            if self._task is None or self._task.done():
                await self._open()
                self._task = asyncio.get_running_loop().create_task(self._run())

    async def _open(self) -> None:
        """Connect, and say all subscriptions in one write."""
        try:
            connection = await self._connect()
            positions = await self._ends(connection)
        except ConnectionLost as lost:
            raise NotConnected(f"no connection for subscriptions: {lost}") from lost
        self._connection = connection
        self._lost = lost_event = asyncio.Event()
        words = self._routes.open_link(positions)
        connection.listen(self._hear, lambda _: lost_event.set())
        if words:
            self._write(words)

    def _hear(self, reply: Any) -> None:
        if not self._routes.dispatch(reply, self._workers.wake):
            self._routes.conclude(reply)

    async def _ends(self, connection: AsyncConnection) -> dict[str, history.EntryId]:
        """Ask on the new connection itself where the histories end now; on a cluster, those who have them."""
        flow = history.last_ids(self._routes.sources())
        if self._in_cluster:
            known: dict[str, history.EntryId] = await self._perform(flow)
            return known
        try:
            ask = next(flow)
            while True:
                ask = flow.send(settle(ask, await connection.exchange(ask)))
        except StopIteration as end:
            positions: dict[str, history.EntryId] = end.value
            return positions

    def _write(self, words: bytes) -> None:
        if self._connection is not None and not self._connection.is_closed:
            self._connection.write(words)

    async def _run(self) -> None:
        while not self._is_closed:
            connection = self._connection
            if connection is not None:
                await self._watch(connection)
                connection.close()
            self._connection = None
            self._routes.link_lost()
            await self._come_back()

    async def _come_back(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._is_closed:
            try:
                await self._open()
                self._counters.reconnects += 1
                return
            except Exception as error:
                _log.warning("no connection for subscriptions yet: %s", error)
            await asyncio.sleep(with_jitter(pause_s))
            pause_s = next_pause_s(pause_s)

    async def _watch(self, connection: AsyncConnection) -> None:
        """Ask for signs of life until the link breaks or is silent."""
        asked_mono_s = mono_s()
        while not connection.is_closed:
            try:
                async with asyncio.timeout(TICK_S):
                    await self._lost.wait()
                _log.warning("the subscriber's connection broke; coming back")
                return
            except TimeoutError:
                pass
            if mono_s() - connection.received_mono_s > SILENCE_S:
                self._distrust()
                _log.warning(
                    "nothing was heard for %s s on the subscriber's connection; coming back", SILENCE_S
                )
                return
            if mono_s() - asked_mono_s >= PING_EVERY_S - TICK_S / 2:
                asked_mono_s = mono_s()
                self._ask_for_life()

    def _ask_for_life(self) -> None:
        self._write(self._routes.ask_ping())
        if self._routes.sources() and not self._barrier_runs:
            self._barrier_runs = True
            self._workers.submit(self._set_barrier)

    async def _set_barrier(self) -> None:
        """Move the positions of live subscriptions on: ask where histories end, then for a sign of life."""
        connection = self._connection
        try:
            positions = await self._perform(history.last_ids(self._routes.sources()))
            if self._in_cluster:
                self._routes.doubt(positions)
            elif connection is not None and connection is self._connection:
                self._write(self._routes.ask_ping(positions))
        except LabspineError as error:
            _log.debug("no barrier this time: %s", error)
        finally:
            self._barrier_runs = False
