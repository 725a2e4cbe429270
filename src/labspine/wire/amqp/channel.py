"""One channel of a connection to RabbitMQ, on aio-pika's aiormq: questions, publishing, deliveries."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

import aiormq
from aiormq import spec
from aiormq.abc import DeliveredMessage

from ...errors import shown
from ..protocol import ConnectionLost
from .properties import Properties, Written, read_properties, short, with_id

__all__ = ["Channel", "ChannelRefused", "Delivery", "Nacked"]

T = TypeVar("T")
_exceptions = aiormq.exceptions
_CODES: dict[type[Exception], int] = {
    _exceptions.ChannelAccessRefused: 403,
    _exceptions.ChannelNotFoundEntity: 404,
    _exceptions.ChannelLockedResource: 405,
    _exceptions.ChannelPreconditionFailed: 406,
}


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
        self.words = words


class Nacked(Exception):
    """The broker did not take a message; never leaves the wire."""


class Delivery:
    """
    A message as the broker hands it out.

    Args:
        channel: Whose delivery it is.
        message: As the library read it.
    """

    __slots__ = ("_message", "body", "channel", "is_again", "key", "left", "number")

    def __init__(self, channel: Channel, message: DeliveredMessage) -> None:
        said: Any = message.delivery
        self.channel = channel
        self.number: int = said.delivery_tag
        """Names this delivery on its channel, for `Channel.ack`."""
        self.is_again = bool(said.redelivered)
        """Whether it may have been delivered before."""
        self.key: str = said.routing_key or ""
        self.body: bytes = message.body
        self.left: int = getattr(said, "message_count", None) or 0
        """How many messages the queue still held (of `Channel.get`)."""
        self._message = message

    @property
    def properties(self) -> Properties:
        """What travelled beside the payload."""
        return read_properties(self._message.header.properties)


class Channel:
    """
    Speak on one channel; made by `AmqpConnection.channel`.

    Args:
        inner: The channel of the library, open.
        forget: Called when this side closed it.
    """

    def __init__(self, inner: aiormq.abc.AbstractChannel, forget: Callable[[Channel], None]) -> None:
        self.number: int = inner.number
        self.closed: Exception | None = None
        self.on_cancelled: Callable[[str], None] = lambda _: None
        self._inner = cast("aiormq.Channel", inner)
        self._forget = forget
        self._published = 0
        self._consumed = 0
        self._soon: deque[Callable[[], Awaitable[object]]] = deque()
        self._saying: asyncio.Task[None] | None = None
        inner.closing.add_done_callback(self._inner_closed)
        inner.on_consumer_cancel_callbacks.add(lambda frame: self.on_cancelled(frame.consumer_tag or ""))

    # --- questions and answers ---

    async def _ask(self, answer: Awaitable[T]) -> T:
        """Wait for an answer of the library, and speak of what went wrong in our words."""
        try:
            return await answer
        except (aiormq.AMQPError, OSError, RuntimeError) as error:
            raise self._reason(error) from error
        except asyncio.CancelledError:
            if self.closed is not None and not _is_cancelled():
                raise self._reason(self.closed) from None  # the library cancels what waited on a lost link
            raise

    def _reason(self, error: BaseException) -> Exception:
        """Say why something failed: the channel's end explains more than its symptoms."""
        if isinstance(error, aiormq.DeliveryError):
            return Nacked("the broker did not take the message")
        found = _named(error)
        if isinstance(found, ChannelRefused) or self.closed is None:
            return found
        return _named(self.closed)

    async def close(self) -> None:
        """Close it; what waits gets `ConnectionLost`."""
        if self.closed is None:
            await self._drain()
            with suppress(ChannelRefused, ConnectionLost):
                await self._ask(self._inner.close())
            self.end(ConnectionLost("the channel is closed", sent=True))
            self._forget(self)

    async def declare_exchange(self, name: str, kind: str) -> None:
        """Make sure that a durable exchange exists."""
        await self._ask(self._inner.exchange_declare(short(name), exchange_type=kind, durable=True))

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

        Raises:
            ChannelRefused: If the broker refused; the channel is closed then.
            ConnectionLost: If the link broke.
        """
        said = await self._ask(
            self._inner.queue_declare(
                short(name),
                passive=passive,
                durable=durable,
                exclusive=exclusive,
                auto_delete=auto_delete,
                arguments=dict(arguments or {}),
            )
        )
        return said.queue or name, said.message_count or 0, said.consumer_count or 0

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        """Let messages of an exchange whose key matches come into a queue."""
        await self._ask(self._inner.queue_bind(queue, exchange, routing_key=short(key)))

    async def unbind(self, queue: str, exchange: str, key: str) -> None:
        """Undo `bind`."""
        await self._ask(self._inner.queue_unbind(queue, exchange, routing_key=short(key)))

    async def delete_queue(self, name: str) -> int:
        """Delete a queue and what is in it; tells how many messages were."""
        return (await self._ask(self._inner.queue_delete(short(name)))).message_count or 0

    async def purge_queue(self, name: str) -> int:
        """Throw away what is ready in a queue; tells how many messages were."""
        return (await self._ask(self._inner.queue_purge(short(name)))).message_count or 0

    async def prefetch(self, count: int) -> None:
        """Take at most so many messages that are not acknowledged, for each consumer begun after this."""
        await self._ask(self._inner.basic_qos(prefetch_count=count))

    def share_prefetch(self, count: int) -> None:
        """Let all consumers of this channel together hold at most so many messages, from now on."""
        self._say(lambda: self._inner.basic_qos(prefetch_count=count, global_=True))

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

        async def deliver(message: DeliveredMessage) -> None:
            callback(Delivery(self, message))

        await self._ask(
            self._inner.basic_consume(
                queue,
                deliver,
                no_ack=no_ack,
                exclusive=exclusive,
                arguments=dict(arguments or {}),
                consumer_tag=tag,
            )
        )
        return tag

    async def cancel(self, consumer: str) -> None:
        """Stop deliveries to a consumer; what it has and did not acknowledge stays with the channel."""
        await self._ask(self._inner.basic_cancel(consumer))

    async def get(self, queue: str, *, no_ack: bool = False) -> Delivery | None:
        """Take one message out of a queue; None if it is empty."""
        await self._drain()
        message = await self._ask(self._inner.basic_get(short(queue), no_ack=no_ack))
        return None if isinstance(message.delivery, spec.Basic.GetEmpty) else Delivery(self, message)

    # --- messages out ---

    async def publish(
        self, exchange: str, key: str, body: bytes, *, properties: Written, mandatory: bool = False
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
        if self.closed is not None:
            raise _named(self.closed)
        self._published += 1
        confirmed = await self._ask(
            self._inner.basic_publish(
                body,
                exchange=exchange,
                routing_key=short(key),
                properties=with_id(properties, self._published),
                mandatory=mandatory,
                wait=False,
            )
        )
        return not isinstance(confirmed, DeliveredMessage)

    def publish_nowait(
        self, exchange: str, key: str, body: bytes, *, properties: Written, mandatory: bool = False
    ) -> asyncio.Future[bool]:
        """Publish soon, in the order of the calls; the future has the outcome of `publish`."""
        if self.closed is not None:
            raise _named(self.closed)
        said = self.publish(exchange, key, body, properties=properties, mandatory=mandatory)
        return asyncio.ensure_future(said)

    def publish_unconfirmed(self, exchange: str, key: str, body: bytes, *, properties: Written) -> None:
        """Publish on a channel without confirms; nobody tells what becomes of it."""
        if self.closed is not None:
            raise _named(self.closed)
        self._say(lambda: self.publish(exchange, key, body, properties=properties))

    def ack(self, number: int, *, multiple: bool = False) -> None:
        """Say that a delivery (or all up to it) is done; nothing happens on a channel that has ended."""
        self._say(lambda: self._inner.basic_ack(number, multiple=multiple, wait=False))

    def reject(self, number: int, *, requeue: bool) -> None:
        """Return a delivery to its queue, or let the broker drop or dead-letter it."""
        self._say(lambda: self._inner.basic_reject(number, requeue=requeue, wait=False))

    def _say(self, word: Callable[[], Awaitable[object]]) -> None:
        """Say something that has no answer, after what was said before it."""
        if self.closed is not None:
            return
        self._soon.append(word)
        if self._saying is None:
            self._saying = asyncio.get_running_loop().create_task(self._say_all())

    async def _say_all(self) -> None:
        try:
            while self._soon:
                with suppress(aiormq.AMQPError, ChannelRefused, ConnectionLost, OSError, RuntimeError):
                    await self._soon.popleft()()
        finally:
            self._saying = None

    async def _drain(self) -> None:
        """Wait until everything without an answer has been said."""
        while self._saying is not None and self.closed is None:
            await asyncio.wait([self._saying])

    # --- the end ---

    def _inner_closed(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self.end(_named(error or ConnectionLost("the channel is closed", sent=True)))

    def end(self, error: Exception) -> None:
        """Note that the channel has ended."""
        if self.closed is None:
            self.closed = error
            self._soon.clear()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _named(error: BaseException) -> Exception:
    """Name what the library raised; anew, since one error raised in several places collects tracebacks."""
    if isinstance(error, ChannelRefused):
        return ChannelRefused(error.code, error.words)
    if isinstance(error, aiormq.ChannelClosed) and not isinstance(
        error, _exceptions.ChannelInvalidStateError
    ):
        code = _CODES.get(type(error))
        if code is None:
            code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if code:
            return ChannelRefused(code, str(error.args[-1]) if error.args else type(error).__name__)
    return ConnectionLost(str(error) or type(error).__name__, sent=True)
