"""Calls on RabbitMQ, for one door; `labspine.service.amqp_calls` does the work on the loop of the link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ...wire.amqp import AsyncAmqpWire
from ..amqp_calls import AmqpCallCore, CallSeat, Talk
from ..transport import Ability, Instance, Request

__all__ = ["AsyncAmqpCalls", "AsyncAmqpConversation"]

T = TypeVar("T")


class AsyncAmqpCalls:
    """
    Send requests to services on RabbitMQ; see `AsyncCallTransport`.

    Args:
        wire: A link of its own; closed with this.
    """

    abilities: frozenset[Ability] = frozenset({"all", "presence", "reclaim"})

    def __init__(self, wire: AsyncAmqpWire) -> None:
        self._wire = wire
        self._seat = CallSeat()

    @property
    def late_replies(self) -> int:
        """How many replies came for calls that were closed or never made here."""
        return 0 if self._seat.core is None else self._seat.core.late_replies

    async def do(self, work: Callable[[AmqpCallCore], Awaitable[T]]) -> T:
        """Do some work on the loop of the link."""
        return await self._wire.ask(lambda link: self._seat.do(link, work))

    async def open(self, request: Request) -> AsyncAmqpConversation:
        """See `AsyncCallTransport.open`."""
        return AsyncAmqpConversation(self, await self.do(lambda core: core.open(request)))

    async def open_all(self, request: Request) -> tuple[AsyncAmqpConversation, tuple[str, ...]]:
        """See `AsyncCallTransport.open_all`."""
        talk, names = await self.do(lambda core: core.open_all(request))
        return AsyncAmqpConversation(self, talk), names

    async def instances(self, service: str | None = None) -> list[Instance]:
        """See `AsyncCallTransport.instances`."""
        return await self.do(lambda core: core.instances(service))

    async def close(self) -> None:
        """See `AsyncCallTransport.close`."""
        if self._seat.core is not None:
            await self.do(AmqpCallCore.close)
        await self._wire.close()


class AsyncAmqpConversation:
    """The caller's side of one call; see `AsyncConversation`."""

    def __init__(self, calls: AsyncAmqpCalls, talk: Talk) -> None:
        self._calls = calls
        self._talk = talk
        self.call_id = talk.call_id

    async def receive(self, timeout_s: float) -> bytes | None:
        """See `AsyncConversation.receive`."""
        return await self._calls.do(lambda core: core.receive(self._talk, timeout_s))

    async def close(self, *, cancel: bool = False) -> None:
        """See `AsyncConversation.close`."""
        await self._calls.do(lambda core: core.leave(self._talk, cancel=cancel))
