"""Lists: pushed and popped at both ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from ..endpoints import EndpointInfo
from ..errors import InvalidArgument, ServerError, shown
from ..messages import Message, decode, encode
from .checks import count_above_zero, expiry, seconds, whole
from .exchange import Command, Exchange, Flow, read, write

__all__ = [
    "Side",
    "blocking_list_pop",
    "blocking_list_pop_to_set_add",
    "list_length",
    "list_range",
    "push",
    "remove",
    "replace_item",
    "trim",
]

M = TypeVar("M", bound=Message)
Side = Literal["LEFT", "RIGHT"]
_SLICE_S = 2.0
_MOVE_TO_SET = """local item = redis.call(ARGV[1], KEYS[1])
if item then redis.call('SADD', KEYS[2], item) end
return item"""


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
    key = endpoint.key
    commands: list[Command] = [(operation.upper(), key, encode(message))]
    if max_size is not None:
        size = count_above_zero("max_size", max_size)
        commands.append(("LTRIM", key, 0, size - 1) if operation == "lpush" else ("LTRIM", key, -size, -1))
    options = expiry(expire_s)
    if options:
        commands.append(("PEXPIRE", key, options[1]))
    replies = yield Exchange(tuple(commands), transaction=len(commands) > 1)
    return int(replies[0])


def list_range(endpoint: EndpointInfo[M], start: int, end: int) -> Flow[list[M]]:
    """
    Read the items between two indices, both included; -1 is the last.

    Asks:
        LRANGE.

    Returns:
        The messages, in order.
    """
    endpoint.require("lrange")
    (payloads,) = yield read("LRANGE", endpoint.key, whole("start", start), whole("end", end))
    return [decode(payload, endpoint.message_type) for payload in payloads]


def list_length(endpoint: EndpointInfo[Message]) -> Flow[int]:
    """
    Count the items.

    Asks:
        LLEN.
    """
    endpoint.require("llen")
    (count,) = yield read("LLEN", endpoint.key)
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
    (removed,) = yield write("LREM", endpoint.key, whole("count", count), encode(message))
    return int(removed)


def replace_item(endpoint: EndpointInfo[Message], index: int, message: object) -> Flow[None]:
    """
    Replace the item at an index; -1 is the last.

    Asks:
        LSET.

    Raises:
        InvalidArgument: If there is no such item.
    """
    endpoint.require("rpush")
    endpoint.check(message)
    try:
        yield write("LSET", endpoint.key, whole("index", index), encode(message))
    except ServerError as error:
        if "index out of range" in str(error) or "no such key" in str(error):
            raise InvalidArgument(f"index={index}: {endpoint.endpoint} has no such item") from error
        raise


def trim(endpoint: EndpointInfo[Message], start: int, end: int) -> Flow[None]:
    """
    Keep only the items between two indices, both included.

    Asks:
        LTRIM.
    """
    endpoint.require("ltrim")
    yield write("LTRIM", endpoint.key, whole("start", start), whole("end", end))


def blocking_list_pop(
    endpoint: EndpointInfo[M], side: Side, timeout_s: float | None, *, clock: Callable[[], float]
) -> Flow[M | None]:
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
    command = "BLPOP" if _is_left(side) else "BRPOP"
    for wait_s in _slices(timeout_s, clock):
        (popped,) = yield Exchange(((command, endpoint.key, f"{wait_s:.3f}"),), False, False, wait_s)
        if popped is not None:
            message: M = decode(popped[1], endpoint.message_type)
            return message
    return None


def blocking_list_pop_to_set_add(
    source: EndpointInfo[M],
    target: EndpointInfo[Message],
    side: Side,
    timeout_s: float | None,
    *,
    clock: Callable[[], float],
) -> Flow[M | None]:
    """
    Move an item from a list into a set in one step; wait for one if there is none.

    Args:
        source: The list.
        target: The set.
        side: Which end of the list.
        timeout_s: Longest wait in seconds; None waits without limit.
        clock: Monotonic time in seconds.

    Asks:
        EVAL, and BLMOVE of the list onto itself, which waits for an item and changes nothing.

    Returns:
        The message, or None if none came.
    """
    source.require("blocking_list_pop")
    target.require("remove_from_set")
    end, command = ("LEFT", "LPOP") if _is_left(side) else ("RIGHT", "RPOP")
    move = Exchange((("EVAL", _MOVE_TO_SET, 2, source.key, target.key, command),))
    for wait_s in _slices(timeout_s, clock):
        (item,) = yield move
        if item is not None:
            break
        wait: Command = ("BLMOVE", source.key, source.key, end, end, f"{wait_s:.3f}")
        yield Exchange((wait,), False, True, wait_s)
    else:
        (item,) = yield move
    message: M | None = None if item is None else decode(item, source.message_type)
    return message


def _is_left(side: object) -> bool:
    if side not in ("LEFT", "RIGHT"):
        raise InvalidArgument(f'side={shown(side)}: use "LEFT" or "RIGHT"')
    return side == "LEFT"


def _slices(timeout_s: float | None, clock: Callable[[], float]) -> Iterator[float]:
    """Cut a wait into slices, so that a link that is dead is noticed however long the wait."""
    deadline_s = None if timeout_s is None else clock() + seconds("timeout_s", timeout_s)
    while deadline_s is None:
        yield _SLICE_S
    left_s = deadline_s - clock()
    yield max(min(_SLICE_S, left_s), 0.001)
    while (left_s := deadline_s - clock()) > 0:
        yield max(min(_SLICE_S, left_s), 0.001)
