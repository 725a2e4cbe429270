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
    due = b""
    if delay_s:
        due = b"+%d" % max(1, round(delay_s * 1000))
    elif eta_utc_s is not None:
        due = b"%d" % round(eta_utc_s * 1000)
    words: list[Argument] = [b"FCALL", PUT, b"1", base_of(queue), token.encode(), priority]
    words += (b"" if limit is None else limit, due)
    for item in items:
        # As bytes: the wire would remember texts, and an id never comes again.
        words += (item.id.encode(), item.payload)
    ask = Exchange((tuple(words),))
    try:
        (told,) = yield ask
    except (ServerError, DeliveryUnknown, DeadlinePassed) as error:
        told = yield from _put_again(UnsettledPut(queue, len(items), limit, ask), error)
    if told < 0:
        raise _full(queue, told, limit=limit, more=len(items))
    return told  # type: ignore[no-any-return]  # a number, see the function


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
    try:
        (told,) = yield unsettled.ask
    except (ServerError, DeliveryUnknown, DeadlinePassed) as again:
        told = yield from _put_again(unsettled, again)
    if told < 0:
        raise _full(unsettled.queue, told, limit=unsettled.limit, more=unsettled.count)
    return int(told)


def _full(queue: str, told: int, *, limit: int | None, more: int) -> QueueFull:
    return QueueFull(queue, held=-1 - told, limit=limit or 0, more=more)


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
