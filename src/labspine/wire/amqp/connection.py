"""One connection to RabbitMQ, on aiormq (the protocol of aio-pika): log in, notice when it is lost."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiormq
from aiormq.connection import TransportFactory
from yarl import URL

from ...errors import AuthenticationError, ConfigError, shown
from ..protocol import ConnectionLost
from .address import AmqpAddress
from .channel import Channel, ChannelRefused

__all__ = ["HEARTBEAT_S", "AmqpConnection", "open_connection"]

HEARTBEAT_S = 3
"""Asked of the broker: it sends a sign of life each half of it, and gives us up after two without one."""

_log = logging.getLogger("labspine.wire")
_CLOSE_S = 1.0
logging.getLogger("aiormq").addHandler(
    logging.NullHandler()
)  # what it would print, we raise or log ourselves


class _Transport(TransportFactory):
    """Make the streams of a connection, and keep hold of the socket, so that it can be cut at once."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; called by the library."""
        reader, self._writer = await asyncio.open_connection(url.host, url.port, ssl=self._tls)
        return reader, self._writer

    def cut(self) -> None:
        """End the connection without a word."""
        if self._writer is not None:
            self._writer.transport.abort()


class _Connection(aiormq.Connection):
    """The library's connection, which gives up a silent broker after 4 s instead of three heartbeats."""

    HEARTBEAT_GRACE_MULTIPLIER = 1
    READER_CLOSE_TIMEOUT = 1


class AmqpConnection:
    """
    Own a connection and its channels; made by `open_connection`.

    Args:
        inner: The connection of the library, open.
        transport: Its socket.
    """

    def __init__(self, inner: aiormq.Connection, transport: _Transport) -> None:
        self.on_lost: Callable[[Exception], None] = lambda _: None
        self.lost: Exception | None = None
        self._inner = inner
        self._transport = transport
        self._channels: dict[int, Channel] = {}
        self._ending: asyncio.Task[None] | None = None
        inner.closing.add_done_callback(self._inner_closed)

    async def channel(self, *, confirms: bool = False) -> Channel:
        """
        Open a channel; with confirms, publishing on it waits for the broker's word.

        Raises:
            ConnectionLost: If the connection broke.
        """
        if self.lost is not None:
            raise ConnectionLost(self.lost, sent=False)
        try:
            inner = await self._inner.channel(publisher_confirms=confirms, on_return_raises=False)
        except (aiormq.AMQPError, OSError, RuntimeError) as error:
            raise ConnectionLost(self.lost or error, sent=True) from error
        except asyncio.CancelledError:
            if self.lost is not None:  # the library cancels what waits when the link breaks
                raise ConnectionLost(self.lost, sent=True) from None
            raise
        channel = Channel(inner, self.forget)
        self._channels[channel.number] = channel
        return channel

    def forget(self, channel: Channel) -> None:
        """Note that a channel has ended."""
        self._channels.pop(channel.number, None)

    async def is_blocked(self) -> bool:
        """Tell whether the broker takes no messages now, because it is short of memory or disk."""
        try:
            async with asyncio.timeout(0):
                await self._inner.ready()
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        """Say goodbye and close; waits a second at most."""
        if self.lost is None:
            self._lose(ConnectionLost("this side closed the connection", sent=True))
            await asyncio.wait([asyncio.ensure_future(self._inner.close())], timeout=_CLOSE_S)
        self._transport.cut()
        if self._ending is not None:
            await asyncio.wait([self._ending], timeout=_CLOSE_S)

    def give_up(self, reason: Exception) -> None:
        """End at once, without a word to the broker."""
        if self.lost is None:
            self._lose(reason)
        self._transport.cut()
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_task(self._inner.close())

    def _inner_closed(self, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        self._lose(ConnectionLost(_words(error), sent=True))

    def _lose(self, reason: Exception) -> None:
        if self.lost is not None:
            return
        self.lost = reason
        for channel in list(self._channels.values()):
            channel.end(ConnectionLost(reason, sent=True))
        self._channels.clear()
        self.on_lost(reason)


async def open_connection(
    address: AmqpAddress, *, name: str, timeout_s: float, tls: ssl.SSLContext | None
) -> AmqpConnection:
    """
    Connect and log in.

    Args:
        address: Where; of several hosts the first that answers is taken.
        name: Shown by the broker's list of connections.
        timeout_s: Longest wait in seconds for one host.
        tls: How to encrypt; None does not.

    Returns:
        The connection, ready for channels.

    Raises:
        ConnectionLost: If no host answers.
        AuthenticationError: If the broker does not accept the login.
        ConfigError: If it refuses for another reason, such as an unknown virtual host.
    """
    reasons = []
    for host, port in address.places:
        transport = _Transport(tls)
        properties: Any = {"product": "labspine", "connection_name": name}
        inner = _Connection(
            _url(address, host, port), transport_factory=transport, client_properties=properties
        )
        try:
            async with asyncio.timeout(timeout_s):
                await inner.connect()
            return AmqpConnection(inner, transport)
        except (aiormq.ProbableAuthenticationError, aiormq.AuthenticationError) as error:
            raise AuthenticationError(
                f'{address} does not accept the user name or the password of "{shown(address.username)}"'
            ) from error
        except aiormq.ConnectionClosed as error:
            raise ConfigError(f"{address} refused the connection: {_words(error)}") from error
        except aiormq.InvalidFrameError as error:
            if "Connection.Close" not in str(error):
                raise ConnectionLost(f"{host}:{port}: {_words(error)}", sent=False) from error
            raise ConfigError(
                f"{address} closed the connection after the login: is there a virtual host "
                f'"{address.vhost}", and may {shown(address.username)} enter it?'
            ) from error
        except (aiormq.AMQPError, OSError, TimeoutError, ChannelRefused) as error:
            reasons.append(f"{host}:{port}: {_words(error)}")
        finally:
            if not inner.is_opened:
                transport.cut()
    raise ConnectionLost("; ".join(reasons), sent=False)


def _url(address: AmqpAddress, host: str, port: int) -> URL:
    """Write the address of one host as the library takes it."""
    login = f"{quote(address.username, safe='')}:{quote(address.password, safe='')}"
    place = f"[{host}]" if ":" in host else host
    scheme = "amqps" if address.tls else "amqp"
    return URL(
        f"{scheme}://{login}@{place}:{port}/{quote(address.vhost, safe='')}?heartbeat={HEARTBEAT_S}",
        encoded=True,
    )


def _words(error: BaseException | None) -> str:
    if error is None or isinstance(error, asyncio.CancelledError):
        return "the broker closed the connection"
    if isinstance(error.__cause__ or error, ssl.SSLError):
        return shown(f"TLS: {error.__cause__ or error}", 200)
    return shown(" ".join(str(part) for part in error.args) or type(error).__name__, 200)
