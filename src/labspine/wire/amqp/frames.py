"""
The frames of AMQP 0-9-1: methods that we say and hear, content, and how to cut a byte stream. Pure.

A frame is a kind (1 byte), a channel (2), a length (4), so many bytes, and 0xCE. A message is a method
(publish, deliver, return, get-ok), a header with size and properties, and bodies of limited size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from .fields import read_short, read_table, short, table

__all__ = [
    "ALIVE",
    "BODY",
    "HEADER",
    "HEARTBEAT",
    "METHOD",
    "PROTOCOL_HEADER",
    "Method",
    "content",
    "cut",
    "method",
    "read_close",
    "read_deliver",
    "read_get_ok",
    "read_return_key",
    "read_start",
    "start_ok",
]

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
METHOD, HEADER, BODY, ALIVE = 1, 2, 3, 8
_END = 0xCE
_HEAD = struct.Struct(">BHI")
_CONTENT_HEAD = struct.Struct(">HHQ")
_BASIC = 60


class Method:
    """The numbers of the methods: class * 65536 + method, as the first four bytes of a frame say."""

    START, START_OK = 0x000A000A, 0x000A000B
    SECURE = 0x000A0014
    TUNE, TUNE_OK = 0x000A001E, 0x000A001F
    OPEN, OPEN_OK = 0x000A0028, 0x000A0029
    CLOSE, CLOSE_OK = 0x000A0032, 0x000A0033
    BLOCKED, UNBLOCKED = 0x000A003C, 0x000A003D
    CHANNEL_OPEN, CHANNEL_OPEN_OK = 0x0014000A, 0x0014000B
    FLOW, FLOW_OK = 0x00140014, 0x00140015
    CHANNEL_CLOSE, CHANNEL_CLOSE_OK = 0x00140028, 0x00140029
    EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK = 0x0028000A, 0x0028000B
    QUEUE_DECLARE, QUEUE_DECLARE_OK = 0x0032000A, 0x0032000B
    QUEUE_BIND, QUEUE_BIND_OK = 0x00320014, 0x00320015
    QUEUE_PURGE, QUEUE_PURGE_OK = 0x0032001E, 0x0032001F
    QUEUE_DELETE, QUEUE_DELETE_OK = 0x00320028, 0x00320029
    QUEUE_UNBIND, QUEUE_UNBIND_OK = 0x00320032, 0x00320033
    QOS, QOS_OK = 0x003C000A, 0x003C000B
    CONSUME, CONSUME_OK = 0x003C0014, 0x003C0015
    CANCEL, CANCEL_OK = 0x003C001E, 0x003C001F
    PUBLISH, RETURN, DELIVER = 0x003C0028, 0x003C0032, 0x003C003C
    GET, GET_OK, GET_EMPTY = 0x003C0046, 0x003C0047, 0x003C0048
    ACK, REJECT, NACK = 0x003C0050, 0x003C005A, 0x003C0078
    CONFIRM, CONFIRM_OK = 0x0055000A, 0x0055000B


def method(channel: int, number: int, arguments: bytes = b"") -> bytes:
    """
    Write one method as a frame.

    Args:
        channel: 0 for the connection itself.
        number: One of `Method`.
        arguments: What follows, already written.
    """
    return b"%b%b%b\xce" % (
        _HEAD.pack(METHOD, channel, len(arguments) + 4),
        number.to_bytes(4, "big"),
        arguments,
    )


def content(channel: int, properties: bytes, body: bytes, most_bytes: int) -> bytes:
    """
    Write header and bodies of a message, as they follow a publish.

    Args:
        channel: The same as the publish.
        properties: As `written_properties` wrote them.
        body: The payload.
        most_bytes: The largest frame that the broker takes, all included.
    """
    size = len(body)
    header = b"%b%b%b\xce" % (
        _HEAD.pack(HEADER, channel, 12 + len(properties)),
        _CONTENT_HEAD.pack(_BASIC, 0, size),
        properties,
    )
    room = most_bytes - 8
    if size <= room:
        return b"%b%b%b\xce" % (header, _HEAD.pack(BODY, channel, size), body) if size else header
    parts = [header]
    for at in range(0, size, room):
        piece = body[at : at + room]
        parts.append(b"%b%b\xce" % (_HEAD.pack(BODY, channel, len(piece)), piece))
    return b"".join(parts)


def cut(data: bytes, most_bytes: int) -> Iterator[tuple[int, int, bytes, int]]:
    """
    Cut a piece of the byte stream into frames.

    Args:
        data: What has come and was not used before.
        most_bytes: A frame above that is refused.

    Yields:
        Kind, channel, payload, and the place behind the frame; an incomplete rest is left.

    Raises:
        ValueError: If it is not AMQP.
    """
    at, size = 0, len(data)
    unpack = _HEAD.unpack_from
    while size - at >= 8:
        kind, channel, length = unpack(data, at)
        end = at + 7 + length
        if length > most_bytes or kind not in (METHOD, HEADER, BODY, ALIVE):
            raise ValueError(f"the peer does not speak AMQP 0-9-1: {data[at : at + 8]!r}")
        if end >= size:
            return
        if data[end] != _END:
            raise ValueError("a frame without its end mark")
        yield kind, channel, data[at + 7 : end], end + 1
        at = end + 1


def read_close(arguments: bytes) -> tuple[int, str]:
    """Read why the broker closed a channel or the connection: its code and its words."""
    text, _ = read_short(arguments, 2)
    return int.from_bytes(arguments[:2], "big"), text


def read_deliver(arguments: bytes) -> tuple[str, int, bool, str, str]:
    """Read a deliver: consumer's name, number of the delivery, delivered before, exchange, routing key."""
    consumer, at = read_short(arguments, 0)
    number = int.from_bytes(arguments[at : at + 8], "big")
    exchange, end = read_short(arguments, at + 9)
    key, _ = read_short(arguments, end)
    return consumer, number, arguments[at + 8] != 0, exchange, key


def read_return_key(arguments: bytes) -> str:
    """Read the routing key of a message that came back."""
    _, at = read_short(arguments, 2)
    _, at = read_short(arguments, at)
    return read_short(arguments, at)[0]


def read_get_ok(arguments: bytes) -> tuple[int, bool, str, str, int]:
    """Read the answer to a get: number, delivered before, exchange, routing key, how many are left."""
    exchange, at = read_short(arguments, 9)
    key, at = read_short(arguments, at)
    number = int.from_bytes(arguments[:8], "big")
    return number, arguments[8] != 0, exchange, key, int.from_bytes(arguments[at : at + 4], "big")


def read_start(arguments: bytes) -> tuple[dict[str, Any], list[str]]:
    """Read the first word of the broker: its properties, and the ways to log in."""
    properties, at = read_table(arguments, 2)
    size = int.from_bytes(arguments[at : at + 4], "big")
    return properties, arguments[at + 4 : at + 4 + size].decode("ascii", "replace").split()


def start_ok(client: Mapping[str, Any], mechanism: str, response: bytes) -> bytes:
    """Answer it: who we are, and our login."""
    said = table(client) + short(mechanism) + len(response).to_bytes(4, "big") + response + short("en_US")
    return method(0, Method.START_OK, said)
