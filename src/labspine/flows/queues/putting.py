"""Put items, once, whatever happens to the answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ...errors import (
    DeadlinePassed,
    DeliveryUnknown,
    InvalidArgument,
    LabspineError,
    NotConnected,
    QueueFull,
    ServerError,
    shown,
)
from ..exchange import Argument, Exchange, Flow
from .calling import answered, base_of, load_because
from .items import NewItem, Priority
from .scripts import PUT

__all__ = ["UnsettledPut", "put", "repeat_put"]


class UnsettledPut(msgspec.Struct, frozen=True):
    """
    A put of which nobody knows whether it was done.

    Args:
        queue: Where.
        count: How many items.
        limit: Most items that the queue holds; None for no limit.
        ask: What puts them, with the token by which a repeat is known.
    """

    queue: str
    count: int
    limit: int | None
    ask: Exchange


def put(
    queue: str,
    items: Sequence[NewItem],
    *,
    token: str,
    priority: Priority = "normal",
    delay_s: float | None = None,
    eta_utc_s: float | None = None,
    limit: int | None = None,
) -> Flow[int]:
    """
    Put items, all or none; after a lost answer it is repeated once, which puts nothing twice.

    Args:
        queue: Where.
        items: What.
        token: Names this put; empty if each item is known by its own id.
        priority: Of the items.
        delay_s: Seconds until they can be claimed; None for now.
        eta_utc_s: The same as a time, in seconds since 1970.
        limit: Most items that the queue holds.

    Asks:
        A function.

    Returns:
        How many were put; those that were there before are not counted.

    Raises:
        QueueFull: If they do not fit; none was put.
        DeliveryUnknown: If the outcome is not known even so; see `repeat_put`.
        DeadlinePassed: If no answer came in time; see `repeat_put`.
    """
    due = ""
    if delay_s:
        due = f"+{max(1, round(delay_s * 1000))}"
    elif eta_utc_s is not None:
        due = str(round(eta_utc_s * 1000))
    words: list[Argument] = [b"FCALL", PUT, 1, base_of(queue), token, priority]
    words += (b"" if limit is None else limit, due)
    for item in items:
        words += item
    ask = Exchange((tuple(words),))
    return (yield from _put_once(UnsettledPut(queue, len(items), limit, ask)))


def repeat_put(error: object) -> Flow[int]:
    """
    Say a put again whose outcome is not known; what had been put is not put twice.

    Args:
        error: The `DeliveryUnknown` or `DeadlinePassed` that `put` raised.

    Asks:
        A function.

    Returns:
        How many were put now.

    Raises:
        InvalidArgument: If the error does not come from a put.
    """
    unsettled = error.unsettled if isinstance(error, (DeliveryUnknown, DeadlinePassed)) else None
    if not isinstance(unsettled, UnsettledPut):
        raise InvalidArgument(
            f"{shown(error)} cannot be repeated: only DeliveryUnknown and DeadlinePassed of a put can"
        )
    return (yield from _put_once(unsettled))


def _put_once(wanted: UnsettledPut) -> Flow[int]:
    try:
        (told,) = yield wanted.ask
    except (ServerError, DeliveryUnknown, DeadlinePassed) as error:
        told = yield from _put_again(wanted, error)
    if told < 0:
        raise QueueFull(wanted.queue, held=-1 - told, limit=wanted.limit or 0, more=wanted.count)
    return int(told)


def _put_again(wanted: UnsettledPut, error: LabspineError) -> Flow[int]:
    """Go on after an error: load the library, repeat once what is in doubt, or tell the caller."""
    if isinstance(error, DeadlinePassed):
        raise _with_put(error, wanted) from error
    try:
        if isinstance(error, ServerError):
            yield from load_because(error)
        return int((yield from answered(wanted.ask)))
    except (DeliveryUnknown, DeadlinePassed) as again:
        raise _with_put(again, wanted) from again
    except NotConnected as gone:
        if isinstance(error, DeliveryUnknown):
            raise _with_put(error, wanted) from gone
        raise


def _with_put(error: DeliveryUnknown | DeadlinePassed, wanted: UnsettledPut) -> LabspineError:
    copy = type(error)(*error.args)
    copy.unsettled = wanted
    return copy
