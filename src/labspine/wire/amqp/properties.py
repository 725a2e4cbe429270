"""What travels beside the payload of a message on RabbitMQ, between our names and those of the library."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from aiormq import spec

from ...errors import InvalidArgument, shown

__all__ = ["Properties", "Written", "read_properties", "short", "with_id", "written_properties"]

_MAX_SHORT_BYTES = 255
_WRITABLE = (bool, int, float, str, bytes, dict, list, type(None))
_PERSISTENT, _TRANSIENT = 2, 1

Written: TypeAlias = spec.Basic.Properties
"""Properties as the library takes them; one object may serve many messages."""


class Properties(msgspec.Struct, frozen=True):
    """
    What travels beside a message; empty and None are left out.

    Args:
        headers: Names and values of any kind.
        is_persistent: Whether the broker writes the message to disk.
        priority: 0 to 9; only a queue with priorities heeds it.
        correlation_id: Which call a reply answers.
        reply_to: The queue that takes the reply.
        expiration_ms: After so many milliseconds the broker drops the message; None never.
        message_id: The sender's name for the message.
        type: What kind of message it is.
    """

    headers: Mapping[str, Any] = {}
    is_persistent: bool = False
    priority: int | None = None
    correlation_id: str = ""
    reply_to: str = ""
    expiration_ms: int | None = None
    message_id: str = ""
    type: str = ""


def short(text: str) -> str:
    """
    Insist that RabbitMQ takes a name or routing key.

    Raises:
        InvalidArgument: If it has more than 255 bytes in UTF-8.
    """
    size = len(text.encode())
    if size > _MAX_SHORT_BYTES:
        raise InvalidArgument(f'"{shown(text)}" has {size} bytes: RabbitMQ takes names of at most 255')
    return text


def written_properties(properties: Properties) -> Written:
    """
    Write properties as the library takes them.

    Raises:
        InvalidArgument: If a text has more than 255 bytes, or a header holds what cannot be written.
    """
    for name, value in properties.headers.items():
        if not isinstance(value, _WRITABLE):
            raise InvalidArgument(
                f"the header {shown(name)} cannot hold {shown(value)}: use text, numbers, bytes or a dict"
            )
    expiration = None if properties.expiration_ms is None else str(max(0, properties.expiration_ms))
    return Written(
        headers=dict(properties.headers) or None,
        delivery_mode=_PERSISTENT if properties.is_persistent else _TRANSIENT,
        priority=properties.priority,
        correlation_id=short(properties.correlation_id) or None,
        reply_to=short(properties.reply_to) or None,
        expiration=expiration,
        message_id=short(properties.message_id) or None,
        message_type=short(properties.type) or None,
    )


def with_id(properties: Written, number: int) -> Written:
    """Give a message a name if it has none: by it the library finds out which one the broker returned."""
    if properties.message_id:
        return properties
    named = copy.copy(properties)
    named.message_id = str(number)
    return named


def read_properties(written: Written) -> Properties:
    """Read what anybody wrote; what we do not use is left out."""
    expiration = written.expiration or ""
    return Properties(
        headers=written.headers or {},
        is_persistent=written.delivery_mode == _PERSISTENT,
        priority=written.priority,
        correlation_id=written.correlation_id or "",
        reply_to=written.reply_to or "",
        expiration_ms=int(expiration) if expiration.isdigit() else None,
        message_id=written.message_id or "",
        type=written.message_type or "",
    )
