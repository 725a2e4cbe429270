"""Which subscriptions listen where, and which words of the server belong to which of our requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import LabspineError, NotConnected
from ..flows import EntryId, Exchange
from ..wire import ErrorReply, pack, translated
from .subscriptions import Subscription

__all__ = ["Route", "Routes"]

Waiter = Callable[[LabspineError | None], None]


class Route:
    """
    One channel or pattern on the server, and who listens to it.

    Args:
        key: The channel or pattern.
        is_pattern: Which of the two.
    """

    __slots__ = ("is_confirmed", "is_pattern", "key", "subscriptions", "waiters", "was_confirmed")

    def __init__(self, key: bytes, *, is_pattern: bool) -> None:
        self.key = key
        self.is_pattern = is_pattern
        self.is_confirmed = False
        self.was_confirmed = False
        self.subscriptions: tuple[Subscription, ...] = ()
        self.waiters: list[Waiter] = []

    def answer(self, error: LabspineError | None) -> None:
        """Tell everybody who waits for the confirmation."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter(error)


class Routes:
    """
    Keep the table of routes and follow the conversation on the subscriber's connection.

    Args:
        wake: Called with a subscription that needs a worker.
    """

    def __init__(self, wake: Callable[[Subscription], None]) -> None:
        self.channels: dict[bytes, Route] = {}
        self.patterns: dict[bytes, Route] = {}
        self._wake = wake
        self._due: deque[tuple[bytes, bytes]] = deque()
        self._barriers: dict[bytes, Mapping[str, EntryId]] = {}
        self._heard_since: dict[str, EntryId] = {}
        self._barrier_number = 0

    # --- the table ---

    def all_routes(self) -> list[Route]:
        """List every route."""
        return [*self.channels.values(), *self.patterns.values()]

    def subscriptions(self) -> list[Subscription]:
        """List every subscription."""
        return [subscription for route in self.all_routes() for subscription in route.subscriptions]

    def sources(self) -> list[str]:
        """List the histories that some subscription reads."""
        return sorted({s.source for s in self.subscriptions() if s.source is not None})

    def add(self, subscription: Subscription) -> tuple[Route, bool]:
        """
        Put a subscription into the table.

        Returns:
            Its route, and whether the server must be asked for it.
        """
        table = self.patterns if subscription.endpoint.is_pattern else self.channels
        route = table.get(subscription.key)
        is_new = route is None
        if route is None:
            route = Route(subscription.key, is_pattern=subscription.endpoint.is_pattern)
            table[subscription.key] = route
        route.subscriptions += (subscription,)
        if route.is_confirmed and subscription.link_ready(None, is_again=False):
            self._wake(subscription)
        return route, is_new

    def remove(self, subscription: Subscription) -> Route | None:
        """
        Take a subscription out of the table.

        Returns:
            Its route if nobody listens to it any more, so that the server must be told.
        """
        subscription.close()
        table = self.patterns if subscription.endpoint.is_pattern else self.channels
        route = table.get(subscription.key)
        if route is None or subscription not in route.subscriptions:
            return None
        route.subscriptions = tuple(s for s in route.subscriptions if s is not subscription)
        if route.subscriptions:
            return None
        del table[subscription.key]
        return route

    # --- what we say ---

    def ask_subscribe(self, routes: Iterable[Route]) -> bytes:
        """Make the words that subscribe to some routes."""
        return self._ask(routes, (b"subscribe", b"psubscribe"))

    def ask_unsubscribe(self, routes: Iterable[Route]) -> bytes:
        """Make the words that leave some routes."""
        return self._ask(routes, (b"unsubscribe", b"punsubscribe"))

    def _ask(self, routes: Iterable[Route], words: tuple[bytes, bytes]) -> bytes:
        parts: list[bytes] = []
        for route in routes:
            word = words[route.is_pattern]
            self._due.append((word, route.key))
            parts.append(_packed(word, route.key))
        return b"".join(parts)

    def ask_ping(self, barrier: Mapping[str, EntryId] | None = None) -> bytes:
        """
        Make the words that ask for a sign of life.

        Args:
            barrier: Where each history ended before this is sent. When the answer comes, everything up to
                there has been heard, because one connection keeps the order.

        Returns:
            The bytes to write.
        """
        token = b""
        if barrier:
            self._barrier_number += 1
            token = b"%d" % self._barrier_number
            self._barriers[token] = barrier
        self._due.append((b"pong", token))
        return _packed(b"PING", token)

    def ask_whether_allowed(self) -> Exchange:
        """Ask whether a new login may listen to all this: each command is judged, none is performed."""
        commands: list[tuple[str | bytes, ...]] = [("MULTI",)]
        for route in self.all_routes():
            commands.append(("PSUBSCRIBE" if route.is_pattern else "SUBSCRIBE", route.key))
        commands += [("XREVRANGE", key, "+", "-", "COUNT", "1") for key in self.sources()]
        return Exchange((*commands, ("DISCARD",)), readonly=True)

    def open_link(self, heard_since: Mapping[str, EntryId]) -> bytes:
        """
        Begin a new connection.

        Args:
            heard_since: Where each history ended before.

        Returns:
            What to write: the subscriptions of all routes.
        """
        self._heard_since = dict(heard_since)
        return self.ask_subscribe(self.all_routes())

    def link_lost(self) -> None:
        """Note that the connection broke: nothing is confirmed, and durable subscriptions are behind."""
        self._due.clear()
        self._barriers.clear()
        for route in self.all_routes():
            route.is_confirmed = False
            for subscription in route.subscriptions:
                subscription.link_lost()

    def doubt(self, ends: Mapping[str, EntryId]) -> None:
        """Let durable subscriptions read what their histories have got since; see `Subscription.doubt`."""
        for subscription in self.subscriptions():
            ended = ends.get(subscription.source or "")
            if ended is not None and subscription.doubt(ended):
                self._wake(subscription)

    def give_up(self, error: LabspineError) -> None:
        """Tell everybody who waits that nothing will come."""
        for route in self.all_routes():
            route.answer(error)

    # --- what the server says ---

    def dispatch(self, reply: Any, wake: Callable[[Subscription], None]) -> bool:
        """
        Hand a message to its subscriptions.

        Args:
            reply: One reply of the server.
            wake: Called with a subscription that needs a worker.

        Returns:
            False if it is not a message; then it goes to `conclude`.
        """
        if type(reply) is not list:
            return False
        if reply[0] == b"message":
            _, channel, payload = reply
            route = self.channels.get(channel)
        elif reply[0] == b"pmessage":
            _, pattern, channel, payload = reply
            route = self.patterns.get(pattern)
        else:
            return False
        if route is not None:
            size_bytes = len(payload)
            for subscription in route.subscriptions:
                if subscription.offer(channel, payload, size_bytes):
                    wake(subscription)
        return True

    def conclude(self, reply: Any) -> None:
        """Match an answer of the server with what we said."""
        if not self._due:
            return
        word, key = self._due.popleft()
        if isinstance(reply, ErrorReply):
            self._refused(word, key, reply)
        elif word == b"pong":
            self._passed(self._barriers.pop(key, {}))
        elif word in (b"subscribe", b"psubscribe"):
            route = (self.channels if word == b"subscribe" else self.patterns).get(key)
            if route is not None:
                self._confirmed(route)

    def _refused(self, word: bytes, key: bytes, reply: ErrorReply) -> None:
        table = self.channels if word == b"subscribe" else self.patterns
        route = table.get(key) if word in (b"subscribe", b"psubscribe") else None
        if route is not None:
            route.answer(translated(reply, (word.decode().upper(), key)))

    def _confirmed(self, route: Route) -> None:
        is_again = route.was_confirmed
        route.is_confirmed = route.was_confirmed = True
        for subscription in route.subscriptions:
            ended = self._heard_since.get(subscription.source or "")
            if subscription.link_ready(ended, is_again=is_again):
                self._wake(subscription)
        route.answer(None)

    def _passed(self, barrier: Mapping[str, EntryId]) -> None:
        if barrier:
            for subscription in self.subscriptions():
                position = barrier.get(subscription.source or "")
                if position is not None:
                    subscription.reached(position)


def _packed(*words: bytes) -> bytes:
    packed = pack(Exchange((words,)))
    if isinstance(packed, bytes):
        return packed
    raise NotConnected("a channel name is too long")  # cannot happen: names have at most 512 bytes
