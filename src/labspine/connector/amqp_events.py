"""Events on RabbitMQ: what is published, and what is told when the broker cannot do something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..endpoints import EndpointInfo
from ..errors import DeadlinePassed, DeliveryUnknown, InvalidArgument, InvalidOperation, shown
from ..flows import Exchange, Flow, Numbering
from ..flows.checks import expiry
from ..messages import BundleMessage, encode, stamp
from ..wire.amqp import Properties, Written, routing_key, written_properties

__all__ = ["EXCHANGE", "Letter", "letter", "needs_store", "no_replay", "settled", "store_value", "unsettled"]

EXCHANGE = "labspine.events"
"""The durable topic exchange of all events; a virtual host has its own."""

PERSISTENT = written_properties(Properties(is_persistent=True))
TRANSIENT = written_properties(Properties())


class Letter(msgspec.Struct, frozen=True):
    """
    One event on its way.

    Args:
        channel: Where it is said.
        key: The same as a routing key.
        payload: The encoded message with its stamp.
        properties: Written by `written_properties`: a durable event is persistent.
        number: Of the stamp.
    """

    channel: str
    key: str
    payload: bytes
    properties: Written
    number: int


def letter(endpoint: EndpointInfo[Any], message: object, operation: str, numbering: Numbering) -> Letter:
    """
    Make what is published.

    Args:
        endpoint: Where, as the broker knows it.
        message: A message, or a list of them, which travels as a bundle.
        operation: ``send`` or ``set_and_publish``.
        numbering: The numbers of the sender; one is taken.

    Raises:
        InvalidOperation: If the endpoint does not allow the operation.
        InvalidMessage: If the message is of another type.
        InvalidName: If the channel is too long for RabbitMQ.
        TooLarge: If it is above the limit.
    """
    endpoint.require(operation)
    endpoint.check(message)
    channel = endpoint.endpoint
    key = routing_key(channel)
    payload = encode(BundleMessage(messages=list(message)) if isinstance(message, (list, tuple)) else message)
    number = numbering.take(channel)
    stamped = stamp(payload, numbering.sender, number)
    return Letter(channel, key, stamped, PERSISTENT if endpoint.history else TRANSIENT, number)


def store_value(written: Letter, expire_s: float | None) -> Flow[None]:
    """
    Keep the last value beside RabbitMQ.

    Args:
        written: The event.
        expire_s: Seconds until the value vanishes; None keeps it.

    Asks:
        SET.
    """
    yield Exchange(((b"SET", written.channel, written.payload, *expiry(expire_s)),))


def unsettled(error: DeliveryUnknown | DeadlinePassed, written: Letter) -> DeliveryUnknown | DeadlinePassed:
    """Attach to an error what ``repeat`` needs."""
    error.unsettled = written
    return error


def settled(error: object) -> Letter:
    """
    Read from an error what ``repeat`` shall say again.

    Raises:
        InvalidArgument: If the error does not come from an event.
    """
    found = error.unsettled if isinstance(error, (DeliveryUnknown, DeadlinePassed)) else None
    if not isinstance(found, Letter):
        raise InvalidArgument(
            f"{shown(error)} cannot be repeated: only DeliveryUnknown and DeadlinePassed of an event can"
        )
    return found


def needs_store(operation: str, where: object) -> InvalidOperation:
    """Make the error for what RabbitMQ cannot do."""
    return InvalidOperation(
        f"{operation} needs a place that keeps values, and RabbitMQ ({where}) keeps none: give a Redis "
        'beside it, connect("amqp://...", store="redis://...")'
    )


def no_replay(endpoints: Sequence[EndpointInfo[Any]], where: object) -> None:
    """
    Refuse a replay of events.

    Raises:
        InvalidOperation: If one of the endpoints is no stream.
    """
    for endpoint in endpoints:
        if endpoint.message_op.name != "STREAM":
            raise InvalidOperation(
                f"{endpoint.name} ({endpoint.endpoint}): RabbitMQ ({where}) keeps no events that could be "
                "replayed (from_start, since_utc_s): use redis:// for that, or a STREAM endpoint with store="
            )
