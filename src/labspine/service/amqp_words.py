"""
What calls say on RabbitMQ. Pure.

A service has one queue, ``labspine.calls.NAME``, from which its instances take requests; it is there while
an instance lives, so a mandatory request to nobody comes back at once. Each instance has a queue of its own,
bound to the exchange ``labspine.calls`` by the name of the service: there it is asked who is there, who has a
call, and told that nobody wants an answer any more. Each client has one queue for replies.
"""

from __future__ import annotations

import msgspec

from ..wire.amqp import Properties, Written, routing_key, written_properties

__all__ = [
    "ALL",
    "CANCEL",
    "EVERYBODY",
    "EXCHANGE",
    "HERE",
    "INQUIRY",
    "REPLY",
    "REQUEST",
    "REQUEST_AGAIN",
    "WHO",
    "WORKING",
    "Arrived",
    "elapsed_s",
    "request_queue",
    "service_key",
    "words",
]

EXCHANGE = "labspine.calls"
EVERYBODY = "%everybody"
"""The key by which all instances of all services hear; no service can have this name."""

REQUEST, REQUEST_AGAIN, ALL = "request", "again", "all"
CANCEL, INQUIRY, WHO = "cancel", "inquiry", "who"
REPLY, WORKING, HERE = "reply", "working", "here"


class Arrived(msgspec.Struct):
    """
    A request in the hands of an instance.

    Args:
        channel: On which it came; when that has ended, the broker gives the request to somebody again.
        number: Of the delivery; 0 for one that needs no acknowledgement.
        reply_to: The queue of the caller.
        limit_s: How long the caller waits, counted from when it was sent.
        elapsed_s: How much of that had passed when it arrived.
        arrived_mono_s: When that was.
    """

    channel: object
    number: int
    reply_to: str
    limit_s: float
    elapsed_s: float
    arrived_mono_s: float


def request_queue(service: str) -> str:
    """Name the queue of a service; raises `InvalidName` if that is too long."""
    return "labspine.calls." + routing_key(service)


def service_key(service: str) -> str:
    """Name a service on the exchange."""
    return routing_key(service)


def words(
    kind: str, call_id: str, *, reply_to: str = "", limit_s: float | None = None, sent_utc_s: float = 0.0
) -> Written:
    """Write what travels beside a body: what it is, of which call, and when the broker may forget it."""
    return written_properties(
        Properties(
            type=kind,
            correlation_id=call_id,
            reply_to=reply_to,
            expiration_ms=None if limit_s is None else max(1, round(limit_s * 1000)),
            message_id=str(round(sent_utc_s * 1000)) if sent_utc_s else "",
        )
    )


def elapsed_s(properties: Properties, limit_s: float, now_utc_s: float) -> float:
    """
    Tell how long a request was on its way.

    The broker drops what is too old, so a time that is negative or above the limit only says that the clocks
    of caller and instance differ: nothing is taken off then.
    """
    if not properties.message_id.isdigit():
        return 0.0
    passed_s = now_utc_s - int(properties.message_id) / 1000
    return passed_s if 0.0 < passed_s < limit_s else 0.0
