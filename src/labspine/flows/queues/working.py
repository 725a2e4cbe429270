"""Claim, acknowledge, give back, bury: each in one step on the server."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from ...errors import (
    DeadlinePassed,
    DeliveryUnknown,
    NotConnected,
    ServerError,
)
from ..exchange import Argument, Command, Exchange, Flow
from .calling import base_of, declare, run
from .items import Claim, Claimed, Receipt
from .scripts import (
    ACKNOWLEDGE,
    BURY,
    CLAIM,
    GIVE_BACK,
    GROUP,
    TOUCH,
    UNREAD,
)

__all__ = [
    "Claimer",
    "acknowledge",
    "bury",
    "claim",
    "give_back",
    "touch",
]

_SLICE_S = 0.5
_LOOK_AGAIN_S = 0.5
_MOST_AT_ONCE = 1000
_MOST_KINDS = 100
_MOST_FRESH = 20_000
_FRESH_PART = 0.8
_GROUPED = itemgetter(0, 1, 3, 4)
_ENTRY = itemgetter(2)
_Delivery: TypeAlias = tuple[bytes, bytes, bytes, int, bytes]
"""Receipts of this broker: base of the queue, stream, id of the entry, count there, consumer."""


class Claimer:
    """
    What one claimer remembers between its claims.

    Args:
        name: Its identity, 16 characters.
        clock: Monotonic time in seconds.
    """

    __slots__ = (
        "_asked",
        "_consumers",
        "clock",
        "empty",
        "fresh",
        "is_closed",
        "look_at_mono_s",
        "mixed",
        "name",
        "unsure",
    )

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name.encode()
        self.clock = clock
        self.is_closed = False
        self.empty: set[tuple[str, ...]] = set()
        self.fresh: dict[Receipt, float] = {}
        self.mixed: set[tuple[str, ...]] = set()
        self.look_at_mono_s: dict[tuple[str, ...], float] = {}
        self.unsure: set[Receipt] = set()
        self._consumers: dict[float, bytes] = {}
        self._asked: dict[tuple[object, ...], _Asked] = {}

    def consumer(self, lease_s: float) -> bytes:
        """Name the consumer that it is on the server for a lease; others read the lease in it."""
        found = self._consumers.get(lease_s)
        if found is None:
            found = self._consumers[lease_s] = b"%d/%b" % (max(1, round(lease_s * 1000)), self.name)
        return found

    def asked(
        self, queues: tuple[str, ...], count: int, lease_s: float, max_deliveries: int | None
    ) -> _Asked:
        """Prepare the arguments of a claim; those of the last kinds of claims are kept."""
        key = (queues, count, lease_s, max_deliveries)
        found = self._asked.get(key)
        if found is None:
            if len(self._asked) >= _MOST_KINDS:
                self._asked.clear()
            found = self._asked[key] = _Asked(self, queues, count, lease_s, max_deliveries)
        return found

    def note(self, items: Iterable[Claimed], until_mono_s: float) -> None:
        """Remember until when deliveries are this claimer's beyond doubt."""
        fresh = self.fresh
        for item in items:
            fresh[item.receipt] = until_mono_s
        if len(fresh) > _MOST_FRESH:
            self.fresh = dict(list(fresh.items())[-_MOST_AT_ONCE:])

    def owns(self, receipt: Receipt) -> bool:
        """Tell whether a delivery was made to this claimer, with whatever lease."""
        consumer = receipt[4]
        return isinstance(consumer, bytes) and consumer.endswith(self.name)

    def check_open(self) -> None:
        """Insist that it is not closed; raises `NotConnected` otherwise."""
        if self.is_closed:
            raise NotConnected("this claimer is closed: make a new Queue to go on")


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
    deadline_mono_s = None if wait_s is None else me.clock() + wait_s
    told: list[int] = []
    due: Sequence[Receipt] = acknowledged
    while True:
        me.check_open()
        now_s = me.clock()  # before anything is sent, so that no lease is thought longer than it is
        left_s = _SLICE_S if deadline_mono_s is None else deadline_mono_s - now_s
        look_in_s = me.look_at_mono_s.get(asked.queues, now_s) - now_s
        try:
            if look_in_s <= 0 or (asked.queues in me.mixed and (left_s <= 0 or asked.queues not in me.empty)):
                answered, items = yield from _take(asked, due, must_look=look_in_s <= 0)
            else:
                answered, items = yield from _read(asked, due, min(_SLICE_S, left_s, look_in_s))
        except (DeliveryUnknown, DeadlinePassed):
            me.unsure.update(due)
            raise
        if due:
            told += answered
            me.unsure.difference_update(due)
            due = ()
        if items and me.is_closed:
            yield from _return(asked, items)
            me.check_open()
        me.note(items, now_s + asked.fresh_s)
        if items or (deadline_mono_s is not None and me.clock() >= deadline_mono_s):
            return Claim(items, told.count(0))


