"""The reader of streams: one thread and one connection that waits for entries of all registered streams."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import LabspineError, NotConnected
from ...flows import EntryId, streams
from ..streams_followed import FollowedStreams
from ..subscriptions import Subscription
from ..timing import FIRST_PAUSE_S, MOST_HURRIES, STREAM_WAIT_S, next_pause_s, with_jitter
from .workers import Workers

__all__ = ["StreamReader"]

_log = logging.getLogger("labspine.connector")


class StreamReader:
    """
    Follow streams.

    Args:
        perform: Performs a flow on the connector's wire.
        workers: Run callbacks.
        break_off: Ends what a thread waits for on the server.
    """

    def __init__(
        self,
        perform: Callable[..., Any],
        workers: Workers,
        *,
        break_off: Callable[[threading.Thread], None],
    ) -> None:
        self._perform = perform
        self._break_off = break_off
        self._workers = workers
        self._is_closed = False
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._followed = FollowedStreams(self._workers.wake)
        self._thread: threading.Thread | None = None
        self._picked_up = threading.Condition(self._lock)
        self._generation = 0

    def add(self, subscriptions: Sequence[Subscription]) -> None:
        """
        Follow streams from where they end now, or from where the subscription says.

        Raises:
            NotConnected: If there is no connection.
            PermissionDenied: If the server's rules refuse a stream.
        """
        keys = {s.endpoint.endpoint for s in subscriptions}
        places = {key: self._perform(streams.place_of(key)) for key in keys}
        with self._lock:
            if self._is_closed:
                raise NotConnected("this connector is closed")
            self._followed.add(subscriptions, places)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="labspine-streams", daemon=True)
                self._thread.start()
            else:
                self._hurry(self._thread)

    def _hurry(self, thread: threading.Thread) -> None:
        """Break off the wait of the thread, which does not know the new streams, until it knows them."""
        wanted = self._followed.generation
        for _ in range(MOST_HURRIES):
            if self._generation >= wanted or thread is threading.current_thread():
                return
            self._break_off(thread)
            self._picked_up.wait(STREAM_WAIT_S / MOST_HURRIES)

    def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Stop subscriptions."""
        with self._lock:
            self._followed.remove(subscriptions)

    def subscriptions(self) -> list[Subscription]:
        """List the subscriptions."""
        with self._lock:
            return self._followed.subscriptions()

    def close(self) -> None:
        """Stop; waits a little for the thread, unless the caller is the thread."""
        with self._lock:
            self._is_closed = True
            self._stop.set()
            self._followed.remove(self._followed.subscriptions())
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _run(self) -> None:
        pause_s, was_cut = FIRST_PAUSE_S, False
        while not self._stop.is_set():
            with self._lock:
                positions = self._followed.positions()
                if not positions:
                    self._thread = None
                    return
                self._generation = generation = self._followed.generation
                self._picked_up.notify_all()
            try:
                if was_cut:
                    self._look_again(positions)
                    was_cut = False
                    continue
                for key, entries in self._perform(streams.wait_for_entries(positions, STREAM_WAIT_S)):
                    with self._lock:
                        self._followed.heard(key, entries)
                pause_s = FIRST_PAUSE_S
            except LabspineError as error:
                was_cut = True
                if self._stop.is_set() or generation != self._followed.generation:
                    continue  # broken off on purpose; nothing is lost, it goes on by position
                _log.warning("cannot follow streams, trying again: %s", error)
                self._stop.wait(with_jitter(pause_s))
                pause_s = next_pause_s(pause_s)

    def _look_again(self, positions: dict[str, EntryId]) -> None:
        """After a cut: tell what was trimmed meanwhile."""
        for key in positions:
            place = self._perform(streams.place_of(key))
            with self._lock:
                self._followed.resumed(key, place)


_alive: weakref.WeakSet[StreamReader] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for reader in list(_alive):
        reader._begin()


os.register_at_fork(after_in_child=_renew_after_fork)
