"""
A link to RabbitMQ that comes back: one connection, its residents, and confirmed publishing.

Residents (subscriptions, servers of calls, claimers of queues) live on the connection: they are told when it
is there, in the order in which they moved in, and when it is lost. What was published and not confirmed when
the link broke is published again on the new one, with the same bytes and in the same order: receivers know
repeats by stamp or id.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from ...errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected
from ..address import Address
from ..protocol import ConnectionLost, WireOptions
from ..tls import tls_context
from .address import AmqpAddress
from .channel import Channel, ChannelRefused, Nacked
from .connection import AmqpConnection, open_connection
from .properties import Written
from .translate import translated

__all__ = ["AmqpLink", "Resident"]

_log = logging.getLogger("labspine.wire")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_NACKED_PAUSE_S = 0.1


class Resident(Protocol):
    """Something that lives on the connection."""

    async def link_ready(self, connection: AmqpConnection) -> None:
        """Move in: open channels, declare, consume. Called again on each new connection."""

    def link_lost(self) -> None:
        """Note that the connection is gone, and with it every channel."""


class _Letter:
    """A message that is to be confirmed."""

    __slots__ = ("arguments", "future", "serial", "was_sent")

    def __init__(self, serial: int, arguments: tuple[Any, ...], future: asyncio.Future[bool]) -> None:
        self.serial = serial
        self.arguments = arguments
        self.future = future
        self.was_sent = False


class AmqpLink:
    """
    Keep a connection to RabbitMQ; it is made when it is first used. Belongs to one event loop.

    Args:
        address: Where.
        options: Name and times.
        tls: Settings for ``amqps://``; None means the system's own.
    """

    def __init__(self, address: AmqpAddress, options: WireOptions, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.options = options
        self.reconnects = 0
        self.connection: AmqpConnection | None = None
        self._tls = tls
        self._residents: list[Resident] = []
        self._publisher: Channel | None = None
        self._waiting: dict[int, _Letter] = {}
        self._serials = itertools.count()
        self._ready = asyncio.Event()
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._was_ready = False
        self._is_closed = False

    # --- life ---

    async def connect(self) -> AmqpConnection:
        """
        Wait until the link is there.

        Returns:
            The connection of this moment.

        Raises:
            NotConnected: If it does not come in time: the first attempt of a new link fails at once, later
                ones within the patience of the options.
            AuthenticationError: If the broker does not accept the login.
            ConfigError: If it refuses for another reason.
        """
        if self._is_closed:
            raise NotConnected("this connector is closed")
        if self._ready.is_set() and self.connection is not None:
            return self.connection
        async with self._starting:
            if self._task is None:
                await self._first()
                self._task = asyncio.get_running_loop().create_task(self._stay())
        try:
            async with asyncio.timeout(self.options.patience_s):
                await self._ready.wait()
        except TimeoutError:
            raise NotConnected(
                f"no connection to {self.address} for {self.options.patience_s:g} s; nothing was done. "
                "Is the broker running?"
            ) from None
        if self._is_closed or self.connection is None:
            raise NotConnected("this connector is closed")
        return self.connection

    async def _first(self) -> None:
        try:
            await self._open()
        except (ConnectionLost, ChannelRefused) as error:
            self._drop(error)
            raise NotConnected(
                f"no connection to {self.address}: {error}; nothing was done. Is the broker running?"
            ) from error
        except BaseException as error:
            self._drop(error)
            raise

    async def close(self) -> None:
        """End the connection and everything on it; closing twice does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self.connection is not None:
            self.connection.on_lost = lambda _: None
            await self.connection.close()
        self._fail_waiting(NotConnected("this connector is closed"))
        self._ready.set()  # who waits for it looks and finds it closed

    async def move_in(self, resident: Resident) -> None:
        """Let something live on the link; returns when it has moved in once."""
        connection = await self.connect()
        if resident in self._residents:
            return
        try:
            await resident.link_ready(connection)
        except (ConnectionLost, ChannelRefused) as error:
            raise translated(error, self.address) from error
        self._residents.append(resident)
        if connection is not self.connection:  # lost meanwhile: the next one has to tell it
            resident.link_lost()
            if self.connection is not None and self._ready.is_set():
                await resident.link_ready(self.connection)

    @property
    def residents(self) -> list[Resident]:
        """What lives on the link."""
        return list(self._residents)

    def move_out(self, resident: Resident) -> None:
        """Forget something that lived on the link."""
        if resident in self._residents:
            self._residents.remove(resident)

    def distrust(self) -> None:
        """End the present connection at once, so that a new one is made."""
        if self.connection is not None:
            self.connection.give_up(ConnectionLost("it was given up on this side", sent=True))

    # --- the task ---

    async def _open(self) -> None:
        options = self.options
        tls = tls_context(cast("Address", self.address), self._tls)  # it looks at tls and tls_files only
        connection = await open_connection(
            self.address, name=options.client_name, timeout_s=options.connect_timeout_s, tls=tls
        )
        self._lost.clear()
        connection.on_lost = self._on_lost
        self.connection = connection
        async with asyncio.timeout(options.timeout_s):
            self._publisher = await connection.channel(confirms=True)
            for resident in list(self._residents):
                await resident.link_ready(connection)
        self._publish_again()
        self._was_ready = True
        self._ready.set()

    def _on_lost(self, reason: Exception) -> None:
        self._ready.clear()
        self._lost.set()
        if not self._is_closed:
            _log.warning("the connection to %s broke (%s); coming back", self.address, reason)

    def _drop(self, reason: BaseException) -> None:
        """Forget a connection that did not become ready."""
        self._ready.clear()
        connection, self.connection, self._publisher = self.connection, None, None
        if connection is not None:
            connection.on_lost = lambda _: None
            connection.give_up(ConnectionLost(reason, sent=True))
            for resident in self._residents:
                resident.link_lost()

    async def _stay(self) -> None:
        while not self._is_closed:
            await self._lost.wait()
            self._drop(ConnectionLost("lost", sent=True))
            await self._come_back()

    async def _come_back(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._is_closed:
            try:
                await self._open()
                self.reconnects += 1
                return
            except Exception as error:
                _log.warning("no connection to %s yet: %s", self.address, error)
                self._drop(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    # --- confirmed messages ---

    async def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        *,
        properties: Written,
        mandatory: bool = False,
        timeout_s: float | None = None,
    ) -> bool:
        """
        Publish, and return when the broker has confirmed that it has the message.

        When the link breaks first, the same bytes are published again on the next one: the receiver must
        know repeats.

        Args:
            exchange: Where; empty sends to the queue that the key names.
            key: The routing key.
            body: The payload.
            properties: As `written_properties` wrote them.
            mandatory: Tell when no queue takes it.
            timeout_s: Longest wait in seconds; None for that of the options.

        Returns:
            False if it is mandatory and no queue took it.

        Raises:
            NotConnected: If nothing was sent.
            DeliveryUnknown: If the link broke and did not come back in time.
            DeadlinePassed: If the broker did not confirm in time.
            PermissionDenied: If the rules of the broker refuse it.
            ServerError: If the broker does not take the message.
        """
        arguments = (exchange, key, body, properties, mandatory)
        limit_s = self.options.timeout_s if timeout_s is None else timeout_s
        refused: Nacked | None = None
        if not self._ready.is_set():
            await self.connect()
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    try:
                        return await self._publish_once(arguments)
                    except Nacked as nacked:  # a queue has no leader for the moment: nothing was taken
                        refused = nacked
                        await asyncio.sleep(_NACKED_PAUSE_S)
        except TimeoutError:
            if refused is not None:
                raise translated(refused, self.address) from refused
            is_blocked = self.connection is not None and await self.connection.is_blocked()
            why = "; the broker is short of memory or disk" if is_blocked else ""
            raise DeadlinePassed(
                f"{self.address} did not confirm a message within {limit_s:g} s{why}: "
                "done or not done is unknown"
            ) from None
        except ChannelRefused as error:
            raise translated(error, self.address) from error

    async def _publish_once(self, arguments: tuple[str, str, bytes, Written, bool]) -> bool:
        channel = self._publisher
        if channel is None or channel.closed is not None or not self._ready.is_set():
            await self.connect()
            channel = await self._open_publisher()
        exchange, key, body, properties, mandatory = arguments
        serial = next(self._serials)
        try:
            return await channel.publish(exchange, key, body, properties=properties, mandatory=mandatory)
        except Nacked:
            if channel is self._publisher:  # it may go on asking a leader that is gone: take a new one
                self._publisher = None
                await channel.close()
            raise
        except ConnectionLost as lost:
            if self._is_closed:
                raise DeliveryUnknown(f"{self.address}: {lost}: done or not done is unknown") from lost
            letter = self._keep(serial, arguments)
            try:
                return await self._outcome(letter)
            finally:
                self._waiting.pop(letter.serial, None)

    async def publish_many(self, letters: Sequence[tuple[str, bytes, Written]]) -> None:
        """
        Publish several messages to queues in one go, and return when the broker has confirmed all.

        Args:
            letters: Of each the name of the queue, the payload, and written properties.

        Raises:
            NotConnected: If nothing was sent.
            DeliveryUnknown: If the outcome of one is not known; others may have been taken.
            DeadlinePassed: The same, because the broker did not confirm in time.
            ServerError: If the broker does not take one.
        """
        if len(letters) == 1:
            ((queue, body, properties),) = letters
            await self.publish("", queue, body, properties=properties)
            return
        await self.connect()
        outcomes = await asyncio.gather(
            *(self.publish("", queue, body, properties=properties) for queue, body, properties in letters),
            return_exceptions=True,
        )
        errors = [one for one in outcomes if isinstance(one, BaseException)]
        if len(errors) == len(letters) or not errors:
            if errors:
                raise errors[0]
            return
        if isinstance(errors[0], NotConnected):
            raise DeliveryUnknown(
                f"only {len(letters) - len(errors)} of {len(letters)} messages were taken: {errors[0]}"
            )
        raise errors[0]

    async def _open_publisher(self) -> Channel:
        """The channel for publishing; a refused message had it closed by the broker."""
        async with self._starting:
            channel = self._publisher
            if channel is None or channel.closed is not None:
                try:
                    channel = await (await self._connection()).channel(confirms=True)
                except (ConnectionLost, ChannelRefused) as error:
                    raise NotConnected(
                        f"no connection to {self.address}: {error}; nothing was done"
                    ) from error
                self._publisher = channel
            return channel

    async def _connection(self) -> AmqpConnection:
        if self.connection is None:
            raise ConnectionLost("no connection", sent=False)
        return self.connection

    def _keep(self, serial: int, arguments: tuple[Any, ...]) -> _Letter:
        """Keep a message for the next connection; they fail in any order, so each has its place."""
        letter = _Letter(serial, arguments, asyncio.get_running_loop().create_future())
        self._waiting[letter.serial] = letter
        if self._ready.is_set():  # the next connection is there already
            self._publish_again()
        return letter

    async def _outcome(self, letter: _Letter) -> bool:
        try:
            async with asyncio.timeout(self.options.patience_s + self.options.timeout_s):
                return await letter.future
        except TimeoutError:
            raise DeliveryUnknown(
                f"the connection to {self.address} broke after a message was sent, and did not come back: "
                "done or not done is unknown"
            ) from None

    def _publish_again(self) -> None:
        """Say once more, in order and before anything new, what was not confirmed."""
        channel = self._publisher
        for letter in [self._waiting[serial] for serial in sorted(self._waiting)]:
            if letter.was_sent or letter.future.done() or channel is None or channel.closed is not None:
                continue
            exchange, key, body, properties, mandatory = letter.arguments
            letter.was_sent = True
            sent = channel.publish_nowait(exchange, key, body, properties=properties, mandatory=mandatory)
            sent.add_done_callback(self._concluder(letter))

    def _concluder(self, letter: _Letter) -> Callable[[asyncio.Future[bool]], None]:
        def conclude(sent: asyncio.Future[bool]) -> None:
            letter.was_sent = False
            error = None if sent.cancelled() else sent.exception()
            if letter.future.done() or isinstance(error, ConnectionLost):
                return  # the next connection says it again
            if error is None:
                letter.future.set_result(sent.result())
            else:
                letter.future.set_exception(error)

        return conclude

    def _fail_waiting(self, error: LabspineError) -> None:
        for letter in self._waiting.values():
            if not letter.future.done():
                letter.future.set_exception(
                    DeliveryUnknown(f"{error}: whether a message was taken is unknown")
                )
        self._waiting.clear()
