"""One channel of a connection to RabbitMQ: questions and answers, confirmed publishing, deliveries."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from ...errors import shown
from ..protocol import ConnectionLost
from . import frames
from .fields import Properties, read_properties, short, table
from .frames import Method

__all__ = ["Channel", "ChannelRefused", "Delivery", "Nacked"]

_MOST_KEYS = 5000


class ChannelRefused(Exception):
    """
    The broker refused something and closed the channel; never leaves the wire.

    Args:
        code: AMQP's number, such as 404 for what does not exist.
        words: What the broker said.
    """

    def __init__(self, code: int, words: str) -> None:
        super().__init__(f"{code} {shown(words, 300)}")
        self.code = code


class Nacked(Exception):
    """The broker did not take a message; never leaves the wire."""


class Delivery:
    """
    A message as the broker hands it out.

    Args:
        number: Names this delivery on its channel, for `Channel.ack`.
        is_again: Whether it may have been delivered before.
        key: The routing key that it was published with.
        body: The payload.
    """

    __slots__ = ("_properties", "body", "channel", "is_again", "key", "left", "number")

    def __init__(
        self, channel: Channel, number: int, *, is_again: bool, key: str, properties: bytes, body: bytes
    ) -> None:
        self.channel = channel
        self.number = number
        self.is_again = is_again
        self.key = key
        self.body = body
        self.left = 0
        self._properties = properties

    @property
    def properties(self) -> Properties:
        """What travelled beside the payload."""
        return read_properties(self._properties)


class Owner(Protocol):
    """What a channel needs of its connection."""

    most_frame_bytes: int

    def write(self, data: bytes) -> None:
        """Send bytes soon, in order."""

    async def writable(self) -> None:
        """Wait until the broker takes more."""

    def forget(self, channel: Channel) -> None:
        """Note that a channel has ended."""


class _Pending:
    __slots__ = ("body", "future", "is_returned", "key")

    def __init__(self, future: asyncio.Future[bool], key: str, body: bytes) -> None:
        self.future = future
        self.key = key
        self.body = body
        self.is_returned = False


class Channel:
    """
    Speak on one channel; made by `AmqpConnection.channel`.

    Args:
        owner: The connection.
        number: Of the channel, 1 or more.
    """

    def __init__(self, owner: Owner, number: int) -> None:
        self.number = number
        self.closed: Exception | None = None
        self.on_cancelled: Callable[[str], None] = lambda _: None
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._asked: deque[asyncio.Future[tuple[int, bytes]]] = deque()
        self._got: deque[asyncio.Future[Delivery | None]] = deque()
        self._consumers: dict[str, Callable[[Delivery], None]] = {}
        self._unconfirmed: dict[int, _Pending] = {}
        self._published = 0
        self._consumed = 0
        self._prefixes: dict[tuple[str, str, bool], bytes] = {}
        self._coming: tuple[int, bytes] = (0, b"")
        self._header = b""
        self._size = 0
        self._bodies: list[bytes] = []

    # --- questions and answers ---

    async def ask(self, number: int, arguments: bytes = b"") -> bytes:
        """
        Say a method and wait for its answer.

        Args:
            number: One of `Method`.
            arguments: As the method wants them.

        Returns:
            The arguments of the answer.

        Raises:
            ChannelRefused: If the broker refused; the channel is closed then.
            ConnectionLost: If the link broke.
        """
        if self.closed is not None:
            raise _again(self.closed)
        future: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._asked.append(future)
        self._owner.write(frames.method(self.number, number, arguments))
        return (await future)[1]

    async def open(self, *, confirms: bool) -> None:
        """Open the channel; with confirms, `publish` waits for the broker's word."""
        await self.ask(Method.CHANNEL_OPEN, b"\x00")
        if confirms:
            await self.ask(Method.CONFIRM, b"\x00")

    async def close(self) -> None:
        """Close it; what waits gets `ConnectionLost`."""
        if self.closed is None:
            with suppress(ChannelRefused, ConnectionLost):
                await self.ask(Method.CHANNEL_CLOSE, b"\x00\xc8\x00\x00\x00\x00\x00")
            self.end(ConnectionLost("the channel is closed", sent=True))
            self._owner.forget(self)

    async def declare_exchange(self, name: str, kind: str) -> None:
        """Make sure that a durable exchange exists."""
        flags = b"\x02"
        await self.ask(Method.EXCHANGE_DECLARE, b"\x00\x00" + short(name) + short(kind) + flags + table({}))

    async def declare_queue(
        self,
        name: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> tuple[str, int, int]:
        """
        Make sure that a queue exists.

        Args:
            name: Empty lets the broker choose one.
            passive: Only look whether it exists.
            durable: It survives a restart of the broker.
            exclusive: For this connection only, and gone with it.
            auto_delete: Gone when its last consumer leaves.
            arguments: RabbitMQ's own, such as ``x-max-length``.

        Returns:
            Its name, how many messages are ready, how many consumers it has.
        """
        flags = passive | durable << 1 | exclusive << 2 | auto_delete << 3
        said = b"\x00\x00" + short(name) + bytes((flags,)) + table(arguments or {})
        answer = await self.ask(Method.QUEUE_DECLARE, said)
        end = 1 + answer[0]
        ready, consumers = (int.from_bytes(answer[i : i + 4], "big") for i in (end, end + 4))
        return answer[1:end].decode(), ready, consumers

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        """Let messages of an exchange whose key matches come into a queue."""
        said = b"\x00\x00" + short(queue) + short(exchange) + short(key) + b"\x00" + table({})
        await self.ask(Method.QUEUE_BIND, said)

    async def unbind(self, queue: str, exchange: str, key: str) -> None:
        """Undo `bind`."""
        said = b"\x00\x00" + short(queue) + short(exchange) + short(key) + table({})
        await self.ask(Method.QUEUE_UNBIND, said)

    async def delete_queue(self, name: str) -> int:
        """Delete a queue and what is in it; tells how many messages were."""
        answer = await self.ask(Method.QUEUE_DELETE, b"\x00\x00" + short(name) + b"\x00")
        return int.from_bytes(answer[:4], "big")

    async def purge_queue(self, name: str) -> int:
        """Throw away what is ready in a queue; tells how many messages were."""
        answer = await self.ask(Method.QUEUE_PURGE, b"\x00\x00" + short(name) + b"\x00")
        return int.from_bytes(answer[:4], "big")

    async def prefetch(self, count: int) -> None:
        """Take at most so many messages that are not acknowledged, for each consumer begun after this."""
        await self.ask(Method.QOS, b"\x00\x00\x00\x00" + count.to_bytes(2, "big") + b"\x00")

    def share_prefetch(self, count: int) -> None:
        """Let all consumers of this channel together hold at most so many messages, from now on."""
        if self.closed is None:
            self._asked.append(self._loop.create_future())  # nobody waits for the answer
            said = b"\x00\x00\x00\x00" + count.to_bytes(2, "big") + b"\x01"
            self._owner.write(frames.method(self.number, Method.QOS, said))

    async def consume(
        self,
        queue: str,
        callback: Callable[[Delivery], None],
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        arguments: Mapping[str, Any] | None = None,
    ) -> str:
        """
        Have messages delivered.

        Args:
            queue: Whence.
            callback: Called for each on the loop; must not wait.
            no_ack: A message counts as done when it was sent.
            exclusive: Refuse if there is another consumer, and let there be none.
            arguments: RabbitMQ's own.

        Returns:
            The name of the consumer, for `cancel`.
        """
        # Never the same name twice: a quorum queue counts what an earlier consumer of that name still holds.
        self._consumed += 1
        tag = f"labspine.{self.number}.{self._consumed}"
        self._consumers[tag] = callback
        flags = bytes((no_ack << 1 | exclusive << 2,))
        said = b"\x00\x00" + short(queue) + short(tag) + flags + table(arguments or {})
        try:
            await self.ask(Method.CONSUME, said)
        except BaseException:
            self._consumers.pop(tag, None)
            raise
        return tag

    async def cancel(self, consumer: str) -> None:
        """Stop deliveries to a consumer; what it has and did not acknowledge stays with the channel."""
        await self.ask(Method.CANCEL, short(consumer) + b"\x00")
        self._consumers.pop(consumer, None)

    async def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None:
        """Take one message out of a queue; None if it is empty."""
        if self.closed is not None:
            raise _again(self.closed)
        future: asyncio.Future[Delivery | None] = self._loop.create_future()
        self._got.append(future)
        said = b"\x00\x00" + short(queue) + (b"\x01" if no_ack else b"\x00")
        self._owner.write(frames.method(self.number, Method.GET, said))
        return await future

    # --- messages out ---

    async def publish(
        self, exchange: str, key: str, body: bytes, *, properties: bytes, mandatory: bool = False
    ) -> bool:
        """
        Publish, and wait until the broker has confirmed (on a channel with confirms).

        Args:
            exchange: Empty sends to the queue that the key names.
            key: The routing key.
            body: The payload.
            properties: As `written_properties` wrote them.
            mandatory: Tell when no queue takes the message.

        Returns:
            False if it is mandatory and no queue took it.

        Raises:
            ConnectionLost: If the link broke before the broker confirmed.
            ChannelRefused: If there is no such exchange or it is not allowed.
            Nacked: If the broker did not take the message.
        """
        await self._owner.writable()
        return await self.publish_nowait(exchange, key, body, properties=properties, mandatory=mandatory)

    def publish_nowait(
        self, exchange: str, key: str, body: bytes, *, properties: bytes, mandatory: bool = False
    ) -> asyncio.Future[bool]:
        """Publish now; the future has the outcome of `publish`."""
        if self.closed is not None:
            raise _again(self.closed)
        self._say(exchange, key, body, properties, mandatory)
        self._published += 1
        future: asyncio.Future[bool] = self._loop.create_future()
        self._unconfirmed[self._published] = _Pending(future, key, body)
        return future

    def publish_unconfirmed(self, exchange: str, key: str, body: bytes, *, properties: bytes) -> None:
        """Publish on a channel without confirms; nobody tells what becomes of it."""
        if self.closed is not None:
            raise _again(self.closed)
        self._say(exchange, key, body, properties, False)

    def _say(self, exchange: str, key: str, body: bytes, properties: bytes, mandatory: bool) -> None:
        place = (exchange, key, mandatory)
        prefix = self._prefixes.get(place)
        if prefix is None:
            said = b"\x00\x00" + short(exchange) + short(key) + (b"\x01" if mandatory else b"\x00")
            prefix = frames.method(self.number, Method.PUBLISH, said)
            if len(self._prefixes) >= _MOST_KEYS:
                self._prefixes.clear()
            self._prefixes[place] = prefix
        self._owner.write(
            prefix + frames.content(self.number, properties, body, self._owner.most_frame_bytes)
        )

    def ack(self, number: int, *, multiple: bool = False) -> None:
        """Say that a delivery (or all up to it) is done; nothing happens on a channel that has ended."""
        if self.closed is None:
            said = number.to_bytes(8, "big") + (b"\x01" if multiple else b"\x00")
            self._owner.write(frames.method(self.number, Method.ACK, said))

    def reject(self, number: int, *, requeue: bool) -> None:
        """Return a delivery to its queue, or let the broker drop or dead-letter it."""
        if self.closed is None:
            said = number.to_bytes(8, "big") + (b"\x01" if requeue else b"\x00")
            self._owner.write(frames.method(self.number, Method.REJECT, said))

    # --- what comes in; called by the connection ---

    def hear(self, kind: int, payload: bytes) -> None:
        """Take one frame."""
        if kind == frames.METHOD:
            number = int.from_bytes(payload[:4], "big")
            if number in (Method.DELIVER, Method.RETURN, Method.GET_OK):
                self._coming = (number, payload)
            elif number == Method.ACK:
                self._confirmed(payload, None)
            else:
                self._hear_method(number, payload)
        elif kind == frames.HEADER:
            self._size = int.from_bytes(payload[4:12], "big")
            self._header = payload[12:]
            if self._size == 0:
                self._complete(b"")
        elif self._size == len(payload) and not self._bodies:
            self._complete(payload)
        else:
            self._bodies.append(payload)
            self._size -= len(payload)
            if self._size <= 0:
                body = b"".join(self._bodies)
                self._bodies.clear()
                self._complete(body)

    def _hear_method(self, number: int, payload: bytes) -> None:
        if number == Method.NACK:
            self._confirmed(payload, Nacked("the broker did not take the message"))
        elif number == Method.GET_EMPTY:
            _settle(self._got.popleft(), None)
        elif number == Method.CHANNEL_CLOSE:
            self._owner.write(frames.method(self.number, Method.CHANNEL_CLOSE_OK))
            self.end(ChannelRefused(*frames.read_close(payload[4:])))
            self._owner.forget(self)
        elif number == Method.CANCEL:
            tag = payload[5 : 5 + payload[4]].decode()
            self._consumers.pop(tag, None)
            self.on_cancelled(tag)
        elif number == Method.FLOW:
            self._owner.write(frames.method(self.number, Method.FLOW_OK, payload[4:5]))
        elif self._asked:
            _settle(self._asked.popleft(), (number, payload[4:]))

    def _confirmed(self, payload: bytes, error: Exception | None) -> None:
        number = int.from_bytes(payload[4:12], "big")
        if not payload[12] & 1:
            self._conclude(number, error)
            return
        for one in [n for n in self._unconfirmed if n <= number]:
            self._conclude(one, error)

    def _conclude(self, number: int, error: Exception | None) -> None:
        pending = self._unconfirmed.pop(number, None)
        if pending is None or pending.future.done():
            return
        if error is None:
            pending.future.set_result(not pending.is_returned)
        else:
            pending.future.set_exception(error)

    def _complete(self, body: bytes) -> None:
        number, said = self._coming
        if number == Method.DELIVER:
            tag, delivery_number, is_again, _, key = frames.read_deliver(said[4:])
            consumer = self._consumers.get(tag)
            if consumer is not None:
                consumer(
                    Delivery(
                        self, delivery_number, is_again=is_again, key=key, properties=self._header, body=body
                    )
                )
        elif number == Method.RETURN:
            self._returned(said[4:], body)
        else:
            delivery_number, is_again, _, key, left = frames.read_get_ok(said[4:])
            delivery = Delivery(
                self, delivery_number, is_again=is_again, key=key, properties=self._header, body=body
            )
            delivery.left = left
            _settle(self._got.popleft(), delivery)

    def _returned(self, said: bytes, body: bytes) -> None:
        """Find the message that came back: the return does not tell its number, but it has the same bytes."""
        key = frames.read_return_key(said)
        for pending in self._unconfirmed.values():
            if not pending.is_returned and pending.body == body and pending.key == key:
                pending.is_returned = True
                return

    def end(self, error: Exception) -> None:
        """Note that the channel has ended; everything that waits fails, in order."""
        if self.closed is not None:
            return
        self.closed = error
        waiting: list[asyncio.Future[Any]] = [*self._asked, *self._got]
        waiting += [pending.future for pending in self._unconfirmed.values()]
        self._asked.clear()
        self._got.clear()
        self._unconfirmed.clear()
        self._consumers.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(_again(error))
                future.exception()  # nobody need look at it


def _settle(future: asyncio.Future[Any], value: object) -> None:
    if not future.done():
        future.set_result(value)


def _again(error: Exception) -> Exception:
    """Copy an error: one that is raised in several places would collect their tracebacks."""
    if isinstance(error, ChannelRefused):
        code, _, words = str(error).partition(" ")
        return ChannelRefused(int(code), words)
    return ConnectionLost(error, sent=True)
