"""
What a broker must do so that queues work on it; Redis and RabbitMQ each do it in their own way.

A transport moves bytes: it knows nothing of messages, handlers or retries. It belongs to one connector and
is one claimer: what it claimed, only it can acknowledge. Names of queues have been checked before they come
here. Errors are those of `labspine.errors`. `AsyncQueueTransport` is the same for an event loop.

A broker that lacks an ability of `ABILITIES` leaves it out of ``abilities``; `AsyncQueue` then refuses the
option with `InvalidOperation` before the transport is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from ..flows.queues import (
    PRIORITIES,
    Claim,
    Claimed,
    DeadItem,
    NewItem,
    Priority,
    QueueState,
    Receipt,
    WaitingItem,
)

__all__ = [
    "ABILITIES",
    "PRIORITIES",
    "Ability",
    "AsyncQueueTransport",
    "Claim",
    "Claimed",
    "DeadItem",
    "NewItem",
    "Priority",
    "QueueState",
    "QueueTransport",
    "Receipt",
    "WaitingItem",
]

Ability: TypeAlias = Literal["delay", "priority", "several", "peek", "touch", "list", "limit", "once"]
ABILITIES: dict[Ability, str] = {
    "delay": "put with delay_s or eta_utc_s, give back with a delay",
    "priority": "put with a priority",
    "several": "claim from several queues in order of priority",
    "peek": "look at items without taking them",
    "touch": "a lease that ends by itself and is renewed; without it a claim lasts as long as its connection",
    "list": "list the queues that exist",
    "limit": "refuse items above a limit",
    "once": "drop a put that repeats an earlier one",
}


@runtime_checkable
class QueueTransport(Protocol):
    """Queues on a broker, blocking the calling thread; any thread may call."""

    abilities: frozenset[Ability]

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
        """
        Put items, all or none, and return when the broker has confirmed that it has them.

        Args:
            queue: Where.
            items: What.
            token: Names this put, so that its repeat changes nothing; empty if each item is known by its
                own id instead.
            priority: Of the items (ability ``priority``).
            delay_s: Seconds until they can be claimed (ability ``delay``); None for now.
            eta_utc_s: The same as a time, in seconds since 1970; at most one of both is given.
            limit: Most items that the queue holds, dead ones apart (ability ``limit``); None for no limit.

        Returns:
            How many were put; those that were there before (ability ``once``) are not counted.

        Raises:
            QueueFull: If they do not fit; none was put.
            DeliveryUnknown: If the outcome is not known; ``unsettled`` holds what `repeat_put` needs.
        """

    def repeat_put(self, error: BaseException) -> int:
        """
        Say a put again whose outcome is not known; with ability ``once`` nothing is put twice.

        Args:
            error: What `put` raised.

        Returns:
            How many were put now.

        Raises:
            InvalidArgument: If the error does not come from a put.
        """

    def claim(
        self,
        queues: Sequence[str],
        /,
        *,
        count: int,
        wait_s: float | None,
        lease_s: float,
        max_deliveries: int | None,
        acknowledged: Sequence[Receipt] = (),
    ) -> Claim:
        """
        Take items; acknowledge others in the same step.

        Args:
            queues: Whence; those before come first (more than one: ability ``several``).
            count: Most items.
            wait_s: Longest wait for the first one in seconds; 0 does not wait, None waits without limit.
            lease_s: After so many seconds without `touch` an item is given to others (ability ``touch``).
            max_deliveries: An item that was handed out so often without being acknowledged is buried instead.
            acknowledged: Deliveries that are done.

        Returns:
            The items, and how many acknowledgements were refused.

        Raises:
            NotConnected: If the transport or its connector was closed, also while it waits.
        """

    def acknowledge(self, receipts: Sequence[Receipt]) -> list[bool]:
        """Say that deliveries are done; False for one that is not this claimer's any more."""

    def touch(self, receipts: Sequence[Receipt]) -> list[bool]:
        """Begin the lease of deliveries anew; False for one that is not this claimer's any more."""

    def give_back(
        self, receipt: Receipt, *, delay_s: float, max_deliveries: int | None, is_counted: bool = True
    ) -> bool:
        """
        Return an item unfinished, so that it is delivered again.

        Args:
            receipt: Which delivery.
            delay_s: Seconds until it can be claimed again (above 0: ability ``delay``).
            max_deliveries: If it was handed out so often, it is buried instead.
            is_counted: Whether this delivery counts.

        Returns:
            False if it is not this claimer's any more.
        """

    def bury(self, receipt: Receipt, reason: str) -> bool:
        """Move an item to the dead letters; False if it is not this claimer's any more."""

    def state(self, queue: str) -> QueueState:
        """Count the items of a queue."""

    def peek(self, queue: str, count: int) -> list[WaitingItem]:
        """Look at the items that would come next, without taking them (ability ``peek``)."""

    def dead(self, queue: str, count: int) -> list[DeadItem]:
        """Look at the dead letters, oldest first."""

    def requeue(self, queue: str, ids: Sequence[str] | None) -> int:
        """Put dead letters (None: all) back into their queue, as if never delivered; tells how many."""

    def purge(self, queue: str, *, dead: bool) -> int:
        """Throw away what waits (or, instead, the dead letters); tells how many. What is claimed stays."""

    def names(self) -> list[str]:
        """List the queues that exist (ability ``list``)."""

    def close(self) -> None:
        """Wake who waits in `claim`, and end; the connector stays open."""


@runtime_checkable
class AsyncQueueTransport(Protocol):
    """Queues on a broker, for the tasks of one event loop; see `QueueTransport`."""

    abilities: frozenset[Ability]

    async def put(
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

    async def repeat_put(self, error: BaseException) -> int:
        """See `QueueTransport.repeat_put`."""

    async def claim(
        self,
        queues: Sequence[str],
        /,
        *,
        count: int,
        wait_s: float | None,
        lease_s: float,
        max_deliveries: int | None,
        acknowledged: Sequence[Receipt] = (),
    ) -> Claim:
        """See `QueueTransport.claim`."""

    async def acknowledge(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.acknowledge`."""

    async def touch(self, receipts: Sequence[Receipt]) -> list[bool]:
        """See `QueueTransport.touch`."""

    async def give_back(
        self, receipt: Receipt, *, delay_s: float, max_deliveries: int | None, is_counted: bool = True
    ) -> bool:
        """See `QueueTransport.give_back`."""

    async def bury(self, receipt: Receipt, reason: str) -> bool:
        """See `QueueTransport.bury`."""

    async def state(self, queue: str) -> QueueState:
        """See `QueueTransport.state`."""

    async def peek(self, queue: str, count: int) -> list[WaitingItem]:
        """See `QueueTransport.peek`."""

    async def dead(self, queue: str, count: int) -> list[DeadItem]:
        """See `QueueTransport.dead`."""

    async def requeue(self, queue: str, ids: Sequence[str] | None) -> int:
        """See `QueueTransport.requeue`."""

    async def purge(self, queue: str, *, dead: bool) -> int:
        """See `QueueTransport.purge`."""

    async def names(self) -> list[str]:
        """See `QueueTransport.names`."""

    async def close(self) -> None:
        """See `QueueTransport.close`."""
