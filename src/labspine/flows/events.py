"""
Events: said once, heard by whoever listens, and recorded so that nobody who was away misses them.

A durable event is published for everybody and recorded in the history of its family in one atomic step. Both
carry the same bytes with the same stamp (sender, number), so that a receiver can tell repeats and holes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..endpoints import EndpointInfo, MessageOp
from ..errors import (
    DeadlinePassed,
    DeliveryUnknown,
    InvalidArgument,
    LabspineError,
    NotConnected,
    PermissionDenied,
    TooLarge,
    shown,
)
from ..messages import MAX_PAYLOAD_BYTES, BundleMessage, Message, encode, stamp
from .checks import expiry
from .exchange import Command, Exchange, Flow, read
from .numbering import Numbering

__all__ = [
    "LARGEST_RECORDED_BYTES",
    "Recording",
    "Unsettled",
    "raw_send",
    "repeat",
    "send",
    "set_and_publish",
]

LARGEST_RECORDED_BYTES = 64 * 1024
"""Payloads above this are not stored in the history; their size is."""

_LOOK_BACK = 500


class Recording:
    """
    How events are recorded.

    Args:
        numbering: The numbers of this sender.
        cap: About how many events a family keeps.
    """

    __slots__ = ("cap", "numbering")

    def __init__(self, numbering: Numbering, cap: int) -> None:
        self.numbering = numbering
        self.cap = cap


class Unsettled(msgspec.Struct, frozen=True):
    """
    A durable event of which nobody knows whether it was done.

    Args:
        ask: What publishes and records it, with its stamp.
        history: The history in which it is recorded.
        recorded: What the history holds if it was done.
    """

    ask: Exchange
    history: str
    recorded: bytes


def send(endpoint: EndpointInfo[Message], message: object, recording: Recording | None) -> Flow[int]:
    """
    Publish an event.

    Args:
        endpoint: Where.
        message: What.
        recording: How to record it; None publishes only.

    Asks:
        PUBLISH; on a durable endpoint MULTI, PUBLISH, XADD, EXEC.

    Returns:
        How many connections heard it; 0 too when that is not known, because the answer was lost and the
        event was found in the history.

    Raises:
        InvalidOperation: If the endpoint does not allow ``send``.
        InvalidMessage: If the message is of another type.
        TooLarge: If it is above the limit.
        DeliveryUnknown: If the link broke and the outcome could not be found out; see `repeat`.
        DeadlinePassed: If no answer came in time; see `repeat`.
    """
    endpoint.require("send")
    endpoint.check(message)
    payload = encode(_bundled(message))
    if recording is None or endpoint.history is None:
        (heard,) = yield Exchange(((b"PUBLISH", endpoint.endpoint, payload),), keep_order=True)
        return int(heard)
    replies = yield from _publish_recorded(endpoint, payload, recording, ())
    return int(replies[0]) if replies else 0


def raw_send(channel: str, payload: str | bytes) -> Flow[int]:
    """
    Publish bytes as they are, plainly.

    Args:
        channel: Any channel; no profile, no catalogue.
        payload: Text is sent as UTF-8.

    Asks:
        PUBLISH.

    Returns:
        How many connections heard it.

    Raises:
        InvalidArgument: If they are not text or bytes.
        TooLarge: If the payload is above the limit.
    """
    if not isinstance(channel, str) or not channel:
        raise InvalidArgument(f"channel={shown(channel)}: a channel is text that is not empty")
    if not isinstance(payload, (str, bytes)):
        raise InvalidArgument(f"`{type(payload).__name__}` cannot be sent raw: give text or bytes")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"{len(payload)} bytes for {shown(channel)}: at most {MAX_PAYLOAD_BYTES} can be sent")
    (heard,) = yield Exchange(((b"PUBLISH", channel, payload),), keep_order=True)
    return int(heard)


def set_and_publish(
    endpoint: EndpointInfo[Message], message: object, recording: Recording | None, *, expire_s: float | None
) -> Flow[None]:
    """
    Store a value and publish it, in one atomic step.

    Args:
        endpoint: Where.
        message: What.
        recording: How to record the event; None does not.
        expire_s: Seconds until the stored value vanishes; None keeps it.

    Asks:
        MULTI, SET, PUBLISH, EXEC; on a durable endpoint also XADD.

    Raises:
        InvalidOperation: If the endpoint does not allow ``set_and_publish``.
        InvalidMessage: If the message is of another type.
        TooLarge: If it is above the limit.
        DeliveryUnknown: If the link broke and the outcome could not be found out; see `repeat`.
        DeadlinePassed: If no answer came in time; see `repeat`.
    """
    endpoint.require("set_and_publish")
    endpoint.check(message)
    options = expiry(expire_s)
    payload = encode(_bundled(message))
    channel = endpoint.endpoint
    if recording is None or endpoint.history is None:
        yield Exchange(
            ((b"SET", endpoint.key, payload, *options), (b"PUBLISH", channel, payload)),
            transaction=True,
            keep_order=True,
        )
        return
    yield from _publish_recorded(endpoint, payload, recording, options)


def _publish_recorded(
    endpoint: EndpointInfo[Message], payload: bytes, recording: Recording, options: tuple[Any, ...]
) -> Flow[list[Any]]:
    """Publish and record; find out from the history whether it was done when the answer is lost."""
    channel, history = endpoint.endpoint, endpoint.history or ""
    numbering = recording.numbering
    number = numbering.take(channel)
    payload = stamp(payload, numbering.sender, number)
    record = (b"d", payload) if len(payload) <= LARGEST_RECORDED_BYTES else (b"s", _size_note(payload))
    publish: Command = (b"PUBLISH", channel, payload)
    record_it: Command = (b"XADD", history, b"MAXLEN", b"~", recording.cap, b"*", b"c", channel, *record)
    if endpoint.message_op is MessageOp.SET_PUBLISH:
        ask = Exchange(
            (publish, record_it, (b"SET", endpoint.key, payload, *options)), True, False, None, True
        )
    else:
        ask = Exchange((publish, record_it), True, False, None, True)
    try:
        return (yield ask)
    except DeliveryUnknown as unknown:
        event = Unsettled(ask, history, record[1])
        try:
            return (yield from _once(event))
        except LabspineError:
            raise _repeatable(unknown, event) from unknown
    except DeadlinePassed as late:
        raise _repeatable(late, Unsettled(ask, history, record[1])) from late
    except NotConnected:
        numbering.give_back(channel, number)
        raise


def repeat(error: object) -> Flow[int]:
    """
    Say an event again whose outcome is not known: with the same stamp, so that who heard it drops it.

    Args:
        error: The `DeliveryUnknown` or `DeadlinePassed` that `send` or `set_and_publish` raised.

    Asks:
        XREVRANGE; what the event asked for, only if it is not in the history.

    Returns:
        How many connections heard it now; 0 if it had been done before.

    Raises:
        InvalidArgument: If the error does not come from a durable event.
        DeliveryUnknown: If the outcome is not known again; repeat with either error.
        DeadlinePassed: The same, because no answer came in time.
        NotConnected: If there is no connection; repeat with the old error.
    """
    event = error.unsettled if isinstance(error, (DeliveryUnknown, DeadlinePassed)) else None
    if not isinstance(event, Unsettled):
        raise InvalidArgument(
            f"{shown(error)} cannot be repeated: only DeliveryUnknown and DeadlinePassed of a durable event "
            "can, because other writes carry no number by which a receiver knows them"
        )
    try:
        replies = yield from _once(event)
    except (DeliveryUnknown, DeadlinePassed) as again:
        raise _repeatable(again, event) from again
    return int(replies[0]) if replies else 0


def _once(event: Unsettled) -> Flow[list[Any]]:
    """Look into the history; publish once more, with the same stamp, only if it is not there."""
    try:
        (entries,) = yield read("XREVRANGE", event.history, "+", "-", "COUNT", _LOOK_BACK)
    except PermissionDenied:
        entries = ()  # who may write but not read repeats unseen; receivers know the stamp
    if any(event.recorded in fields for _, fields in entries):
        return []
    return (yield event.ask)


def _repeatable(error: DeliveryUnknown | DeadlinePassed, event: Unsettled) -> LabspineError:
    """Copy an error, which the calls of a pipeline may share, and attach what `repeat` needs."""
    copy = type(error)(*error.args)
    copy.unsettled = event
    return copy


def _bundled(message: object) -> object:
    """Send several messages as a bundle; receivers get a list again."""
    return BundleMessage(messages=list(message)) if isinstance(message, (list, tuple)) else message


def _size_note(payload: bytes) -> bytes:
    """Say in a record what was too large to be kept: its size, and its stamp behind it."""
    return b"%d " % len(payload) + payload[-40:]
