# Generated from queues/_async/queue.py by scripts/unasync.py: change the source and run it.
"""A durable queue as programs use it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from ...clock import mono_s
from ...connector import RedisConnector
from ...errors import DeadlinePassed, InvalidArgument, QueueFull
from ...flows import checks
from ..items import (
    DeadLetter,
    Item,
    Numbers,
    QueueCounters,
    Waiting,
    opened,
    queue_name,
    shown_dead,
    shown_waiting,
)
from ..options import (
    MOST_AT_ONCE,
    PutOptions,
    QueueOptions,
    checked_count,
    checked_put,
    checked_wait_s,
    require,
)
from ..transport import NewItem, Priority, QueueState, QueueTransport
from .redis import RedisQueues
from .running import Closing

if TYPE_CHECKING:
    from ...connector import AmqpConnector

__all__ = ["Queue", "transport_of"]

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.2


def transport_of(connector: Any) -> QueueTransport:
    """
    Make what moves the items on the broker of a connector.

    Args:
        connector: One that brings its own (``queue_transport()``), or one of Redis.

    Raises:
        InvalidArgument: If it is no connector of this door.
    """
    own = getattr(connector, "queue_transport", None)
    if own is not None:
        transport: QueueTransport = own()
        return transport
    if not isinstance(connector, RedisConnector):
        raise InvalidArgument(f"a queue needs an {RedisConnector.__name__}, got `{type(connector).__name__}`")
    if connector.broker_name == "rabbitmq":
        from .amqp import AmqpQueues  # the library of RabbitMQ is loaded for its users only

        return AmqpQueues(cast("AmqpConnector", connector))
    return RedisQueues(connector)


class Queue:
    """
    Put work that must not be lost, and take it.

    Nothing is gone before it is acknowledged: an item whose worker dies is given to another one when its
    lease ends. So an item may be delivered twice; its ``id`` tells.

    Args:
        connector: Of the broker.
        queue: The name, or ``MessageEndpoints.work_queue(name)``.
        options: See `QueueOptions`: lease_s, max_deliveries, limit.

    Raises:
        InvalidArgument: If an option is unknown or cannot work.
        InvalidName: If the name breaks the grammar of names.
    """

    def __init__(self, connector: Any, queue: object, **options: Any) -> None:
        try:
            self.options = QueueOptions(**options)
        except TypeError as error:
            raise InvalidArgument(f"an option of the queue is not known: {error}") from error
        self.name = queue_name(queue)
        self.counters = QueueCounters()
        self._names = (self.name,)
        self._numbers = Numbers()
        self._closing = Closing()
        self.transport = transport_of(connector)
        if self.options.limit is not None:
            require(self.transport.abilities, "limit")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # --- putting ---

    def put(
        self,
        value: object,
        *,
        item_id: str | None = None,
        priority: Priority = "normal",
        delay_s: float | None = None,
        eta_utc_s: float | None = None,
        timeout_s: float = 0.0,
    ) -> str:
        """
        Put an item; returns when the broker has confirmed that it has it.

        Args:
            value: A message; or text, a number, a list, a dict, which travels as a `VariableMessage`.
            item_id: Your own name for it: what was put under this name lately is not put again. None makes
                one.
            priority: ``high``, ``normal`` or ``low``: those before are claimed first.
            delay_s: Seconds until it can be claimed; None for now.
            eta_utc_s: The same as a time, in seconds since 1970.
            timeout_s: Longest wait in seconds while the queue is full.

        Returns:
            The id of the item.

        Raises:
            InvalidArgument: If an argument cannot work.
            InvalidMessage: If the value cannot be sent; `TooLarge` if it is above 16 MiB.
            QueueFull: If the queue holds its limit; nothing was put.
            NotConnected: If there is no connection; nothing was put.
            DeliveryUnknown: If the link broke twice; ``repeat(error)`` puts it, once.
            DeadlinePassed: If no answer came in time; ``repeat(error)`` puts it, once.
        """
        how = checked_put(self.transport.abilities, priority, delay_s, eta_utc_s)
        token, items = self._numbers.named((value,), None if item_id is None else (item_id,))
        self._put(items, token, how, timeout_s)
        return items[0].id

    def put_many(
        self,
        values: Sequence[object],
        *,
        item_ids: Sequence[str] | None = None,
        priority: Priority = "normal",
        delay_s: float | None = None,
        eta_utc_s: float | None = None,
        timeout_s: float = 0.0,
    ) -> list[str]:
        """
        Put several items in one step, all or none; arguments and errors as `put`.

        Args:
            values: At most 1,000.
            item_ids: Your own names, one each; None makes them.
            priority: Of all.
            delay_s: Of all.
            eta_utc_s: Of all.
            timeout_s: Longest wait in seconds while the queue is full.

        Returns:
            The ids, in order.
        """
        how = checked_put(self.transport.abilities, priority, delay_s, eta_utc_s)
        if len(values) > MOST_AT_ONCE:
            raise InvalidArgument(f"{len(values)} items at once: at most {MOST_AT_ONCE}")
        token, items = self._numbers.named(values, item_ids)
        if items:
            self._put(items, token, how, timeout_s)
        return [item.id for item in items]

    def _put(self, items: list[NewItem], token: str, how: PutOptions, timeout_s: float) -> None:
        limit_s = checks.seconds("timeout_s", timeout_s)
        deadline_mono_s = mono_s() + limit_s if limit_s else 0.0
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                done = self.transport.put(
                    self.name,
                    items,
                    token=token,
                    priority=how.priority,
                    delay_s=how.delay_s,
                    eta_utc_s=how.eta_utc_s,
                    limit=self.options.limit,
                )
                self.counters.put += done
                self.counters.repeated += len(items) - done
                return
            except QueueFull:
                left_s = deadline_mono_s - mono_s()
                if left_s <= 0 or self._closing.wait(min(pause_s, left_s)):
                    raise
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def repeat(self, error: BaseException) -> int:
        """
        Put what a failed `put` left in doubt; if the broker had it already, nothing is put.

        Args:
            error: The `DeliveryUnknown` or `DeadlinePassed` that `put` or `put_many` raised.

        Returns:
            How many items were put now.

        Raises:
            InvalidArgument: If the error does not come from a put.
            NotConnected: If there is no connection; repeat later with the same error.
            DeliveryUnknown: If the outcome is not known again; `DeadlinePassed` likewise.
        """
        done = self.transport.repeat_put(error)
        self.counters.put += done
        return done

    # --- taking ---

    def claim(self, *, wait_s: float | None = 0.0) -> Item | None:
        """
        Take the next item; `acknowledge` it when its work is done.

        Args:
            wait_s: Longest wait in seconds; None waits without limit.

        Returns:
            The item, or None if none came in time. One that cannot be read is buried and never comes.

        Raises:
            NotConnected: If there is no connection, or the queue was closed while this waited.
            DeliveryUnknown: If the link broke; an item that was lost on the way comes back after the lease.
        """
        found = self.acknowledge_and_claim((), wait_s=wait_s)
        return found[0] if found else None

    def claim_many(self, count: int, *, wait_s: float | None = 0.0) -> list[Item]:
        """Take up to `count` items (1,000 at most), waiting for the first one; otherwise as `claim`."""
        return self.acknowledge_and_claim((), count=count, wait_s=wait_s)

    def acknowledge_and_claim(
        self, done: Sequence[Item], *, count: int = 1, wait_s: float | None = 0.0
    ) -> list[Item]:
        """
        Say that items are done, and take the next ones, in one write.

        An acknowledgement that comes too late is counted in ``counters.refused``.

        Args:
            done: Items of this queue.
            count: How many to take at most, up to 1,000.
            wait_s: Longest wait for the first one in seconds; None waits without limit.

        Returns:
            The items; empty if none came in time.

        Raises:
            NotConnected: If there is no connection, or the queue was closed while this waited.
            DeliveryUnknown: If the link broke; `acknowledge` the items again. `DeadlinePassed` likewise.
        """
        number = checked_count(count)
        limit_s = checked_wait_s(wait_s)
        deadline_mono_s = None if limit_s is None else mono_s() + limit_s
        receipts = [item.receipt for item in done]
        while True:
            found, refused = self.transport.claim(
                self._names,
                count=number,
                wait_s=limit_s,
                lease_s=self.options.lease_s,
                max_deliveries=self.options.max_deliveries,
                acknowledged=receipts,
            )
            if receipts:
                self._count_acknowledged(len(receipts) - refused, refused)
                receipts = []
            items, poison = opened(found)
            for receipt, reason in poison:
                self.counters.poison += 1
                self.counters.buried += self.transport.bury(receipt, reason)
            self.counters.claimed += len(items)
            if items or not poison:
                return items
            if deadline_mono_s is not None:
                limit_s = max(0.0, deadline_mono_s - mono_s())

    def acknowledge(self, item: Item) -> bool:
        """
        Say that the work of an item is done; it is gone then.

        Returns:
            False if it is not yours any more: acknowledged before, or its lease ended and another has it.
        """
        return (self.acknowledge_many((item,)))[0]

    def acknowledge_many(self, items: Sequence[Item]) -> list[bool]:
        """Say that several items are done, in one step; for each what `acknowledge` would tell."""
        told = self.transport.acknowledge([item.receipt for item in items])
        self._count_acknowledged(sum(told), len(told) - sum(told))
        return told

    def _count_acknowledged(self, done: int, refused: int) -> None:
        self.counters.acknowledged += done
        self.counters.refused += refused

    def touch(self, item: Item) -> bool:
        """Begin the lease of an item anew, while you work on it; False if it is not yours any more."""
        require(self.transport.abilities, "touch")
        return (self.transport.touch([item.receipt]))[0]

    def give_back(self, item: Item, *, delay_s: float = 0.0) -> bool:
        """
        Return an item unfinished, so that it is delivered again; after ``max_deliveries`` it is buried.

        Args:
            item: Which.
            delay_s: Seconds until it can be claimed again.

        Returns:
            False if it is not yours any more.
        """
        if checks.seconds("delay_s", delay_s) > 0:
            require(self.transport.abilities, "delay")
        done = self.transport.give_back(
            item.receipt, delay_s=delay_s, max_deliveries=self.options.max_deliveries
        )
        self.counters.given_back += done
        return done

    def bury(self, item: Item, reason: str) -> bool:
        """
        Move an item to the dead letters.

        Args:
            item: Which.
            reason: Why; people read it.

        Returns:
            False if it is not yours any more.
        """
        if not isinstance(reason, str):
            raise InvalidArgument(f"reason: text is needed, got `{type(reason).__name__}`")
        done = self.transport.bury(item.receipt, reason)
        self.counters.buried += done
        return done

    # --- looking ---

    def state(self) -> QueueState:
        """Count the items: ready, claimed, delayed, dead."""
        return self.transport.state(self.name)

    def length(self) -> int:
        """Count what is not done: ready, claimed and delayed items."""
        found = self.transport.state(self.name)
        return found.ready + found.claimed + found.delayed

    def peek(self, count: int = 10) -> list[Waiting]:
        """Look at the items that would come next, without taking them; delayed ones come last."""
        require(self.transport.abilities, "peek")
        return shown_waiting(self.transport.peek(self.name, checked_count(count)))

    def dead(self, count: int = 100) -> list[DeadLetter]:
        """Look at the dead letters, oldest first."""
        return shown_dead(self.transport.dead(self.name, checked_count(count)))

    def names(self) -> list[str]:
        """List the queues that exist on this broker."""
        require(self.transport.abilities, "list")
        return self.transport.names()

    def requeue(self, ids: str | Sequence[str] | None = None) -> int:
        """
        Put dead letters back into the queue, as if they had never been delivered.

        Args:
            ids: Id or ids of items; None for all.

        Returns:
            How many went back.
        """
        return self.transport.requeue(self.name, [ids] if isinstance(ids, str) else ids)

    def purge(self, *, dead: bool = False) -> int:
        """Throw away what waits (or, instead, the dead letters); tells how many. What is claimed stays."""
        return self.transport.purge(self.name, dead=dead)

    def drain(self, timeout_s: float) -> None:
        """
        Wait until everything is done: nothing is ready, claimed or delayed.

        Args:
            timeout_s: Longest wait in seconds.

        Raises:
            DeadlinePassed: If something is left; the text says how much.
        """
        deadline_mono_s = mono_s() + checks.seconds("timeout_s", timeout_s)
        pause_s = _FIRST_PAUSE_S
        while True:
            found = self.transport.state(self.name)
            if not (found.ready or found.claimed or found.delayed):
                return
            left_s = deadline_mono_s - mono_s()
            if left_s <= 0 or self._closing.wait(min(pause_s, left_s)):
                raise DeadlinePassed(
                    f'the queue "{self.name}" is not empty after {timeout_s:g} s: {found.ready} ready, '
                    f"{found.claimed} claimed, {found.delayed} delayed"
                )
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    # --- life ---

    def close(self) -> None:
        """Wake whoever waits here, and end; the connector stays open. Closing twice does nothing."""
        self._closing.set()
        self.transport.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
