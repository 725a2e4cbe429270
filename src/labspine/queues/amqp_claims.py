"""What one claimer holds on RabbitMQ, and by which it knows what comes twice. No I/O but acknowledgements."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Iterable, Sequence

from ..clock import mono_s
from ..wire.amqp import Delivery
from .amqp_names import deliveries_of, id_of
from .transport import Claimed, Receipt

__all__ = ["Claims", "Held"]

_MOST_DONE = 20_000


class Held:
    """
    An item that was handed out and is not done.

    Args:
        queue: Whence.
        item_id: Of the item; empty if it has none.
        delivery: As the broker gave it; replaced when the link broke and the broker gave it again.
        deliveries: How often it has been handed out.
    """

    __slots__ = ("deliveries", "delivery", "item_id", "lease_s", "queue", "until_mono_s")

    def __init__(self, queue: str, item_id: str, delivery: Delivery, deliveries: int) -> None:
        self.lease_s = self.until_mono_s = 0.0
        self.queue = queue
        self.item_id = item_id
        self.delivery = delivery
        self.deliveries = deliveries

    @property
    def is_lost(self) -> bool:
        """Whether its channel has ended: the broker gives it to somebody again."""
        return self.delivery.channel.closed is not None


class Claims:
    """
    Keep what is held and, by id, what was done lately; give back what is held for longer than its lease.

    The broker itself gives back what a dead or frozen program holds, when its connection ends.
    """

    def __init__(self) -> None:
        self.repeats = 0
        self._name = secrets.token_hex(8)
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_mono_s = 0.0
        self._numbers = itertools.count(1)
        self._held: dict[int, Held] = {}
        self._by_id: dict[tuple[str, str], int] = {}
        self._done: dict[tuple[str, str], None] = {}

    def count(self, queue: str) -> int:
        """Count what is held of a queue."""
        return sum(1 for held in self._held.values() if held.queue == queue)

    def taken(
        self, queue: str, deliveries: Iterable[Delivery], *, max_deliveries: int | None, lease_s: float
    ) -> tuple[list[Claimed], list[Held]]:
        """
        Take what the broker gave.

        What was done lately under the same id is acknowledged and not handed out. What is still held here,
        and came again because the link broke, goes on being held: its receipt stays good.

        Args:
            queue: Whence.
            deliveries: What came.
            max_deliveries: What was handed out more often is not handed out again.
            lease_s: After so many seconds without `touch` an item is given back.

        Returns:
            What to hand out, and what to bury.
        """
        claimed: list[Claimed] = []
        tired: list[Held] = []
        for delivery in deliveries:
            properties = delivery.properties
            item_id, times = id_of(properties), deliveries_of(properties)
            if item_id and self._is_repeat((queue, item_id), delivery):
                continue
            held = Held(queue, item_id, delivery, times)
            if max_deliveries is not None and times > max_deliveries:
                tired.append(held)
                continue
            number = next(self._numbers)
            held.lease_s = lease_s
            self._held[number] = held
            self._lease(held)
            if item_id:
                self._by_id[queue, item_id] = number
            claimed.append(Claimed(queue, item_id, delivery.body, times, (self._name, number)))
        return claimed, tired

    def _is_repeat(self, name: tuple[str, str], delivery: Delivery) -> bool:
        number = self._by_id.get(name)
        if number is not None:
            held = self._held[number]
            if held.is_lost:
                held.delivery = delivery
            else:
                delivery.channel.ack(delivery.number)
        elif name in self._done:
            delivery.channel.ack(delivery.number)
        else:
            return False
        self.repeats += 1
        return True

    def _lease(self, held: Held) -> None:
        """Begin a lease, and look again when the first one ends."""
        held.until_mono_s = mono_s() + held.lease_s
        if self._sweep is None or held.until_mono_s < self._sweep_mono_s:
            if self._sweep is not None:
                self._sweep.cancel()
            self._sweep_mono_s = held.until_mono_s
            self._sweep = asyncio.get_running_loop().call_later(held.lease_s, self._look)

    def _look(self) -> None:
        """Give back what was held for too long."""
        self._sweep = None
        now = mono_s()
        for number, held in list(self._held.items()):
            if held.until_mono_s <= now:
                self.drop((self._name, number))
                held.delivery.channel.reject(held.delivery.number, requeue=True)
        if self._held:
            self._sweep_mono_s = min(held.until_mono_s for held in self._held.values())
            left_s = max(0.001, self._sweep_mono_s - now)
            self._sweep = asyncio.get_running_loop().call_later(left_s, self._look)

    def touch(self, receipts: Sequence[Receipt]) -> list[bool]:
        """Begin leases anew; False for what is not ours any more."""
        told = []
        for receipt in receipts:
            held = self.find(receipt)
            if held is not None:
                self._lease(held)
            told.append(held is not None)
        return told

    def find(self, receipt: Receipt) -> Held | None:
        """Find what a receipt names, if it is still held and the broker still counts it as ours."""
        held = self._held.get(self._number(receipt))
        return None if held is None or held.is_lost else held

    def drop(self, receipt: Receipt) -> None:
        """Hold it no longer, without saying anything to the broker."""
        held = self._held.pop(self._number(receipt), None)
        if held is not None:
            self._by_id.pop((held.queue, held.item_id), None)

    def acknowledge(self, receipts: Sequence[Receipt]) -> list[bool]:
        """Say that deliveries are done; False for what is not ours any more."""
        told = []
        for receipt in receipts:
            held = self._held.get(self._number(receipt))
            if held is None:
                told.append(False)
                continue
            self.drop(receipt)
            if held.item_id:
                self._remember((held.queue, held.item_id))
            held.delivery.channel.ack(held.delivery.number)
            told.append(not held.is_lost)
        return told

    def _remember(self, name: tuple[str, str]) -> None:
        self._done[name] = None
        if len(self._done) > _MOST_DONE:
            del self._done[next(iter(self._done))]

    def forget(self, queue: str, item_id: str) -> None:
        """Let an item of this id be handed out again: it was put back on purpose."""
        self._done.pop((queue, item_id), None)

    def clear(self) -> None:
        """Hold nothing."""
        self._held.clear()
        self._by_id.clear()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _number(self, receipt: Receipt) -> int:
        """Read a receipt; 0, which names nothing, for one of another claimer."""
        match receipt:
            case (self._name, int(number)):
                return number
        return 0
