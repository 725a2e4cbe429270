"""Lists: pushed and popped at both ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..endpoints import EndpointInfo
from ..errors import InvalidArgument, shown
from ..messages import Message, decode, encode
from .checks import count_above_zero, expiry, seconds, whole
from .exchange import Command, Exchange, Flow, read, write

__all__ = ["Side", "blocking_list_pop", "list_length", "list_range", "push", "remove", "trim"]

Side = Literal["LEFT", "RIGHT"]
_SLICE_S = 2.0


def push(
    endpoint: EndpointInfo[Message],
    message: object,
    operation: Literal["lpush", "rpush"],
    *,
    max_size: int | None,
    expire_s: float | None,
) -> Flow[int]:
    """
    Push an item; the list keeps its newest ``max_size``.

    Asks:
        LPUSH or RPUSH; with options also LTRIM and PEXPIRE, in one transaction.

    Returns:
        The length of the list after the push, before it was trimmed.
    """
    endpoint.require(operation)
    endpoint.check(message)
    key = endpoint.endpoint
    commands: list[Command] = [(operation.upper(), key, encode(message))]
    if max_size is not None:
        size = count_above_zero("max_size", max_size)
        commands.append(("LTRIM", key, 0, size - 1) if operation == "lpush" else ("LTRIM", key, -size, -1))
    options = expiry(expire_s)
    if options:
        commands.append(("PEXPIRE", key, options[1]))
    replies = yield Exchange(tuple(commands), transaction=len(commands) > 1)
    return int(replies[0])


def list_range(endpoint: EndpointInfo[Message], start: int, end: int) -> Flow[list[Any]]:
    """
    Read the items between two indices, both included; -1 is the last.

    Asks:
        LRANGE.

    Returns:
        The messages, in order.
    """
    endpoint.require("lrange")
    (payloads,) = yield read("LRANGE", endpoint.endpoint, whole("start", start), whole("end", end))
    return [decode(payload, endpoint.message_type) for payload in payloads]


def list_length(endpoint: EndpointInfo[Message]) -> Flow[int]:
    """
    Count the items.

    Asks:
        LLEN.
    """
    endpoint.require("llen")
    (count,) = yield read("LLEN", endpoint.endpoint)
    return int(count)


def remove(endpoint: EndpointInfo[Message], count: int, message: object) -> Flow[int]:
    """
    Remove items that are equal to a message.

    Args:
        endpoint: Where.
        count: How many from the head; negative from the tail; 0 for all.
        message: What; compared as encoded bytes.

    Asks:
        LREM.

    Returns:
        How many were removed.
    """
    endpoint.require("lrem")
    endpoint.check(message)
    (removed,) = yield write("LREM", endpoint.endpoint, whole("count", count), encode(message))
    return int(removed)


def trim(endpoint: EndpointInfo[Message], start: int, end: int) -> Flow[None]:
    """
    Keep only the items between two indices, both included.

    Asks:
        LTRIM.
    """
    endpoint.require("ltrim")
    yield write("LTRIM", endpoint.endpoint, whole("start", start), whole("end", end))


def blocking_list_pop(
    endpoint: EndpointInfo[Message], side: Side, timeout_s: float | None, *, clock: Callable[[], float]
) -> Flow[Any]:
    """
    Pop an item; wait for one if there is none.

    The wait is cut into slices of two seconds, so that a link that is dead is noticed however long the wait.

    Args:
        endpoint: Where.
        side: Which end.
        timeout_s: Longest wait in seconds; None waits without limit.
        clock: Monotonic time in seconds.

    Asks:
        BLPOP or BRPOP.

    Returns:
        The message, or None if none came.

    Raises:
        DeliveryUnknown: If the link broke; an item may have been popped and lost then.
    """
    endpoint.require("blocking_list_pop")
    if side not in ("LEFT", "RIGHT"):
        raise InvalidArgument(f'side={shown(side)}: use "LEFT" or "RIGHT"')
    command = "BLPOP" if side == "LEFT" else "BRPOP"
    deadline_s = None if timeout_s is None else clock() + seconds("timeout_s", timeout_s)
    while True:
        wait_s = _SLICE_S if deadline_s is None else min(_SLICE_S, deadline_s - clock())
        wait_s = max(wait_s, 0.001)
        (popped,) = yield Exchange(((command, endpoint.endpoint, f"{wait_s:.3f}"),), False, False, wait_s)
        if popped is not None:
            return decode(popped[1], endpoint.message_type)
        if deadline_s is not None and clock() >= deadline_s:
            return None
