"""The link for both doors: the same methods, for the tasks of a loop and for any thread."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ...errors import NotConnected
from ..protocol import WireOptions
from .address import AmqpAddress
from .link import AmqpLink, Resident
from .portal import portal
from .properties import Written

__all__ = ["AmqpWire", "AsyncAmqpWire"]

T = TypeVar("T")


class AsyncAmqpWire:
    """
    Speak to RabbitMQ from the tasks of one event loop.

    Args:
        address: Where.
        options: Name and times.
        tls: Settings for ``amqps://``; None means the system's own.
    """

    def __init__(self, address: AmqpAddress, options: WireOptions, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.options = options
        self.tls = tls
        self.link = AmqpLink(address, options, tls)

    async def connect(self) -> None:
        """Make sure that the broker answers; raises `NotConnected` or `AuthenticationError` if not."""
        await self.link.connect()

    async def publish(
        self, exchange: str, key: str, body: bytes, *, properties: Written, mandatory: bool = False
    ) -> bool:
        """Publish with confirmation; see `AmqpLink.publish`."""
        return await self.link.publish(exchange, key, body, properties=properties, mandatory=mandatory)

    async def move_in(self, resident: Resident) -> None:
        """Let something live on the link; see `AmqpLink.move_in`."""
        await self.link.move_in(resident)

    async def ask(self, work: Callable[[AmqpLink], Awaitable[T]]) -> T:
        """Do some work on the loop of the link."""
        return await work(self.link)

    def distrust(self) -> None:
        """Renew the connection."""
        self.link.distrust()

    async def close(self) -> None:
        """End everything; closing twice does nothing."""
        await self.link.close()


class AmqpWire:
    """
    Speak to RabbitMQ from any thread; the link lives on a loop in a thread of its own.

    A forked child begins with a new link, and without what lived on the old one.

    Args:
        address: Where.
        options: Name and times.
        tls: Settings for ``amqps://``; None means the system's own.
    """

    def __init__(self, address: AmqpAddress, options: WireOptions, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.options = options
        self.tls = tls
        self._lock = threading.Lock()
        self._pid = 0
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._link: AmqpLink | None = None

    def _running(self) -> tuple[asyncio.AbstractEventLoop, AmqpLink]:
        loop, link = self._loop, self._link
        if loop is not None and link is not None and self._pid == os.getpid():
            return loop, link
        if self._pid != os.getpid():
            self._lock = threading.Lock()  # the parent's may be held for ever by a thread that is not here
        with self._lock:
            if self._is_closed:
                raise NotConnected("this connector is closed")
            if self._loop is None or self._link is None or self._pid != os.getpid():
                self._pid = os.getpid()
                self._loop = portal.enter()
                self._link = AmqpLink(self.address, self.options, self.tls)
            return self._loop, self._link

    def ask(self, work: Callable[[AmqpLink], Awaitable[T]]) -> T:
        """Do some work on the loop of the link, and wait for its outcome."""
        loop, link = self._running()

        async def done() -> T:
            return await work(link)

        return portal.run(loop, done())

    def connect(self) -> None:
        """Make sure that the broker answers; raises `NotConnected` or `AuthenticationError` if not."""
        self.ask(AmqpLink.connect)

    def publish(
        self, exchange: str, key: str, body: bytes, *, properties: Written, mandatory: bool = False
    ) -> bool:
        """Publish with confirmation; see `AmqpLink.publish`."""
        loop, link = self._running()
        return portal.run(loop, link.publish(exchange, key, body, properties=properties, mandatory=mandatory))

    def move_in(self, resident: Resident) -> None:
        """Let something live on the link; see `AmqpLink.move_in`."""
        self.ask(lambda link: link.move_in(resident))

    def distrust(self) -> None:
        """Renew the connection."""
        self._soon(AmqpLink.distrust)

    def _soon(self, work: Callable[[AmqpLink], Any]) -> None:
        if self._loop is not None and self._link is not None and self._pid == os.getpid():
            self._loop.call_soon_threadsafe(work, self._link)

    def close(self) -> None:
        """End everything; closing twice does nothing."""
        with self._lock:
            self._is_closed = True
            loop, link = self._loop, self._link
            is_mine = self._pid == os.getpid()
            self._loop = self._link = None
        if loop is not None and link is not None and is_mine:
            try:
                portal.run(loop, link.close())
            finally:
                portal.leave()
