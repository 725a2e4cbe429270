"""Subscriptions to events that cannot be read again: all that is dropped is counted and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..endpoints import EndpointInfo
from .message_object import Gap
from .registering import Registration
from .subscriptions import Subscription

__all__ = ["AmqpRegistration", "AmqpSubscription"]


class AmqpSubscription(Subscription):
    """A subscription whose notices of missed messages may be dropped, too, but not their count."""

    def _overflow(self, item: Any) -> bool:
        if isinstance(item, Gap):
            self._dropped += item.missed or 1
        else:
            self._dropped += 1
        return False


class AmqpRegistration(Registration):
    """As `Registration`, for a broker that keeps no history."""

    def _made(
        self,
        endpoint: EndpointInfo[Any],
        callback: Callable[..., Any],
        kwargs: Mapping[str, Any],
        source: str | None,
        newest_only: bool,
    ) -> Subscription:
        if source is not None:  # a stream, which the store keeps
            return super()._made(endpoint, callback, kwargs, source, newest_only)
        made = AmqpSubscription(endpoint, callback, kwargs, source=None, lock=self._new_lock())
        made.newest_only = newest_only
        made.most_entries = self._options.queue_size
        made.most_bytes = self._options.queue_bytes
        made.run = lambda: self._work(made)
        return made
