"""Sets: each member once, in no order."""

from __future__ import annotations

from typing import TypeVar

from ..endpoints import EndpointInfo
from ..messages import Message, decode, encode
from .exchange import Flow, read, write

__all__ = ["add_to_set", "get_set_members", "remove_from_set"]


M = TypeVar("M", bound=Message)


def add_to_set(endpoint: EndpointInfo[Message], message: object) -> Flow[bool]:
    """
    Add a member.

    Asks:
        SADD.

    Returns:
        Whether it was new.
    """
    endpoint.require("remove_from_set")
    endpoint.check(message)
    (count,) = yield write("SADD", endpoint.key, encode(message))
    return bool(count)


def remove_from_set(endpoint: EndpointInfo[Message], message: object) -> Flow[bool]:
    """
    Remove a member; members are compared as encoded bytes.

    Asks:
        SREM.

    Returns:
        Whether it was there.
    """
    endpoint.require("remove_from_set")
    endpoint.check(message)
    (count,) = yield write("SREM", endpoint.key, encode(message))
    return bool(count)


def get_set_members(endpoint: EndpointInfo[M]) -> Flow[list[M]]:
    """
    Read all members.

    Asks:
        SMEMBERS.

    Returns:
        The messages, in no order.
    """
    endpoint.require("get_set_members")
    (payloads,) = yield read("SMEMBERS", endpoint.key)
    return [decode(payload, endpoint.message_type) for payload in payloads]
