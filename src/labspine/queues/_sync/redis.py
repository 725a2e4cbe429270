# Generated from queues/_async/redis.py by scripts/unasync.py: change the source and run it.
"""Queues on Redis: performs the flows of `labspine.flows.queues` on a connector."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import TypeVar

from ...clock import mono_s
from ...connector import RedisConnector
from ...flows import Flow, queues
from ...ids import new_sender
from ..transport import (
    ABILITIES,
    Ability,
    Claim,
    DeadItem,
    NewItem,
    Priority,
    QueueState,
    Receipt,
    WaitingItem,
)

__all__ = ["RedisQueues"]

Outcome = TypeVar("Outcome")


class RedisQueues:
    """
    Be one claimer on a Redis or Valkey server; see `QueueTransport`.

    Args:
        connector: Performs the commands; it stays open when this is closed.
    """

    abilities: frozenset[Ability] = frozenset(ABILITIES)

    def __init__(self, connector: RedisConnector) -> None:
        self._connector = connector
        in_cluster = connector.options.in_cluster  # there each queue lies on a node of its own
        self._claimed = queues.spread.claim if in_cluster else queues.claim
        self._acknowledged = queues.spread.acknowledge if in_cluster else queues.acknowledge
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        """Be a new claimer; so does a forked child."""
        self._me = queues.Claimer(new_sender(), mono_s)
        self._declared: set[str] = set()

    def _do(self, flow: Flow[Outcome]) -> Outcome:
        return self._connector._perform(flow)

    def _declare(self, queue: str) -> None:
        self._me.check_open()
        self._do(queues.declare(queue))
        self._declared.add(queue)

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
        if queue not in self._declared:
            self._declare(queue)
        flow = queues.put(
            queue,
            items,
            token=token,
            priority=priority,
            delay_s=delay_s,
            eta_utc_s=eta_utc_s,
            limit=limit,
        )
        return self._connector._perform(flow)

    def repeat_put(self, error: BaseException) -> int:
        """See `QueueTransport.repeat_put`."""
        return self._do(queues.repeat_put(error))

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
        """See `QueueTransport.claim`."""
        for queue in queues_wanted:
            if queue not in self._declared:
                self._declare(queue)
        flow = self._claimed(
            self._me,
            queues_wanted,
            count=count,
            wait_s=wait_s,
            lease_s=lease_s,
            max_deliveries=max_deliveries,
            acknowledged=acknowledged,
        )
        return self._connector._perform(flow)

    def acknowledge(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.acknowledge`."""
        return self._do(self._acknowledged(self._me, receipts))

    def touch(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.touch`."""
        return self._do(queues.touch(self._me, receipts))

    def give_back(
        self, receipt: Receipt, *, delay_s: float, max_deliveries: int | None, is_counted: bool = True
    ) -> bool:
        """See `QueueTransport.give_back`."""
        flow = queues.give_back(
            self._me, receipt, delay_s=delay_s, max_deliveries=max_deliveries, is_counted=is_counted
        )
        return self._do(flow)

    def bury(self, receipt: Receipt, reason: str) -> bool:
        """See `QueueTransport.bury`."""
        return self._do(queues.bury(self._me, receipt, reason))

    def state(self, queue: str) -> QueueState:
        """See `QueueTransport.state`."""
        return self._do(queues.state(queue))

    def peek(self, queue: str, count: int) -> list[WaitingItem]:
        """See `QueueTransport.peek`."""
        return self._do(queues.peek(queue, count))

    def dead(self, queue: str, count: int) -> list[DeadItem]:
        """See `QueueTransport.dead`."""
        return self._do(queues.dead(queue, count))

    def requeue(self, queue: str, ids: Sequence[str] | None) -> int:
        """See `QueueTransport.requeue`."""
        return self._do(queues.requeue(queue, ids))

    def purge(self, queue: str, *, dead: bool) -> int:
        """See `QueueTransport.purge`."""
        return self._do(queues.purge(self._me, queue, dead=dead))

    def names(self) -> list[str]:
        """See `QueueTransport.names`."""
        return self._do(queues.names())

    def close(self) -> None:
        """See `QueueTransport.close`."""
        self._me.is_closed = True


_alive: weakref.WeakSet[RedisQueues] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for transport in list(_alive):
        transport._begin()


os.register_at_fork(after_in_child=_renew_after_fork)
