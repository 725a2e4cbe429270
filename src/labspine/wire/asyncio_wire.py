"""
The asyncio wire: one connection for the commands of all tasks, one for bulk, more for commands that wait.

It belongs to the event loop that used it first.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from typing import Any

from ..clock import mono_s
from ..errors import DeadlinePassed, InvalidOperation, NotConnected
from ..flows import Argument, Exchange
from .address import Address
from .asyncio import AsyncConnection, open_connection
from .protocol import ConnectionLost, WireOptions
from .resp import pack, packed_size_bytes, replies_due, settle
from .sync_wire import split_replies
from .translate import lost_after_sending, lost_before_sending

__all__ = ["AsyncioWire"]

_BULK_ABOVE_BYTES = 64 * 1024
_IDLE_WAITERS = 2
_SUSPICIOUS_S = 1.0
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25


class _Line:
    """One connection that is renewed when it breaks."""

    __slots__ = ("connection", "opening")

    def __init__(self) -> None:
        self.connection: AsyncConnection | None = None
        self.opening = asyncio.Lock()


class AsyncioWire:
    """
    Send exchanges from any task of one event loop.

    Args:
        address: Where and as whom.
        options: Time limits and name.
        context: TLS settings for ``rediss://``; None means the system's own.
    """

    def __init__(
        self, address: Address, options: WireOptions | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self.address = address
        self.options = options or WireOptions()
        self._context = context
        self._was_connected = False
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._commands = _Line()
        self._bulk = _Line()
        self._waiters: list[AsyncConnection] = []
        self._busy_waiters: dict[AsyncConnection, asyncio.Task[Any] | None] = {}

    @classmethod
    def made_for(
        cls, address: Address, options: WireOptions | None = None, context: ssl.SSLContext | None = None
    ) -> AsyncioWire:
        """Make the wire that an address asks for: to a cluster, one that waits for replicas, or this one."""
        from .cluster.asyncio_wire import ClusterAsyncioWire
        from .confirmed import ConfirmedAsyncioWire

        if address.is_cluster:
            return ClusterAsyncioWire(address, options, context)
        return (ConfirmedAsyncioWire if address.replicas else cls)(address, options, context)

    async def connect(self) -> None:
        """
        Make sure that there is a connection now.

        Raises:
            NotConnected: If there is none to be had; `AuthenticationError` if the login is refused.
        """
        await self.exchange(Exchange((("PING",),), readonly=True))

    async def exchange(self, ask: Exchange) -> list[Any]:
        """See `Wire.exchange`."""
        if ask.block_s is not None:
            return await self._exchange_waiting(ask)
        packed = pack(ask)
        line = self._commands
        if type(packed) is list and not ask.keep_order and packed_size_bytes(packed) > _BULK_ABOVE_BYTES:
            line = self._bulk
        connection = line.connection
        if connection is None or connection.is_closed:
            connection = await self._renewed(line)
        try:
            return settle(ask, await connection.exchange_packed(packed, replies_due(ask)))
        except ConnectionLost as lost:
            if lost.sent and not ask.readonly:
                raise lost_after_sending(self.address, lost) from lost
        return await self._exchange_again(line, ask, packed)

    async def _exchange_again(self, line: _Line, ask: Exchange, packed: bytes | list[bytes]) -> list[Any]:
        try:
            connection = await self._renewed(line)
            return settle(ask, await connection.exchange_packed(packed, replies_due(ask)))
        except ConnectionLost as again:
            if again.sent and not ask.readonly:
                raise lost_after_sending(self.address, again) from again
            raise lost_before_sending(self.address, again) from again

    async def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """See `Wire.exchange_many`."""
        packed: list[bytes] = []
        for ask in asks:
            one = pack(ask)
            packed += [one] if isinstance(one, bytes) else one
        due = sum(map(replies_due, asks))
        try:
            connection = self._commands.connection
            if connection is None or connection.is_closed:
                connection = await self._renewed(self._commands)
            return split_replies(asks, await connection.exchange_packed(packed, due))
        except ConnectionLost as lost:
            if lost.sent:
                return [lost_after_sending(self.address, lost)] * len(asks)
            return [lost_before_sending(self.address, lost)] * len(asks)
        except (NotConnected, DeadlinePassed) as error:
            return [error] * len(asks)

    async def _exchange_waiting(self, ask: Exchange) -> list[Any]:
        """Use a connection of its own for a command that waits on the server."""
        self._check_place()
        connection = self._waiters.pop() if self._waiters else None
        if connection is None or connection.is_closed:
            connection = await self._opened()
        self._busy_waiters[connection] = asyncio.current_task()
        is_done = False
        try:
            replies = settle(ask, await connection.exchange(ask, wait_s=ask.block_s or 0.0))
            is_done = True
            return replies
        except ConnectionLost as lost:
            raise (
                lost_after_sending(self.address, lost)
                if lost.sent and not ask.readonly
                else lost_before_sending(self.address, lost)
            ) from lost
        finally:
            self._busy_waiters.pop(connection, None)
            is_fresh = is_done and not self._is_closed and connection.address is self.address
            if is_fresh and len(self._waiters) < _IDLE_WAITERS:
                self._waiters.append(connection)
            else:
                connection.close()  # after a cancellation, too: its answer is still to come

    async def _renewed(self, line: _Line) -> AsyncConnection:
        self._check_place()
        async with line.opening:
            if line.connection is None or line.connection.is_closed:
                line.connection = await self._opened()
            return line.connection

    async def _opened(self) -> AsyncConnection:
        """Open a connection; wait a little for a broker that was there before."""
        deadline_mono_s = mono_s() + (self.options.patience_s if self._was_connected else 0.0)
        pause_s = _FIRST_PAUSE_S
        while not self._is_closed:
            try:
                connection = await open_connection(self.address, self.options, self._context)
                self._was_connected = True
                return connection
            except ConnectionLost as lost:
                if mono_s() >= deadline_mono_s:
                    raise lost_before_sending(self.address, lost) from lost
            await asyncio.sleep(pause_s * random.uniform(0.7, 1.3))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise NotConnected(f"this connector to {self.address} is closed")

    def _check_place(self) -> None:
        if self._is_closed:
            raise NotConnected(f"this connector to {self.address} is closed")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop or self._pid != os.getpid():
            raise InvalidOperation(
                "an AsyncConnector belongs to the event loop and process that first used it: make a new one"
            )

    async def open_link(self, key: Argument | None = None) -> AsyncConnection:
        """See `SyncWire.open_link`; raises as `open_connection` does."""
        return await open_connection(self.address, self.options, self._context)

    async def log_in(self, address: Address, check: Exchange) -> None:
        """See `SyncWire.log_in`."""
        self._check_place()
        try:
            connection = await open_connection(address, self.options, self._context)
            try:
                settle(check, await connection.exchange(check))
            finally:
                connection.close()
        except ConnectionLost as lost:
            raise lost_before_sending(address, lost) from lost
        self.address = address
        for line in (self._commands, self._bulk):
            old, line.connection = line.connection, None
            while old is not None and old.is_waiting:
                await asyncio.sleep(_FIRST_PAUSE_S)  # its own time limit ends this
            if old is not None:
                old.close()
        while self._waiters:
            self._waiters.pop().close()

    def break_off(self, owner: asyncio.Task[Any]) -> None:
        """End what a task waits for on the server: it gets `NotConnected`."""
        for connection, waiter in list(self._busy_waiters.items()):
            if waiter is owner:
                connection.close()

    def distrust(self) -> None:
        """
        Close what nobody uses now, or what has been silent while an answer is due.

        Another link to this broker was found dead, so these may be, too.
        """
        for line in (self._commands, self._bulk):
            connection = line.connection
            if connection is not None and (
                not connection.is_waiting or mono_s() - connection.received_mono_s > _SUSPICIOUS_S
            ):
                connection.close()
        while self._waiters:
            self._waiters.pop().close()

    async def close(self) -> None:
        """Close every connection; tasks that wait on one get `NotConnected` or `DeliveryUnknown`."""
        self._is_closed = True
        lines = [self._commands.connection, self._bulk.connection]
        for connection in [*lines, *self._waiters, *self._busy_waiters]:
            if connection is not None:
                connection.close()
