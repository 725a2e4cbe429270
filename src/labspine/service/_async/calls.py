"""Calls on Redis, the caller's side; see `labspine.flows.calls` for what lies on the broker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from ...clock import mono_s
from ...errors import (
    DeadlinePassed,
    DeliveryUnknown,
    LabspineError,
    NoSuchService,
    NotConnected,
    ServiceDied,
)
from ...flows import Flow
from ...flows.calls import calling, keys_of
from ...wire import AsyncioWire
from ..redis import Opener
from ..transport import Ability, Instance, Request
from .mailboxes import AsyncMailboxes

__all__ = ["AsyncRedisCalls", "AsyncRedisConversation"]

Outcome = TypeVar("Outcome")
_FIRST_INQUIRY_S = 0.4
_INQUIRY_S = 0.5
_MOST_OPENERS = 1000
_UNKNOWN = (DeliveryUnknown, DeadlinePassed)


class AsyncRedisCalls:
    """
    Send requests to services through streams; see `AsyncCallTransport`.

    Args:
        wire: Connections of its own; closed with this.
        new_prefix: Makes the first part of the reply list's name.
    """

    abilities: frozenset[Ability] = frozenset({"all", "presence", "reclaim"})

    def __init__(self, wire: AsyncioWire, new_prefix: Callable[[], str]) -> None:
        self._wire = wire
        self.mailboxes = AsyncMailboxes(wire, new_prefix)
        self._openers: dict[tuple[str, bool], Opener] = {}

    @property
    def late_replies(self) -> int:
        """How many replies came for calls that were closed or never made here."""
        return self.mailboxes.late_replies

    def opener(self, service: str, *, is_patient: bool) -> Opener:
        """Return what opens the calls of a service; made once."""
        found = self._openers.get((service, is_patient))
        if found is None:
            if len(self._openers) >= _MOST_OPENERS:
                self._openers.clear()
            found = self._openers[service, is_patient] = Opener(keys_of(service), is_patient=is_patient)
        return found

    async def perform(self, flow: Flow[Outcome]) -> Outcome:
        """Drive a flow: send what it asks for, give it the replies or the error."""
        try:
            ask = next(flow)
            while True:
                try:
                    replies = await self._wire.exchange(ask)
                except Exception as error:
                    ask = flow.throw(error)
                else:
                    ask = flow.send(replies)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what the flow returned

    async def open(self, request: Request) -> AsyncRedisConversation:
        """See `AsyncCallTransport.open`."""
        conversation = AsyncRedisConversation(self, request)
        try:
            await conversation.begin()
        except BaseException:
            await conversation.close(cancel=True)
            raise
        return conversation

    async def open_all(self, request: Request) -> tuple[AsyncRedisConversation, tuple[str, ...]]:
        """See `AsyncCallTransport.open_all`."""
        conversation = AsyncRedisConversation(self, request)
        keys, limit_ms = keys_of(request.service), round(request.time_limit_s * 1000)
        flow = calling.ask_all(keys, conversation.call_id, request.body, limit_ms=limit_ms)
        return conversation, await self.perform(flow)

    async def instances(self, service: str | None = None) -> list[Instance]:
        """See `AsyncCallTransport.instances`."""
        names = [service] if service is not None else await self.perform(calling.service_names())
        found = []
        for name in names:
            for one in await self.perform(calling.presence(keys_of(name))):
                facts = msgspec.msgpack.decode(one.facts) if one.facts else {}
                found.append(
                    Instance(service=name, instance=one.instance, facts=facts, silent_s=one.silent_s)
                )
        return found

    async def close(self) -> None:
        """See `AsyncCallTransport.close`."""
        await self.mailboxes.close()
        with contextlib.suppress(LabspineError):
            await self.perform(calling.drop_replies(self.mailboxes.reply_list))
        await self._wire.close()


class AsyncRedisConversation:
    """The caller's side of one call; see `AsyncConversation`."""

    def __init__(self, calls: AsyncRedisCalls, request: Request) -> None:
        self._calls = calls
        self._request = request
        self._opener = calls.opener(request.service, is_patient=request.is_patient)
        self._keys = self._opener.keys
        self._mailbox = calls.mailboxes.new()
        self._entry = b""
        self._is_unsettled = False
        self._was_gone = False
        self._inquiry_mono_s = mono_s() + _FIRST_INQUIRY_S

    @property
    def call_id(self) -> str:
        """Whose call it is, on the broker."""
        return self._mailbox.call_id.decode()

    async def begin(self) -> None:
        """Send the request; raises as `AsyncCallTransport.open`."""
        opening = self._opener.opening(self._request.body, round(self._request.time_limit_s * 1000) or 1)
        try:
            replies = await self._calls.mailboxes.start(self._mailbox, opening)
        except _UNKNOWN:
            self._is_unsettled = True
            return
        await self._sent(*calling.opened(replies))

    async def _sent(self, is_alive: bool, entry: bytes) -> None:
        """Note where the request is; insist on somebody who takes it."""
        self._entry = entry
        if is_alive and entry:
            return
        if self._mailbox.bodies or self._request.is_patient:
            return
        if not entry or await self._take_back(even_if_held=False):
            raise self._nobody()

    async def receive(self, timeout_s: float) -> bytes | None:
        """See `AsyncConversation.receive`."""
        mailboxes, mailbox = self._calls.mailboxes, self._mailbox
        deadline_mono_s = mono_s() + timeout_s
        while True:
            if not mailbox.bodies and self._is_unsettled:
                await self._settle()
            now_s = mono_s()
            wait_s = min(deadline_mono_s, self._inquiry_mono_s) - now_s
            body = await mailboxes.wait(mailbox, max(0.0, wait_s))
            if body is not None:
                self._was_gone = False
                self._inquiry_mono_s = mono_s() + _FIRST_INQUIRY_S
                return body
            now_s = mono_s()
            if now_s >= self._inquiry_mono_s:
                self._inquiry_mono_s = now_s + _INQUIRY_S
                await self._inquire()
            if now_s >= deadline_mono_s and not mailbox.bodies:
                return None

    async def _settle(self) -> None:
        """The link broke when the request was sent: find out where it is."""
        try:
            self._entry = await self._calls.perform(calling.look_for(self._keys, self._mailbox.call_id))
        except (NotConnected, *_UNKNOWN):
            return  # the broker is away; the caller's own time limit counts
        self._is_unsettled = False

    async def _inquire(self) -> None:
        """Find out whether somebody still works on it."""
        if not self._entry:
            return
        try:
            found, live = await self._calls.perform(calling.inquire(self._keys, self._entry))
        except (NotConnected, *_UNKNOWN):
            return  # the broker is away; the caller's own time limit counts
        if self._mailbox.bodies:
            return
        if found == "gone":
            if self._was_gone:
                raise DeliveryUnknown(
                    f"{self._request.service}: the broker has neither the request nor an answer any more: "
                    "done or not done is unknown"
                )
            self._was_gone = True
        elif live or self._request.is_patient:
            return
        elif found == "orphan":
            if await self._take_back(even_if_held=True):
                raise ServiceDied(
                    f"the service {self._request.service} died or froze while it had the call: "
                    "done or not done is unknown",
                    service=self._request.service,
                )
        elif found == "waiting" and await self._take_back(even_if_held=False):
            raise self._nobody()

    async def _take_back(self, *, even_if_held: bool) -> bool:
        flow = calling.withdraw(self._keys, self._entry, self._mailbox.call_id, even_if_held=even_if_held)
        return await self._calls.perform(flow)

    def _nobody(self) -> NoSuchService:
        name = self._request.service
        return NoSuchService(
            f'nobody serves "{name}" now; nothing was executed. See who is there: labspine services',
            service=name,
        )

    async def close(self, *, cancel: bool = False) -> None:
        """See `AsyncConversation.close`."""
        self._calls.mailboxes.forget(self._mailbox)
        if not cancel:
            return
        with contextlib.suppress(LabspineError):
            if self._is_unsettled:
                self._entry = await self._calls.perform(calling.locate(self._keys, self._mailbox.call_id))
            if self._entry:
                await self._take_back(even_if_held=False)
