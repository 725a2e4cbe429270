"""One connection to RabbitMQ: log in, cut frames, keep it alive, notice when it is not."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import cast

from ...errors import AuthenticationError, ConfigError, NotConnected, shown
from ..address import Address
from ..protocol import ConnectionLost
from ..tls import handshake_failed
from . import frames
from .address import AmqpAddress
from .channel import Channel, ChannelRefused
from .fields import short
from .frames import Method

__all__ = ["HEARTBEAT_S", "SILENCE_S", "AmqpConnection", "open_connection"]

_log = logging.getLogger("labspine.wire")

HEARTBEAT_S = 4
"""Asked of the broker: it sends a sign of life each half of it, and gives us up after two without one."""

SILENCE_S = 5.0
"""After so long without any byte the link is given up."""

_TICK_S = 1.0
_MOST_FRAME_BYTES = 131_072
_MOST_CHANNELS = 2047
_CLOSE_S = 1.0
_CAPABILITIES = (
    "authentication_failure_close",
    "basic.nack",
    "connection.blocked",
    "consumer_cancel_notify",
    "publisher_confirms",
)


class AmqpConnection(asyncio.Protocol):
    """
    Own a socket and its channels; made by `open_connection`.

    Args:
        address: Where.
        name: Shown by the broker's list of connections.
    """

    def __init__(self, address: AmqpAddress, name: str) -> None:
        self.address = address
        self.most_frame_bytes = _MOST_FRAME_BYTES
        self.on_lost: Callable[[Exception], None] = lambda _: None
        self.blocked = ""
        self.lost: Exception | None = None
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._out: list[bytes] = []
        self._channels: dict[int, Channel] = {}
        self._said: asyncio.Queue[tuple[int, bytes] | Exception] = asyncio.Queue()
        self._can_write: asyncio.Event = asyncio.Event()
        self._can_write.set()
        self._is_open = False
        self._received_mono_s = self._sent_mono_s = time.monotonic()
        self._tick: asyncio.TimerHandle | None = None

    # --- life ---

    async def log_in(self) -> None:
        """Shake hands; called once, after the socket is connected."""
        self._transport_write(frames.PROTOCOL_HEADER)
        server, mechanisms = frames.read_start(await self._expect(Method.START))
        if "PLAIN" not in mechanisms:
            raise ConfigError(
                f"{self.address} offers the logins {shown(mechanisms)}: Labspine speaks PLAIN, "
                "over amqps:// where the network is not yours"
            )
        capabilities = dict.fromkeys(_CAPABILITIES, True)
        client = {"product": "labspine", "connection_name": self._name, "capabilities": capabilities}
        login = f"\0{self.address.username}\0{self.address.password}".encode()
        self._transport_write(frames.start_ok(client, "PLAIN", login))
        tuned = await self._expect(Method.TUNE)
        most = int.from_bytes(tuned[2:6], "big") or _MOST_FRAME_BYTES
        self.most_frame_bytes = min(most, _MOST_FRAME_BYTES)
        channels = min(int.from_bytes(tuned[:2], "big") or _MOST_CHANNELS, _MOST_CHANNELS)
        said = channels.to_bytes(2, "big") + self.most_frame_bytes.to_bytes(4, "big")
        self._transport_write(frames.method(0, Method.TUNE_OK, said + HEARTBEAT_S.to_bytes(2, "big")))
        self._transport_write(frames.method(0, Method.OPEN, short(self.address.vhost) + b"\x00\x00"))
        await self._expect(Method.OPEN_OK)
        self._is_open = True
        self._due_mono_s = time.monotonic() + _TICK_S
        self._tick = self._loop.call_later(_TICK_S, self._look)
        _log.debug("connected to %s, %s", self.address, server.get("version", "of unknown version"))

    async def _expect(self, number: int) -> bytes:
        said = await self._said.get()
        if isinstance(said, Exception):
            raise said
        if said[0] != number:
            raise ConfigError(f"{self.address} answered the login with method {said[0]:#x}")
        return said[1]

    async def channel(self, *, confirms: bool = False) -> Channel:
        """Open a channel; with confirms, publishing on it waits for the broker's word."""
        if self.lost is not None:
            raise ConnectionLost(self.lost, sent=False)
        number = next(n for n in range(1, _MOST_CHANNELS) if n not in self._channels)
        channel = Channel(self, number)
        self._channels[number] = channel
        await channel.open(confirms=confirms)
        return channel

    def forget(self, channel: Channel) -> None:
        """Note that a channel has ended."""
        self._channels.pop(channel.number, None)

    async def close(self) -> None:
        """Say goodbye and close; waits a second at most."""
        if self.lost is None and self._is_open:
            self.write(frames.method(0, Method.CLOSE, b"\x00\xc8\x00\x00\x00\x00\x00"))
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await self._expect(Method.CLOSE_OK)
            except (TimeoutError, ConnectionLost, ConfigError):
                pass
        self.give_up(ConnectionLost("this side closed the connection", sent=True))

    def give_up(self, reason: Exception) -> None:
        """End at once, without a word to the broker."""
        if self.lost is not None:
            return
        self.lost = reason
        if self._tick is not None:
            self._tick.cancel()
        self._can_write.set()
        self._said.put_nowait(reason)
        for channel in list(self._channels.values()):
            channel.end(ConnectionLost(reason, sent=True))
        self._channels.clear()
        if self._transport is not None:
            self._transport.abort()
        self.on_lost(reason)

    def _look(self) -> None:
        """Send a sign of life if nothing was sent, and insist on one from the broker."""
        now = time.monotonic()
        is_late = now - self._due_mono_s > _TICK_S  # the loop was held up: what came was not read yet
        if not is_late and now - self._received_mono_s > SILENCE_S:
            self.give_up(ConnectionLost(f"the broker was silent for {SILENCE_S:g} s", sent=True))
            return
        if now - self._sent_mono_s > HEARTBEAT_S / 4:
            self.write(frames.HEARTBEAT)
        self._due_mono_s = now + _TICK_S
        self._tick = self._loop.call_later(_TICK_S, self._look)

    # --- out ---

    def write(self, data: bytes) -> None:
        """Send bytes soon: what is said in one turn of the loop leaves in one write."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._transport_write(data)

    def _transport_write(self, data: bytes) -> None:
        if self._transport is not None and self.lost is None:
            self._sent_mono_s = time.monotonic()
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the socket takes more."""
        if not self._can_write.is_set():
            await self._can_write.wait()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything that waits."""
        self.give_up(ConnectionLost(exc or "the broker closed the connection", sent=True))

    def pause_writing(self) -> None:
        """Hold publishers back."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Let publishers go on."""
        self._can_write.set()

    def data_received(self, data: bytes) -> None:
        """Cut what came into frames, and hand them to their channels."""
        self._received_mono_s = time.monotonic()
        if self._rest:
            data = self._rest + data
        used = 0
        channels = self._channels
        try:
            for kind, number, payload, end in frames.cut(data, self.most_frame_bytes):
                used = end
                channel = channels.get(number)
                if channel is not None:
                    channel.hear(kind, payload)
                elif number == 0 and kind == frames.METHOD:
                    self._hear(payload)
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            self.give_up(ConnectionLost(f"what the broker said cannot be read: {error}", sent=True))
            return
        self._rest = data[used:] if used else data

    def _hear(self, payload: bytes) -> None:
        number = int.from_bytes(payload[:4], "big")
        if number == Method.CLOSE:
            code, words = frames.read_close(payload[4:])
            self._transport_write(frames.method(0, Method.CLOSE_OK))
            self.give_up(self._refusal(code, words))
        elif number == Method.BLOCKED:
            self.blocked = payload[5 : 5 + payload[4]].decode("utf-8", "replace")
            _log.warning("%s takes no messages now: %s", self.address, self.blocked)
        elif number == Method.UNBLOCKED:
            self.blocked = ""
        else:
            self._said.put_nowait((number, payload[4:]))

    def _refusal(self, code: int, words: str) -> Exception:
        """Tell a login that will never work from a connection that somebody ended."""
        if self._is_open:
            return ConnectionLost(f"the broker closed the connection: {code} {shown(words, 200)}", sent=True)
        if code == 403:
            return AuthenticationError(
                f"{self.address} does not accept the user name or the password of "
                f'"{shown(self.address.username)}"'
            )
        return ConfigError(f"{self.address} refused the connection: {code} {shown(words, 200)}")


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
        connection = AmqpConnection(address, name)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().create_connection(
                    lambda made=connection: made,
                    host,
                    port,
                    ssl=tls,
                )
                await connection.log_in()
            return connection
        except ssl.SSLError as error:
            why = handshake_failed(error, cast("Address", address))  # it looks at tls and tls_files only
            if isinstance(why, NotConnected):
                raise why from error
            reasons.append(f"{host}:{port}: {why}")
        except AuthenticationError as error:
            connection.give_up(ConnectionLost(error, sent=False))
            raise
        except (OSError, TimeoutError, ConnectionLost, ChannelRefused) as error:
            reasons.append(f"{host}:{port}: {str(error) or type(error).__name__}")
            connection.give_up(ConnectionLost(error, sent=False))
        except BaseException as error:
            connection.give_up(ConnectionLost(error, sent=False))
            raise
    raise ConnectionLost("; ".join(reasons), sent=False)
