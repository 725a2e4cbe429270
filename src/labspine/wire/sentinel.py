"""
Sentinel: who is the master now, and hanging up at once on one that is not any more.

A server that has been replaced may live on and take writes that are lost (an operator's failover lost 78 % of
them with a client that waited for an error). So one thread for each group of sentinels listens for
``+switch-master`` and breaks every connection of this process to the old master; the wires and readers then
come back by themselves, which asks the sentinels again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import threading
import weakref
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..clock import mono_s
from ..errors import AuthenticationError, ConfigError, LabspineError, NotConnected, shown
from ..flows import Exchange
from .address import Address, Sentinels
from .protocol import ConnectionLost, WireOptions
from .resp import NOTHING_YET, pack
from .translate import ErrorReply

if TYPE_CHECKING:
    from .sync import SyncConnection

__all__ = ["Answer", "find_master", "follow_master", "question", "search", "sentinel_options"]

_log = logging.getLogger("labspine.wire")

_TICK_S = 0.25
_PING_EVERY_S = 1.0
_SILENCE_S = 3.0
_ASK_LIMIT_S = 1.0
_CHANNEL = b"+switch-master"

Answer = list[Any] | Exception


def question(address: Address) -> Exchange:
    """Ask a sentinel for host and port of the master."""
    name = _sentinels(address).master_name
    return Exchange((("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name),), readonly=True)


def sentinel_options(options: WireOptions) -> WireOptions:
    """Take shorter limits for a sentinel: when one does not answer, there are others."""
    limit_s = min(options.connect_timeout_s, _ASK_LIMIT_S)
    return WireOptions(options.client_name, limit_s, limit_s, 0.0)


def search(address: Address) -> Generator[Address, Answer, Address]:
    """
    Look for the master, without any I/O: yield each sentinel to ask, receive its replies or the error.

    Args:
        address: Names the sentinels and the master.

    Returns:
        The address of the master.

    Raises:
        ConfigError: If every sentinel answers and none knows the master's name.
        AuthenticationError: If no sentinel accepts the login.
        ConnectionLost: If no sentinel answers.
    """
    sentinels = _sentinels(address)
    complaints: list[str] = []
    refused: AuthenticationError | None = None
    strangers = 0
    for host, port in _best_first(sentinels):
        answer = yield _sentinel_address(address, host, port)
        if isinstance(answer, list) and isinstance(answer[0], list):
            _last_good[sentinels] = (host, port)
            found_host, found_port = (part.decode() for part in answer[0])
            return replace(address, host=found_host, port=int(found_port), sentinels=None)
        if isinstance(answer, AuthenticationError):
            refused = answer
        elif isinstance(answer, list) and answer[0] is None:
            strangers += 1
        said = answer if isinstance(answer, Exception) else shown(str(answer[0]))
        complaints.append(f"{host}:{port} says {said}")
    if strangers == len(sentinels.places):
        raise ConfigError(f'no sentinel of {address} knows a master called "{shown(sentinels.master_name)}"')
    if refused is not None:
        raise refused
    raise ConnectionLost(f"no sentinel tells who is master ({'; '.join(complaints)})", sent=False)


def _sentinels(address: Address) -> Sentinels:
    if address.sentinels is None:
        raise ConfigError(f"{address} names no sentinels")
    return address.sentinels


_last_good: dict[Sentinels, tuple[str, int]] = {}


def _best_first(sentinels: Sentinels) -> list[tuple[str, int]]:
    best = _last_good.get(sentinels)
    return sorted(sentinels.places, key=lambda place: place != best)


def _sentinel_address(address: Address, host: str, port: int) -> Address:
    sentinels = _sentinels(address)
    return Address(
        host,
        port,
        tls=address.tls,
        username=sentinels.username,
        password=sentinels.password,
        tls_files=address.tls_files,
    )


def find_master(address: Address, options: WireOptions, context: ssl.SSLContext | None) -> Address:
    """Do `search`, blocking the calling thread."""
    flow = search(address)
    try:
        place = next(flow)
        while True:
            place = flow.send(_asked(place, question(address), options, context))
    except StopIteration as end:
        master: Address = end.value
        return master


def _asked(place: Address, ask: Exchange, options: WireOptions, context: ssl.SSLContext | None) -> Answer:
    from .sync import SyncConnection

    try:
        link = SyncConnection(place, sentinel_options(options), context)
        try:
            return link.exchange(ask)
        finally:
            link.close()
    except (ConnectionLost, LabspineError) as error:
        return error


class _Connection(Protocol):
    """What is followed: a connection of either door."""

    is_closed: bool

    def abort(self) -> None:
        """Break it; called from another thread."""


def follow_master(
    connection: _Connection,
    master: Address,
    address: Address,
    *,
    options: WireOptions,
    context: ssl.SSLContext | None,
) -> None:
    """
    Break a connection as soon as the sentinels name another master.

    Args:
        connection: To the present master; held weakly.
        master: Where it leads.
        address: Names the sentinels.
        options: Name and time limits.
        context: TLS settings.
    """
    sentinels = _sentinels(address)
    with _lock:
        follower = _followers.get(sentinels)
        if follower is None:
            follower = _followers[sentinels] = _Follower(address, options, context)
    follower.add(connection, (master.host, master.port))


class _Follower:
    """Listen to one sentinel after the other, as long as there are connections to look after."""

    def __init__(self, address: Address, options: WireOptions, context: ssl.SSLContext | None) -> None:
        self._address = address
        self._options = options
        self._context = context
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._followed: weakref.WeakKeyDictionary[_Connection, tuple[str, int]] = weakref.WeakKeyDictionary()

    def add(self, connection: _Connection, place: tuple[str, int]) -> None:
        with self._lock:
            self._followed[connection] = place
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="labspine-sentinel", daemon=True)
                self._thread.start()

    def _is_needed(self) -> bool:
        with self._lock:
            if any(not connection.is_closed for connection in list(self._followed)):
                return True
            self._thread = None
            return False

    def _run(self) -> None:
        number = 0
        pause = threading.Event()
        while self._is_needed():
            places = _sentinels(self._address).places
            host, port = places[number % len(places)]
            number += 1
            try:
                if not self._listen(_sentinel_address(self._address, host, port)):
                    return
            except (ConnectionLost, LabspineError, OSError, ValueError) as error:
                _log.debug("sentinel %s:%s: %s; asking the next", host, port, error)
                pause.wait(_TICK_S)

    def _listen(self, place: Address) -> bool:
        """Listen until the link breaks; False when nobody needs it any more."""
        from .sync import SyncConnection

        link: SyncConnection = SyncConnection(place, sentinel_options(self._options), self._context)
        try:
            link.send(pack(Exchange((("SUBSCRIBE", _CHANNEL),))))
            link.limit(_TICK_S)
            heard_mono_s = asked_mono_s = mono_s()
            while self._is_needed():
                with contextlib.suppress(BlockingIOError):
                    link.receive()
                    heard_mono_s = mono_s()
                self._hear(link)
                if mono_s() - heard_mono_s > _SILENCE_S:
                    raise ConnectionLost(f"silent for {_SILENCE_S:g} s", sent=True)
                if mono_s() - asked_mono_s > _PING_EVERY_S:
                    asked_mono_s = mono_s()
                    link.send(pack(Exchange((("PING",),))))
            return False
        finally:
            link.close()

    def _hear(self, link: SyncConnection) -> None:
        reply = link.next_reply()
        while reply is not NOTHING_YET:
            if isinstance(reply, ErrorReply):
                raise NotConnected(str(reply))
            if reply[0] == b"subscribe":
                # What happened before this was not heard: ask.
                master = find_master(self._address, self._options, self._context)
                self._moved((master.host, master.port))
            elif reply[0] == b"message":
                name, _, _, host, port = reply[2].decode().split(" ")
                if name == _sentinels(self._address).master_name:
                    self._moved((host, int(port)))
            reply = link.next_reply()

    def _moved(self, place: tuple[str, int]) -> None:
        with self._lock:
            old = [c for c, where in self._followed.items() if where != place and not c.is_closed]
            for connection in old:
                del self._followed[connection]
        if old:
            _log.warning("the sentinels made %s:%s the master: %d connections move there", *place, len(old))
        for connection in old:
            connection.abort()


_lock = threading.Lock()
_followers: dict[Sentinels, _Follower] = {}


def _forget_after_fork() -> None:
    global _lock  # noqa: PLW0603 - the parent may have held it
    _lock = threading.Lock()
    _followers.clear()


os.register_at_fork(after_in_child=_forget_after_fork)
