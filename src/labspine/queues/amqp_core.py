"""
Queues on RabbitMQ, as one claimer: runs on the loop of a link; both doors ask it.

An item is a persistent message in a quorum queue, acknowledged when its work is done. Dead letters are in a
queue beside it. A delay is a queue with that time to live, from which the broker moves items on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from ..clock import mono_s, utc_s
from ..errors import DeadlinePassed, DeliveryUnknown, InvalidArgument, InvalidOperation, NotConnected, shown
from ..ids import new_sender
from ..wire import ConnectionLost
from ..wire.amqp import AmqpConnection, AmqpLink, Channel, ChannelRefused, Delivery, Written, translated
from . import amqp_names as names
from .amqp_claims import Claims, Held
from .transport import Ability, Claim, Claimed, DeadItem, NewItem, QueueState, Receipt

__all__ = ["ABILITIES", "AmqpQueueCore", "Seat", "refuse"]

T = TypeVar("T")

ABILITIES: frozenset[Ability] = frozenset({"delay", "touch"})
"""RabbitMQ cannot look at items without taking them, tell who holds what, or keep several queues in order."""

_QUIET_S = 0.2
_NOT_FOUND = 404

Letter = tuple[str, bytes, Written]


class AmqpQueueCore:
    """
    Be one claimer on RabbitMQ; a resident of the link.

    Args:
        link: To the broker.
    """

    def __init__(self, link: AmqpLink) -> None:
        self.claims = Claims()
        self._link = link
        self._channel: Channel | None = None
        self._declared: set[str] = set()
        self._delays: dict[str, tuple[str, float]] = {}
        self._waiters: set[asyncio.Event] = set()
        self._entering = asyncio.Lock()
        self._consuming = asyncio.Lock()
        self._is_closed = False

    # --- a resident of the link ---

    async def link_ready(self, connection: AmqpConnection) -> None:
        """Open a channel; what is declared is looked at again, for the broker may be another one."""
        self._channel = await connection.channel()
        self._channel.on_cancelled = lambda _: self._wake()
        self._declared.clear()

    def link_lost(self) -> None:
        """Note that the channel is gone; who waits looks again."""
        self._channel = None
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            waiter.set()

    async def _open_channel(self) -> Channel:
        if self._is_closed:
            raise NotConnected("this queue is closed")
        async with self._entering:
            await self._link.move_in(self)
            if self._channel is None or self._channel.closed is not None:
                await self.link_ready(await self._link.connect())
        if self._channel is None:
            raise ConnectionLost("the link broke again", sent=False)
        return self._channel

    async def _declare(self, queue: str) -> Channel:
        channel = await self._open_channel()
        if queue not in self._declared:
            for name in (names.main_name(queue), names.dead_name(queue)):
                await channel.declare_queue(name, durable=True, arguments=names.MAIN)
            self._declared.add(queue)
        return channel

    async def _delay(self, queue: str, delay_s: float) -> str:
        """Make sure that there is a queue for a delay; declaring it again keeps it alive."""
        channel = await self._declare(queue)
        ms = names.delay_ms(delay_s)
        name = names.delay_name(queue, ms)
        await channel.declare_queue(name, durable=True, arguments=names.delay_settings(queue, ms))
        self._delays[name] = (queue, mono_s() + ms / 1000 + 1.0)
        return name

    # --- putting ---

    async def put(self, queue: str, items: Sequence[NewItem], *, delay_s: float) -> int:
        """See `QueueTransport.put`."""
        place = await self._place(queue, delay_s)
        letters: list[Letter] = [(place, item.payload, names.item_properties(item.id, 0)) for item in items]
        try:
            await self._link.publish_many(letters)
        except (DeliveryUnknown, DeadlinePassed) as error:
            error.unsettled = (queue, tuple(items), utc_s() + delay_s)
            raise
        return len(items)

    async def repeat_put(self, error: BaseException) -> int:
        """See `QueueTransport.repeat_put`; claimers drop what they had, by its id."""
        found = error.unsettled if isinstance(error, (DeliveryUnknown, DeadlinePassed)) else None
        if not isinstance(found, tuple) or len(found) != 3:
            raise InvalidArgument(f"{shown(error)} cannot be repeated: it does not come from a put")
        queue, items, due_utc_s = found
        return await self.put(queue, items, delay_s=max(0.0, due_utc_s - utc_s()))

    async def _place(self, queue: str, delay_s: float) -> str:
        try:
            if delay_s > 0:
                return await self._delay(queue, delay_s)
            await self._declare(queue)
        except (ConnectionLost, ChannelRefused) as error:
            raise translated(error, self._link.address) from error
        return names.main_name(queue)

    # --- taking ---

    async def claim(
        self,
        queue: str,
        *,
        count: int,
        wait_s: float | None,
        lease_s: float,
        max_deliveries: int | None,
        acknowledged: Sequence[Receipt],
    ) -> Claim:
        """See `QueueTransport.claim`."""
        refused = self.claims.acknowledge(acknowledged).count(False) if acknowledged else 0
        deadline_mono_s = None if wait_s is None else mono_s() + wait_s
        was_refused = False
        while True:
            try:
                channel = await self._declare(queue)
                found = await self._got(channel, queue, count)
                items = await self._taken(queue, found, max_deliveries, lease_s)
                left_s = None if deadline_mono_s is None else deadline_mono_s - mono_s()
                if not items and (left_s is None or left_s > 0):
                    found = await self._heard(channel, queue, count, left_s)
                    items = await self._taken(queue, found, max_deliveries, lease_s)
            except ConnectionLost:
                items = []
            except ChannelRefused as error:
                if was_refused or error.code != _NOT_FOUND:
                    raise translated(error, self._link.address) from error
                was_refused, items = True, []  # somebody deleted the queue: declare it again
            if items or (deadline_mono_s is not None and mono_s() >= deadline_mono_s):
                return Claim(items, refused)

    async def _got(self, channel: Channel, queue: str, count: int) -> list[Delivery]:
        """
        Take what is there, without waiting for more.

        A quorum queue writes to its log for each that is got: so several come by a consumer of that size.
        """
        one = await channel.get(names.main_name(queue))
        if one is None:
            return []
        wanted = min(count - 1, one.left)
        if wanted == 0:
            return [one]
        try:
            return [one, *await self._heard(channel, queue, wanted, _QUIET_S, until=wanted)]
        except BaseException:
            channel.reject(one.number, requeue=True)
            raise

    async def _heard(
        self, channel: Channel, queue: str, count: int, wait_s: float | None, *, until: int = 1
    ) -> list[Delivery]:
        """Wait for `until` items, or a time; no more than `count` come, and all of them are returned."""
        found: list[Delivery] = []
        come = asyncio.Event()

        def hear(delivery: Delivery) -> None:
            found.append(delivery)
            if len(found) >= until:
                come.set()

        self._waiters.add(come)
        if self._is_closed:
            come.set()
        try:
            async with self._consuming:
                await channel.prefetch(count)
                consumer = await channel.consume(names.main_name(queue), hear)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await come.wait()
            await channel.cancel(consumer)  # behind its answer nothing more comes
        except BaseException:
            for delivery in found:
                channel.reject(delivery.number, requeue=True)
            raise
        finally:
            self._waiters.discard(come)
        if self._is_closed:
            for delivery in found:
                channel.reject(delivery.number, requeue=True)
            raise NotConnected("this queue was closed while somebody waited for items")
        return found

    async def _taken(
        self, queue: str, found: Sequence[Delivery], max_deliveries: int | None, lease_s: float
    ) -> list[Claimed]:
        """Hold what is handed out; bury what was handed out too often."""
        items, tired = self.claims.taken(queue, found, max_deliveries=max_deliveries, lease_s=lease_s)
        for held in tired:
            # A consumer that ends while an item is on its way to it makes the broker count once more.
            held.deliveries = min(held.deliveries - 1, max_deliveries or held.deliveries)
            await self._bury(held, f"handed out {held.deliveries} times, never acknowledged")
        return items

    async def acknowledge(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.acknowledge`."""
        return self.claims.acknowledge(receipts)

    async def touch(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.touch`."""
        return self.claims.touch(receipts)

    # --- giving back ---

    async def give_back(
        self, receipt: Receipt, *, delay_s: float, max_deliveries: int | None, is_counted: bool
    ) -> bool:
        """See `QueueTransport.give_back`."""
        held = self.claims.find(receipt)
        if held is None:
            self.claims.drop(receipt)
            return False
        if is_counted and max_deliveries is not None and held.deliveries >= max_deliveries:
            await self._bury(held, f"given back after {held.deliveries} deliveries")
        elif is_counted and delay_s <= 0:
            held.delivery.channel.reject(held.delivery.number, requeue=True)
        else:
            place = await self._place(held.queue, delay_s)
            times = held.deliveries if is_counted else held.deliveries - 1
            await self._move(held, (place, held.delivery.body, names.item_properties(held.item_id, times)))
        self.claims.drop(receipt)
        return True

    async def bury(self, receipt: Receipt, reason: str) -> bool:
        """See `QueueTransport.bury`."""
        held = self.claims.find(receipt)
        if held is not None:
            await self._bury(held, reason)
        self.claims.drop(receipt)
        return held is not None

    async def _bury(self, held: Held, reason: str) -> None:
        properties = names.dead_properties(
            held.item_id, held.deliveries, reason=reason, key=new_sender(), buried_utc_s=utc_s()
        )
        await self._move(held, (names.dead_name(held.queue), held.delivery.body, properties))

    async def _move(self, held: Held, letter: Letter) -> None:
        """Put it elsewhere, confirmed, before it is taken away here: in between it exists twice."""
        await self._link.publish_many([letter])
        held.delivery.channel.ack(held.delivery.number)

    # --- looking ---

    async def state(self, queue: str) -> QueueState:
        """See `QueueTransport.state`; claimed and delayed are what this connector knows of."""
        try:
            channel = await self._declare(queue)
            ready, dead = [
                (await channel.declare_queue(name, durable=True, arguments=names.MAIN))[1]
                for name in (names.main_name(queue), names.dead_name(queue))
            ]
            delayed = await self._count_delayed(queue)
        except (ConnectionLost, ChannelRefused) as error:
            raise translated(error, self._link.address) from error
        claimed = sum(core.claims.count(queue) for core in self._cores())
        return QueueState(ready, claimed, delayed, dead)

    def _cores(self) -> list[AmqpQueueCore]:
        """Find all claimers of this connector: what they know is what `state` tells."""
        return [
            self,
            *(one for one in self._link.residents if isinstance(one, AmqpQueueCore) and one is not self),
        ]

    async def _count_delayed(self, queue: str) -> int:
        for core in self._cores():
            for name in [n for n, (_, until_mono_s) in core._delays.items() if mono_s() > until_mono_s]:
                del core._delays[name]
        known = {
            name for core in self._cores() for name, (owner, _) in core._delays.items() if owner == queue
        }
        count = 0
        for name in known:
            probe = await (await self._link.connect()).channel()
            with suppress(ChannelRefused):  # it is gone, and so is all that was in it
                count += (await probe.declare_queue(name, passive=True))[1]
                await probe.close()
        return count

    async def dead(self, queue: str, count: int) -> list[DeadItem]:
        """See `QueueTransport.dead`: they are taken, read, and given back."""
        found = await self._all_dead(queue, count)
        for delivery in found:
            delivery.channel.reject(delivery.number, requeue=True)
        return [names.dead_item(one.properties, one.body) for one in found]

    async def _all_dead(self, queue: str, count: int | None) -> list[Delivery]:
        found: list[Delivery] = []
        try:
            channel = await self._declare(queue)
            while count is None or len(found) < count:
                one = await channel.get(names.dead_name(queue))
                if one is None:
                    break
                found.append(one)
        except (ConnectionLost, ChannelRefused) as error:
            raise translated(error, self._link.address) from error
        return found

    async def requeue(self, queue: str, ids: Sequence[str] | None) -> int:
        """See `QueueTransport.requeue`."""
        wanted = None if ids is None else set(ids)
        done = 0
        for delivery in await self._all_dead(queue, None):
            item = names.dead_item(delivery.properties, delivery.body)
            if wanted is None or {item.id, item.key} & wanted:
                self.claims.forget(queue, item.id)
                held = Held(queue, item.id, delivery, 0)
                letter = (names.main_name(queue), item.payload, names.item_properties(item.id, 0))
                await self._move(held, letter)
                done += 1
            else:
                delivery.channel.reject(delivery.number, requeue=True)
        return done

    async def purge(self, queue: str, *, dead: bool) -> int:
        """See `QueueTransport.purge`; what is delayed stays."""
        try:
            channel = await self._declare(queue)
            return await channel.purge_queue(names.dead_name(queue) if dead else names.main_name(queue))
        except (ConnectionLost, ChannelRefused) as error:
            raise translated(error, self._link.address) from error

    # --- life ---

    async def close(self) -> None:
        """Wake who waits; what is held goes back to its queue."""
        self._is_closed = True
        self._link.move_out(self)
        self._wake()
        self.claims.clear()
        if self._channel is not None:
            await self._channel.close()


class Seat:
    """Keep the claimer of a program on its link; a forked child takes a new one."""

    def __init__(self) -> None:
        self._core: AmqpQueueCore | None = None
        self._pid = 0

    async def do(self, link: AmqpLink, work: Callable[[AmqpQueueCore], Awaitable[T]]) -> T:
        """Do some work with the claimer."""
        if self._core is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._core = AmqpQueueCore(link)
        return await work(self._core)


def refuse(ability: str) -> InvalidOperation:
    """Make the error for what RabbitMQ cannot do."""
    return InvalidOperation(f"RabbitMQ cannot {ability}; queues on Redis can")
