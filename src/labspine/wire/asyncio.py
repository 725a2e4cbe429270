"""
One connection on an event loop, shared by many callers.

Each caller's commands go into one line of pending replies. The first caller writes at once; what other
tasks add before the answer comes is joined into one write per turn of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

from ..clock import mono_s
from ..errors import DeadlinePassed, LabspineError, NotConnected
from ..flows import Exchange
from .address import Address
from .login import check_login, login, lost_at_login
from .protocol import ConnectionLost, WireOptions
from .resp import NOTHING_YET, new_reader, pack, replies_due
from .sentinel import Answer, follow_master, question, search, sentinel_options
from .tls import handshake_failed, tls_context

__all__ = ["AsyncConnection", "open_connection"]

_WATCH_S = 0.25


class _Pending:
    __slots__ = ("deadline_mono_s", "due", "future", "replies")

    def __init__(self, future: asyncio.Future[list[Any]], due: int, deadline_mono_s: float) -> None:
        self.future = future
        self.due = due
        self.deadline_mono_s = deadline_mono_s
        self.replies: list[Any] = []


class AsyncConnection(asyncio.Protocol):
    """
    Match replies with callers, or hand each reply to a listener.

    Args:
        address: For the error texts.
        timeout_s: Longest wait for an answer, in seconds.
    """

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.is_closed = False
        self.received_mono_s = mono_s()
        self._timeout_s = timeout_s
        self._reader = new_reader()
        self._pending: deque[_Pending] = deque()
        self._outbox: list[bytes] = []
        self._flush_is_due = False
        self._watch: asyncio.TimerHandle | None = None
        self._writable: asyncio.Future[None] | None = None
        self._listener: Callable[[Any], None] | None = None
        self._on_lost: Callable[[Exception], None] | None = None

    # --- the caller's side ---

    async def exchange(self, ask: Exchange, *, wait_s: float = 0.0) -> list[Any]:
        """Send one exchange and wait for its raw replies; raises `ConnectionLost` or `DeadlinePassed`."""
        return await self.exchange_packed(pack(ask), replies_due(ask), wait_s=wait_s)

    async def exchange_packed(
        self, packed: bytes | list[bytes], due: int, *, wait_s: float = 0.0
    ) -> list[Any]:
        """
        Send what `pack` made and wait for the given number of replies.

        Args:
            packed: The bytes.
            due: How many replies the server will send.
            wait_s: How long the server itself may wait, in seconds, on top of the time limit.

        Returns:
            The raw replies.

        Raises:
            ConnectionLost: If the link broke.
            DeadlinePassed: If no answer came in time; the connection is closed then.
        """
        while self._writable is not None:
            await asyncio.shield(self._writable)
        if self.is_closed:
            raise ConnectionLost("the connection is closed", sent=False)
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        is_first = not self._pending
        self._pending.append(_Pending(future, due, mono_s() + self._timeout_s + wait_s))
        if is_first:
            self.write(packed)
            if self._watch is None:
                self._watch = self._loop.call_later(_WATCH_S, self._check_deadline)
        else:
            self._write_this_turn(packed)
        return await future

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is due."""
        return bool(self._pending)

    def write(self, packed: bytes | list[bytes]) -> None:
        """Hand bytes to the transport now, behind what waits for the end of this turn."""
        if self._outbox:
            self._flush()
        if isinstance(packed, bytes):
            self._transport.write(packed)
        else:
            self._transport.writelines(packed)

    def _write_this_turn(self, packed: bytes | list[bytes]) -> None:
        if isinstance(packed, bytes):
            self._outbox.append(packed)
        else:
            self._outbox += packed
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._outbox and not self.is_closed:
            outbox, self._outbox = self._outbox, []
            self._transport.writelines(outbox) if len(outbox) > 1 else self._transport.write(outbox[0])

    def listen(self, listener: Callable[[Any], None], on_lost: Callable[[Exception], None]) -> None:
        """From now on hand each reply to a listener (for a subscriber's connection)."""
        self._listener = listener
        self._on_lost = on_lost
        self._drain()

    def close(self) -> None:
        """Close the connection; whoever waits on it gets `ConnectionLost`."""
        if not self.is_closed:
            self._lose(ConnectionLost("the connection was closed here", sent=True))

    def abort(self) -> None:
        """Break the connection from another thread; whoever waits on it learns at once."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the connection
            self._loop.call_soon_threadsafe(self.close)

    # --- the loop's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; called by the loop."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # a stream transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Parse and hand out replies; called by the loop."""
        self._reader.feed(data)
        self._drain()

    def _drain(self) -> None:
        self.received_mono_s = mono_s()
        gets = self._reader.gets
        try:
            reply = gets()
            while reply is not NOTHING_YET:
                if self._listener is not None:
                    self._listener(reply)
                else:
                    self._answer(reply)
                reply = gets()
        except hiredis.ProtocolError as error:
            self._lose(
                NotConnected(f"{self.address} does not speak the Redis protocol ({error}); is it a TLS port?")
            )

    def _answer(self, reply: Any) -> None:
        if not self._pending:
            return
        head = self._pending[0]
        head.replies.append(reply)
        if len(head.replies) == head.due:
            self._pending.popleft()
            if not head.future.done():
                head.future.set_result(head.replies)

    def pause_writing(self) -> None:
        """Make callers wait until the peer has read; called by the loop."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let callers write again; called by the loop."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits; called by the loop."""
        self._lose(ConnectionLost(exc or "the server closed the connection", sent=True))

    def _check_deadline(self) -> None:
        self._watch = None
        if not self._pending or self.is_closed:
            return
        if mono_s() > self._pending[0].deadline_mono_s:
            self._lose(
                DeadlinePassed(
                    f"no answer from {self.address} within {self._timeout_s:g} s; "
                    "a command that changes data may or may not have been done"
                )
            )
            return
        self._watch = self._loop.call_later(_WATCH_S, self._check_deadline)

    def _lose(self, reason: Exception) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._transport.abort()
        self.resume_writing()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        pending, self._pending = self._pending, deque()
        for waiting in pending:
            if not waiting.future.done():
                waiting.future.set_exception(_copied(reason))
        if self._on_lost is not None:
            self._on_lost(reason)


