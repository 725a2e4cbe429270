"""Items as programs see them, and the numbers by which a put is known."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Sequence
from typing import Any

import msgspec

from ..endpoints import EndpointInfo, check_segment
from ..errors import DecodeError, InvalidArgument, InvalidMessage, InvalidName, TooLarge, shown
from ..ids import new_sender
from ..messages import Message, VariableMessage, decode, encode
from .transport import Claimed, DeadItem, NewItem, Priority, Receipt, WaitingItem

__all__ = ["DeadLetter", "Item", "Numbers", "QueueCounters", "Waiting", "opened", "queue_name", "wrapped"]

_MOST_ID_CHARACTERS = 200


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """
    One delivery of one item of work.

    Args:
        queue: The name of its queue.
        id: Its name; the same in each delivery, so that an effect can be made to happen once.
        message: What was put; a plain value comes as a `VariableMessage`.
        deliveries: How often it has been handed out, this time included.
        receipt: Names this delivery; of use to the queue only.
    """

    queue: str
    id: str
    message: Message
    deliveries: int
    receipt: Receipt = ()

    @property
    def value(self) -> Any:
        """What was put: the plain value, or the message."""
        return _value_of(self.message)

    @property
    def is_repeated(self) -> bool:
        """Whether somebody had this item before, so that its effect may have happened already."""
        return self.deliveries > 1

    def __repr__(self) -> str:
        return f"Item({self.queue!r}, id={self.id!r}, deliveries={self.deliveries}, {shown(self.value)})"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """
    An item as `peek` shows it.

    Args:
        id: Its name.
        message: What was put; None if it cannot be read.
        priority: ``high``, ``normal`` or ``low``.
        due_utc_s: When it becomes ready, in seconds since 1970; None if it is ready or claimed.
        is_claimed: Whether somebody works on it.
        deliveries: How often it has been handed out.
    """

    id: str
    message: Message | None
    priority: Priority
    due_utc_s: float | None
    is_claimed: bool
    deliveries: int

    @property
    def value(self) -> Any:
        """What was put: the plain value, or the message."""
        return _value_of(self.message)


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """
    An item that was buried.

    Args:
        id: Its name; `requeue` takes it.
        key: Names the dead letter itself; `requeue` takes it, too.
        message: What was put; None if it cannot be read, see `payload`.
        payload: The bytes of it.
        reason: Why it was buried.
        deliveries: How often it had been handed out.
        buried_utc_s: When, in seconds since 1970.
    """

    id: str
    key: str
    message: Message | None
    payload: bytes
    reason: str
    deliveries: int
    buried_utc_s: float

    @property
    def value(self) -> Any:
        """What was put: the plain value, or the message."""
        return _value_of(self.message)


class QueueCounters(msgspec.Struct):
    """
    What one `Queue` has done.

    Args:
        put: Items put.
        repeated: Items not put because they were there before.
        claimed: Items handed out.
        acknowledged: Items done.
        refused: Acknowledgements of what was not ours any more.
        given_back: Items returned unfinished.
        buried: Items buried, poison included.
        poison: Items that could not be read.
    """

    put: int = 0
    repeated: int = 0
    claimed: int = 0
    acknowledged: int = 0
    refused: int = 0
    given_back: int = 0
    buried: int = 0
    poison: int = 0


class Numbers:
    """Make the ids of items: an identity that is renewed after a fork, and a running number."""

    def __init__(self) -> None:
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        self._sender = new_sender()
        self._count = itertools.count(1)

    def named(self, values: Sequence[object], item_ids: Sequence[str] | None) -> tuple[str, list[NewItem]]:
        """
        Encode values and give each an id.

        Args:
            values: What is put.
            item_ids: The caller's own ids; None makes them.

        Returns:
            The name of the whole put (empty if the items are known by the caller's ids), and the items.

        Raises:
            InvalidArgument: If the ids do not fit.
            InvalidMessage: If a value cannot be sent; `TooLarge` if it is above 16 MiB.
        """
        payloads = list(map(_payload, values))
        if item_ids is None:
            sender = self._sender
            made = [
                NewItem(f"{sender}-{number}", payload)
                for payload, number in zip(payloads, self._count, strict=False)
            ]
            return (made[0].id if made else ""), made
        ids = [_checked_id(item_id) for item_id in item_ids]
        if len(ids) != len(payloads) or len(set(ids)) != len(ids):
            raise InvalidArgument(
                f"{len(ids)} item ids for {len(payloads)} items: give each its own, or none at all"
            )
        return "", list(map(NewItem, ids, payloads))


_alive: weakref.WeakSet[Numbers] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for numbers in list(_alive):
        numbers._begin()


os.register_at_fork(after_in_child=_renew_after_fork)


def _checked_id(item_id: object) -> str:
    if not isinstance(item_id, str) or not item_id or len(item_id) > _MOST_ID_CHARACTERS:
        raise InvalidArgument(
            f"item_id={shown(item_id)}: an id is text of 1 to {_MOST_ID_CHARACTERS} characters"
        )
    return item_id


def queue_name(queue: object) -> str:
    """
    Find the name of a queue.

    Args:
        queue: A name, or an endpoint such as ``MessageEndpoints.work_queue("reconstruct")``.

    Raises:
        InvalidArgument: If it is neither.
        InvalidName: If the name breaks the grammar of names.
    """
    if isinstance(queue, EndpointInfo):
        queue.require("claim")
        if queue.is_pattern or not queue.args:
            raise InvalidName(f'"{shown(queue.endpoint)}" does not name one queue')
        return queue.args[0]
    return check_segment(queue, where="queue")


def wrapped(value: object) -> Message:
    """Make a message of what is put; a plain value travels as a `VariableMessage`."""
    if isinstance(value, Message):
        return value
    if isinstance(value, (Item, Waiting, DeadLetter)):
        raise InvalidMessage(f"{type(value).__name__} is an envelope: put its .value or .message")
    return VariableMessage(value=value)


def _value_of(message: Message | None) -> Any:
    return message.value if type(message) is VariableMessage else message


# What stands before a plain value, and before the fields of its message. That message need not be made only
# to be written, nor its envelope be read: the bytes are known.
_PLAIN_HEAD = encode(VariableMessage(value=None))[:-1]
_ENVELOPE = _PLAIN_HEAD.partition(b"\xa4data")[0]
_FIELDS_AT = len(_ENVELOPE) + len(b"\xa4data")
_PLAIN_KINDS = frozenset({str, int, float, bool, type(None)})
_SMALL_BYTES = 64 * 1024
_NESTING_TAGS = frozenset([*range(0x80, 0xA0), *range(0xC7, 0xCA), *range(0xD4, 0xD9), *range(0xDC, 0xE0)])
_pack = msgspec.msgpack.Encoder().encode
_read_fields = msgspec.msgpack.Decoder(VariableMessage).decode


def _payload(value: object) -> bytes:
    if type(value) in _PLAIN_KINDS:
        try:
            body = _pack(value)
        except (ValueError, OverflowError):
            pass  # `encode` says what is wrong
        else:
            if len(body) < _SMALL_BYTES:
                return _PLAIN_HEAD + body
    return encode(wrapped(value))


def _read(payload: bytes) -> Message:
    if payload.startswith(_PLAIN_HEAD) and len(payload) < _SMALL_BYTES:
        try:
            if payload[len(_PLAIN_HEAD)] not in _NESTING_TAGS:
                return _read_fields(payload[_FIELDS_AT:])
        except (msgspec.MsgspecError, ValueError, IndexError):
            pass  # `decode` says what is wrong
    # The usual class is named, because a decoder for one class is quicker.
    found = decode(payload, VariableMessage if payload.startswith(_ENVELOPE) else Message)
    if isinstance(found, Message):
        return found
    raise DecodeError(f"a {type(found).__name__} is not one message")


def opened(claimed: Sequence[Claimed]) -> tuple[list[Item], list[tuple[Receipt, str]]]:
    """
    Read the contents of claimed items.

    Args:
        claimed: As they came.

    Returns:
        The items that can be read; receipt and reason of those that cannot.
    """
    items: list[Item] = []
    poison: list[tuple[Receipt, str]] = []
    for one in claimed:
        try:
            message = _read(one.payload)
        except (DecodeError, TooLarge, InvalidMessage) as error:
            poison.append((one.receipt, f"{type(error).__name__}: {error}"))
        else:
            items.append(
                Item(
                    queue=one.queue,
                    id=one.id,
                    message=message,
                    deliveries=one.deliveries,
                    receipt=one.receipt,
                )
            )
    return items, poison


def _readable(payload: bytes) -> Message | None:
    try:
        return _read(payload)
    except (DecodeError, TooLarge, InvalidMessage):
        return None


def shown_waiting(found: Sequence[WaitingItem]) -> list[Waiting]:
    """Read the contents of items that wait."""
    return [
        Waiting(
            id=one.id,
            message=_readable(one.payload),
            priority=one.priority,
            due_utc_s=one.due_utc_s,
            is_claimed=one.is_claimed,
            deliveries=one.deliveries,
        )
        for one in found
    ]


def shown_dead(found: Sequence[DeadItem]) -> list[DeadLetter]:
    """Read the contents of dead letters."""
    return [
        DeadLetter(
            id=one.id,
            key=one.key,
            message=_readable(one.payload),
            payload=one.payload,
            reason=one.reason,
            deliveries=one.deliveries,
            buried_utc_s=one.buried_utc_s,
        )
        for one in found
    ]
