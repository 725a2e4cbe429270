# Generated from connector/_async/operations.py by scripts/unasync.py: change the source and run it.
"""What can be asked of values, streams, lists and sets; the part of the door that needs no subscription."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ...clock import mono_s
from ...endpoints import EndpointInfo
from ...flows import Cursors, Flow, lists, located, located_pattern, sets, state, streams
from ...messages import Message
from ...wire import SyncWire
from ..batch import Batch
from ..options import ConnectorOptions

__all__ = ["Operations"]

Endpoint = EndpointInfo[Any]
M = TypeVar("M", bound=Message)
Outcome = TypeVar("Outcome")
_MOST_KEYS = 100_000


class Operations:
    """
    Perform operations on a broker.

    Methods with ``pipe`` put the call into a pipeline instead when one is given: they return None then, and
    the result comes with the pipeline's ``execute``.

    Args:
        wire: Where to send.
        options: Of the connector.
    """

    def __init__(self, wire: SyncWire, options: ConnectorOptions) -> None:
        self.options = options
        self._wire = wire
        self._profile = options.profile
        self._cursors = Cursors()

    def _at(self, endpoint: EndpointInfo[M]) -> EndpointInfo[M]:
        return located(endpoint, self._profile, in_cluster=self.options.in_cluster)

    def _do(self, flow: Flow[Outcome], pipe: Batch | None = None) -> Outcome:
        """Perform a flow, or put it into a pipeline."""
        if pipe is None:
            return self._perform(flow)
        pipe.add(flow)
        return None  # type: ignore[return-value]  # said in the docstring of the class

    def _perform(self, flow: Flow[Outcome]) -> Outcome:
        """Drive a flow: send what it asks for, give it the replies or the error."""
        exchange = self._wire.exchange
        try:
            ask = next(flow)
            while True:
                try:
                    replies = exchange(ask)
                except Exception as error:
                    ask = flow.throw(error)
                else:
                    ask = flow.send(replies)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what the flow returned

    # --- values ---

    def get(self, endpoint: EndpointInfo[M], *, pipe: Batch | None = None) -> M | None:
        """
        Read the last message.

        Args:
            endpoint: Where.
            pipe: Put the call into this pipeline instead.

        Returns:
            The message, a list for a bundle, or None if there is none.

        Raises:
            InvalidOperation: If the endpoint does not allow it, or its key holds something else.
            DecodeError: If the value is not a message of the endpoint's type.
            NotConnected: If there is no connection.
        """
        return self._do(state.get(self._at(endpoint)), pipe)

    def mget(self, endpoints: Sequence[EndpointInfo[M]], *, pipe: Batch | None = None) -> list[M | None]:
        """Read the last messages of several endpoints in one step: a message or None for each."""
        return self._do(state.mget([self._at(e) for e in endpoints]), pipe)

    def set(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        expire_s: float | None = None,
        pipe: Batch | None = None,
    ) -> None:
        """
        Store a message.

        Args:
            endpoint: Where.
            message: What.
            expire_s: Seconds until it vanishes; None keeps it.
            pipe: Put the call into this pipeline instead.

        Raises:
            InvalidOperation: If the endpoint does not allow it.
            InvalidMessage: If the message is of another type.
            TooLarge: If it is above 16 MiB.
            DeliveryUnknown: If the link broke before the answer came.
        """
        self._do(state.set_value(self._at(endpoint), message, expire_s), pipe)

    def delete(self, endpoint: Endpoint, *, pipe: Batch | None = None) -> bool:
        """Remove what an endpoint holds; tells whether there was anything."""
        return self._do(state.delete(self._at(endpoint)), pipe)

    def keys(self, pattern: Endpoint, *, limit: int = _MOST_KEYS) -> list[str]:
        """
        List the keys that exist for a pattern, without blocking the server.

        Args:
            pattern: ``MessageEndpoints.pattern("device_read", device="sam*")``, or a plain endpoint.
            limit: Largest number of keys.

        Raises:
            TooLarge: If there are more.
        """
        place = located_pattern(pattern, self._profile, in_cluster=self.options.in_cluster)
        return self._perform(state.keys(place, limit))

    # --- streams ---

    def xadd(
        self,
        endpoint: Endpoint,
        content: Message | Mapping[str, object],
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
        approximate: bool = True,
        pipe: Batch | None = None,
    ) -> str:
        """
        Append an entry to a stream.

        Args:
            endpoint: Where.
            content: A message, which goes into the field ``data``; or a dict of fields.
            max_size: About how many entries are kept; None for all.
            expire_s: Seconds until the whole stream vanishes; None keeps it.
            approximate: Let the server trim when it is cheap; a few more entries are kept then.
            pipe: Put the call into this pipeline instead.

        Returns:
            The id of the entry.
        """
        flow = streams.xadd(
            self._at(endpoint),
            content,
            max_size=max_size,
            expire_s=expire_s,
            approximate=approximate,
        )
        return self._do(flow, pipe)

    def xread(
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
            self._at(endpoint),
            self._cursors,
            position="0-0" if from_start else id,
            count=count,
            block_s=block_s,
            reader=user_id,
        )
        return self._perform(flow)

    def raw_xread(
        self, stream_keys: Mapping[str, str], *, count: int | None = None, block_s: float | None = None
    ) -> list[tuple[str, list[tuple[str, dict[str, bytes]]]]]:
        """
        Read entries of any streams as they are: no catalogue, no profile, nothing decoded.

        Args:
            stream_keys: The key of each stream, and the id after which to read; ``"0"`` from the beginning.
            count: How many entries of each at most.
            block_s: Wait up to so many seconds for an entry.

        Returns:
            For each stream with news its key and its entries: id and fields.
        """
        return self._perform(streams.raw_xread(stream_keys, count=count, block_s=block_s))

    def xrange(
        self, endpoint: Endpoint, min: str = "-", max: str = "+", *, count: int | None = None
    ) -> list[dict[str, Any]]:
        """Read the entries of a stream between two ids, both included: one dict an entry."""
        return self._perform(streams.xrange(self._at(endpoint), min, max, count))

    def get_last(self, endpoint: Endpoint, key: str | None = None, count: int = 1) -> Any:
        """
        Read the newest entries of a stream.

        Args:
            endpoint: Where.
            key: Return the value of this field only.
            count: How many.

        Returns:
            For a count of 1 the entry (a dict) or None; else a list, oldest first.
        """
        return self._perform(streams.get_last(self._at(endpoint), key, count))

    # --- lists ---

    def lpush(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
        pipe: Batch | None = None,
    ) -> int:
        """Push at the head; the list keeps its newest ``max_size``; returns the length before trimming."""
        flow = lists.push(self._at(endpoint), message, "lpush", max_size=max_size, expire_s=expire_s)
        return self._do(flow, pipe)

    def rpush(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
        pipe: Batch | None = None,
    ) -> int:
        """Push at the tail; the list keeps its newest ``max_size``; returns the length before trimming."""
        flow = lists.push(self._at(endpoint), message, "rpush", max_size=max_size, expire_s=expire_s)
        return self._do(flow, pipe)

    def lrange(
        self, endpoint: EndpointInfo[M], start: int, end: int, *, pipe: Batch | None = None
    ) -> list[M]:
        """Read the items between two indices, both included; -1 is the last."""
        return self._do(lists.list_range(self._at(endpoint), start, end), pipe)

    def lset(self, endpoint: Endpoint, index: int, message: Message, *, pipe: Batch | None = None) -> None:
        """Replace the item at an index; -1 is the last; raises `InvalidArgument` if there is none."""
        self._do(lists.replace_item(self._at(endpoint), index, message), pipe)

    def llen(self, endpoint: Endpoint) -> int:
        """Count the items of a list."""
        return self._perform(lists.list_length(self._at(endpoint)))

    def lrem(self, endpoint: Endpoint, count: int, message: Message, *, pipe: Batch | None = None) -> int:
        """Remove equal items: `count` from the head, from the tail if negative, all if 0; tells how many."""
        return self._do(lists.remove(self._at(endpoint), count, message), pipe)

    def ltrim(self, endpoint: Endpoint, start: int, end: int) -> None:
        """Keep only the items between two indices, both included."""
        self._perform(lists.trim(self._at(endpoint), start, end))

    def blocking_list_pop(
        self, endpoint: EndpointInfo[M], side: lists.Side = "LEFT", timeout_s: float | None = None
    ) -> M | None:
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
        flow = lists.blocking_list_pop(self._at(endpoint), side, timeout_s, clock=mono_s)
        return self._perform(flow)

    def blocking_list_pop_to_set_add(
        self,
        list_endpoint: EndpointInfo[M],
        set_endpoint: Endpoint,
        side: lists.Side = "LEFT",
        timeout_s: float | None = None,
    ) -> M | None:
        """
        Move an item from a list into a set, in one atomic step; wait for one if there is none.

        A crash in between cannot lose the item: it is in the list or in the set.

        Args:
            list_endpoint: Whence.
            set_endpoint: Whither; `remove_from_set` takes it out when the work is done.
            side: ``"LEFT"`` or ``"RIGHT"``.
            timeout_s: Longest wait in seconds; None waits without limit.

        Returns:
            The message, or None if none came in time.

        Raises:
            PermissionDenied: If the login may not use EVAL, which this needs.
        """
        flow = lists.blocking_list_pop_to_set_add(
            self._at(list_endpoint), self._at(set_endpoint), side, timeout_s, clock=mono_s
        )
        return self._perform(flow)

    # --- sets ---

    def add_to_set(self, endpoint: Endpoint, message: Message, *, pipe: Batch | None = None) -> bool:
        """Add a member to a set; tells whether it was new."""
        return self._do(sets.add_to_set(self._at(endpoint), message), pipe)

    def remove_from_set(self, endpoint: Endpoint, message: Message, *, pipe: Batch | None = None) -> bool:
        """Remove a member from a set; tells whether it was there."""
        return self._do(sets.remove_from_set(self._at(endpoint), message), pipe)

    def get_set_members(self, endpoint: EndpointInfo[M], *, pipe: Batch | None = None) -> list[M]:
        """Read all members of a set, in no order."""
        return self._do(sets.get_set_members(self._at(endpoint)), pipe)
