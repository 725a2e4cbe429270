"""Replies for the callers of an event loop: one task waits at the broker for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ...errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected
from ...flows import Exchange
from ...flows.calls import calling, reply_key, split_reply
from ...ids import new_token
from ...wire import AsyncioWire
from ..redis import Opening

__all__ = ["AsyncMailboxes", "Mailbox", "pause"]

_SLICE_S = 0.5
_PAUSE_S = 0.05
_AWAY = (NotConnected, DeliveryUnknown, DeadlinePassed)


class Mailbox:
    """Where the replies to one call are put."""

    __slots__ = ("bodies", "call_id", "wanted")

    def __init__(self, call_id: bytes) -> None:
        self.call_id = call_id
        self.bodies: deque[bytes] = deque()
        self.wanted: asyncio.Future[None] | None = None


class AsyncMailboxes:
    """
    Own the reply list of a client.

    Args:
        wire: Where to wait.
        new_prefix: Makes the first part of the list's name.
    """

    def __init__(self, wire: AsyncioWire, new_prefix: Callable[[], str]) -> None:
        self._wire = wire
        self.late_replies = 0
        self._is_closed = False
        self._boxes: dict[bytes, Mailbox] = {}
        self._count = 0
        self._prefix = f"{new_prefix()}{new_token()}".encode()
        self.reply_list = reply_key(f"{self._prefix.decode()}-0")
        self._task: asyncio.Task[None] | None = None

    def new(self) -> Mailbox:
        """Make a mailbox for a new call."""
        self._count += 1
        mailbox = Mailbox(b"%b-%d" % (self._prefix, self._count))
        self._boxes[mailbox.call_id] = mailbox
        return mailbox

    def forget(self, mailbox: Mailbox) -> None:
        """Drop what comes for a call from now on."""
        self._boxes.pop(mailbox.call_id, None)

    async def start(self, mailbox: Mailbox, opening: Opening) -> list[Any]:
        """
        Send the request of a mailbox.

        Returns:
            The replies to its commands.

        Raises:
            NotConnected: If nothing was sent; `DeliveryUnknown` or `DeadlinePassed` if that is not known.
        """
        if self._is_closed:
            raise NotConnected("this client of services is closed")
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await self._wire.exchange(opening.ask(mailbox.call_id))

    async def wait(self, mailbox: Mailbox, timeout_s: float) -> bytes | None:
        """
        Wait for the next reply to a call.

        Args:
            mailbox: Of the call.
            timeout_s: Longest wait in seconds.

        Returns:
            Its body, or None.

        Raises:
            NotConnected: If this was closed.
        """
        if not mailbox.bodies and timeout_s > 0:
            if self._is_closed:
                raise NotConnected("this client of services is closed")
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._run())
            loop = asyncio.get_running_loop()
            wanted = mailbox.wanted = loop.create_future()
            timer = loop.call_later(timeout_s, _let_go, wanted)
            try:
                await wanted
            finally:
                timer.cancel()
                mailbox.wanted = None
        return mailbox.bodies.popleft() if mailbox.bodies else None

    async def _run(self) -> None:
        """Wait at the broker as long as anybody waits here."""
        ask = Exchange((calling.poll_command(self.reply_list, _SLICE_S),), block_s=_SLICE_S)
        while not self._is_closed:
            try:
                (found,) = await self._wire.exchange(ask)
            except _AWAY:
                await asyncio.sleep(_PAUSE_S)  # each call has its own time limit
                continue
            self._put(found)
            if not found and not self._boxes:
                return

    def _put(self, found: Sequence[Any] | None) -> None:
        for item in found[1] if found else ():
            call_id, body = split_reply(item)
            mailbox = self._boxes.get(call_id)
            if mailbox is None:
                self.late_replies += 1
                continue
            mailbox.bodies.append(body)
            if mailbox.wanted is not None:
                _let_go(mailbox.wanted)

    async def close(self) -> None:
        """Let everybody go who waits."""
        self._is_closed = True
        for mailbox in list(self._boxes.values()):
            if mailbox.wanted is not None and not mailbox.wanted.done():
                mailbox.wanted.set_exception(NotConnected("this client of services is closed"))
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, LabspineError):
                await self._task


def _let_go(wanted: asyncio.Future[None]) -> None:
    if not wanted.done():
        wanted.set_result(None)


async def pause(pause_s: float) -> None:
    """Let some time pass."""
    await asyncio.sleep(pause_s)
