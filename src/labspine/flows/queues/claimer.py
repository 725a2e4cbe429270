"""What a claimer remembers between its steps, and how it writes them down."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from ...errors import NotConnected
from ..exchange import Argument, Command, Fixed
from .calling import base_of
from .items import Claimed, Receipt
from .scripts import GROUP

__all__ = ["Asked", "Claimer", "Delivery", "grouped", "ids_of", "is_repeat", "plainly"]

_MOST_AT_ONCE = 1000
_MOST_KINDS = 100
_FRESH_PART = 0.8
_FEW_MS = 10
_GROUPED = itemgetter(0, 1, 3, 4)
_ENTRY = itemgetter(2)
Delivery: TypeAlias = tuple[bytes, bytes, bytes, int, bytes, float]
"""
Receipts of this broker: base of the queue, stream, id of the entry, count there, consumer, and until when (on
the claimer's monotonic clock, in seconds) nobody else can have got it.
"""


class Watch:
    """
    What a claimer knows of the queues that it claims from together.

    Args:
        look_at_mono_s: When due items and ended leases are to be looked after again.
        is_empty: Whether the last look found nothing.
        is_mixed: Whether items of several priorities or queues wait, so that a plain read may bring too many.
    """

    __slots__ = ("is_empty", "is_mixed", "look_at_mono_s")

    def __init__(self) -> None:
        self.look_at_mono_s = 0.0
        self.is_empty = False
        self.is_mixed = False


class Claimer:
    """
    What one claimer remembers between its claims.

    Args:
        name: Its identity, 16 characters.
        clock: Monotonic time in seconds.
    """

    __slots__ = ("_asked", "_consumers", "_watches", "clock", "is_closed", "name", "unsure")

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name.encode()
        self.clock = clock
        self.is_closed = False
        self.unsure: set[Receipt] = set()
        self._watches: dict[tuple[str, ...], Watch] = {}
        self._consumers: dict[float, bytes] = {}
        self._asked: dict[tuple[object, ...], Asked] = {}

    def consumer(self, lease_s: float) -> bytes:
        """Name the consumer that it is on the server for a lease; others read the lease in it."""
        found = self._consumers.get(lease_s)
        if found is None:
            found = self._consumers[lease_s] = b"%d/%b" % (max(1, round(lease_s * 1000)), self.name)
        return found

    def watch(self, queues: tuple[str, ...]) -> Watch:
        """Find what is known of queues that are claimed from together."""
        return self._watches.setdefault(queues, Watch())

    def asked(self, queues: tuple[str, ...], count: int, lease_s: float, max_deliveries: int | None) -> Asked:
        """Prepare the arguments of a claim; those of the last kinds of claims are kept."""
        key = (queues, count, lease_s, max_deliveries)
        found = self._asked.get(key)
        if found is None:
            if len(self._asked) >= _MOST_KINDS:
                self._asked.clear()
            found = self._asked[key] = Asked(self, queues, count, lease_s, max_deliveries)
        return found

    def owns(self, receipt: Receipt) -> bool:
        """Tell whether a delivery was made to this claimer, with whatever lease."""
        consumer = receipt[4]
        return isinstance(consumer, bytes) and consumer.endswith(self.name)

    def check_open(self) -> None:
        """Insist that it is not closed; raises `NotConnected` otherwise."""
        if self.is_closed:
            raise NotConnected("this claimer is closed: make a new Queue to go on")


class Asked:
    """What is the same in all claims of one kind: their arguments, and the commands made of them."""

    __slots__ = (
        "_places",
        "_reads",
        "bases",
        "consumer",
        "count",
        "fresh_s",
        "me",
        "most",
        "queues",
        "watch",
    )

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
        self.watch = me.watch(queues)
        self._places = _places_of(self.bases)
        self._reads: dict[int, Fixed] = {}

    def read(self, wait_s: float) -> Fixed:
        """
        Write the plain read.

        Args:
            wait_s: How long it waits on the server; 0 for not at all. It may be a little less.
        """
        ms = max(1, round(wait_s * 1000)) if wait_s > 0 else 0
        ms -= ms % _FEW_MS if ms > _FEW_MS else 0  # so that there are few different ones
        found = self._reads.get(ms)
        if found is None:
            block = (b"BLOCK", ms) if ms else ()
            keys = list(self._places)
            head = (b"XREADGROUP", b"GROUP", GROUP, self.consumer, b"COUNT", self.count, *block, b"STREAMS")
            found = self._reads[ms] = Fixed((*head, *keys, *[b">"] * len(keys)))
        return found

    def claimed(self, replies: Any, until_mono_s: float) -> list[Claimed]:
        """Take what a plain read brought; see `Delivery` for the time."""
        items: list[Claimed] = []
        for key, entries in replies or ():
            at, stream = self._places[key]
            queue, base, consumer = self.queues[at], self.bases[at], self.consumer
            for entry in entries:
                entry_id, fields = entry
                if len(fields) == 4 and fields[0] == b"i" and fields[2] == b"d":
                    receipt: Delivery = (base, stream, entry_id, 1, consumer, until_mono_s)
                    items.append(Claimed(queue, fields[1].decode("utf-8", "replace"), fields[3], 1, receipt))
                else:
                    items.append(self.claimed_again(at, stream, entry, 1, until_mono_s=until_mono_s))
        return items

    def claimed_again(
        self, at: int, stream: bytes, entry: Any, count: int, *, until_mono_s: float
    ) -> Claimed:
        """Take an entry that may have been handed out before, or was put by a foreign program."""
        entry_id, fields = entry
        receipt: Delivery = (self.bases[at], stream, entry_id, count, self.consumer, until_mono_s)
        named = dict(zip(fields[::2], fields[1::2], strict=False))
        before = named.get(b"n", b"0")
        deliveries = count + (int(before) if before.isdigit() else 0)
        item_id = named.get(b"i", b"").decode("utf-8", "replace")
        return Claimed(self.queues[at], item_id, named.get(b"d", b""), deliveries, receipt)


@functools.lru_cache(maxsize=1024)
def _places_of(bases: tuple[bytes, ...]) -> dict[bytes, tuple[int, bytes]]:
    """Name the streams of queues in their order; for each the number of the queue, and the stream."""
    return {
        b"%b/%b" % (base, stream): (at, stream)
        for at, base in enumerate(bases)
        for stream in (b"high", b"normal", b"low")
    }


def ids_of(receipts: Sequence[Receipt]) -> list[bytes]:
    """List the ids of the entries."""
    return list(map(_ENTRY, receipts))


def is_repeat(me: Claimer, due: Sequence[Receipt]) -> bytes:
    """Say in the way of the functions whether any of these was acknowledged before with unknown outcome."""
    return b"1" if me.unsure and not me.unsure.isdisjoint(due) else b""


def plainly(me: Claimer, due: Sequence[Receipt], now_mono_s: float) -> tuple[Command, ...]:
    """
    Acknowledge with two plain commands what is this claimer's beyond doubt; nothing if there is any.

    Beyond doubt is what was claimed lately, by less than its lease. What was acknowledged or returned since
    is pending no more, so that XACK does not count it. Should a lease end on the way all the same, XACK still
    counts for one of the two only.
    """
    if me.unsure or not due:
        return ()
    base, stream, consumer = due[0][0], due[0][1], due[0][4]
    if not me.owns(due[0]):
        return ()
    for receipt in due:
        if (
            receipt[5] < now_mono_s  # type: ignore[operator]  # see Delivery
            or receipt[1] != stream
            or receipt[0] != base
            or receipt[4] != consumer
        ):
            return ()
    ids = ids_of(due)
    key = b"%b/%b" % (base, stream)  # type: ignore[str-format]  # bytes, see Delivery
    return ((b"XACK", key, GROUP, *ids), (b"XDEL", key, *ids))


def grouped(
    me: Claimer, due: Sequence[Receipt], bases: tuple[bytes, ...]
) -> tuple[tuple[bytes, ...], list[Argument]]:
    """Write receipts as the functions read them, and complete the keys with those of other queues."""
    if not due:
        return bases, []
    keys = list(bases)
    arguments: list[Argument] = []
    for (base, stream, count, consumer), group in itertools.groupby(due, key=_GROUPED):
        if base not in keys:
            keys.append(base)
        receipts = list(group)
        # What another claimer holds is asked for under this one's name, so that the answer is no.
        owner = consumer if me.owns(receipts[0]) else me.consumer(1.0)
        arguments += (keys.index(base) + 1, stream, owner, count, len(receipts))
        arguments += ids_of(receipts)
    return tuple(keys), arguments
