"""
What a broker must do for calls, so that Redis and RabbitMQ can take each other's place.

Bodies are opaque here: `labspine.service` writes and reads them. A transport moves them, knows which reply
belongs to which call, keeps the time, and finds out who is there and who has died. Nothing of a broker's own
words leaves it: errors are those of `labspine.errors`.

The caller's side has a blocking and an asyncio form of the same methods. The serving side is blocking and
is used from several threads; a broker whose client is asyncio runs a loop of its own behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

__all__ = [
    "Ability",
    "AsyncCallTransport",
    "AsyncConversation",
    "CallServer",
    "CallTransport",
    "Control",
    "Conversation",
    "Delivery",
    "Instance",
    "Reply",
    "Request",
    "Serving",
]

Ability = Literal["all", "presence", "reclaim"]
"""
What is optional: ``all``, one request to every instance;
``presence``, listing who is there; ``reclaim``, requests of a dead instance go to a live one. A transport
raises `labspine.errors.InvalidOperation` for what it does not offer.
"""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """
    One call on its way to a service.

    Args:
        service: The name of the service, checked.
        body: What is asked, encoded.
        time_limit_s: How long the caller will wait, in seconds; after it the request must not be executed.
        is_patient: Wait for a service that is not there (yet, or again) until the time limit ends.
    """

    service: str
    body: bytes
    time_limit_s: float
    is_patient: bool = False


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """
    One process that serves a service now.

    Args:
        service: Name of the service.
        instance: Its own name, unique.
        facts: What it says about itself: version, host, pid, since_utc_s, load figures.
        silent_s: How long ago it gave a sign of life, in seconds.
    """

    service: str
    instance: str
    facts: dict[str, object]
    silent_s: float


@runtime_checkable
class Conversation(Protocol):
    """The caller's side of one call; used by one thread at a time."""

    @property
    def call_id(self) -> str:
        """Whose call it is, on the broker."""

    def receive(self, timeout_s: float) -> bytes | None:
        """
        Wait for the next reply to this call and no other.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            Its body, or None if none came in time.

        Raises:
            NoSuchService: If nobody serves it; the request will not be executed.
            ServiceDied: If who took the request died or froze, and nobody else will answer; within 2.5 s.
            NotConnected: If the request was not sent and will not be.
            DeliveryUnknown: If the broker was lost and whether it has the request cannot be found out.
        """

    def close(self, *, cancel: bool = False) -> None:
        """
        Forget the call: later replies are dropped and counted.

        Args:
            cancel: Nobody wants the answer: take the request back if nobody has it yet, else tell who has
                it. Quick, and silent if the broker is gone.
        """


@runtime_checkable
class CallTransport(Protocol):
    """The blocking caller's side; used from any thread, and usable in a forked child."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What this broker offers beyond plain calls."""

    @property
    def late_replies(self) -> int:
        """How many replies came for calls that were closed or never made here."""

    def open(self, request: Request) -> Conversation:
        """
        Begin a call; the request leaves now or with the first `Conversation.receive`.

        Raises:
            NoSuchService: If nobody serves it and the request is not patient; here or in `receive`.
            TooLarge: If the broker takes no such body.
            NotConnected: If there is no connection.
        """

    def open_all(self, request: Request) -> tuple[Conversation, tuple[str, ...]]:
        """Send one request to every instance; returns where the replies come, and who is asked."""

    def instances(self, service: str | None = None) -> list[Instance]:
        """List who is there: one service or all, ordered by service and instance."""

    def close(self) -> None:
        """End: no connection, thread, or reply address is left behind; calls that wait get `NotConnected`."""


@runtime_checkable
class AsyncConversation(Protocol):
    """As `Conversation`, for one task of an event loop; cancelling `receive` is allowed."""

    @property
    def call_id(self) -> str:
        """See `Conversation.call_id`."""

    async def receive(self, timeout_s: float) -> bytes | None:
        """See `Conversation.receive`."""

    async def close(self, *, cancel: bool = False) -> None:
        """See `Conversation.close`."""


