"""The asyncio door to the bus; the blocking one is generated from it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from ...clock import mono_s
from ...endpoints import EndpointInfo
from ...errors import InvalidArgument
from ...flows import (
    Cursors,
    Flow,
    Recording,
    ServerReport,
    events,
    lists,
    located,
    located_pattern,
    server,
    sets,
    state,
    streams,
)
from ...messages import Message
from ...wire import AsyncConnection, AsyncioWire, open_connection
from ..callbacks import Callback
from ..counters import Counters
from ..options import ConnectorOptions, checked_options
from ..registering import Endpoints, Registration, chosen_endpoints, matching, not_yet_there
from .delivery import AsyncDelivery
from .pipeline import AsyncPipeline
from .reader import AsyncReader
from .stream_reader import AsyncStreamReader
from .workers import MAY_BE_COROUTINE, AsyncWorkers, Senders, new_lock

__all__ = ["AsyncConnector"]

Endpoint = EndpointInfo[Any]
Outcome = TypeVar("Outcome")
_MOST_KEYS = 100_000


class AsyncConnector:
    """
    Say and hear messages on a broker.

    It connects when it is first used, and comes back by itself when the link breaks.

    Args:
        bootstrap: ``"host:port"``, ``"[::1]:port"``, ``redis://``, ``rediss://`` or ``unix://`` URL.
        options: See `ConnectorOptions`: name, profile, username, password, timeout_s, history ...

    Raises:
        ConfigError: If the address or profile cannot work.
        InvalidArgument: If an option is unknown or out of range.
    """

    def __init__(self, bootstrap: object = "localhost:6379", **options: Any) -> None:
        try:
            self.options = ConnectorOptions(**options)
        except TypeError as error:
            raise InvalidArgument(f"an option of the connector is not known: {error}") from error
        self.address = checked_options(bootstrap, self.options)
        self.counters = Counters()
        if self.options.switch_interval_s is not None:
            sys.setswitchinterval(self.options.switch_interval_s)
        self._wire = AsyncioWire(self.address, self.options.wire(), self.options.tls)
        self._profile = self.options.profile
        self._senders = Senders()
        self._cursors = Cursors()
        self._workers = AsyncWorkers()
        delivery = AsyncDelivery(self._perform, self.counters)
        self._registration = Registration(
            self.options, new_lock, delivery.work, may_be_coroutine=MAY_BE_COROUTINE
        )
        self._reader = AsyncReader(
            self._open_reader,
            self._perform,
            self._workers,
            distrust=self._wire.distrust,
            counters=self.counters,
            timeout_s=self.options.timeout_s,
        )
        self._streams = AsyncStreamReader(self._perform, self._workers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r}, profile={self._profile!r})"

    # --- life ---

    async def connect(self) -> None:
        """
        Make sure that the broker answers; the first call of any other method does it too.

        Raises:
            NotConnected: If it does not.
            AuthenticationError: If it does not accept the login.
        """
        await self._wire.connect()

    async def close(self) -> None:
        """End all subscriptions and connections; closing twice does nothing, and a callback may do it."""
        await self._reader.close()
        await self._streams.close()
        await self._workers.close()
        await self._wire.close()

    async def shutdown(self) -> None:
        """Do the same as `close`."""
        await self.close()

    async def __aenter__(self) -> AsyncConnector:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- values ---

    async def get(self, endpoint: Endpoint) -> Any:
        """
        Read the last message.

        Args:
            endpoint: Where.

        Returns:
            The message, a list for a bundle, or None if there is none.

        Raises:
            InvalidOperation: If the endpoint does not allow it, or its key holds something else.
            DecodeError: If the value is not a message of the endpoint's type.
            NotConnected: If there is no connection.
        """
        return await self._perform(state.get(located(endpoint, self._profile)))

    async def mget(self, endpoints: Sequence[Endpoint]) -> list[Any]:
        """Read the last messages of several endpoints in one step: a message or None for each."""
        return await self._perform(state.mget([located(e, self._profile) for e in endpoints]))

    async def set(self, endpoint: Endpoint, message: Message, *, expire_s: float | None = None) -> None:
        """
        Store a message.

        Args:
            endpoint: Where.
            message: What.
            expire_s: Seconds until it vanishes; None keeps it.

        Raises:
            InvalidOperation: If the endpoint does not allow it.
            InvalidMessage: If the message is of another type.
            TooLarge: If it is above 16 MiB.
            DeliveryUnknown: If the link broke before the answer came.
        """
        await self._perform(state.set_value(located(endpoint, self._profile), message, expire_s))

    async def delete(self, endpoint: Endpoint) -> bool:
        """Remove what an endpoint holds; tells whether there was anything."""
        return await self._perform(state.delete(located(endpoint, self._profile)))

    async def keys(self, pattern: Endpoint, *, limit: int = _MOST_KEYS) -> list[str]:
        """
        List the keys that exist for a pattern, without blocking the server.

        Args:
            pattern: ``MessageEndpoints.pattern("device_read", device="sam*")``, or a plain endpoint.
            limit: Largest number of keys.

        Raises:
            TooLarge: If there are more.
        """
        return await self._perform(state.keys(located_pattern(pattern, self._profile), limit))

    # --- events ---

    async def send(self, endpoint: Endpoint, message: object) -> int:
        """
        Publish an event.

        Args:
            endpoint: Where.
            message: A message, or a list of them, which travels as a bundle.

        Returns:
            How many connections heard it.

        Raises:
            InvalidOperation: If the endpoint does not allow it.
            InvalidMessage: If the message is of another type.
            TooLarge: If it is above 16 MiB.
            NotConnected: If nothing was sent.
            DeliveryUnknown: If the link broke and the outcome could not be found out.
        """
        return await self._perform(events.send(located(endpoint, self._profile), message, self._recording()))

    async def set_and_publish(
        self, endpoint: Endpoint, message: object, *, expire_s: float | None = None
    ) -> None:
        """Store a message and publish it in one atomic step; arguments and errors as `set` and `send`."""
        flow = events.set_and_publish(
            located(endpoint, self._profile), message, self._recording(), expire_s=expire_s
        )
        await self._perform(flow)

    async def register(
        self,
        topics: Endpoints | None = None,
        cb: Callback | None = None,
        *,
        patterns: Endpoints | None = None,
        from_start: bool = False,
        since_utc_s: float | None = None,
        newest_only: bool = False,
        **kwargs: Any,
    ) -> None:
        """
        Call a function for each message; returns when the server has confirmed.

        The callback is called as ``cb(message_object, **kwargs)``, off the reader, one call at a time and in
        order; see `MessageObject`. Durable endpoints survive interruptions: what was missed is delivered,
        once; what cannot be read again is told as a `Gap`. Registering the same callback with equal kwargs
        again does nothing.

        Args:
            topics: An endpoint or a list of them.
            cb: The function; lambdas and bound methods are kept alive.
            patterns: A pattern of the catalogue or a list of them.
            from_start: Deliver first what is recorded, then go on live: each message once, in order.
            since_utc_s: The same from this time on, in seconds since 1970 UTC.
            newest_only: Keep only the newest message while the callback is busy.
            kwargs: Handed to each call.

        Raises:
            InvalidArgument: If the callback or the options cannot work.
            InvalidOperation: If an endpoint does not allow it.
            PermissionDenied: If the server's rules refuse a channel.
            NotConnected: If there is no connection.
        """
        chosen = chosen_endpoints(topics, patterns, self.options)
        made = self._registration.subscriptions(
            chosen,
            cb,
            kwargs,
            from_start=from_start,
            since_utc_s=since_utc_s,
            newest_only=newest_only,
        )
        new = not_yet_there(made, self._reader.subscriptions() + self._streams.subscriptions())
        events_wanted = [s for s in new if not s.is_stream]
        streams_wanted = [s for s in new if s.is_stream]
        if events_wanted:
            await self._reader.add(events_wanted)
        if streams_wanted:
            await self._streams.add(streams_wanted)

    subscribe = register

    async def unregister(
        self,
        topics: Endpoints | None = None,
        cb: Callback | None = None,
        *,
        patterns: Endpoints | None = None,
    ) -> bool:
        """
        Stop calling a function.

        Args:
            topics: Where; None, without patterns, means everywhere.
            cb: Which function; None means all of them.
            patterns: Where, as patterns.

        Returns:
            Whether anything was registered like that.

        Raises:
            InvalidArgument: If neither places nor a function are given.
        """
        if topics is None and patterns is None and cb is None:
            raise InvalidArgument("unregister what? Give an endpoint, a pattern or a callback")
        places = None
        if topics is not None or patterns is not None:
            places = chosen_endpoints(topics, patterns, self.options)
        found = matching(self._reader.subscriptions() + self._streams.subscriptions(), places, cb)
        await self._reader.remove([s for s in found if not s.is_stream])
        await self._streams.remove([s for s in found if s.is_stream])
        return bool(found)

    # --- streams ---

    async def xadd(
        self,
        endpoint: Endpoint,
        content: Message | Mapping[str, object],
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
        approximate: bool = True,
    ) -> str:
        """
        Append an entry to a stream.

        Args:
            endpoint: Where.
            content: A message, which goes into the field ``data``; or a dict of fields.
            max_size: About how many entries are kept; None for all.
            expire_s: Seconds until the whole stream vanishes; None keeps it.
            approximate: Let the server trim when it is cheap; a few more entries are kept then.

        Returns:
            The id of the entry.
        """
        flow = streams.xadd(
            located(endpoint, self._profile),
            content,
            max_size=max_size,
            expire_s=expire_s,
            approximate=approximate,
        )
        return await self._perform(flow)

    async def xread(
        self,
        endpoint: Endpoint,
        id: str | None = None,
        *,
        count: int | None = None,
        block_s: float | None = None,
        from_start: bool = False,
        user_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """
        Read what is new in a stream since the last call.

        Args:
            endpoint: Where.
            id: Read after this entry instead.
            count: How many entries at most.
            block_s: Wait up to so many seconds for an entry.
            from_start: Read from the beginning.
            user_id: A name that separates readers of the same stream.

        Returns:
            One dict an entry; the first call gives the last entry that exists.
        """
        flow = streams.xread(
            located(endpoint, self._profile),
            self._cursors,
            position="0-0" if from_start else id,
            count=count,
            block_s=block_s,
            reader=user_id,
        )
        return await self._perform(flow)

    async def xrange(
        self, endpoint: Endpoint, min: str = "-", max: str = "+", *, count: int | None = None
    ) -> list[dict[str, Any]]:
        """Read the entries of a stream between two ids, both included: one dict an entry."""
        return await self._perform(streams.xrange(located(endpoint, self._profile), min, max, count))

    async def get_last(self, endpoint: Endpoint, key: str | None = None, count: int = 1) -> Any:
        """
        Read the newest entries of a stream.

        Args:
            endpoint: Where.
            key: Return the value of this field only.
            count: How many.

        Returns:
            For a count of 1 the entry (a dict) or None; else a list, oldest first.
        """
        return await self._perform(streams.get_last(located(endpoint, self._profile), key, count))

    # --- lists ---

    async def lpush(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
    ) -> int:
        """Push at the head; the list keeps its newest ``max_size``; returns the length before trimming."""
        flow = lists.push(
            located(endpoint, self._profile), message, "lpush", max_size=max_size, expire_s=expire_s
        )
        return await self._perform(flow)

    async def rpush(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
    ) -> int:
        """Push at the tail; the list keeps its newest ``max_size``; returns the length before trimming."""
        flow = lists.push(
            located(endpoint, self._profile), message, "rpush", max_size=max_size, expire_s=expire_s
        )
        return await self._perform(flow)

    async def lrange(self, endpoint: Endpoint, start: int, end: int) -> list[Any]:
        """Read the items between two indices, both included; -1 is the last."""
        return await self._perform(lists.list_range(located(endpoint, self._profile), start, end))

    async def llen(self, endpoint: Endpoint) -> int:
        """Count the items of a list."""
        return await self._perform(lists.list_length(located(endpoint, self._profile)))

    async def lrem(self, endpoint: Endpoint, count: int, message: Message) -> int:
        """Remove equal items: `count` from the head, from the tail if negative, all if 0; tells how many."""
        return await self._perform(lists.remove(located(endpoint, self._profile), count, message))

    async def ltrim(self, endpoint: Endpoint, start: int, end: int) -> None:
        """Keep only the items between two indices, both included."""
        await self._perform(lists.trim(located(endpoint, self._profile), start, end))

    async def blocking_list_pop(
        self, endpoint: Endpoint, side: lists.Side = "LEFT", timeout_s: float | None = None
    ) -> Any:
        """
        Pop an item; wait for one if there is none.

        Args:
            endpoint: Where.
            side: ``"LEFT"`` or ``"RIGHT"``.
            timeout_s: Longest wait in seconds; None waits without limit.

        Returns:
            The message, or None if none came in time.

        Raises:
            DeliveryUnknown: If the link broke; an item may have been popped and lost then.
        """
        flow = lists.blocking_list_pop(located(endpoint, self._profile), side, timeout_s, clock=mono_s)
        return await self._perform(flow)

    # --- sets ---

    async def add_to_set(self, endpoint: Endpoint, message: Message) -> bool:
        """Add a member to a set; tells whether it was new."""
        return await self._perform(sets.add_to_set(located(endpoint, self._profile), message))

    async def remove_from_set(self, endpoint: Endpoint, message: Message) -> bool:
        """Remove a member from a set; tells whether it was there."""
        return await self._perform(sets.remove_from_set(located(endpoint, self._profile), message))

    async def get_set_members(self, endpoint: Endpoint) -> list[Any]:
        """Read all members of a set, in no order."""
        return await self._perform(sets.get_set_members(located(endpoint, self._profile)))

    # --- the broker itself ---

    async def server_report(self) -> ServerReport:
        """Ask the broker for its version, clock, persistence and memory policy."""
        return await self._perform(server.server_report())

    # --- many at once ---

    def pipeline(self) -> AsyncPipeline:
        """
        Collect calls and send them in one write.

        Returns:
            A context manager with the names of these methods, and ``execute``.
        """
        return AsyncPipeline(self._wire, self.options, self._recording)

    # --- inside ---

    def _recording(self) -> Recording | None:
        if not self.options.history:
            return None
        return Recording(self._senders.current(), self.options.history_cap)

    async def _open_reader(self) -> AsyncConnection:
        return await open_connection(self.address, self.options.wire(), self.options.tls)

    async def _perform(self, flow: Flow[Outcome]) -> Outcome:
        """Drive a flow: send what it asks for, give it the replies or the error."""
        exchange = self._wire.exchange
        try:
            ask = next(flow)
            while True:
                try:
                    replies = await exchange(ask)
                except Exception as error:
                    ask = flow.throw(error)
                else:
                    ask = flow.send(replies)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what the flow returned
