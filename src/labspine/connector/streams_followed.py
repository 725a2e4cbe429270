"""Which subscriptions follow which streams, and how far the reader has come in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..flows import EntryId
from ..flows.streams import StreamPlace
from .message_object import Gap
from .subscriptions import Subscription

__all__ = ["FollowedStreams"]


class FollowedStreams:
    """
    Keep the table of followed streams.

    Args:
        wake: Called with a subscription that needs a worker.
    """

    def __init__(self, wake: Callable[[Subscription], None]) -> None:
        self._wake = wake
        self._subscriptions: dict[str, tuple[Subscription, ...]] = {}
        self._positions: dict[str, EntryId] = {}
        self._added: dict[str, int | None] = {}
        self.generation = 0

    def add(self, subscriptions: Sequence[Subscription], places: Mapping[str, StreamPlace]) -> None:
        """
        Put subscriptions into the table.

        Args:
            subscriptions: New ones.
            places: Where each stream ended just now.
        """
        self.generation += 1
        for subscription in subscriptions:
            key = subscription.endpoint.endpoint
            if not subscription.is_replay:
                subscription.position = places[key].last
            if key not in self._positions:
                self._positions[key] = places[key].last
                self._added[key] = places[key].added
            self._subscriptions[key] = (*self._subscriptions.get(key, ()), subscription)
            if subscription.link_ready(None, is_again=False):
                self._wake(subscription)

    def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Take subscriptions out of the table."""
        for subscription in subscriptions:
            subscription.close()
            key = subscription.endpoint.endpoint
            left = tuple(s for s in self._subscriptions.get(key, ()) if s is not subscription)
            if left:
                self._subscriptions[key] = left
            else:
                self._subscriptions.pop(key, None)
                self._positions.pop(key, None)
                self._added.pop(key, None)

    def subscriptions(self) -> list[Subscription]:
        """List the subscriptions."""
        return [subscription for group in self._subscriptions.values() for subscription in group]

    def positions(self) -> dict[str, EntryId]:
        """Say after which entry each stream is to be read."""
        return dict(self._positions)

    def heard(self, key: str, entries: Sequence[tuple[EntryId, list[bytes]]]) -> None:
        """Hand new entries of a stream to its subscriptions."""
        channel = key.encode()
        for entry in entries:
            size_bytes = sum(map(len, entry[1]))
            for subscription in self._subscriptions.get(key, ()):
                if subscription.offer(channel, entry, size_bytes):
                    self._wake(subscription)
        if entries and key in self._positions:
            self._positions[key] = entries[-1][0]
            added = self._added[key]
            self._added[key] = None if added is None else added + len(entries)

    def resumed(self, key: str, place: StreamPlace) -> None:
        """
        Compare a stream with what was read of it, after the reader was cut; tell what was trimmed meanwhile.

        Args:
            key: The key of the stream.
            place: Where it begins and ends now.
        """
        position = self._positions.get(key)
        if position is None:
            return
        if place.last < position:  # the server has lost entries, or somebody deleted the stream
            self._positions[key], self._added[key] = place.last, place.added
            self._tell(key, Gap(None), rewind_to=place.last)
        elif place.length and place.first <= position:
            return
        elif place.last > position:
            before = self._added[key]
            missed = None
            if before is not None and place.added is not None and place.added >= before + place.length:
                missed = place.added - before - place.length
                self._added[key] = before + missed
            if missed != 0:
                self._tell(key, Gap(missed))

    def _tell(self, key: str, gap: Gap, *, rewind_to: EntryId | None = None) -> None:
        for subscription in self._subscriptions.get(key, ()):
            if rewind_to is not None:
                subscription.rewind(rewind_to)
            if subscription.offer(key.encode(), gap, 0):
                self._wake(subscription)
