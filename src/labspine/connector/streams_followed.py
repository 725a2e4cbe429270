"""Which subscriptions follow which streams, and how far the reader has come in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..flows import BEGINNING, EntryId
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

    def add(self, subscriptions: Sequence[Subscription], ends: Mapping[str, EntryId]) -> None:
        """
        Put subscriptions into the table.

        Args:
            subscriptions: New ones.
            ends: Where each stream ended just now.
        """
        for subscription in subscriptions:
            key = subscription.endpoint.endpoint
            if not subscription.is_replay:
                subscription.position = ends[key]
            self._positions.setdefault(key, ends[key])
            self._subscriptions[key] = (*self._subscriptions.get(key, ()), subscription)
            if subscription.link_ready(BEGINNING, is_again=False):
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
