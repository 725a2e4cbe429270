"""Finding a node that is well, for a subscriber: on a cluster each node hears what is published on any."""

from __future__ import annotations

import random
import ssl
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from ...errors import AuthenticationError, LabspineError, NotConnected
from ...flows import Argument, Exchange
from ..address import Address, Cluster
from ..protocol import ConnectionLost, WireOptions
from ..translate import ErrorReply
from .topology import known_places, node_address

if TYPE_CHECKING:
    from ..asyncio import AsyncConnection
    from ..sync import SyncConnection

__all__ = [
    "PING",
    "STATE",
    "asking_options",
    "find_node",
    "find_node_async",
    "judged_elsewhere",
    "node_options",
    "search_node",
    "whose",
]

PING = Exchange((("PING",),), readonly=True)
STATE = Exchange((("CLUSTER", "INFO"),), readonly=True)
Answer: TypeAlias = "list[Any] | Exception"

_CONNECT_LIMIT_S = 2.0
_QUESTION_LIMIT_S = 1.0


def node_options(options: WireOptions) -> WireOptions:
    """Take a shorter limit for one node, and leave the patience to who knows the others."""
    limit_s = min(options.connect_timeout_s, _CONNECT_LIMIT_S)
    return replace(options, connect_timeout_s=limit_s, patience_s=0.0)


def asking_options(options: WireOptions, *, is_known: bool) -> WireOptions:
    """Take a short limit for the question who has what: a frozen node must not hold up for long."""
    if not is_known:
        return node_options(options)
    limit_s = min(options.timeout_s, options.connect_timeout_s, _QUESTION_LIMIT_S)
    return replace(options, timeout_s=limit_s, connect_timeout_s=limit_s, patience_s=0.0)


def whose(key: Argument) -> Exchange:
    """Ask for nothing but that the node that has a key answers."""
    return Exchange((("EXISTS", key),), readonly=True)


def judged_elsewhere(replies: list[Any]) -> list[Any]:
    """Leave out what only says that another node has the key: the rights were judged before that."""
    return [b"" if isinstance(r, ErrorReply) and str(r).startswith("MOVED") else r for r in replies]


def search_node(address: Address) -> Generator[Address, Answer, None]:
    """
    Look for a node that is well, without any I/O: yield each to try, receive its reply or the error.

    Args:
        address: Of the cluster.

    Returns:
        Nothing, when the last one is well; the reply is that to `STATE`.

    Raises:
        AuthenticationError: If no node accepts the login.
        ConnectionLost: If no node is well.
    """
    cluster = address.cluster or Cluster(())
    named = set(cluster.places)
    places = known_places(cluster)
    random.shuffle(places)
    places.sort(key=named.__contains__)  # what the nodes call themselves, by which their leaving is noticed
    complaints = []
    refused: AuthenticationError | None = None
    for place in places:
        answer = yield node_address(address, place)
        if isinstance(answer, list):
            # One that is cut off from the others hears nothing; who may not ask takes what answers.
            if isinstance(answer[0], ErrorReply) or b"cluster_state:ok" in answer[0]:
                return
            answer = NotConnected("it says that the cluster is down")
        if isinstance(answer, AuthenticationError):
            refused = answer
        complaints.append(f"{place[0]}:{place[1]}: {answer}")
    if refused is not None:
        raise refused
    raise ConnectionLost(f"no node is well ({'; '.join(complaints)})", sent=False)


def find_node(address: Address, options: WireOptions, context: ssl.SSLContext | None) -> SyncConnection:
    """Do `search_node`, blocking the calling thread; gives the open connection."""
    from ..sync import SyncConnection

    flow = search_node(address)
    place = next(flow)
    while True:
        link: SyncConnection | None = None
        answer: Answer
        try:
            link = SyncConnection(place, node_options(options), context)
            answer = link.exchange(STATE)
        except (ConnectionLost, LabspineError) as error:
            answer = error
        try:
            place = flow.send(answer)
        except StopIteration:
            if link is not None:
                return link
        if link is not None:
            link.close()


async def find_node_async(
    address: Address, options: WireOptions, context: ssl.SSLContext | None
) -> AsyncConnection:
    """Do `search_node` on an event loop; gives the open connection."""
    from ..asyncio import open_connection

    flow = search_node(address)
    place = next(flow)
    while True:
        link: AsyncConnection | None = None
        answer: Answer
        try:
            link = await open_connection(place, node_options(options), context)
            answer = await link.exchange(STATE)
        except (ConnectionLost, LabspineError) as error:
            answer = error
        try:
            place = flow.send(answer)
        except StopIteration:
            if link is not None:
                return link
        if link is not None:
            link.close()
