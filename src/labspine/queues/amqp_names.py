"""Queues on RabbitMQ: their names and settings there, and what travels beside an item. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..wire.amqp import Properties, Written, routing_key, written_properties
from .transport import DeadItem

__all__ = [
    "MAIN",
    "dead_item",
    "dead_name",
    "dead_properties",
    "delay_ms",
    "delay_name",
    "delay_settings",
    "deliveries_of",
    "id_of",
    "item_properties",
    "main_name",
]

_NO_LIMIT = 1_000_000
_GRACE_MS = 60_000

MAIN: Mapping[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": _NO_LIMIT}
"""
A quorum queue: what was confirmed is on the disks of most nodes. The limit of deliveries is the claimer's,
who buries with a reason; so the broker's own (20 since RabbitMQ 4) is put out of reach.
"""


def main_name(queue: str) -> str:
    """Name the queue as RabbitMQ does; raises `InvalidName` if that is too long."""
    return "labspine.queue." + routing_key(queue)


def dead_name(queue: str) -> str:
    """Name its dead letters."""
    return "labspine.dead." + routing_key(queue)


def delay_ms(delay_s: float) -> int:
    """
    Round a delay up, so that delays share queues: by at most 1 %, or 10 ms.

    Messages in a queue with one time to live leave it in order; with different ones a long one would hold
    back the short ones behind it.
    """
    ms, step = max(1, round(delay_s * 1000)), 10
    while ms >= 100 * step:
        step *= 10
    return -(-ms // step) * step


def delay_name(queue: str, ms: int) -> str:
    """Name the queue in which items wait for so many milliseconds."""
    return f"labspine.delay.{ms}." + routing_key(queue)


def delay_settings(queue: str, ms: int) -> Mapping[str, Any]:
    """Let items move on to their queue when their time is over, safely; the unused queue vanishes."""
    return {
        "x-queue-type": "quorum",
        "x-message-ttl": ms,
        "x-expires": ms + _GRACE_MS,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": main_name(queue),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def item_properties(item_id: str, deliveries: int) -> Written:
    """Write what travels beside an item: its id, and how often it was handed out before it was put here."""
    return written_properties(Properties(headers={"id": item_id, "n": deliveries}, is_persistent=True))


def dead_properties(item_id: str, deliveries: int, *, reason: str, key: str, buried_utc_s: float) -> Written:
    """Write what travels beside a dead letter."""
    headers = {
        "id": item_id,
        "n": deliveries,
        "reason": reason,
        "key": key,
        "buried_ms": round(buried_utc_s * 1000),
    }
    return written_properties(Properties(headers=headers, is_persistent=True))


def id_of(properties: Properties) -> str:
    """Read the id of an item; what a foreign program put has its message id, or none."""
    found = properties.headers.get("id", properties.message_id)
    return found if isinstance(found, str) else ""


def deliveries_of(properties: Properties) -> int:
    """Count the deliveries of an item, this one included."""
    return 1 + _number(properties, "n") + _number(properties, "x-delivery-count")


def _number(properties: Properties, name: str) -> int:
    found = properties.headers.get(name, 0)
    return found if isinstance(found, int) else 0


def dead_item(properties: Properties, payload: bytes) -> DeadItem:
    """Read a dead letter; one that the broker buried by itself has the broker's reason."""
    headers = properties.headers
    reason = headers.get("reason") or headers.get("x-first-death-reason") or "unknown"
    item_id = id_of(properties)
    key = headers.get("key")
    return DeadItem(
        id=item_id,
        key=key if isinstance(key, str) else item_id,
        payload=payload,
        reason=str(reason),
        deliveries=_number(properties, "n"),
        buried_utc_s=_number(properties, "buried_ms") / 1000,
    )
