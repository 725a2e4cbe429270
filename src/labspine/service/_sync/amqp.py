# Generated from service/_async/amqp.py by scripts/unasync.py: change the source and run it.
"""Calls on RabbitMQ, for one door; `labspine.service.amqp_calls` does the work on the loop of the link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from ...wire.amqp import AmqpWire
from ..amqp_calls import AmqpCallCore, CallSeat, Talk
from ..transport import Ability, Instance, Request

__all__ = ["AmqpCalls", "AmqpConversation"]

T = TypeVar("T")


class AmqpCalls:
    """
    Send requests to services on RabbitMQ; see `CallTransport`.

    Args:
        wire: A link of its own; closed with this.
    """

    abilities: frozenset[Ability] = frozenset({"all", "presence", "reclaim"})

    def __init__(self, wire: AmqpWire) -> None:
        self._wire = wire
        self._seat = CallSeat()

    @property
    def late_replies(self) -> int:
        """How many replies came for calls that were closed or never made here."""
        return 0 if self._seat.core is None else self._seat.core.late_replies

    def do(self, work: Callable[[AmqpCallCore], Awaitable[T]]) -> T:
        """Do some work on the loop of the link."""
        return self._wire.ask(lambda link: self._seat.do(link, work))

    def open(self, request: Request) -> AmqpConversation:
        """See `CallTransport.open`."""
        return AmqpConversation(self, self.do(lambda core: core.open(request)))

    def open_all(self, request: Request) -> tuple[AmqpConversation, tuple[str, ...]]:
        """See `CallTransport.open_all`."""
        talk, names = self.do(lambda core: core.open_all(request))
        return AmqpConversation(self, talk), names

    def instances(self, service: str | None = None) -> list[Instance]:
        """See `CallTransport.instances`."""
        return self.do(lambda core: core.instances(service))

    def close(self) -> None:
        """See `CallTransport.close`."""
        if self._seat.core is not None:
            self.do(AmqpCallCore.close)
        self._wire.close()


class AmqpConversation:
    """The caller's side of one call; see `Conversation`."""

    def __init__(self, calls: AmqpCalls, talk: Talk) -> None:
        self._calls = calls
        self._talk = talk
        self.call_id = talk.call_id

    def receive(self, timeout_s: float) -> bytes | None:
        """See `Conversation.receive`."""
        return self._calls.do(lambda core: core.receive(self._talk, timeout_s))

    def close(self, *, cancel: bool = False) -> None:
        """See `Conversation.close`."""
        self._calls.do(lambda core: core.leave(self._talk, cancel=cancel))
