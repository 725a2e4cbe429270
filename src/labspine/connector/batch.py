"""Collect calls that are sent together: what both doors' pipelines have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..endpoints import EndpointInfo
from ..errors import InvalidArgument, LabspineError
from ..flows import Exchange, Flow, Recording, events, lists, located, sets, state, streams
from ..messages import Message
from .options import ConnectorOptions

__all__ = ["Batch"]

Endpoint = EndpointInfo[Any]
_PENDING = object()


class Batch:
    """
    Collect calls; each is checked and encoded when it is made, and sent by ``execute``.

    Args:
        options: Of the connector.
        recording: Gives how events are recorded.
    """

    def __init__(self, options: ConnectorOptions, recording: Callable[[], Recording | None]) -> None:
        self._options = options
        self._recording = recording
        self._flows: list[Flow[Any]] = []
        self._asks: dict[int, Exchange] = {}
        self._is_done = False
        self._is_later_round = False
        self.results: list[Any] = []

    def __len__(self) -> int:
        return len(self._flows)

    def _at(self, endpoint: Endpoint) -> Endpoint:
        return located(endpoint, self._options.profile, in_cluster=self._options.in_cluster)

    def add(self, flow: Flow[Any]) -> None:
        """Collect a flow; the connector's methods with ``pipe`` do this."""
        if self._is_done:
            raise InvalidArgument("this pipeline was executed already: make a new one")
        number = len(self._flows)
        try:
            ask = next(flow)
        except StopIteration as end:
            self.results.append(end.value)
        else:
            self._asks[number] = ask
            self.results.append(_PENDING)
        self._flows.append(flow)

    def get(self, endpoint: Endpoint) -> None:
        """Collect `get`."""
        self.add(state.get(self._at(endpoint)))

    def set(self, endpoint: Endpoint, message: Message, *, expire_s: float | None = None) -> None:
        """Collect `set`."""
        self.add(state.set_value(self._at(endpoint), message, expire_s))

    def set_and_publish(self, endpoint: Endpoint, message: object, *, expire_s: float | None = None) -> None:
        """Collect `set_and_publish`."""
        self.add(events.set_and_publish(self._at(endpoint), message, self._recording(), expire_s=expire_s))

    def send(self, endpoint: Endpoint, message: object) -> None:
        """Collect `send`."""
        self.add(events.send(self._at(endpoint), message, self._recording()))

    def repeat(self, error: BaseException) -> None:
        """Collect `repeat`; have nothing else in this pipeline, or new events overtake the repeated ones."""
        self.add(events.repeat(error))

    def delete(self, endpoint: Endpoint) -> None:
        """Collect `delete`."""
        self.add(state.delete(self._at(endpoint)))

    def raw_send(self, channel: str, payload: str | bytes) -> None:
        """Collect `raw_send`."""
        self.add(events.raw_send(channel, payload))

    def mget(self, endpoints: Sequence[Endpoint]) -> None:
        """Collect `mget`."""
        self.add(state.mget([self._at(endpoint) for endpoint in endpoints]))

    def lset(self, endpoint: Endpoint, index: int, message: Message) -> None:
        """Collect `lset`."""
        self.add(lists.replace_item(self._at(endpoint), index, message))

    def xadd(
        self,
        endpoint: Endpoint,
        content: Message | Mapping[str, object],
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
        approximate: bool = True,
    ) -> None:
        """Collect `xadd`."""
        self.add(
            streams.xadd(
                self._at(endpoint), content, max_size=max_size, expire_s=expire_s, approximate=approximate
            )
        )

    def xrange(self, endpoint: Endpoint, min: str = "-", max: str = "+", *, count: int | None = None) -> None:
        """Collect `xrange`."""
        self.add(streams.xrange(self._at(endpoint), min, max, count))

    def get_last(self, endpoint: Endpoint, key: str | None = None, count: int = 1) -> None:
        """Collect `get_last`."""
        self.add(streams.get_last(self._at(endpoint), key, count))

    def lpush(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
    ) -> None:
        """Collect `lpush`."""
        self.add(lists.push(self._at(endpoint), message, "lpush", max_size=max_size, expire_s=expire_s))

    def rpush(
        self,
        endpoint: Endpoint,
        message: Message,
        *,
        max_size: int | None = None,
        expire_s: float | None = None,
    ) -> None:
        """Collect `rpush`."""
        self.add(lists.push(self._at(endpoint), message, "rpush", max_size=max_size, expire_s=expire_s))

    def lrange(self, endpoint: Endpoint, start: int, end: int) -> None:
        """Collect `lrange`."""
        self.add(lists.list_range(self._at(endpoint), start, end))

    def llen(self, endpoint: Endpoint) -> None:
        """Collect `llen`."""
        self.add(lists.list_length(self._at(endpoint)))

    def lrem(self, endpoint: Endpoint, count: int, message: Message) -> None:
        """Collect `lrem`."""
        self.add(lists.remove(self._at(endpoint), count, message))

    def ltrim(self, endpoint: Endpoint, start: int, end: int) -> None:
        """Collect `ltrim`."""
        self.add(lists.trim(self._at(endpoint), start, end))

    def add_to_set(self, endpoint: Endpoint, message: Message) -> None:
        """Collect `add_to_set`."""
        self.add(sets.add_to_set(self._at(endpoint), message))

    def remove_from_set(self, endpoint: Endpoint, message: Message) -> None:
        """Collect `remove_from_set`."""
        self.add(sets.remove_from_set(self._at(endpoint), message))

    def get_set_members(self, endpoint: Endpoint) -> None:
        """Collect `get_set_members`."""
        self.add(sets.get_set_members(self._at(endpoint)))

    # --- for execute ---

    def _begin(self) -> None:
        if self._is_done:
            raise InvalidArgument("this pipeline was executed already: make a new one")
        self._is_done = True

    def _round(self) -> tuple[list[Exchange], list[list[int]]]:
        """
        Say what is to be sent next.

        Returns:
            Exchanges, and for each the numbers of the calls that wait for it: calls that look for the same
            thing, as after a lost reply, ask once.
        """
        asks: list[Exchange] = []
        numbers: list[list[int]] = []
        shared: dict[Exchange, list[int]] = {}
        for number in sorted(self._asks):
            ask = self._asks[number]
            if self._is_later_round and ask.readonly and ask in shared:
                shared[ask].append(number)
                continue
            asks.append(ask)
            numbers.append([number])
            if self._is_later_round and ask.readonly:
                shared[ask] = numbers[-1]
        self._asks.clear()
        self._is_later_round = True
        return asks, numbers

    def _answer(self, numbers: list[list[int]], replies: list[Any]) -> None:
        """
        Give each flow its replies; it ends, or asks for more.

        The last call comes first: numbers of events that were never sent go back one by one.
        """
        for group, reply in zip(reversed(numbers), reversed(replies), strict=True):
            for number in reversed(group):
                self._answer_one(number, reply)

    def _answer_one(self, number: int, reply: Any) -> None:
        flow = self._flows[number]
        try:
            ask = flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply)
        except StopIteration as end:
            self.results[number] = end.value
        except LabspineError as error:
            self.results[number] = error
        else:
            self._asks[number] = ask

    def _concluded(self, return_errors: bool) -> list[Any]:
        errors = [at for at, result in enumerate(self.results) if isinstance(result, LabspineError)]
        if errors and not return_errors:
            error: LabspineError = self.results[errors[0]]
            error.add_note(
                f"pipeline of {len(self.results)} calls: {len(self.results) - len(errors)} done, "
                f"{len(errors)} failed (numbers {', '.join(map(str, errors[:20]))}); see its .results"
            )
            raise error
        return self.results
