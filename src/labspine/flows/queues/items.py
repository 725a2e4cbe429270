"""What is put into a queue and taken out of it, as any broker knows it: bytes, an id, and a receipt."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec

__all__ = [
    "PRIORITIES",
    "Claim",
    "Claimed",
    "DeadItem",
    "NewItem",
    "Priority",
    "QueueState",
    "Receipt",
    "WaitingItem",
]

Priority: TypeAlias = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

Receipt: TypeAlias = tuple[object, ...]
"""Names one delivery of one item. Only the transport that gave it looks inside."""


class NewItem(msgspec.Struct, frozen=True, gc=False):
    """
    An item that is to be put.

    Args:
        id: Names the item for ever: it stays the same when the item is delivered again or buried.
        payload: The encoded content.
    """

    id: str
    payload: bytes


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """
    One delivery of an item.

    Args:
        queue: The name of the queue.
        id: Of the item; empty for what a foreign program put without one.
        payload: The encoded content; empty if a foreign program put none.
        deliveries: How often it has been handed out, this time included.
        receipt: Names this delivery, for acknowledging and the like.
    """

    queue: str
    id: str
    payload: bytes
    deliveries: int
    receipt: Receipt


class Claim(NamedTuple):
    """
    What a claim brought.

    Args:
        items: The items; empty if none came in time.
        refused: How many of the acknowledgements sent with it were not the claimer's to give any more.
    """

    items: list[Claimed]
    refused: int


class WaitingItem(NamedTuple):
    """
    An item as one sees it without taking it.

    Args:
        id: Of the item.
        payload: The encoded content.
        priority: Of the item.
        due_utc_s: When it becomes ready, in seconds since 1970; None if it is ready or claimed.
        is_claimed: Whether somebody works on it.
        deliveries: How often it has been handed out.
    """

    id: str
    payload: bytes
    priority: Priority
    due_utc_s: float | None
    is_claimed: bool
    deliveries: int


class DeadItem(NamedTuple):
    """
    An item that was buried.

    Args:
        id: Of the item.
        key: Names the dead letter, for `requeue`.
        payload: The encoded content.
        reason: Why it was buried.
        deliveries: How often it had been handed out.
        buried_utc_s: When, in seconds since 1970.
    """

    id: str
    key: str
    payload: bytes
    reason: str
    deliveries: int
    buried_utc_s: float


class QueueState(NamedTuple):
    """
    How many items a queue holds.

    Args:
        ready: Wait to be claimed.
        claimed: Were claimed and not yet acknowledged.
        delayed: Wait for their time.
        dead: Were buried.
    """

    ready: int
    claimed: int
    delayed: int
    dead: int
