"""
One blocking connection.

The socket stays in blocking mode and the kernel keeps the time limits (SO_RCVTIMEO, SO_SNDTIMEO): a limit
of Python's own would add a poll to each call. TLS sockets cannot do that and use Python's limit.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from typing import Any

import hiredis

from ..clock import mono_s
from ..errors import DeadlinePassed, NotConnected
from ..flows import Exchange
from .address import Address
from .login import check_login, login, lost_at_login
from .protocol import ConnectionLost, WireOptions
from .resp import NOTHING_YET, new_reader, pack, replies_due
from .sentinel import find_master, follow_master
from .tls import handshake_failed, tls_context

__all__ = ["SyncConnection"]

_BUFFER_BYTES = 16 * 1024
_LARGEST_BUFFER_BYTES = 256 * 1024
_MOST_BUFFERS = 512
_IDLE_CHECK_S = 0.5


class SyncConnection:
    """
    Open a connection, log in, and make sure that the server answers.

    Args:
        address: Where and as whom.
        options: Time limits and name.
        context: TLS settings; None means the system's own for ``rediss://``.

    Raises:
        ConnectionLost: If there is no connection (internal; the pool translates it).
        AuthenticationError: If the login is not accepted.
        NotConnected: If the peer is not a Redis server.
    """

    def __init__(self, address: Address, options: WireOptions, context: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.is_closed = False
        self.used_mono_s = mono_s()
        self._timeout_s = -1.0
        self._reader = new_reader()
        self._buffer = bytearray(_BUFFER_BYTES)
        place = address if address.sentinels is None else find_master(address, options, context)
        self._socket = _connected_socket(place, options, context)
        self._kernel_limits = not isinstance(self._socket, ssl.SSLSocket)
        try:
            self.limit(options.connect_timeout_s)
            ask = login(address, options.client_name)
            check_login(ask, self.exchange(ask), address)
            self.limit(options.timeout_s)
            if place is not address:
                follow_master(self, place, address, options=options, context=context)
        except DeadlinePassed as error:
            self.close()
            raise ConnectionLost(f"no answer within {options.connect_timeout_s} s", sent=False) from error
        except ConnectionLost as lost:
            self.close()
            raise lost_at_login(lost, address) from lost
        except BaseException:
            self.close()
            raise

    def limit(self, timeout_s: float) -> None:
        """Set the longest wait of one send or receive, in seconds; costs nothing if it is that already."""
        if timeout_s == self._timeout_s:
            return
        self._timeout_s = timeout_s
        if self._kernel_limits:
            limit = struct.pack("ll", int(timeout_s), int(timeout_s % 1 * 1_000_000))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        else:
            self._socket.settimeout(timeout_s)

    def exchange(self, ask: Exchange) -> list[Any]:
        """
        Send one exchange and collect its raw replies.

        Args:
            ask: The commands.

        Returns:
            As many raw replies as are due; error replies are among them.

        Raises:
            ConnectionLost: If the link broke; ``sent`` tells whether anything had left.
            DeadlinePassed: If no answer came in time; the connection is closed then.
        """
        return self.exchange_packed(pack(ask), replies_due(ask))

    def exchange_packed(self, packed: bytes | list[bytes], due: int) -> list[Any]:
        """Send what `pack` made and collect the given number of replies; raises as `exchange` does."""
        try:
            self.send(packed)
            replies: list[Any] = []
            gets = self._reader.gets
            while True:
                self.receive()
                reply = gets()
                while reply is not NOTHING_YET:
                    replies.append(reply)
                    if len(replies) == due:
                        self.used_mono_s = mono_s()
                        return replies
                    reply = gets()
        except hiredis.ProtocolError as error:
            self.close()
            raise NotConnected(
                f"{self.address} does not speak the Redis protocol ({error}); is it a TLS port?"
            ) from error
        except BlockingIOError as error:
            self.close()
            raise DeadlinePassed(
                f"no answer from {self.address} within {self._timeout_s:g} s; "
                "a command that changes data may or may not have been done"
            ) from error
        except BaseException:
            self.close()
            raise

    def send(self, packed: bytes | list[bytes]) -> None:
        """
        Write all buffers.

        Raises:
            ConnectionLost: If the link broke; ``sent`` is False if nothing had left.
            BlockingIOError: If the peer took nothing within the limit.
        """
        sent_bytes = 0
        try:
            if isinstance(packed, bytes):
                sent_bytes = self._socket.send(packed)
                if sent_bytes < len(packed):
                    self._socket.sendall(memoryview(packed)[sent_bytes:])
                return
            for start in range(0, len(packed), _MOST_BUFFERS):
                sent_bytes += self._send_gathered(list(packed[start : start + _MOST_BUFFERS]))
        except BlockingIOError:
            raise
        except TimeoutError as error:
            raise BlockingIOError from error
        except (OSError, ValueError) as error:
            raise ConnectionLost(error, sent=sent_bytes > 0) from error

    def _send_gathered(self, buffers: list[bytes]) -> int:
        if not self._kernel_limits:
            self._socket.sendall(b"".join(buffers))
            return 1
        first = self._socket.sendmsg(buffers)
        done = first
        try:
            for buffer in buffers:
                if done < len(buffer):
                    self._socket.sendall(memoryview(buffer)[done:])
                    done = 0
                else:
                    done -= len(buffer)
        except BlockingIOError:
            raise
        except OSError as error:
            raise ConnectionLost(error, sent=True) from error
        return first

    def receive(self) -> None:
        """
        Wait for bytes and hand them to the parser.

        Raises:
            ConnectionLost: If the link broke.
            BlockingIOError: If nothing came within the limit.
        """
        try:
            count = self._socket.recv_into(self._buffer)
        except BlockingIOError:
            raise
        except TimeoutError as error:
            raise BlockingIOError from error
        except (OSError, ValueError) as error:
            raise ConnectionLost(error, sent=True) from error
        if count == 0:
            raise ConnectionLost("the server closed the connection", sent=True)
        self._reader.feed(self._buffer, 0, count)
        if count == len(self._buffer) and count < _LARGEST_BUFFER_BYTES:
            self._buffer = bytearray(count * 4)

    def next_reply(self) -> Any:
        """Return the next whole reply that was received, or `NOTHING_YET`."""
        return self._reader.gets()

    def is_stale(self) -> bool:
        """Tell whether the peer has closed this connection while nobody used it."""
        if self.is_closed:
            return True
        if mono_s() - self.used_mono_s < _IDLE_CHECK_S:
            return False
        try:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN | select.POLLERR | select.POLLHUP)
            return bool(poll.poll(0))
        except (OSError, ValueError):
            return True

    def abort(self) -> None:
        """Break the connection from another thread; whoever waits on it learns at once."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; closing twice does nothing."""
        self.is_closed = True
        with contextlib.suppress(OSError):
            self._socket.close()


def _connected_socket(
    address: Address, options: WireOptions, context: ssl.SSLContext | None
) -> socket.socket:
    tls = tls_context(address, context)
    link: socket.socket | None = None
    try:
        if address.path:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.settimeout(options.connect_timeout_s)
            link.connect(address.path)
        else:
            link = socket.create_connection((address.host, address.port), options.connect_timeout_s)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError as error:
        if link is not None:
            link.close()
        raise ConnectionLost(error, sent=False) from error
    if tls is None:
        link.settimeout(None)
        return link
    try:
        return tls.wrap_socket(link, server_hostname=address.host)
    except OSError as error:
        link.close()
        raise handshake_failed(error, address) from error
