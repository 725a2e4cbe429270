"""Claim, acknowledge, give back, bury: each in one step on the server."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from ...errors import DeadlinePassed, DeliveryUnknown, ServerError
from ..exchange import Argument, Command, Exchange, Flow
from .calling import declare, run
from .claimer import Asked, Claimer, grouped, ids_of, is_repeat, plainly
from .items import Claim, Claimed, Receipt
from .scripts import ACKNOWLEDGE, BURY, CLAIM, GIVE_BACK, TOUCH, UNREAD

__all__ = ["Claimer", "acknowledge", "bury", "claim", "give_back", "touch"]

_SLICE_S = 0.5
_LOOK_AGAIN_S = 0.5
_MOST_AT_ONCE = 1000


def claim(
    me: Claimer,
    queues: Sequence[str],
    *,
    count: int,
    wait_s: float | None,
    lease_s: float,
    max_deliveries: int | None,
    acknowledged: Sequence[Receipt] = (),
) -> Flow[Claim]:
    """
    Take items and acknowledge others, in one write.

    While there are items, a function takes them in the order of queues and priorities. When there were none,
    the acknowledgement and a blocking read travel together instead; that read is cut into slices, so that
    whoever closes the claimer ends it, and so that delayed items and ended leases are looked after.

    Args:
        me: Who claims.
        queues: Whence; those before come first.
        count: Most items.
        wait_s: Longest wait for the first one in seconds; None waits without limit.
        lease_s: After so many seconds without `touch` an item is given to others.
        max_deliveries: An item that was handed out so often is buried instead.
        acknowledged: Deliveries that are done.

    Asks:
        A function; a function and XREADGROUP that waits.

    Returns:
        The items, and how many acknowledgements were refused.

    Raises:
        NotConnected: If the claimer is closed.
        DeliveryUnknown: If the link broke; what was acknowledged may be so again, what was claimed comes
            back when its lease ends.
    """
    asked = me.asked(tuple(queues), count, lease_s, max_deliveries)
    watch = asked.watch
    now_s = me.clock()  # before anything is sent, so that no lease is thought longer than it is
    deadline_mono_s = None if wait_s is None else now_s + wait_s
    refused = 0
    due: Sequence[Receipt] = acknowledged
    while True:
        me.check_open()
        left_s = _SLICE_S if deadline_mono_s is None else deadline_mono_s - now_s
        look_in_s = watch.look_at_mono_s - now_s
        try:
            if look_in_s <= 0 or (watch.is_mixed and (left_s <= 0 or not watch.is_empty)):
                items, told = yield from _take(asked, due, now_s, must_look=look_in_s <= 0)
            else:
                items, told = yield from _read(asked, due, now_s, min(_SLICE_S, left_s, look_in_s))
        except (DeliveryUnknown, DeadlinePassed):
            me.unsure.update(due)
            raise
        if due:
            refused += told
            if me.unsure:
                me.unsure.difference_update(due)
            due = ()
        if items:
            if not me.is_closed:
                return Claim(items, refused)
            yield from _return(asked, items)
            me.check_open()
        now_s = me.clock()
        if deadline_mono_s is not None and now_s >= deadline_mono_s:
            return Claim([], refused)


def _take(
    asked: Asked, due: Sequence[Receipt], now_s: float, *, must_look: bool
) -> Flow[tuple[list[Claimed], int]]:
    """Acknowledge and claim by the function; tells the items, and how many were refused."""
    me, watch = asked.me, asked.watch
    keys, groups = grouped(me, due, asked.bases)
    if must_look:
        watch.look_at_mono_s = now_s + _LOOK_AGAIN_S
    told, found, next_due_ms, busy = yield from run(
        CLAIM,
        keys,
        asked.consumer,
        asked.count,
        asked.most,
        b"1" if must_look else b"",
        is_repeat(me, due),
        *groups,
    )
    if next_due_ms >= 0:
        watch.look_at_mono_s = min(watch.look_at_mono_s, me.clock() + max(0.001, next_due_ms / 1000))
    watch.is_mixed = busy > 1 or len(asked.queues) > 1
    until_s = now_s + asked.fresh_s
    items = [
        asked.claimed_again(at - 1, stream, entry, count, until_mono_s=until_s)
        for at, stream, entries, counts in found
        for entry, count in zip(entries, counts or itertools.repeat(1), strict=False)
    ]
    watch.is_empty = not items
    return items, told.count(0)


def _read(
    asked: Asked, due: Sequence[Receipt], now_s: float, slice_s: float
) -> Flow[tuple[list[Claimed], int]]:
    """Acknowledge and read in one write; the read waits on the server if the slice is above 0."""
    me = asked.me
    read = asked.read(slice_s)
    plain: tuple[Command, ...] = ()
    commands: tuple[Command, ...] = (read,)
    if due:
        plain = plainly(me, due, now_s)
        if plain:
            commands = (*plain, read)
        else:
            keys, groups = grouped(me, due, ())
            commands = ((b"FCALL", ACKNOWLEDGE, len(keys), *keys, is_repeat(me, due), *groups), read)
    try:
        # Always the longest slice, so that the wire need not change the limit of the connection each time.
        replies = yield Exchange(commands, block_s=_SLICE_S if slice_s > 0 else None)
    except ServerError as error:
        if "NOGROUP" not in str(error) and "Function not found" not in str(error):
            raise
        for queue in asked.queues:
            yield from declare(queue)
        me.unsure.update(due)
        return (yield from _take(asked, due, now_s, must_look=True))
    items = asked.claimed(replies[-1], now_s + asked.fresh_s)
    if items:
        asked.watch.is_empty = False
        if len(items) > asked.count:
            # Each stream gives up to the count; what came from those of lower priority goes back.
            asked.watch.is_mixed = True
            yield from _return(asked, items[asked.count :])
            del items[asked.count :]
    if not due:
        return items, 0
    return items, len(due) - int(replies[0]) if plain else replies[0].count(0)


def _return(asked: Asked, items: Iterable[Claimed]) -> Flow[None]:
    """Return what was read and is not handed out; if nobody read on meanwhile, it keeps its place."""
    for (base, stream), group in itertools.groupby(items, key=lambda item: item.receipt[:2]):
        receipts = [item.receipt for item in group]
        if all(receipt[3] == 1 for receipt in receipts):
            yield from run(UNREAD, (base,), asked.consumer, stream, *ids_of(receipts))
            continue
        for receipt in receipts:
            yield from give_back(asked.me, receipt, delay_s=0.0, max_deliveries=None, is_counted=False)


def acknowledge(me: Claimer, receipts: Sequence[Receipt]) -> Flow[list[bool]]:
    """
    Say that deliveries are done; after a lost answer it is repeated once.

    Asks:
        A function; for a single one that is its own beyond doubt XACK and XDEL.

    Returns:
        For each whether it was this claimer's to acknowledge.
    """
    told: list[bool] = []
    for start in range(0, len(receipts), _MOST_AT_ONCE):
        part = receipts[start : start + _MOST_AT_ONCE]
        plain = plainly(me, part, me.clock()) if len(part) == 1 else ()
        keys, groups = grouped(me, part, ())
        try:
            if plain:
                answers = (yield Exchange(plain))[:1]
            else:
                answers = yield from run(ACKNOWLEDGE, keys, is_repeat(me, part), *groups)
        except DeliveryUnknown:
            me.unsure.update(part)
            answers = yield from run(ACKNOWLEDGE, keys, b"1", *groups)
        except DeadlinePassed:
            me.unsure.update(part)
            raise
        me.unsure.difference_update(part)
        told += map(bool, answers)
    return told


def touch(me: Claimer, receipts: Sequence[Receipt]) -> Flow[list[bool]]:
    """
    Begin the lease of deliveries anew.

    Asks:
        A function for each queue and consumer.

    Returns:
        For each whether it is still this claimer's.
    """
    told: dict[Receipt, bool] = {}
    own = {receipt for receipt in receipts if me.owns(receipt)}
    for (base, consumer), group in itertools.groupby(sorted(own, key=_place), key=_place):
        chosen = list(group)
        arguments: list[Argument] = []
        for receipt in chosen:
            arguments += receipt[1:4]  # type: ignore[arg-type]  # stream, id and count, see Delivery
        answers = yield from run(TOUCH, (base,), consumer, *arguments)
        told.update(zip(chosen, map(bool, answers), strict=True))
    return [told.get(receipt, False) for receipt in receipts]


def _place(receipt: Receipt) -> tuple[Any, Any]:
    return receipt[0], receipt[4]


def give_back(
    me: Claimer, receipt: Receipt, *, delay_s: float, max_deliveries: int | None, is_counted: bool = True
) -> Flow[bool]:
    """
    Return an item unfinished; it goes to the end of its stream, or waits for its time.

    Args:
        me: Who has it.
        receipt: Which delivery.
        delay_s: Seconds until it can be claimed again.
        max_deliveries: If it was handed out so often, it is buried instead.
        is_counted: Whether this delivery counts.

    Asks:
        A function.

    Returns:
        False if it is not this claimer's any more.
    """
    if not me.owns(receipt):
        return False
    base, stream, entry, count, consumer, *_ = receipt
    delay_ms = max(1, round(delay_s * 1000)) if delay_s > 0 else 0
    arguments = (consumer, stream, entry, count, delay_ms, max_deliveries or 0, b"1" if is_counted else b"")
    reply = yield from run(GIVE_BACK, (base,), *arguments)  # type: ignore[arg-type]  # see Delivery
    return bool(reply)


def bury(me: Claimer, receipt: Receipt, reason: str) -> Flow[bool]:
    """
    Move an item to the dead letters.

    Asks:
        A function.

    Returns:
        False if it is not this claimer's any more.
    """
    if not me.owns(receipt):
        return False
    base, stream, entry, count, consumer, *_ = receipt
    arguments = (consumer, stream, entry, count, reason)
    reply = yield from run(BURY, (base,), *arguments)  # type: ignore[arg-type]  # see Delivery
    return bool(reply)
