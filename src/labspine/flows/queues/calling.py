"""Call the functions on the server, and load them when they are not there."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from ...errors import PermissionDenied, ServerError
from ..exchange import Argument, Exchange, Flow
from .scripts import DECLARE, LIBRARY

__all__ = ["REGISTRY", "answered", "base_of", "declare", "load_because", "run"]

REGISTRY = "labspine/queues"
"""A set with the name of every queue."""


@functools.lru_cache(maxsize=1024)
def base_of(queue: str) -> bytes:
    """Name the common beginning of a queue's keys; the braces keep them in one slot of a cluster."""
    return b"labspine/queue/{%b}" % queue.encode()


def run(function: bytes, keys: Sequence[Argument], *arguments: Argument) -> Flow[Any]:
    """
    Call a function of the library.

    Asks:
        FCALL; FUNCTION LOAD first when the server does not know the library.

    Returns:
        Its reply.

    Raises:
        PermissionDenied: If the login may not load the library and nobody has done it yet.
    """
    return (yield from answered(Exchange(((b"FCALL", function, len(keys), *keys, *arguments),))))


def answered(ask: Exchange) -> Flow[Any]:
    """Ask for one function; load the library first when the server does not know it."""
    try:
        (reply,) = yield ask
    except ServerError as error:
        yield from load_because(error)
        (reply,) = yield ask
    return reply


def load_because(error: ServerError) -> Flow[None]:
    """Load the library if that is what is missing; raises the error otherwise."""
    if "Function not found" not in str(error):
        raise error
    try:
        yield Exchange(((b"FUNCTION", b"LOAD", b"REPLACE", LIBRARY),))
    except PermissionDenied as denied:
        raise PermissionDenied(
            "the functions of queues are not on this server, and this login may not load them: let a service "
            "or the administrator use a queue once (they are kept on the server from then on)"
        ) from denied


def declare(queue: str) -> Flow[None]:
    """Make the queue and enter it into the list of queues; does nothing if it exists."""
    yield from run(DECLARE, (base_of(queue),))
    yield Exchange(((b"SADD", REGISTRY, queue),))  # its own step: in a cluster it lies elsewhere
