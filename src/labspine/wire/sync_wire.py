"""
The blocking wire: a few connections, shared by all threads of a process, renewed when they break.

One thread alone always gets the first connection and pays one uncontended lock for it. Commands that wait on
the server have connections of their own. After a fork the child starts with none.
"""

from __future__ import annotations

import os
import random
import ssl
import threading
import weakref
from typing import Any

from ..clock import mono_s
from ..errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected
from ..flows import Argument, Exchange
from .address import Address
from .protocol import ConnectionLost, WireOptions
from .resp import pack, replies_due, settle
from .sync import SyncConnection
from .translate import lost_after_sending, lost_before_sending

__all__ = ["SyncWire"]

_SLOTS = 4
_IDLE_WAITERS = 2
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25
_MANY_COMMANDS = 5_000


class _Slot:
    __slots__ = ("connection", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: SyncConnection | None = None


class SyncWire:
    """
    Send exchanges from any thread.

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
        self._begin()
        _alive.add(self)

    @classmethod
    def made_for(
        cls, address: Address, options: WireOptions | None = None, context: ssl.SSLContext | None = None
    ) -> SyncWire:
        """Make the wire that an address asks for: to a cluster, one that waits for replicas, or this one."""
        from .cluster.sync_wire import ClusterSyncWire
        from .confirmed import ConfirmedSyncWire

        if address.is_cluster:
            return ClusterSyncWire(address, options, context)
        return (ConfirmedSyncWire if address.replicas else cls)(address, options, context)

    def _begin(self) -> None:
        self._slots = tuple(_Slot() for _ in range(_SLOTS))
        self._waiters: list[SyncConnection] = []
        self._busy_waiters: dict[SyncConnection, threading.Thread] = {}
        self._closing = threading.Event()
        if self._is_closed:
            self._closing.set()

    def _forget_after_fork(self) -> None:
        """Drop what belongs to the parent; its sockets are closed here without a word to the server."""
        held = [slot.connection for slot in self._slots] + self._waiters + list(self._busy_waiters)
        self._begin()
        for connection in held:
            if connection is not None:
                connection.close()

    def connect(self) -> None:
        """
        Make sure that there is a connection now.

        Raises:
            NotConnected: If there is none to be had; `AuthenticationError` if the login is refused.
        """
        self.exchange(Exchange((("PING",),), readonly=True))

    def exchange(self, ask: Exchange) -> list[Any]:
        """See `Wire.exchange`."""
        if ask.block_s is not None:
            return self._exchange_waiting(ask)
        slot = self._slots[0]
        if not slot.lock.acquire(False):
            slot = self._free_slot()
        try:
            connection = slot.connection
            if connection is None or connection.is_stale():
                connection = self._renewed(slot)
            try:
                return settle(ask, connection.exchange(ask))
            except ConnectionLost as lost:
                return self._exchange_again(slot, ask, lost)
        finally:
            slot.lock.release()

    def _exchange_again(self, slot: _Slot, ask: Exchange, lost: ConnectionLost) -> list[Any]:
        """Try once more on a fresh connection if that cannot do anything twice."""
        if lost.sent and not ask.readonly:
            raise lost_after_sending(self.address, lost) from lost
        try:
            return settle(ask, self._renewed(slot).exchange(ask))
        except ConnectionLost as again:
            if again.sent and not ask.readonly:
                raise lost_after_sending(self.address, again) from again
            raise lost_before_sending(self.address, again) from again

    def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """See `Wire.exchange_many`."""
        slot = self._slots[0]
        if not slot.lock.acquire(False):
            slot = self._free_slot()
        results: list[Any] = []
        try:
            for start in range(0, len(asks), _MANY_COMMANDS):
                chunk = asks[start : start + _MANY_COMMANDS]
                try:
                    results += self._exchange_chunk(slot, chunk)
                except (NotConnected, DeliveryUnknown, DeadlinePassed) as error:
                    rest = NotConnected(f"{self.address}: not sent, because an earlier part failed: {error}")
                    results += [error] * len(chunk)
                    results += [rest] * (len(asks) - len(results))
                    return results
            return results
        finally:
            slot.lock.release()

    def _exchange_chunk(self, slot: _Slot, asks: list[Exchange]) -> list[Any]:
        packed: list[bytes] = []
        for ask in asks:
            one = pack(ask)
            packed += [one] if isinstance(one, bytes) else one
        buffers = b"".join(packed) if sum(map(len, packed)) < 256 * 1024 else packed
        due = sum(map(replies_due, asks))
        connection = slot.connection
        if connection is None or connection.is_stale():
            connection = self._renewed(slot)
        try:
            raw = connection.exchange_packed(buffers, due)
        except ConnectionLost as lost:
            if lost.sent and not all(ask.readonly for ask in asks):
                raise lost_after_sending(self.address, lost) from lost
            try:
                raw = self._renewed(slot).exchange_packed(buffers, due)
            except ConnectionLost as again:
                raise lost_after_sending(self.address, again) from again
        return split_replies(asks, raw)

    def _exchange_waiting(self, ask: Exchange) -> list[Any]:
        """Use a connection of its own for a command that waits on the server."""
        try:
            connection = self._waiters.pop()
        except IndexError:
            connection = self._opened()
        if connection.is_stale():
            connection.close()
            connection = self._opened()
        self._busy_waiters[connection] = threading.current_thread()
        try:
            connection.limit((ask.block_s or 0.0) + self.options.timeout_s)
            return settle(ask, connection.exchange(ask))
        except ConnectionLost as lost:
            raise (
                lost_after_sending(self.address, lost)
                if lost.sent and not ask.readonly
                else lost_before_sending(self.address, lost)
            ) from lost
        finally:
            self._busy_waiters.pop(connection, None)
            if not connection.is_closed:
                self._put_back(connection)

    def _put_back(self, connection: SyncConnection) -> None:
        is_old = connection.address is not self.address
        if self._is_closed or is_old or len(self._waiters) >= _IDLE_WAITERS:
            connection.close()
        else:
            self._waiters.append(connection)

    def _free_slot(self) -> _Slot:
        for slot in self._slots:
            if slot.lock.acquire(False):
                return slot
        slot = self._slots[threading.get_ident() // 64 % _SLOTS]
        if not slot.lock.acquire(timeout=self.options.timeout_s):
            raise DeadlinePassed(
                f"all {_SLOTS} connections to {self.address} were busy for {self.options.timeout_s:g} s; "
                "nothing was sent"
            )
        return slot

    def _renewed(self, slot: _Slot) -> SyncConnection:
        if slot.connection is not None:
            slot.connection.close()
            slot.connection = None
        slot.connection = self._opened()
        return slot.connection

    def _opened(self) -> SyncConnection:
        """Open a connection; wait a little for a broker that was there before."""
        patience_s = self.options.patience_s if self._was_connected else 0.0
        deadline_mono_s = mono_s() + patience_s
        pause_s = _FIRST_PAUSE_S
        while not self._is_closed:
            try:
                connection = SyncConnection(self.address, self.options, self._context)
                self._was_connected = True
                return connection
            except ConnectionLost as lost:
                if mono_s() >= deadline_mono_s:
                    raise lost_before_sending(self.address, lost) from lost
            self._closing.wait(pause_s * random.uniform(0.7, 1.3))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise NotConnected(f"this connector to {self.address} is closed")

    def open_link(self, key: Argument | None = None) -> SyncConnection:
        """
        Open a connection that the caller owns, as a subscriber needs; raises as `SyncConnection` does.

        Args:
            key: On a cluster: to the node that has this key; None for any node.
        """
        return SyncConnection(self.address, self.options, self._context)

    def exchange_beside(self, link: SyncConnection, ask: Exchange) -> list[Any]:
        """Do `exchange` with the very server that a link goes to, as who knows one of its clients needs."""
        return self.exchange(ask)

    def log_in(self, address: Address, check: Exchange) -> None:
        """
        Go on as another user, if the server accepts it; else nothing changes.

        Args:
            address: The same place with another login.
            check: What the user must be allowed to do.

        Raises:
            AuthenticationError: If the login is not accepted.
            PermissionDenied: If the check is refused.
            NotConnected: If there is no connection.
        """
        try:
            connection = SyncConnection(address, self.options, self._context)
            try:
                settle(check, connection.exchange(check))
            finally:
                connection.close()
        except ConnectionLost as lost:
            raise lost_before_sending(address, lost) from lost
        self.address = address
        self._close_unused(self.options.timeout_s)

    def break_off(self, owner: threading.Thread) -> None:
        """End what a thread waits for on the server: it gets `NotConnected`."""
        for connection, waiter in list(self._busy_waiters.items()):
            if waiter is owner:
                connection.abort()

    def distrust(self) -> None:
        """Close what nobody uses now: another link to this broker was found dead, so these may be, too."""
        self._close_unused(0.0)

    def _close_unused(self, wait_s: float) -> None:
        """Close the connections that are free, or become free within a time in seconds each."""
        for slot in self._slots:
            if slot.lock.acquire(timeout=wait_s):
                if slot.connection is not None:
                    slot.connection.close()
                    slot.connection = None
                slot.lock.release()
        while self._waiters:
            self._waiters.pop().close()

    def close(self) -> None:
        """Close every connection; threads that wait on one get `NotConnected` or `DeliveryUnknown`."""
        self._is_closed = True
        self._closing.set()
        for connection in (
            [slot.connection for slot in self._slots] + self._waiters + list(self._busy_waiters)
        ):
            if connection is not None:
                connection.abort()
                connection.close()
        for slot in self._slots:
            slot.connection = None


def split_replies(asks: list[Exchange], raw: list[Any]) -> list[Any]:
    """
    Give each exchange of one write its replies.

    Args:
        asks: What was sent, in order.
        raw: All raw replies, in order.

    Returns:
        For each exchange its list of replies, or the error of its first refused command.
    """
    results: list[Any] = []
    at = 0
    for ask in asks:
        due = replies_due(ask)
        try:
            results.append(settle(ask, raw[at : at + due]))
        except LabspineError as error:
            results.append(error)
        at += due
    return results


_alive: weakref.WeakSet[SyncWire] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for wire in list(_alive):
        wire._forget_after_fork()


os.register_at_fork(after_in_child=_renew_after_fork)
