"""Values under keys: the last thing that was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ..endpoints import EndpointInfo
from ..errors import TooLarge
from ..messages import Message, decode, encode
from .checks import expiry
from .exchange import Exchange, Flow, read, write

__all__ = ["delete", "get", "keys", "mget", "set_value"]

M = TypeVar("M", bound=Message)
_SCAN_COUNT = 1000


def get(endpoint: EndpointInfo[M]) -> Flow[M | None]:
    """
    Read the value of an endpoint.

    Asks:
        GET.

    Returns:
        The message (a list for a bundle), or None if there is none.

    Raises:
        InvalidOperation: If the endpoint does not allow ``get``.
        DecodeError: If the value is not a message of the endpoint's type.
    """
    endpoint.require("get")
    (payload,) = yield Exchange(((b"GET", endpoint.key),), False, True)
    return None if payload is None else decode(payload, endpoint.message_type)


def mget(endpoints: Sequence[EndpointInfo[M]]) -> Flow[list[M | None]]:
    """
    Read the values of several endpoints in one step.

    Asks:
        MGET.

    Returns:
        One message or None an endpoint, in order.
    """
    for endpoint in endpoints:
        endpoint.require("get")
    if not endpoints:
        return []
    (payloads,) = yield read("MGET", *(endpoint.key for endpoint in endpoints))
    return [
        None if payload is None else decode(payload, endpoint.message_type)
        for endpoint, payload in zip(endpoints, payloads, strict=True)
    ]


def set_value(endpoint: EndpointInfo[Message], message: object, expire_s: float | None) -> Flow[None]:
    """
    Store a value.

    Args:
        endpoint: Where.
        message: What.
        expire_s: Seconds until it vanishes; None keeps it.

    Asks:
        SET.

    Raises:
        InvalidOperation: If the endpoint does not allow ``set``.
        InvalidMessage: If the message is of another type.
        TooLarge: If it is above the limit.
    """
    endpoint.require("set")
    endpoint.check(message)
    yield write("SET", endpoint.key, encode(message), *expiry(expire_s))


def delete(endpoint: EndpointInfo[Message]) -> Flow[bool]:
    """
    Remove what an endpoint holds.

    Asks:
        DEL.

    Returns:
        Whether there was anything.
    """
    endpoint.require("delete")
    (count,) = yield write("DEL", endpoint.key)
    return bool(count)


def keys(pattern: EndpointInfo[Message], limit: int) -> Flow[list[str]]:
    """
    List the keys that exist for a pattern, without blocking the server.

    Args:
        pattern: A pattern of the catalogue, or a plain endpoint.
        limit: Largest number of keys.

    Asks:
        SCAN, until it has gone round.

    Returns:
        The keys, sorted.

    Raises:
        InvalidOperation: If the endpoint does not allow ``keys``.
        TooLarge: If there are more than the limit.
    """
    pattern.require("keys")
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        ((cursor, batch),) = yield read("SCAN", cursor, "MATCH", pattern.key, "COUNT", _SCAN_COUNT)
        found.update(batch)
        if len(found) > limit:
            raise TooLarge(
                f'more than {limit} keys match "{pattern.endpoint}": use a narrower pattern or a higher limit'
            )
        if cursor == b"0":
            return sorted(key.decode("utf-8", "replace").removeprefix(pattern.tag) for key in found)
