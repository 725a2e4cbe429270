"""
Several queues at once on a Redis Cluster: each lies on a node of its own, and no step reaches two of them.

What one queue needs is a step there, too; so these flows do for each queue what `working` does for all.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import LabspineError
from ..exchange import Flow
from . import working
from .calling import base_of
from .items import Claim, Claimed, Receipt
from .working import Claimer

__all__ = ["acknowledge", "claim"]

_TURN_S = 0.05


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
    Take items from one queue after the other, in their order; see `working.claim`.

    While all are empty it waits at each of them in turn, shortly: nobody can wait on several nodes. A queue
    whose node is away does not keep the others from being worked on.

    Asks:
        What `working.claim` and `acknowledge` ask, for one queue each.

    Raises:
        LabspineError: As `working.claim`; if a queue failed and no other had anything.
    """
    last: Sequence[Receipt] = ()
    if len(queues) == 1:
        base = base_of(queues[0])
        last = [receipt for receipt in acknowledged if receipt[0] == base]
        acknowledged = [receipt for receipt in acknowledged if receipt[0] != base]
    refused = (yield from acknowledge(me, acknowledged)).count(False) if acknowledged else 0
    if len(queues) == 1:
        found = yield from working.claim(
            me,
            queues,
            count=count,
            wait_s=wait_s,
            lease_s=lease_s,
            max_deliveries=max_deliveries,
            acknowledged=last,
        )
        return Claim(found.items, found.refused + refused)
    deadline_mono_s = None if wait_s is None else me.clock() + wait_s
    turn = 0
    while True:
        items = yield from _taken(me, queues, count, lease_s=lease_s, max_deliveries=max_deliveries)
        if me.is_closed:
            for item in items:
                yield from working.give_back(
                    me, item.receipt, delay_s=0.0, max_deliveries=None, is_counted=False
                )
            me.check_open()
        left_s = _TURN_S if deadline_mono_s is None else deadline_mono_s - me.clock()
        if items or left_s <= 0:
            return Claim(items, refused)
        found = yield from working.claim(
            me,
            queues[turn % len(queues) :][:1],
            count=count,
            wait_s=min(_TURN_S, left_s),
            lease_s=lease_s,
            max_deliveries=max_deliveries,
        )
        if found.items:
            return Claim(found.items, refused)
        turn += 1


def _taken(
    me: Claimer, queues: Sequence[str], count: int, *, lease_s: float, max_deliveries: int | None
) -> Flow[list[Claimed]]:
    """Take what is there now, without waiting; raises the first error if there is nothing."""
    items: list[Claimed] = []
    errors: list[LabspineError] = []
    for queue in queues:
        try:
            found = yield from working.claim(
                me,
                (queue,),
                count=count - len(items),
                wait_s=0.0,
                lease_s=lease_s,
                max_deliveries=max_deliveries,
            )
        except LabspineError as error:
            errors.append(error)
            continue
        items += found.items
        if len(items) >= count:
            return items
    if errors and not items:
        raise errors[0]
    return items


def acknowledge(me: Claimer, receipts: Sequence[Receipt]) -> Flow[list[bool]]:
    """
    Say that deliveries are done, queue by queue; see `working.acknowledge`.

    Asks:
        What `working.acknowledge` asks, for one queue each.
    """
    told: dict[int, bool] = {}
    for base in dict.fromkeys(receipt[0] for receipt in receipts):
        places = [at for at, receipt in enumerate(receipts) if receipt[0] == base]
        try:
            answers = yield from working.acknowledge(me, [receipts[at] for at in places])
        except LabspineError:
            # These are done; who says all of it again must not be told no.
            me.unsure.update(receipts[at] for at in told)
            raise
        told.update(zip(places, answers, strict=True))
    return [told[at] for at in range(len(receipts))]
