"""The gateway: a web server in a thread of its own that shows the laboratory and takes orders from people."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

import socketio
import uvicorn

from labspine.connector import AsyncConnector, RedisConnector
from labspine.endpoints import Profile
from labspine.errors import ConfigError, DeadlinePassed, InvalidOperation
from labspine.ids import new_token
from labspine.wire import parse_address

from .access import Access, named_hosts
from .feed import Feed
from .live import LiveModel
from .sockets import MOST_BYTES_IN, Sockets
from .web import MOST_HEADER_BYTES, Guard, pages

__all__ = ["Gateway"]

_log = logging.getLogger(__name__)
_NEXT_PORTS = 50
_START_S = 10.0
_LOOK_S = 0.005


class Gateway:
    """
    Serve the page.

    Call `start`, open ``url`` in a browser, and `stop` at the end; or use it as a context manager. It starts
    although the broker cannot be reached: the page says so and goes on when it is back.

    Args:
        broker: Address of the broker, or a connector to it: the gateway then has connections of its own to
            the same broker, with the same names of channels.
        host: Address to listen on. The loopback by default: nobody else in the network can come.
        port: Port to listen on; if it is taken, the next free one. 0 takes any.
        key: Secret of the page, at least 16 URL-safe characters; None makes a new one.
        allowed_hosts: Names under which people open the page; needed when ``host`` is not the loopback.
        profile: Names of the channels, when ``broker`` is an address.
        most_sockets: How many pages may be open at once.
        session_s: How long a browser stays logged in, in seconds.

    Raises:
        ConfigError: If the address of the broker cannot work, the key is too short, or the page would be open
            to the network without named hosts.
    """

    def __init__(
        self,
        broker: str | RedisConnector | AsyncConnector,
        *,
        host: str = "127.0.0.1",
        port: int = 8600,
        key: str | None = None,
        allowed_hosts: Iterable[str] = (),
        profile: Profile = "seed",
        most_sockets: int = 32,
        session_s: float = 12 * 3600.0,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ConfigError(f"port {port} is not a port; allowed is 0 to 65535, 0 takes any free one")
        if isinstance(broker, str):
            self._address, self._profile = parse_address(broker), profile
        else:
            self._address, self._profile = broker.address, broker.options.profile
        self._host = host
        self._port = port
        self._names = named_hosts(host, allowed_hosts)
        self._key = Access(port, self._names, key=key).key
        self._most_sockets = most_sockets
        self._session_s = session_s
        self._socket: socket.socket | None = None
        self._ask_to_stop: Callable[[], None] | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None

    @property
    def port(self) -> int:
        """Give the port that it listens on; before `start` the wanted one."""
        return self._port

    @property
    def is_serving(self) -> bool:
        """Say whether browsers can connect."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def address(self) -> str:
        """Give the address of the page without the key, such as ``http://127.0.0.1:8600/``."""
        host = self._host
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = self._names[0]
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def url(self) -> str:
        """Give the address to open in a browser. It holds the key: whoever has it may press the buttons."""
        return f"{self.address}?k={self._key}"

    def start(self) -> None:
        """
        Listen and serve in a thread; browsers can connect when it returns.

        Raises:
            ConfigError: If no port is free or the address is not one of this machine.
            InvalidOperation: If it was started already.
            DeadlinePassed: If the server did not come up within 10 s.
        """
        if self._thread is not None:
            raise InvalidOperation("this gateway was started already; make a new one after stop()")
        self._socket = _listen(self._host, self._port)
        self._port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="labspine-gateway", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_S):
            self.stop()
            raise DeadlinePassed(f"the page's server did not start within {_START_S:.0f} s")
        if self._failure is not None:
            failure = self._failure
            self.stop()
            raise ConfigError(f"the page's server did not start: {failure}") from failure

    def stop(self, timeout_s: float = 5.0) -> None:
        """
        Let the browsers go and close the port; it takes less than a second. A second call does nothing.

        Args:
            timeout_s: Longest wait for the thread, in seconds.
        """
        thread = self._thread
        if thread is not None and self._ask_to_stop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended by itself
                self._ask_to_stop()
            if thread is not threading.current_thread():
                thread.join(timeout_s)
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
            if self._started.is_set():
                _log.exception("the gateway ended by a failure")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        assert self._socket is not None  # noqa: S101 - start() has made it
        model = LiveModel(new_token(4))
        feed = Feed(model, self._address, profile=self._profile)
        access = Access(self.port, self._names, key=self._key, session_s=self._session_s)
        sockets = Sockets(model, feed.send, origins=access.origins)
        app = Guard(socketio.ASGIApp(sockets.server, pages(access)), access, most_sockets=self._most_sockets)
        server = uvicorn.Server(_config(app))
        leave = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ask_to_stop() -> None:
            loop.call_soon_threadsafe(leave.set)

        self._ask_to_stop = ask_to_stop
        duties = [asyncio.create_task(feed.run()), asyncio.create_task(sockets.serve())]
        duties.append(asyncio.create_task(_until(leave)))
        serving = asyncio.create_task(server.serve([self._socket]))
        while not server.started and not serving.done():
            await asyncio.sleep(_LOOK_S)
        self._started.set()
        await asyncio.wait([serving, *duties], return_when=asyncio.FIRST_COMPLETED)
        await sockets.close()
        server.should_exit = True
        for duty in duties:
            duty.cancel()
        for ended in await asyncio.gather(serving, *duties, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _config(app: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        http="h11",  # the one whose header size can be limited
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=MOST_BYTES_IN,
        ws_per_message_deflate=False,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
        limit_concurrency=200,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        family = socket.AF_INET
    last = port if port == 0 else min(port + _NEXT_PORTS, 65535)
    for candidate in range(port, last + 1):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                continue
            raise ConfigError(f"the page cannot listen on {host}:{candidate}: {error.strerror}") from error
        return listener
    raise ConfigError(f"no free port for the page between {port} and {last} on {host}; choose another one")
