"""Calls on RabbitMQ, the caller's side: runs on the loop of a link; both doors ask it."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from ..clock import mono_s, utc_s
from ..errors import LabspineError, NoSuchService, NotConnected, ServiceDied
from ..ids import new_sender
from ..wire import ConnectionLost
from ..wire.amqp import AmqpConnection, AmqpLink, ChannelRefused, Delivery, translated
from . import amqp_words as say
from .transport import Instance, Request

__all__ = ["AmqpCallCore", "CallSeat", "Talk"]

T = TypeVar("T")
_FIRST_INQUIRY_S, _INQUIRY_S = 0.4, 0.5
_MOST_SILENT = 3
_ROLL_CALL_S = 0.3
_RETRY_S = 0.05
_GRACE_S = 2.5
"""After the broker came back, services get so long to come back, too."""

_KEPT_MS = 60_000


class Talk:
    """One call: what came for it, and what is known about who has it."""

    def __init__(self, call_id: str, request: Request) -> None:
        self.call_id = call_id
        self.request = request
        self.deadline_mono_s = mono_s() + request.time_limit_s
        self.bodies: deque[bytes] = deque()
        self.here: list[Instance] = []
        self.come = asyncio.Event()
        self.is_sent = False
        self.was_taken = False
        self.inquiry_mono_s = mono_s() + _FIRST_INQUIRY_S
        self.silent = 0

    @property
    def left_s(self) -> float:
        """What is left of the caller's time."""
        return max(0.001, self.deadline_mono_s - mono_s())


