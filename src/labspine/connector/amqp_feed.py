"""
What comes from RabbitMQ: one queue for all subscriptions of a connector.

The queue is durable and is kept for two minutes while nobody listens: a broken link or a restart of the
broker loses nothing that was persistent. It holds a limited number of messages; the oldest are dropped first.
What was dropped shows as a hole in the numbers of its sender and is told with its count; when the queue
itself is gone, or was full, everybody is told that something may be missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from ..errors import NotConnected
from ..ids import new_sender
from ..wire.amqp import (
    AmqpConnection,
    AmqpLink,
    Channel,
    ChannelRefused,
    Delivery,
    binding_key,
    channel_of,
    routing_key,
    translated,
)
from ..wire.protocol import ConnectionLost
from .amqp_events import EXCHANGE
from .counters import Counters
from .message_object import Gap
from .subscriptions import Subscription
from .tracking import Verdict, read_mark

__all__ = ["KEPT_S", "AmqpFeed", "EventExchange"]

_log = logging.getLogger("labspine.connector")
KEPT_S = 120
"""How long the broker keeps the queue of a subscriber that is away, in seconds."""

_PREFETCH = 2000
_BEGINNING = (0, 0)


class EventExchange:
    """Make sure, on each new connection, that the exchange of the events exists; a resident of the link."""

    async def link_ready(self, connection: AmqpConnection) -> None:
        """Declare it."""
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, "topic")
        await channel.close()

    def link_lost(self) -> None:
        """Nothing is kept here."""


class AmqpFeed:
    """
    Own the queue of a connector, and hand messages to its subscriptions. Lives on the loop of a link.

    Args:
        wake: Called when a subscription has something to do.
        counters: Where to count.
        most: How many messages the broker keeps while this side is away or slow.
        has_store: Whether last values can be read again after a loss.
    """

    def __init__(
        self, wake: Callable[[Subscription], None], counters: Counters, *, most: int, has_store: bool
    ) -> None:
        self._counters = counters
        self._wake = wake
        self._most = most
        self._has_store = has_store
        self._begin()

    def _begin(self) -> None:
        """Start without a queue and subscriptions; so does a forked child."""
        self._queue = f"labspine.events.{new_sender()}"
        self._keys: dict[str, int] = {}
        self._channels: dict[str, list[Subscription]] = {}
        self._patterns: list[Subscription] = []
        self._channel: Channel | None = None
        self._link: AmqpLink | None = None
        self._was_there = False
        self._last = 0
        self._adding = asyncio.Lock()

    def _belong_to(self, link: AmqpLink) -> None:
        """Begin anew on another link: that of a forked child."""
        if self._link is not None and self._link is not link:
            self._begin()
        self._link = link

    def subscriptions(self) -> list[Subscription]:
        """List the subscriptions."""
        return [s for some in list(self._channels.values()) for s in some] + list(self._patterns)

    async def add(self, link: AmqpLink, subscriptions: Sequence[Subscription]) -> None:
        """
        Listen; returns when the broker has confirmed.

        Raises:
            InvalidName: If a channel is too long for RabbitMQ.
            PermissionDenied: If the rules of the broker refuse it.
            NotConnected: If there is no connection.
        """
        keys = [_key(s) for s in subscriptions]
        self._belong_to(link)
        async with self._adding:
            await link.move_in(self)
        done: list[Subscription] = []
        try:
            for subscription, key in zip(subscriptions, keys, strict=True):
                self._enter(subscription)
                done.append(subscription)
                self._keys[key] = self._keys.get(key, 0) + 1
                if self._keys[key] == 1:
                    await self._bind(key)
                subscription.link_ready(_BEGINNING, is_again=False)
        except (ConnectionLost, ChannelRefused) as error:
            await self.remove(link, done)
            raise translated(error, link.address) from error
        except BaseException:
            await self.remove(link, done)
            raise

    def _enter(self, subscription: Subscription) -> None:
        if subscription.endpoint.is_pattern:
            self._patterns.append(subscription)
        else:
            self._channels.setdefault(subscription.endpoint.endpoint, []).append(subscription)

    async def _bind(self, key: str) -> None:
        channel = self._channel
        if channel is None or channel.closed is not None:
            if self._link is None:
                raise NotConnected("this connector is closed")
            connection = await self._link.connect()
            await self.link_ready(connection)  # binds everything, and this key, too
            return
        await channel.bind(self._queue, EXCHANGE, key)

    async def remove(self, link: AmqpLink, subscriptions: Sequence[Subscription]) -> None:
        """Stop listening; the broker is told about channels that nobody listens to any more."""
        self._belong_to(link)
        for subscription in subscriptions:
            subscription.close()
            name = subscription.endpoint.endpoint
            some = self._patterns if subscription.endpoint.is_pattern else self._channels.get(name, [])
            if subscription not in some:
                continue
            some.remove(subscription)
            if not subscription.endpoint.is_pattern and not some:
                del self._channels[name]
            key = _key(subscription)
            self._keys[key] = self._keys.get(key, 1) - 1
            if self._keys[key] <= 0:
                del self._keys[key]
                await self._quietly(partial(Channel.unbind, queue=self._queue, exchange=EXCHANGE, key=key))

    async def _quietly(self, work: Callable[[Channel], Awaitable[object]]) -> None:
        """Do something for tidiness; a link that breaks meanwhile has done it by itself."""
        channel = self._channel
        if channel is not None and channel.closed is None:
            try:
                await work(channel)
            except (ConnectionLost, ChannelRefused) as error:
                _log.debug("not told to the broker: %s", error)

    async def close(self, link: AmqpLink) -> None:
        """Stop everything, and delete the queue."""
        self._belong_to(link)
        link.move_out(self)
        if self._channel is not None:
            self._channel.on_cancelled = lambda _: None  # its queue goes now, as it should
        for subscription in self.subscriptions():
            subscription.close()
        self._channels.clear()
        self._patterns.clear()
        self._keys.clear()
        await self._quietly(lambda channel: channel.delete_queue(self._queue))

    # --- a resident of the link ---

    async def link_ready(self, connection: AmqpConnection) -> None:
        """Declare exchange and queue, bind everything again, and tell when something may have been missed."""
        channel = await connection.channel()
        await channel.declare_exchange(EXCHANGE, "topic")
        is_whole = not self._was_there or await self._is_whole(connection)
        arguments = {
            "x-expires": KEPT_S * 1000,
            "x-max-length": self._most,
            "x-overflow": "drop-head",
        }
        try:
            await channel.declare_queue(self._queue, durable=True, arguments=arguments)
        except ChannelRefused as error:
            if not self._was_there:
                raise
            _log.warning("the queue of the subscriptions is out of reach (%s); a new one is made", error)
            self._queue, is_whole = f"labspine.events.{new_sender()}", False
            channel = await connection.channel()
            await channel.declare_queue(self._queue, durable=True, arguments=arguments)
        for key in list(self._keys):
            await channel.bind(self._queue, EXCHANGE, key)
        await channel.prefetch(_PREFETCH)
        self._last = 0
        channel.on_cancelled = self._cancelled
        if self._was_there:
            self._counters.reconnects += 1
        if not is_whole:
            self._tell_gap()
        self._was_there = True
        self._channel = channel
        await channel.consume(self._queue, self._hear)

    async def _is_whole(self, connection: AmqpConnection) -> bool:
        """Look whether the queue is still there and did not overflow."""
        probe = await connection.channel()
        try:
            _, ready, _ = await probe.declare_queue(self._queue, passive=True)
        except ChannelRefused:
            return False
        await probe.close()
        return ready < self._most

    def _tell_gap(self) -> None:
        for subscription in self.subscriptions():
            woken = subscription.offer(subscription.key, Gap(None), 0)
            if subscription.link_ready(_BEGINNING, is_again=self._has_store) or woken:
                self._wake(subscription)

    def _cancelled(self, _: str) -> None:
        """The queue was deleted under us, or its node went away: everything is set up anew."""
        if self._link is not None:
            self._link.distrust()

    def link_lost(self) -> None:
        """Note that nothing is heard until the next connection."""
        self._channel = None
        self._last = 0

    # --- messages ---

    def _hear(self, delivery: Delivery) -> None:
        if self._last == 0:
            asyncio.get_running_loop().call_soon(self._acknowledge, delivery.channel)
        self._last = delivery.number
        payload, size_bytes = delivery.body, len(delivery.body)
        name = channel_of(delivery.key)
        channel = name.encode()
        for subscription in self._channels.get(name, ()):
            self._offer(subscription, channel, payload, size_bytes)
        for subscription in self._patterns:
            if subscription.listens_to(channel):
                self._offer(subscription, channel, payload, size_bytes)

    def _offer(self, subscription: Subscription, channel: bytes, payload: bytes, size_bytes: int) -> None:
        """Hand over what is news; what is missing before it is told first."""
        tracker, is_woken = subscription.tracker, False
        if not tracker.follows(channel, payload):
            mark = read_mark(payload)
            if mark is not None:
                verdict = tracker.judge(channel, *mark)
                if verdict is Verdict.SEEN:
                    self._counters.repeats += 1
                    return
                missed = tracker.close_holes(channel, *mark) if verdict is Verdict.AFTER_HOLE else 0
                if missed and not subscription.newest_only:
                    is_woken = subscription.offer(channel, Gap(missed), 0)
                tracker.mark(channel, *mark)
        if subscription.offer(channel, payload, size_bytes) or is_woken:
            self._wake(subscription)

    def _acknowledge(self, channel: Channel) -> None:
        """Say once a turn of the loop how far we came."""
        if channel is self._channel and self._last:
            channel.ack(self._last, multiple=True)
        self._last = 0


def _key(subscription: Subscription) -> str:
    endpoint = subscription.endpoint
    return binding_key(endpoint.endpoint) if endpoint.is_pattern else routing_key(endpoint.endpoint)
