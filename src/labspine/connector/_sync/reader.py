"""
The reader: one thread and one connection for all subscriptions of a connector.

It hands messages to queues and never runs a callback. It insists on hearing something every few seconds,
comes back by itself when the link breaks, subscribes again, and lets durable subscriptions catch up.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ...clock import mono_s
from ...errors import DeadlinePassed, LabspineError, NotConnected
from ...flows import Exchange, history
from ...wire import NOTHING_YET, ConnectionLost, SyncConnection, settle
from ..counters import Counters
from ..routes import Route, Routes
from ..subscriptions import Subscription
from ..timing import FIRST_PAUSE_S, PING_EVERY_S, SILENCE_S, TICK_S, next_pause_s, with_jitter
from .workers import Workers

__all__ = ["Reader"]

_log = logging.getLogger("labspine.connector")
_TLS_TICK_S = 0.05


class _Waiter:
    """Wait for the confirmation of one subscription."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.error: LabspineError | None = None

    def __call__(self, error: LabspineError | None) -> None:
        self.error = error
        self.event.set()


class Reader:
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
        connect: Callable[[], SyncConnection],
        perform: Callable[..., Any],
        workers: Workers,
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
        self._connection: SyncConnection | None = None
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        """Start without routes, thread and connection; so does a forked child."""
        if self._connection is not None:
            self._connection.close()
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._routes = Routes(self._workers.wake)
        self._connection = None
        self._thread: threading.Thread | None = None
        self._outbox: list[bytes] = []
        self._barrier_runs = False

    # --- the caller's side ---

    def add(self, subscriptions: Sequence[Subscription]) -> None:
        """
        Subscribe, and return when the server has confirmed.

        Raises:
            PermissionDenied: If the server's rules refuse a channel or the history.
            NotConnected: If there is no connection in time.
        """
        positions = self._positions(subscriptions)
        waiters: list[_Waiter] = []
        try:
            with self._lock:
                self._start()
                for subscription in subscriptions:
                    waiters += self._add_one(subscription, positions)
            self._wait_for(waiters)
        except BaseException:
            self.remove(subscriptions)
            raise

    def _wait_for(self, waiters: list[_Waiter]) -> None:
        deadline_mono_s = mono_s() + self._timeout_s
        for waiter in waiters:
            if not waiter.event.wait(max(0.0, deadline_mono_s - mono_s())):
                raise DeadlinePassed(
                    f"the server did not confirm a subscription within {self._timeout_s:g} s"
                )
            if waiter.error is not None:
                raise waiter.error

    def _positions(self, subscriptions: Sequence[Subscription]) -> dict[str, history.EntryId]:
        sources = sorted({s.source for s in subscriptions if s.source is not None})
        found: dict[str, history.EntryId] = self._perform(history.last_ids(sources))
        return found

    def _add_one(self, subscription: Subscription, positions: dict[str, history.EntryId]) -> list[_Waiter]:
        if subscription.source is not None:
            subscription.heard_since = positions[subscription.source]
            if not subscription.is_replay:
                subscription.position = subscription.heard_since
        route, is_new = self._routes.add(subscription)
        if is_new and self._connection is not None:
            self._write(self._routes.ask_subscribe([route]))
        if route.is_confirmed:
            return []
        waiter = _Waiter()
        route.waiters.append(waiter)
        return [waiter]

    def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Stop subscriptions; the server is told about channels that nobody listens to any more."""
        with self._lock:
            empty: list[Route] = []
            for subscription in subscriptions:
                route = self._routes.remove(subscription)
                if route is not None:
                    empty.append(route)
            if empty and self._connection is not None:
                self._write(self._routes.ask_unsubscribe(empty))

    def ask_whether_allowed(self) -> Exchange:
        """Ask whether a new login may listen to all this."""
        with self._lock:
            return self._routes.ask_whether_allowed()

    def renew(self) -> None:
        """Come back with the connector's present login; returns when the server has confirmed everything."""
        waiters: list[_Waiter] = []
        with self._lock:
            if self._connection is None:
                return
            for route in self._routes.all_routes():
                waiters.append(_Waiter())
                route.waiters.append(waiters[-1])
            self._connection.abort()
        self._wait_for(waiters)

    def subscriptions(self) -> list[Subscription]:
        """List the subscriptions."""
        with self._lock:
            return self._routes.subscriptions()

    def close(self) -> None:
        """Stop; waits a little for the thread, unless the caller is the thread."""
        with self._lock:
            self._is_closed = True
            self._stop.set()
            self.remove(self._routes.subscriptions())
            self._routes.give_up(NotConnected("this connector is closed"))
            if self._connection is not None:
                self._connection.abort()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    # --- the thread ---

    def _start(self) -> None:
        if self._is_closed:
            raise NotConnected("this connector is closed")
        if self._thread is None or not self._thread.is_alive():
            self._open()
            self._thread = threading.Thread(target=self._run, name="labspine-reader", daemon=True)
            self._thread.start()

    def _open(self) -> None:
        """Connect, and say all subscriptions in one write."""
        try:
            connection = self._connect()
            positions = self._ends(connection)
        except ConnectionLost as lost:
            raise NotConnected(f"no connection for subscriptions: {lost}") from lost
        is_tls = connection.address.tls
        connection.limit(_TLS_TICK_S if is_tls else TICK_S)
        with self._lock:
            if self._is_closed:
                connection.close()
                raise NotConnected("this connector is closed")
            self._outbox.clear()
            self._connection = connection
            words = self._routes.open_link(positions)
            if words:
                self._write(words)

    def _ends(self, connection: SyncConnection) -> dict[str, history.EntryId]:
        """Ask on the new connection itself where the histories end now; on a cluster, those who have them."""
        flow = history.last_ids(self._routes.sources())
        if self._in_cluster:
            known: dict[str, history.EntryId] = self._perform(flow)
            return known
        try:
            ask = next(flow)
            while True:
                ask = flow.send(settle(ask, connection.exchange(ask)))
        except StopIteration as end:
            positions: dict[str, history.EntryId] = end.value
            return positions

    def _write(self, words: bytes) -> None:
        """Say something; with TLS the thread says it: two threads must not share one TLS link."""
        connection = self._connection
        if connection is None:
            return
        if connection.address.tls:
            self._outbox.append(words)
            return
        try:
            connection.send(words)
        except (ConnectionLost, BlockingIOError):
            connection.abort()  # the thread notices, comes back and says everything again

    def _run(self) -> None:
        while not self._stop.is_set():
            connection = self._connection
            try:
                if connection is not None:
                    self._listen(connection)
            except Exception as error:
                if not self._stop.is_set():
                    _log.warning("the subscriber's connection broke: %s; coming back", error)
            with self._lock:
                self._connection = None
                self._routes.link_lost()
            if connection is not None:
                connection.close()
            self._come_back()

    def _come_back(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                self._open()
                self._counters.reconnects += 1
                return
            except Exception as error:
                _log.warning("no connection for subscriptions yet: %s", error)
            self._stop.wait(with_jitter(pause_s))
            pause_s = next_pause_s(pause_s)

    def _listen(self, connection: SyncConnection) -> None:
        """Hand out messages until the link breaks or this connector is closed."""
        heard_mono_s = asked_mono_s = mono_s()
        dispatch, next_reply, wake = self._routes.dispatch, connection.next_reply, self._workers.wake
        while not self._stop.is_set():
            try:
                connection.receive()
                heard_mono_s = mono_s()
            except BlockingIOError:
                if mono_s() - heard_mono_s > SILENCE_S:
                    self._distrust()
                    raise ConnectionLost(f"nothing was heard for {SILENCE_S} s", sent=True) from None
            reply = next_reply()
            while reply is not NOTHING_YET:
                if not dispatch(reply, wake):
                    with self._lock:
                        self._routes.conclude(reply)
                reply = next_reply()
            if self._outbox:
                self._flush(connection)
            if mono_s() - asked_mono_s >= PING_EVERY_S:
                asked_mono_s = mono_s()
                self._ask_for_life()

    def _flush(self, connection: SyncConnection) -> None:
        with self._lock:
            words = b"".join(self._outbox)
            self._outbox.clear()
            connection.send(words)

    def _ask_for_life(self) -> None:
        with self._lock:
            self._write(self._routes.ask_ping())
            if self._routes.sources() and not self._barrier_runs:
                self._barrier_runs = True
                self._workers.submit(self._set_barrier)

    def _set_barrier(self) -> None:
        """Move the positions of live subscriptions on: ask where histories end, then for a sign of life."""
        connection = self._connection
        try:
            positions = self._perform(history.last_ids(self._routes.sources()))
            with self._lock:
                if self._in_cluster:
                    self._routes.doubt(positions)
                elif connection is not None and connection is self._connection:
                    self._write(self._routes.ask_ping(positions))
        except LabspineError as error:
            _log.debug("no barrier this time: %s", error)
        finally:
            self._barrier_runs = False


_alive: weakref.WeakSet[Reader] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for reader in list(_alive):
        reader._begin()


os.register_at_fork(after_in_child=_renew_after_fork)
