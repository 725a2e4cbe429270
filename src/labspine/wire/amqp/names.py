"""
Translate channels into routing keys of RabbitMQ, and back.

Our channels have segments between slashes, and a name may hold dots (``public/file_event/cam.1``). The words
of a routing key stand between dots. So a slash becomes a dot and a dot becomes ``@2E``: each channel has one
key, each key one channel, and a wildcard for one word stands for one segment.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ...errors import InvalidName, shown

__all__ = ["binding_key", "channel_of", "routing_key"]

_MOST_BYTES = 255
_TO_ESCAPE = {"/": ".", ".": "@2E", "@": "@40", "*": "@2A", "#": "@23"}
_SPECIAL = re.compile(r"[/.@*#]")
_ESCAPED = re.compile(r"\.|@([0-9A-F]{2})")


@lru_cache(10_000)
def routing_key(channel: str) -> str:
    """
    Name a channel as RabbitMQ does.

    Args:
        channel: Such as ``public/file_event/samx``.

    Returns:
        Such as ``public.file_event.samx``.

    Raises:
        InvalidName: If it is longer than the 255 bytes that a routing key may have.
    """
    key = _SPECIAL.sub(lambda found: _TO_ESCAPE[found[0]], channel)
    if len(key.encode()) > _MOST_BYTES:
        raise InvalidName(
            f'channel "{shown(channel)}" has {len(key.encode())} bytes as a routing key: '
            f"RabbitMQ takes {_MOST_BYTES}; use shorter names"
        )
    return key


@lru_cache(10_000)
def channel_of(key: str) -> str:
    """Give the channel of a routing key that `routing_key` made."""
    return _ESCAPED.sub(lambda found: "/" if found[1] is None else chr(int(found[1], 16)), key)


def binding_key(pattern: str) -> str:
    """
    Name a pattern as RabbitMQ does; it may let more through than the pattern, never less.

    Args:
        pattern: Of the catalogue, such as ``public/file_event/sam*``.

    Returns:
        Such as ``public.file_event.*``: a wildcard is a whole word there, so the receiver looks again.
    """
    words = ["*" if set(word) & set("*?[") else routing_key(word) for word in pattern.split("/")]
    key = ".".join(words)
    if len(key.encode()) > _MOST_BYTES:
        raise InvalidName(f'pattern "{shown(pattern)}" is longer than the {_MOST_BYTES} bytes of RabbitMQ')
    return key
