# Generated from queues/_async/amqp.py by scripts/unasync.py: change the source and run it.
"""Queues on RabbitMQ, for one door; `labspine.queues.amqp_core` does the work on the loop of the link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ...clock import utc_s
from ...connector import AmqpConnector
from ..amqp_core import ABILITIES, AmqpQueueCore, Seat, refuse
from ..transport import Ability, Claim, DeadItem, NewItem, Priority, QueueState, Receipt, WaitingItem

__all__ = ["AmqpQueues"]

T = TypeVar("T")


class AmqpQueues:
    """
    Be one claimer on RabbitMQ; see `QueueTransport`.

    Args:
        connector: Its link is used; it stays open when this is closed.
    """

    abilities: frozenset[Ability] = ABILITIES

    def __init__(self, connector: AmqpConnector) -> None:
        self._wire = connector.amqp
        self._seat = Seat()

    def _do(self, work: Callable[[AmqpQueueCore], Awaitable[T]]) -> T:
        return self._wire.ask(lambda link: self._seat.do(link, work))

    def put(
        self,
        queue: str,
        items: Sequence[NewItem],
        *,
        token: str,
        priority: Priority,
        delay_s: float | None,
        eta_utc_s: float | None,
        limit: int | None,
    ) -> int:
        """See `QueueTransport.put`."""
        if priority != "normal":
            raise refuse("keep items in order of priority")
        if limit is not None:
            raise refuse("refuse items above a limit")
        pause_s = delay_s if delay_s is not None else 0.0 if eta_utc_s is None else eta_utc_s - utc_s()
        return self._do(lambda core: core.put(queue, items, delay_s=pause_s))

    def repeat_put(self, error: BaseException) -> int:
        """See `QueueTransport.repeat_put`."""
        return self._do(lambda core: core.repeat_put(error))

    def claim(
        self,
        queues_wanted: Sequence[str],
        /,
        *,
        count: int,
        wait_s: float | None,
        lease_s: float,
        max_deliveries: int | None,
        acknowledged: Sequence[Receipt] = (),
    ) -> Claim:
        """See `QueueTransport.claim`; a lease ends with the connection, too."""
        if len(queues_wanted) != 1:
            raise refuse("claim from several queues in order of priority")
        (queue,) = queues_wanted
        return self._do(
            lambda core: core.claim(
                queue,
                count=count,
                wait_s=wait_s,
                lease_s=lease_s,
                max_deliveries=max_deliveries,
                acknowledged=acknowledged,
            )
        )

    def acknowledge(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.acknowledge`."""
        return self._do(lambda core: core.acknowledge(receipts))

    def touch(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.touch`."""
        return self._do(lambda core: core.touch(receipts))

    def give_back(
        self, receipt: Receipt, *, delay_s: float, max_deliveries: int | None, is_counted: bool = True
    ) -> bool:
        """See `QueueTransport.give_back`."""
        return self._do(
            lambda core: core.give_back(
                receipt, delay_s=delay_s, max_deliveries=max_deliveries, is_counted=is_counted
            )
        )

    def bury(self, receipt: Receipt, reason: str) -> bool:
        """See `QueueTransport.bury`."""
        return self._do(lambda core: core.bury(receipt, reason))

    def state(self, queue: str) -> QueueState:
        """See `QueueTransport.state`; claimed and delayed are what this connector knows of."""
        return self._do(lambda core: core.state(queue))

    def peek(self, queue: str, count: int) -> list[WaitingItem]:
        """Refuse: RabbitMQ counts each look as a delivery."""
        raise refuse("show items without taking them")

    def dead(self, queue: str, count: int) -> list[DeadItem]:
        """See `QueueTransport.dead`."""
        return self._do(lambda core: core.dead(queue, count))

    def requeue(self, queue: str, ids: Sequence[str] | None) -> int:
        """See `QueueTransport.requeue`."""
        return self._do(lambda core: core.requeue(queue, ids))

    def purge(self, queue: str, *, dead: bool) -> int:
        """See `QueueTransport.purge`."""
        return self._do(lambda core: core.purge(queue, dead=dead))

    def names(self) -> list[str]:
        """Refuse: AMQP has no list of queues."""
        raise refuse("list the queues that exist (rabbitmqctl list_queues does)")

    def close(self) -> None:
        """See `QueueTransport.close`."""
        self._do(AmqpQueueCore.close)
