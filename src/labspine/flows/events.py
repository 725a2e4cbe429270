"""
Events: said once, heard by whoever listens, and recorded so that nobody who was away misses them.

A durable event is published for everybody and recorded in the history of its family in one atomic step. Both
carry the same bytes with the same stamp (sender, number), so that a receiver can tell repeats and holes.
"""

from __future__ import annotations

from typing import Any

from ..endpoints import EndpointInfo
from ..errors import DeliveryUnknown, LabspineError, NotConnected
from ..messages import BundleMessage, Message, encode, read_stamp, stamp
from .checks import expiry
from .exchange import Command, Exchange, Flow, read
from .numbering import Numbering

__all__ = ["LARGEST_RECORDED_BYTES", "Recording", "send", "set_and_publish"]

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
        DeliveryUnknown: If the link broke and the outcome could not be found out.
    """
    endpoint.require("send")
    endpoint.check(message)
    payload = encode(_bundled(message))
    if recording is None or endpoint.history is None:
        (heard,) = yield Exchange(((b"PUBLISH", endpoint.endpoint, payload),), keep_order=True)
        return int(heard)
    replies = yield from _publish_recorded(endpoint, payload, recording, ())
    return int(replies[0]) if replies else 0


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
        DeliveryUnknown: If the link broke and the outcome could not be found out.
    """
    endpoint.require("set_and_publish")
    endpoint.check(message)
    options = expiry(expire_s)
    payload = encode(_bundled(message))
    channel = endpoint.endpoint
    if recording is None or endpoint.history is None:
        yield Exchange(
            ((b"SET", channel, payload, *options), (b"PUBLISH", channel, payload)),
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
    if endpoint.message_op.name == "SET_PUBLISH":
        ask = Exchange((publish, record_it, (b"SET", channel, payload, *options)), True, False, None, True)
    else:
        ask = Exchange((publish, record_it), True, False, None, True)
    try:
        return (yield ask)
    except DeliveryUnknown as unknown:
        return (yield from _make_sure(ask, history, record[1], unknown))
    except LabspineError as error:
        if isinstance(error, NotConnected):
            numbering.give_back(channel, number)
        raise


def _make_sure(ask: Exchange, history: str, recorded: bytes, unknown: DeliveryUnknown) -> Flow[list[Any]]:
    """Look into the history; publish once more, with the same stamp, only if it is not there."""
    try:
        (entries,) = yield read("XREVRANGE", history, "+", "-", "COUNT", _LOOK_BACK)
    except LabspineError:
        raise unknown from None
    if read_stamp(recorded) is None or any(recorded in fields for _, fields in entries):
        return []
    return (yield ask)


def _bundled(message: object) -> object:
    """Send several messages as a bundle; receivers get a list again."""
    return BundleMessage(messages=list(message)) if isinstance(message, (list, tuple)) else message


def _size_note(payload: bytes) -> bytes:
    """Say in a record what was too large to be kept: its size, and its stamp behind it."""
    return b"%d " % len(payload) + payload[-40:]