class AmqpCallCore:
    """
    Send requests, and give each reply to its call; a resident of the link.

    Args:
        link: To the broker.
    """

    def __init__(self, link: AmqpLink) -> None:
        self.late_replies = 0
        self._link = link
        self._me = new_sender()
        self._replies = f"labspine.replies.{self._me}"
        self._talks: dict[str, Talk] = {}
        self._count = 0
        self._is_in = False
        self._entering = asyncio.Lock()
        self._is_closed = False
        self._again_mono_s = float("-inf")

    # --- a resident of the link ---

    async def link_ready(self, connection: AmqpConnection) -> None:
        """Listen to replies; their queue outlives a broken link for a minute."""
        channel = await connection.channel()
        await channel.declare_exchange(say.EXCHANGE, "topic")
        await channel.declare_queue(self._replies, arguments={"x-expires": _KEPT_MS})
        await channel.consume(self._replies, self._hear, no_ack=True)
        if self._is_in:
            self._again_mono_s = mono_s()

    def link_lost(self) -> None:
        """Nothing to do: who waits goes on waiting, within its own time."""

    async def _enter(self) -> None:
        if self._is_closed:
            raise NotConnected("this client of services is closed")
        if not self._is_in:
            async with self._entering:
                await self._link.move_in(self)
                self._is_in = True

    def _hear(self, delivery: Delivery) -> None:
        properties = delivery.properties
        talk = self._talks.get(properties.correlation_id)
        if talk is None:
            self.late_replies += properties.type == say.REPLY
            return
        talk.silent = 0
        if properties.type == say.REPLY:
            talk.bodies.append(delivery.body)
        elif properties.type == say.WORKING:
            talk.was_taken = True
            return
        elif properties.type == say.HERE:
            talk.here.append(msgspec.msgpack.decode(delivery.body, type=Instance))
        talk.come.set()

    # --- one call ---

    def _new(self, request: Request) -> Talk:
        self._count += 1
        talk = Talk(f"{self._me}-{self._count}", request)
        self._talks[talk.call_id] = talk
        return talk

    async def open(self, request: Request) -> Talk:
        """See `CallTransport.open`."""
        await self._enter()
        talk = self._new(request)
        try:
            await self._send(talk)
            if not talk.is_sent and not request.is_patient:
                raise self._nobody(request.service)
        except BaseException:
            self._talks.pop(talk.call_id, None)
            raise
        return talk

    async def _send(self, talk: Talk) -> None:
        request = talk.request
        kind = say.REQUEST_AGAIN if talk.was_taken else say.REQUEST
        properties = say.words(
            kind, talk.call_id, reply_to=self._replies, limit_s=talk.left_s, sent_utc_s=utc_s()
        )
        talk.is_sent = await self._link.publish(
            "", say.request_queue(request.service), request.body, properties=properties, mandatory=True
        )
        talk.inquiry_mono_s = mono_s() + _FIRST_INQUIRY_S

    async def receive(self, talk: Talk, timeout_s: float) -> bytes | None:
        """See `Conversation.receive`."""
        deadline_mono_s = mono_s() + timeout_s
        while True:
            if talk.bodies:
                talk.inquiry_mono_s = mono_s() + _FIRST_INQUIRY_S
                return talk.bodies.popleft()
            if self._is_closed:
                raise NotConnected("this client of services was closed meanwhile")
            now = mono_s()
            if now >= deadline_mono_s:
                return None
            due_mono_s = talk.inquiry_mono_s if talk.is_sent else now + _RETRY_S
            talk.come.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(deadline_mono_s, due_mono_s) - now):
                    await talk.come.wait()
            if not talk.bodies and mono_s() >= due_mono_s:
                await self._look(talk)

    async def _look(self, talk: Talk) -> None:
        """Send a patient request again, or find out whether somebody has the call."""
        try:
            if not talk.is_sent:
                await self._send(talk)
            elif talk.silent >= _MOST_SILENT:
                await self._missing(talk)
            elif not await self._ask(talk.request.service, say.INQUIRY, talk.call_id):
                await self._everybody_died(talk)
            else:
                talk.silent += 1
                talk.inquiry_mono_s = mono_s() + _INQUIRY_S
        except (NoSuchService, ServiceDied):
            raise
        except LabspineError:
            talk.inquiry_mono_s = mono_s() + _INQUIRY_S  # the broker is away: the caller's own time counts

    async def _missing(self, talk: Talk) -> None:
        """Nobody says that he works on it: it waits in the queue, or who took it is frozen."""
        talk.silent = 0
        talk.inquiry_mono_s = mono_s() + _INQUIRY_S
        try:
            ready, _ = await self._look_at(talk.request.service)
        except ConnectionLost:
            return
        if ready == 0 and not talk.bodies:
            await self._everybody_died(talk)

    async def _look_at(self, service: str) -> tuple[int, int]:
        """Count the requests that wait for a service, and its instances."""
        channel = await (await self._link.connect()).channel()
        try:
            _, ready, instances = await channel.declare_queue(say.request_queue(service), passive=True)
        except ChannelRefused:
            return 0, 0
        await channel.close()
        return ready, instances

    async def _everybody_died(self, talk: Talk) -> None:
        await asyncio.sleep(0)  # a reply may be in what was just read
        if talk.bodies:
            return
        if mono_s() - self._again_mono_s < _GRACE_S:
            talk.silent, talk.inquiry_mono_s = 0, mono_s() + _INQUIRY_S
            return
        if talk.request.is_patient:
            talk.was_taken, talk.is_sent = (
                True,
                False,
            )  # the next instance is told that it may be done already
            return
        raise ServiceDied(
            f"the service {talk.request.service} died or froze while it had the call: "
            "done or not done is unknown",
            service=talk.request.service,
        )

    async def _ask(self, service: str, kind: str, call_id: str, key: str = "") -> bool:
        properties = say.words(kind, call_id, reply_to=self._replies, limit_s=_INQUIRY_S * _MOST_SILENT)
        return await self._link.publish(
            say.EXCHANGE, key or say.service_key(service), b"", properties=properties, mandatory=True
        )

    async def leave(self, talk: Talk, *, cancel: bool) -> None:
        """See `Conversation.close`."""
        if self._talks.pop(talk.call_id, None) is None or not cancel:
            return
        with suppress(LabspineError):
            await self._ask(talk.request.service, say.CANCEL, talk.call_id)

    @staticmethod
    def _nobody(service: str) -> NoSuchService:
        return NoSuchService(
            f'nobody serves "{service}" now; nothing was executed. See who is there: labspine services',
            service=service,
        )

    # --- all instances ---

    async def instances(self, service: str | None) -> list[Instance]:
        """See `CallTransport.instances`: ask, and listen for a moment."""
        await self._enter()
        talk = self._new(Request(service=service or "", body=b"", time_limit_s=_ROLL_CALL_S))
        try:
            key = say.EVERYBODY if service is None else ""
            expected = None if service is None else (await self._look_at(service))[1]
            if await self._ask(service or "", say.WHO, talk.call_id, key):
                await self._gather(talk, expected)
        finally:
            self._talks.pop(talk.call_id, None)
        return sorted(talk.here, key=lambda one: (one.service, one.instance))

    @staticmethod
    async def _gather(talk: Talk, expected: int | None) -> None:
        """Wait until all have answered, or for a moment where nobody knows how many there are."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ROLL_CALL_S):
                while expected is None or len(talk.here) < expected:
                    talk.come.clear()
                    await talk.come.wait()

    async def open_all(self, request: Request) -> tuple[Talk, tuple[str, ...]]:
        """See `CallTransport.open_all`."""
        there = await self.instances(request.service)
        talk = self._new(request)
        properties = say.words(
            say.ALL, talk.call_id, reply_to=self._replies, limit_s=talk.left_s, sent_utc_s=utc_s()
        )
        await self._link.publish(
            say.EXCHANGE, say.service_key(request.service), request.body, properties=properties
        )
        talk.inquiry_mono_s = float("inf")
        talk.is_sent = True
        return talk, tuple(one.instance for one in there)

    # --- life ---

    async def close(self) -> None:
        """Wake who waits, and remove the queue of the replies."""
        self._is_closed = True
        for talk in self._talks.values():
            talk.come.set()
        self._link.move_out(self)
        connection = self._link.connection
        if self._is_in and connection is not None and connection.lost is None:
            with suppress(ConnectionLost, ChannelRefused, LabspineError):
                channel = await connection.channel()
                await channel.delete_queue(self._replies)


class CallSeat:
    """Keep the caller of a program on its link; a forked child takes a new one."""

    def __init__(self) -> None:
        self.core: AmqpCallCore | None = None
        self._pid = 0

    async def do(self, link: AmqpLink, work: Callable[[AmqpCallCore], Awaitable[T]]) -> T:
        """Do some work with the caller."""
        if self.core is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self.core = AmqpCallCore(link)
        try:
            return await work(self.core)
        except (ConnectionLost, ChannelRefused) as error:
            raise translated(error, link.address) from error
