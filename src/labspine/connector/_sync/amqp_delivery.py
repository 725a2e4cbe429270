# Generated from connector/_async/amqp_delivery.py by scripts/unasync.py: change the source and run it.
"""Deliver events of RabbitMQ to callbacks: each once, in order per sender, holes told with their count."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import InvalidOperation
from ..counters import Counters
from ..message_object import Gap
from ..subscriptions import Item, Subscription
from ..tracking import Verdict, read_mark
from .delivery import Delivery

__all__ = ["AmqpDelivery"]


class AmqpDelivery(Delivery):
    """
    Work on subscriptions whose events cannot be read again.

    Args:
        perform: Performs a flow on the store.
        counters: Where to count.
    """

    def __init__(self, perform: Callable[..., Any], counters: Counters) -> None:
        super().__init__(perform, counters)
        # What was dropped here is told when it is dropped; the numbers would tell it once more.
        self._told: weakref.WeakKeyDictionary[Subscription, int] = weakref.WeakKeyDictionary()

    def _deliver(self, subscription: Subscription, items: Sequence[Item]) -> None:
        follows = subscription.tracker.follows
        for channel, payload, _ in items:
            if subscription.is_closed:
                return
            if type(payload) is not bytes:
                if isinstance(payload, Gap) and payload.missed:
                    self._told[subscription] = self._told.get(subscription, 0) + payload.missed
                    self._counters.dropped += payload.missed
                self._deliver_other(subscription, channel, payload)
                continue
            if subscription.is_value:
                self._remember_plain(subscription, channel, payload)
            if follows(channel, payload) or self._is_news(subscription, channel, payload):
                self._give(subscription, channel, payload)
            else:
                self._counters.repeats += 1

    def _is_news(self, subscription: Subscription, channel: bytes, payload: bytes) -> bool:
        """Judge an event that is not simply the next one; what is missing before it is told."""
        mark = read_mark(payload)
        if mark is None:
            return True
        tracker = subscription.tracker
        verdict = tracker.judge(channel, *mark)
        if verdict is Verdict.SEEN:
            return False
        if verdict is Verdict.AFTER_HOLE and not subscription.newest_only:
            missed = tracker.close_holes(channel, *mark)
            told = min(missed, self._told.get(subscription, 0))
            if told:
                self._told[subscription] -= told
            if missed > told:
                self._tell_gap(subscription, channel, missed - told)
        tracker.mark(channel, *mark)
        return True

    def _repeat_last_value(self, subscription: Subscription) -> None:
        try:
            super()._repeat_last_value(subscription)
        except InvalidOperation:
            return  # there is no store
