"""One blocking connection for a thread that waits on a Redis server; it is opened again when it broke."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

from ...clock import mono_s
from ...errors import DeadlinePassed, DeliveryUnknown, NotConnected, ServerError
from ...flows import Exchange, Flow
from ...wire import (
    NOTHING_YET,
    ConnectionLost,
    SyncConnection,
    SyncWire,
    is_elsewhere,
    settle,
)

__all__ = ["Line", "perform"]

Outcome = TypeVar("Outcome")
_WHO = Exchange((("CLIENT", "ID"),), readonly=True)
_STEPS_S = (5.0, 0.2, 0.05, 0.01)
"""Time limits that are used, so that they seldom change; who waits longer waits again."""
_WAITED = Exchange((("BLMPOP",),))


def perform(wire: Line | SyncWire, flow: Flow[Outcome]) -> Outcome:
    """Drive a flow: send what it asks for, give it the replies or the error."""
    try:
        ask = next(flow)
        while True:
            try:
                replies = wire.exchange(ask)
            except Exception as error:
                ask = flow.throw(error)
            else:
                ask = flow.send(replies)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what the flow returned


def _step_s(timeout_s: float) -> float:
    for step_s in _STEPS_S:
        if step_s <= timeout_s:
            return step_s
    return _STEPS_S[-1]


class Line:
    """
    Send and wait; used by one thread at a time.

    Args:
        wire: Opens the connection; it is not used otherwise.
        key: On a cluster: what this asks for lies on the node that has this key.
    """

    def __init__(self, wire: SyncWire, key: str = "") -> None:
        self._wire = wire
        self.key = key
        self._address = wire.address
        self._options = wire.options
        self._connection: SyncConnection | None = None
        self._closing = threading.Event()
        self._limit_s = 0.0
        self._client_id = 0
        self._dead_mono_s = 0.0
        self.is_waiting = False

    @property
    def is_open(self) -> bool:
        """Whether there is a connection that works as far as is known."""
        return self._connection is not None and not self._connection.is_closed

    def exchange(self, ask: Exchange) -> list[Any]:
        """
        Send, and wait for all replies.

        Raises:
            NotConnected: For everything that the link does: what can be done twice is sent here.
        """
        try:
            connection = self._ready(self._options.timeout_s + (ask.block_s or 0.0))
            return self._settled(ask, connection.exchange(ask))
        except ConnectionLost as lost:
            raise NotConnected(f"no connection to {self._address}: {lost}") from lost
        except DeadlinePassed as error:
            raise NotConnected(str(error)) from error

    def exchange_packed(self, packed: bytes, ask: Exchange) -> list[Any]:
        """Do as `exchange` does for what is packed already; ``ask`` has its commands' names."""
        try:
            connection = self._ready(self._options.timeout_s + (ask.block_s or 0.0))
            return self._settled(ask, connection.exchange_packed(packed, len(ask.commands)))
        except ConnectionLost as lost:
            raise NotConnected(f"no connection to {self._address}: {lost}") from lost
        except DeadlinePassed as error:
            raise NotConnected(str(error)) from error

    def send(self, packed: bytes | list[bytes], names: Exchange, *, wait_s: float) -> list[Any]:
        """
        Send commands of which the last one waits on the server; `next` gives its reply.

        Args:
            packed: The commands.
            names: Their names, for errors, without the one that waits.
            wait_s: How long the server waits at most, in seconds; much later the link counts as dead.

        Returns:
            The replies to the commands before it.

        Raises:
            NotConnected: If nothing was sent.
            DeliveryUnknown: If the link broke afterwards.
        """
        try:
            connection = self._ready(None)
            try:
                connection.send(packed)
            except BlockingIOError as error:
                raise ConnectionLost("the server takes nothing", sent=True) from error
            self.is_waiting = True
            limit_s = self._options.timeout_s
            self._dead_mono_s = mono_s() + wait_s + limit_s
            replies = [self._reply(connection, patience_s=limit_s) for _ in names.commands]
            if any(reply is NOTHING_YET for reply in replies):
                raise ConnectionLost(f"no answer within {limit_s:g} s", sent=True)
        except ConnectionLost as lost:
            self.drop()
            if lost.sent:
                raise DeliveryUnknown(
                    f"the connection to {self._address} broke after the request was sent: {lost}"
                ) from lost
            raise NotConnected(f"no connection to {self._address}: {lost}") from lost
        except BaseException:
            self.drop()
            raise
        return self._settled(names, replies)

    def next(self, timeout_s: float) -> Any:
        """
        Wait for the reply to the command that waits.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            It; or `NOTHING_YET`.

        Raises:
            NotConnected: If the link broke.
            LabspineError: If the server refused.
        """
        connection = self._connection
        if connection is None:
            self.is_waiting = False
            raise NotConnected(f"no connection to {self._address}")
        self._limit(connection, _step_s(timeout_s))
        try:
            reply = self._reply(connection, patience_s=0.0)
        except ConnectionLost as lost:
            self.drop()
            raise NotConnected(f"the connection to {self._address} broke: {lost}") from lost
        except BaseException:
            self.drop()
            raise
        if reply is NOTHING_YET:
            if mono_s() > self._dead_mono_s:
                self.drop()
                raise NotConnected(f"nothing was heard from {self._address} any more")
        else:
            self.is_waiting = False
            connection.used_mono_s = mono_s()
            self._settled(_WAITED, [reply])
        return reply

    def _settled(self, ask: Exchange, replies: list[Any]) -> list[Any]:
        """Judge the replies; a node of a cluster that has not got the key any more is left."""
        try:
            return settle(ask, replies)
        except ServerError as error:
            if not (self._address.is_cluster and is_elsewhere(error)):
                raise
            self.drop()
            raise NotConnected(f"{self._address}: another node is to be asked: {error}") from error

    def _reply(self, connection: SyncConnection, *, patience_s: float) -> Any:
        reply = connection.next_reply()
        while reply is NOTHING_YET:
            try:
                connection.receive()
            except BlockingIOError:
                if patience_s <= 0:
                    return NOTHING_YET
                patience_s -= self._limit_s
            reply = connection.next_reply()
        return reply

    def _limit(self, connection: SyncConnection, limit_s: float) -> None:
        """Set the time limit in the kernel, unless it is so: two system calls less for each call."""
        if limit_s != self._limit_s:
            self._limit_s = limit_s
            connection.limit(limit_s)

    def _ready(self, limit_s: float | None) -> SyncConnection:
        connection = self._connection
        if connection is None or connection.is_stale():
            self.drop()
            if self._closing.is_set():
                raise NotConnected("this was closed")
            connection = self._wire.open_link(self.key)
            self._client_id = int(settle(_WHO, connection.exchange(_WHO))[0])
            self._limit_s = self._options.timeout_s
            self._connection = connection
            if self._closing.is_set():  # closed while it was opened
                connection.close()
        if limit_s is not None:
            self._limit(connection, limit_s)
        return connection

    def unblock(self) -> None:
        """Let who waits on it go, as if its time were over: nothing that is on its way gets lost."""
        connection = self._connection
        if connection is not None and not connection.is_closed:
            ask = Exchange((("CLIENT", "UNBLOCK", self._client_id),), readonly=True)
            self._wire.exchange_beside(connection, ask)

    def drop(self) -> None:
        """Close the connection; the next use opens one."""
        connection, self._connection = self._connection, None
        self.is_waiting = False
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close it for good, and let who waits on it go."""
        self._closing.set()
        connection = self._connection
        if connection is not None:
            connection.abort()
            connection.close()