@runtime_checkable
class AsyncCallTransport(Protocol):
    """As `CallTransport`, for the tasks of one event loop."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """See `CallTransport.abilities`."""

    @property
    def late_replies(self) -> int:
        """See `CallTransport.late_replies`."""

    async def open(self, request: Request) -> AsyncConversation:
        """See `CallTransport.open`."""

    async def open_all(self, request: Request) -> tuple[AsyncConversation, tuple[str, ...]]:
        """See `CallTransport.open_all`."""

    async def instances(self, service: str | None = None) -> list[Instance]:
        """See `CallTransport.instances`."""

    async def close(self) -> None:
        """See `CallTransport.close`."""


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """
    What an instance wants to serve.

    Args:
        service: The name of the service, checked.
        instance: The name of this instance, unique.
        is_exclusive: Only one instance may live at a time.
        facts: What it says about itself from the start: version, host, pid, since_utc_s.
    """

    service: str
    instance: str
    is_exclusive: bool = False
    facts: dict[str, object] = {}


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """
    A request as it reaches an instance.

    Args:
        call_id: Whose call it is; equal if the request was sent twice.
        body: What is asked.
        left_s: What is left of the caller's time when it is handed over, in seconds; 0 or less is too late.
        is_abandoned: Another instance had it and died: it may have been executed, partly or wholly.
        is_for_all: Every instance got it.
        handle: The transport's own: what it needs for the reply and the acknowledgement.
    """

    call_id: str
    body: bytes
    left_s: float
    is_abandoned: bool = False
    is_for_all: bool = False
    handle: object = None


class Reply(msgspec.Struct, frozen=True):
    """
    What an instance answers.

    Args:
        delivery: To which request.
        body: The answer; empty sends nothing and only ends the request.
        is_final: Nothing follows, and the request is done with (acknowledged).
    """

    delivery: Delivery
    body: bytes
    is_final: bool = True


class Control(msgspec.Struct, frozen=True):
    """
    What an instance is told beside its requests.

    Args:
        kind: ``cancel``: the caller of ``call_id`` does not want the answer any more; ``request``: a request
            to all instances, or an abandoned one, in ``delivery``; ``usurped``: another instance serves this
            exclusive service now, so stop.
        call_id: Which call.
        delivery: The request.
    """

    kind: Literal["cancel", "request", "usurped"]
    call_id: str = ""
    delivery: Delivery | None = None


@runtime_checkable
class CallServer(Protocol):
    """
    The serving side of one instance.

    One thread at a time calls `take`, another one `beat`; `reply` is called from any thread.
    """

    def start(self) -> None:
        """
        Become known and ready.

        Raises:
            InvalidOperation: If the service is exclusive and served already; the text says by whom.
            NotConnected: If there is no connection.
        """

    def take(self, replies: Sequence[Reply], *, count: int, wait_s: float) -> list[Delivery]:
        """
        Send replies, acknowledge their requests if final, and take the next requests, in one step.

        Args:
            replies: What has been answered since.
            count: Most requests to take; 0 only replies.
            wait_s: Longest wait for the first one, in seconds.

        Returns:
            The requests, perhaps none.

        Raises:
            NotConnected: If the broker is away: the replies are kept here and sent with the next call.
        """

    def reply(self, reply: Reply) -> int:
        """
        Send one reply now, whatever `take` is doing.

        Returns:
            How many replies wait for this caller; a stream of results pauses when they are many.
        """

    def beat(self, load: dict[str, object], *, wait_s: float) -> list[Control]:
        """
        Give a sign of life, then wait for something to be told.

        Args:
            load: Figures for people.
            wait_s: Longest wait in seconds; the next beat follows at once.

        Returns:
            What the instance is told, perhaps nothing.
        """

    def wake(self) -> None:
        """Let `take` and `beat` return now."""

    def stop(self) -> None:
        """Vanish at once from the list of who is there, and give back what was not begun."""
