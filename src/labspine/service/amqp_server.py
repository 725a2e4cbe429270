"""Calls on RabbitMQ, the serving side: threads ask what runs on the loop of the link."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import msgspec

from ..clock import mono_s, utc_s
from ..errors import InvalidOperation, LabspineError
from ..wire import ConnectionLost
from ..wire.amqp import AmqpConnection, AmqpLink, AmqpWire, Channel, ChannelRefused, translated
from ..wire.amqp import Delivery as Incoming
from . import amqp_words as say
from .amqp_words import Arrived
from .transport import Control, Delivery, Instance, Reply, Serving

__all__ = ["AmqpCallServer", "AmqpServerCore"]

_MOST_KEPT = 2000
_MOST_PREFETCHED = 60_000
_ROLL_CALL_S = 0.25
_NOT_FOUND, _LOCKED = 404, 405


class AmqpServerCore:
    """
    Take requests and answer questions about them; a resident of the link.

    Args:
        serving: What is served.
    """

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self._facts: dict[str, object] = dict(serving.facts)
        self._channel: Channel | None = None
        self._consumer = ""
        self._room = 1
        self._held = 0
        self._waiting: deque[Delivery] = deque()
        self._in_hand: dict[str, Arrived] = {}
        self._done: dict[str, tuple[str, bytes]] = {}
        self._cancelled: dict[str, None] = {}
        self._controls: deque[Control] = deque()
        self._unsent: list[Reply] = []
        self._come = asyncio.Event()
        self._told = asyncio.Event()
        self._beat_mono_s = mono_s()
        self._here: list[Instance] = []
        self._is_waking = False
        self._was_there = False

    # --- a resident of the link ---

    async def link_ready(self, connection: AmqpConnection) -> None:
        """Become known, and take requests."""
        name = self.serving.service
        channel = await connection.channel()
        await channel.declare_exchange(say.EXCHANGE, "topic")
        words = await connection.channel()  # the limit of requests must not hold back words
        own, _, _ = await words.declare_queue("", exclusive=True, auto_delete=True)
        await words.consume(own, self._hear_word, no_ack=True)
        if not await self._may_serve(connection, words, own):
            return
        for key in (say.service_key(name), say.EVERYBODY):
            await words.bind(own, say.EXCHANGE, key)
        await channel.declare_queue(say.request_queue(name), auto_delete=True)
        self._room = 1
        channel.share_prefetch(self._room)
        self._held = 0  # what was in hand comes again, here or elsewhere
        self._channel = channel
        self._consumer = await channel.consume(say.request_queue(name), self._hear_request)
        self._was_there = True

    async def _may_serve(self, connection: AmqpConnection, channel: Channel, own: str) -> bool:
        """
        Heed exclusive services: a queue that belongs to a connection says that its owner is the only one.

        Returns:
            False if another one took our place while the link was broken.
        """
        lock = await connection.channel()
        is_exclusive = self.serving.is_exclusive
        name = f"labspine.lock.{say.service_key(self.serving.service)}"
        try:
            await lock.declare_queue(name, passive=not is_exclusive, exclusive=is_exclusive)
            others = await self._others(channel, own) if is_exclusive else []
        except ChannelRefused as error:
            if error.code == _NOT_FOUND:
                return True
            if error.code != _LOCKED:
                raise
            others = await self._others(channel, own) or ["another instance"]
        if not others:
            return True
        if self._was_there:
            self._tell(Control("usurped", others[0]))
            return False
        raise InvalidOperation(
            f'the service "{self.serving.service}" is exclusive and already served by {others[0]}; '
            "stop that one first"
        )

    async def _others(self, channel: Channel, own: str) -> list[str]:
        """Ask who serves this service."""
        self._here.clear()
        asking = say.words(say.WHO, "", reply_to=own)
        channel.publish_unconfirmed(
            say.EXCHANGE, say.service_key(self.serving.service), b"", properties=asking
        )
        await asyncio.sleep(_ROLL_CALL_S)
        return [one.instance for one in self._here if one.instance != self.serving.instance]

    def link_lost(self) -> None:
        """The broker gives to others what was not acknowledged; what nobody began here is forgotten."""
        self._channel = None
        for delivery in self._waiting:
            self._in_hand.pop(delivery.call_id, None)
        self._waiting.clear()

    # --- requests ---

    def _hear_request(self, incoming: Incoming) -> None:
        properties, now = incoming.properties, mono_s()
        call_id = properties.correlation_id
        if call_id in self._cancelled:
            incoming.channel.ack(incoming.number)
            return
        held = self._in_hand.get(call_id)
        if held is not None:  # the link broke while it was worked on here
            held.channel, held.number = incoming.channel, incoming.number
            self._held += 1
            return
        if call_id in self._done:
            reply_to, body = self._done[call_id]
            self._answer(incoming.channel, reply_to, call_id, body)
            incoming.channel.ack(incoming.number)
            return
        is_abandoned = incoming.is_again or properties.type == say.REQUEST_AGAIN
        self._arrive(incoming, incoming.number, now, is_abandoned=is_abandoned)
        self._come.set()

    def _arrive(self, incoming: Incoming, number: int, now_mono_s: float, *, is_abandoned: bool) -> Delivery:
        properties, body = incoming.properties, incoming.body
        limit_s = (properties.expiration_ms or 0) / 1000
        passed_s = say.elapsed_s(properties, limit_s, utc_s())
        arrived = Arrived(incoming.channel, number, properties.reply_to, limit_s, passed_s, now_mono_s)
        delivery = Delivery(
            call_id=properties.correlation_id,
            body=body,
            left_s=limit_s - passed_s,
            is_abandoned=is_abandoned,
            is_for_all=number == 0,
            handle=arrived,
        )
        self._in_hand[delivery.call_id] = arrived
        if number:
            self._held += 1
            self._waiting.append(delivery)
        return delivery

    def _acknowledge(self, arrived: Arrived) -> None:
        channel = self._channel
        if channel is not None and arrived.channel is channel and arrived.number:
            self._held -= 1
            channel.ack(arrived.number)

    async def take(
        self, link: AmqpLink, replies: Sequence[Reply], *, count: int, wait_s: float
    ) -> list[Delivery]:
        """See `CallServer.take`."""
        self._unsent += replies
        if self._channel is None or self._channel.closed is not None:
            await link.connect()
        self._send()
        if count <= 0 or self._is_waking:
            return []
        if not self._waiting:
            self._make_room(count)
            self._come.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._come.wait()
        taken = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        return [_hurried(one) for one in taken]

    def _make_room(self, count: int) -> None:
        """
        Let the broker give as many as are wanted beside those that are worked on here, and no more.

        What it gave and nobody here begins could be done by another instance.
        """
        room = min(_MOST_PREFETCHED, self._count_held() + count)
        if room != self._room and self._channel is not None:
            self._room = room
            self._channel.share_prefetch(room)

    def _count_held(self) -> int:
        return self._held - len(self._waiting)

    # --- replies ---

    async def reply(self, reply: Reply) -> int:
        """See `CallServer.reply`; how many wait for the caller is not known here."""
        self._unsent.append(reply)
        self._send()
        return 0

    def _send(self) -> None:
        """Send what can be sent; what cannot waits for the next connection."""
        channel = self._channel
        if channel is None or channel.closed is not None:
            return
        unsent, self._unsent = self._unsent, []
        for one in unsent:
            arrived = one.delivery.handle
            if not isinstance(arrived, Arrived):
                continue
            call_id = one.delivery.call_id
            if one.body:
                self._answer(channel, arrived.reply_to, call_id, one.body)
            if one.is_final and self._in_hand.pop(call_id, None) is not None and arrived.number:
                self._acknowledge(arrived)
                self._done[call_id] = (arrived.reply_to, one.body)
                if len(self._done) > _MOST_KEPT:
                    del self._done[next(iter(self._done))]

    @staticmethod
    def _answer(channel: Channel, reply_to: str, call_id: str, body: bytes) -> None:
        channel.publish_unconfirmed("", reply_to, body, properties=say.words(say.REPLY, call_id))

    # --- words to this instance ---

    def _hear_word(self, incoming: Incoming) -> None:
        properties = incoming.properties
        call_id, kind = properties.correlation_id, properties.type
        if kind == say.CANCEL:
            self._cancel(call_id)
        elif kind == say.INQUIRY and call_id in self._in_hand:
            properties_back = say.words(say.WORKING, call_id)
            incoming.channel.publish_unconfirmed("", properties.reply_to, b"", properties=properties_back)
        elif kind == say.WHO:
            me = Instance(
                service=self.serving.service,
                instance=self.serving.instance,
                facts=self._facts,
                silent_s=mono_s() - self._beat_mono_s,
            )
            body, written = msgspec.msgpack.encode(me), say.words(say.HERE, call_id)
            incoming.channel.publish_unconfirmed("", properties.reply_to, body, properties=written)
        elif kind == say.HERE:
            self._here.append(msgspec.msgpack.decode(incoming.body, type=Instance))
        elif kind == say.ALL:
            delivery = self._arrive(incoming, 0, mono_s(), is_abandoned=False)
            self._tell(Control("request", call_id, delivery))

    def _cancel(self, call_id: str) -> None:
        """Tell who works on it; what waits here, or comes later, is dropped."""
        for delivery in self._waiting:
            if delivery.call_id == call_id:
                self._waiting.remove(delivery)
                self._acknowledge(self._in_hand.pop(call_id))
                return
        if call_id in self._in_hand:
            self._tell(Control("cancel", call_id))
            return
        self._cancelled[call_id] = None
        if len(self._cancelled) > _MOST_KEPT:
            del self._cancelled[next(iter(self._cancelled))]

    def _tell(self, control: Control) -> None:
        self._controls.append(control)
        self._told.set()

    async def beat(self, load: dict[str, object], *, wait_s: float) -> list[Control]:
        """See `CallServer.beat`."""
        self._facts.update(load)
        self._beat_mono_s = mono_s()
        if not self._controls and not self._is_waking:
            self._told.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._told.wait()
        told = list(self._controls)
        self._controls.clear()
        return told

    async def wake(self) -> None:
        """See `CallServer.wake`."""
        self._is_waking = True
        self._come.set()
        self._told.set()

    async def stop(self, link: AmqpLink) -> None:
        """See `CallServer.stop`."""
        await self.wake()
        self._send()
        link.move_out(self)
        channel = self._channel
        if channel is not None and channel.closed is None:
            with contextlib.suppress(ConnectionLost, ChannelRefused):
                for delivery in self._waiting:
                    channel.reject(self._in_hand[delivery.call_id].number, requeue=True)
                await channel.cancel(self._consumer)
                await channel.close()


def _hurried(delivery: Delivery) -> Delivery:
    """Say how much time is left now."""
    arrived = delivery.handle
    if not isinstance(arrived, Arrived):
        return delivery
    left_s = arrived.limit_s - arrived.elapsed_s - (mono_s() - arrived.arrived_mono_s)
    return msgspec.structs.replace(delivery, left_s=left_s)


class AmqpCallServer:
    """
    Serve one instance on RabbitMQ; see `CallServer`.

    Args:
        serving: What is served.
        wire: A link of its own; closed with this.
    """

    def __init__(self, serving: Serving, wire: AmqpWire) -> None:
        self.serving = serving
        self._wire = wire
        self._core = AmqpServerCore(serving)

    def start(self) -> None:
        """See `CallServer.start`."""
        try:
            self._wire.move_in(self._core)
        except BaseException:
            self._wire.close()
            raise

    def take(self, replies: Sequence[Reply], *, count: int, wait_s: float) -> list[Delivery]:
        """See `CallServer.take`."""
        try:
            return self._wire.ask(lambda link: self._core.take(link, replies, count=count, wait_s=wait_s))
        except (ConnectionLost, ChannelRefused) as error:
            raise translated(error, self._wire.address) from error

    def reply(self, reply: Reply) -> int:
        """See `CallServer.reply`."""
        return self._wire.ask(lambda _: self._core.reply(reply))

    def beat(self, load: dict[str, object], *, wait_s: float) -> list[Control]:
        """See `CallServer.beat`."""
        return self._wire.ask(lambda _: self._core.beat(load, wait_s=wait_s))

    def wake(self) -> None:
        """See `CallServer.wake`."""
        with contextlib.suppress(LabspineError):
            self._wire.ask(lambda _: self._core.wake())

    def stop(self) -> None:
        """See `CallServer.stop`."""
        with contextlib.suppress(LabspineError):
            self._wire.ask(self._core.stop)
        self._wire.close()