def _copied(reason: Exception) -> Exception:
    """One exception a waiter: a shared one would collect the tracebacks of all."""
    if isinstance(reason, ConnectionLost):
        return ConnectionLost(str(reason), sent=reason.sent)
    return type(reason)(*reason.args)


async def open_connection(
    address: Address, options: WireOptions, context: ssl.SSLContext | None = None
) -> AsyncConnection:
    """
    Open a connection, log in, and make sure that the server answers.

    Args:
        address: Where and as whom.
        options: Time limits and name.
        context: TLS settings; None means the system's own for ``rediss://``.

    Returns:
        The connection.

    Raises:
        ConnectionLost: If there is no connection (internal; the wire translates it).
        AuthenticationError: If the login is not accepted.
        NotConnected: If the peer is not a Redis server.
    """
    connection: AsyncConnection | None = None
    try:
        async with asyncio.timeout(options.connect_timeout_s):
            place = address if address.sentinels is None else await _master(address, options, context)
            connection = await _connected(place, options, context)
            connection.address = address
            ask = login(address, options.client_name)
            check_login(ask, await connection.exchange(ask), address)
            if place is not address:
                follow_master(connection, place, address, options=options, context=context)
            return connection
    except (OSError, DeadlinePassed) as error:
        _close(connection)
        if isinstance(error, NotConnected):
            raise
        if address.tls and connection is None:
            raise handshake_failed(error, address) from error
        reason = (
            f"no answer within {options.connect_timeout_s} s" if isinstance(error, TimeoutError) else error
        )
        raise ConnectionLost(reason, sent=False) from error
    except ConnectionLost as lost:
        _close(connection)
        raise (lost if connection is None else lost_at_login(lost, address)) from lost
    except BaseException:
        _close(connection)
        raise


async def _master(address: Address, options: WireOptions, context: ssl.SSLContext | None) -> Address:
    """Ask the sentinels who is master; see `search`."""
    flow = search(address)
    ask = question(address)
    try:
        place = next(flow)
        while True:
            try:
                link = await open_connection(place, sentinel_options(options), context)
            except (ConnectionLost, LabspineError) as error:
                place = flow.send(error)
                continue
            try:
                answer: Answer = await link.exchange(ask)
            except (ConnectionLost, LabspineError) as error:
                answer = error
            finally:
                link.close()
            place = flow.send(answer)
    except StopIteration as end:
        master: Address = end.value
        return master


async def _connected(
    address: Address, options: WireOptions, context: ssl.SSLContext | None
) -> AsyncConnection:
    loop = asyncio.get_running_loop()

    def factory() -> AsyncConnection:
        return AsyncConnection(address, options.timeout_s)

    if address.path:
        return (await loop.create_unix_connection(factory, address.path))[1]
    tls = tls_context(address, context)
    try:
        return (await loop.create_connection(factory, address.host, address.port, ssl=tls))[1]
    except ssl.SSLError as error:
        raise handshake_failed(error, address) from error


def _close(connection: AsyncConnection | None) -> None:
    if connection is not None:
        connection.close()