class _Asked:
    """The arguments of one claim."""

    __slots__ = ("bases", "consumer", "count", "fresh_s", "me", "most", "queues", "streams")

    def __init__(
        self, me: Claimer, queues: tuple[str, ...], count: int, lease_s: float, max_deliveries: int | None
    ) -> None:
        self.me = me
        self.queues = queues
        self.bases = tuple(base_of(queue) for queue in queues)
        self.count = min(count, _MOST_AT_ONCE)
        self.consumer = me.consumer(lease_s)
        self.fresh_s = _FRESH_PART * lease_s
        self.most = max_deliveries or 0
        self.streams = _streams_of(self.bases)


@functools.lru_cache(maxsize=1024)
def _streams_of(bases: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Name the streams of queues in their order, as XREADGROUP is told them."""
    streams = [b"%b/%b" % (base, s) for base in bases for s in (b"high", b"normal", b"low")]
    return (b"STREAMS", *streams, *[b">"] * len(streams))


def _take(asked: _Asked, due: Sequence[Receipt], *, must_look: bool) -> Flow[tuple[list[int], list[Claimed]]]:
    me, queues = asked.me, asked.queues
    keys, groups = _groups(me, due, asked.bases)
    if must_look:
        me.look_at_mono_s[queues] = me.clock() + _LOOK_AGAIN_S
    told, found, next_due_ms, busy = yield from run(
        CLAIM,
        keys,
        asked.consumer,
        asked.count,
        asked.most,
        b"1" if must_look else b"",
        _is_repeat(me, due),
        *groups,
    )
    if next_due_ms >= 0:
        soon = me.clock() + max(0.001, next_due_ms / 1000)
        me.look_at_mono_s[queues] = min(me.look_at_mono_s.get(queues, soon), soon)
    _note(me.mixed, queues, is_in=busy > 1 or len(queues) > 1)
    items: list[Claimed] = []
    for at, stream, entries, counts in found:
        for number, entry in enumerate(entries):
            items.append(_claimed(asked, at - 1, stream, entry, counts[number] if counts else 1))
    _note(me.empty, queues, is_in=not items)
    return told, items


def _note(names: set[tuple[str, ...]], queues: tuple[str, ...], *, is_in: bool) -> None:
    if is_in:
        names.add(queues)
    else:
        names.discard(queues)


def _read(asked: _Asked, due: Sequence[Receipt], slice_s: float) -> Flow[tuple[list[int], list[Claimed]]]:
    """Acknowledge and read in one write; the read waits on the server if the slice is above 0."""
    me = asked.me
    block = (b"BLOCK", max(1, round(slice_s * 1000))) if slice_s > 0 else ()
    read: Command = (b"XREADGROUP", b"GROUP", GROUP, asked.consumer, b"COUNT", asked.count, *block)
    commands: tuple[Command, ...] = ((*read, *asked.streams),)
    is_plain = False
    if due:
        plain = _plainly(me, due)
        is_plain = bool(plain)
        if not plain:
            keys, groups = _groups(me, due, ())
            plain = ((b"FCALL", ACKNOWLEDGE, len(keys), *keys, _is_repeat(me, due), *groups),)
        commands = (*plain, *commands)
    try:
        # Always the longest slice, so that the wire need not change the limit of the connection each time.
        replies = yield Exchange(commands, block_s=_SLICE_S if block else None)
    except ServerError as error:
        if "NOGROUP" not in str(error) and "Function not found" not in str(error):
            raise
        for queue in asked.queues:
            yield from declare(queue)
        me.unsure.update(due)
        return (yield from _take(asked, due, must_look=True))
    items: list[Claimed] = []
    for key, entries in replies[-1] or ():
        base, _, stream = key.rpartition(b"/")
        at = asked.bases.index(base)
        items += [_claimed(asked, at, stream, entry, 1) for entry in entries]
    if items:
        me.empty.discard(asked.queues)
    if len(items) > asked.count:
        # Each stream gives up to the count; what came from those of lower priority goes back.
        me.mixed.add(asked.queues)
        yield from _return(asked, items[asked.count :])
        items = items[: asked.count]
    if not due:
        return [], items
    if is_plain:
        done = int(replies[0])
        return [1] * done + [0] * (len(due) - done), items
    return replies[0], items


def _plainly(me: Claimer, due: Sequence[Receipt]) -> tuple[Command, ...]:
    """
    Acknowledge with two plain commands what is this claimer's beyond doubt; nothing if there is any.

    Beyond doubt is what was claimed lately, by less than its lease, and was not acknowledged or returned
    since. Should its lease end on the way all the same, XACK still counts for one of the two only.
    """
    if me.unsure:
        return ()
    base, stream = due[0][:2]
    now_s = me.clock()
    for receipt in due:
        until_s = me.fresh.pop(receipt, 0.0)
        if until_s < now_s or receipt[0] != base or receipt[1] != stream:
            return ()
    ids = list(map(_ENTRY, due))
    key = b"%b/%b" % (base, stream)  # type: ignore[str-format]  # bytes, see _Delivery
    return ((b"XACK", key, GROUP, *ids), (b"XDEL", key, *ids))


def _return(asked: _Asked, items: Iterable[Claimed]) -> Flow[None]:
    """Return what was read and is not handed out; if nobody read on meanwhile, it keeps its place."""
    for (base, stream), group in itertools.groupby(items, key=lambda item: item.receipt[:2]):
        receipts = [item.receipt for item in group]
        if all(receipt[3] == 1 for receipt in receipts):
            yield from run(UNREAD, (base,), asked.consumer, stream, *map(_ENTRY, receipts))
            continue
        for receipt in receipts:
            yield from give_back(asked.me, receipt, delay_s=0.0, max_deliveries=None, is_counted=False)


def _claimed(asked: _Asked, at: int, stream: bytes, entry: Any, count: int) -> Claimed:
    entry_id, fields = entry
    queue = asked.queues[at]
    receipt: _Delivery = (asked.bases[at], stream, entry_id, count, asked.consumer)
    if len(fields) == 4 and fields[0] == b"i" and fields[2] == b"d":
        return Claimed(queue, fields[1].decode("utf-8", "replace"), fields[3], count, receipt)
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    before = named.get(b"n", b"0")
    deliveries = count + (int(before) if before.isdigit() else 0)
    item_id = named.get(b"i", b"").decode("utf-8", "replace")
    return Claimed(queue, item_id, named.get(b"d", b""), deliveries, receipt)


def _is_repeat(me: Claimer, due: Sequence[Receipt]) -> bytes:
    return b"1" if me.unsure and not me.unsure.isdisjoint(due) else b""


def _groups(
    me: Claimer, due: Sequence[Receipt], bases: tuple[bytes, ...]
) -> tuple[tuple[bytes, ...], list[Argument]]:
    """Write receipts as the functions read them, and complete the keys with those of other queues."""
    if not due:
        return bases, []
    keys = list(bases)
    arguments: list[Argument] = []
    for receipt in due:
        me.fresh.pop(receipt, None)
    for (base, stream, count, consumer), group in itertools.groupby(due, key=_GROUPED):
        if base not in keys:
            keys.append(base)
        receipts = list(group)
        # What another claimer holds is asked for under this one's name, so that the answer is no.
        owner = consumer if me.owns(receipts[0]) else me.consumer(1.0)
        arguments += (keys.index(base) + 1, stream, owner, count, len(receipts))
        arguments += map(_ENTRY, receipts)
    return tuple(keys), arguments


def acknowledge(me: Claimer, receipts: Sequence[Receipt]) -> Flow[list[bool]]:
    """
    Say that deliveries are done; after a lost answer it is repeated once.

    Asks:
        A function.

    Returns:
        For each whether it was this claimer's to acknowledge.
    """
    told: list[bool] = []
    for start in range(0, len(receipts), _MOST_AT_ONCE):
        part = receipts[start : start + _MOST_AT_ONCE]
        keys, groups = _groups(me, part, ())
        try:
            answers = yield from run(ACKNOWLEDGE, keys, _is_repeat(me, part), *groups)
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
            arguments += receipt[1:4]  # type: ignore[arg-type]  # stream, id and count, see _Delivery
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
    me.fresh.pop(receipt, None)
    base, stream, entry, count, consumer = receipt
    delay_ms = max(1, round(delay_s * 1000)) if delay_s > 0 else 0
    arguments = (consumer, stream, entry, count, delay_ms, max_deliveries or 0, b"1" if is_counted else b"")
    reply = yield from run(GIVE_BACK, (base,), *arguments)  # type: ignore[arg-type]  # see _Delivery
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
    me.fresh.pop(receipt, None)
    base, stream, entry, count, consumer = receipt
    arguments = (consumer, stream, entry, count, reason)
    reply = yield from run(BURY, (base,), *arguments)  # type: ignore[arg-type]  # see _Delivery
    return bool(reply)
