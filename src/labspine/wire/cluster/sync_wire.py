"""The blocking wire to a cluster: one `SyncWire` for each node, sent to by `Router`."""

from __future__ import annotations

import contextlib
import ssl
import threading
import weakref
from typing import Any

from ...clock import mono_s
from ...errors import LabspineError, NotConnected, PermissionDenied
from ...flows import Argument, Exchange
from ...flows.slots import slot_of
from ..address import Address
from ..protocol import ConnectionLost, WireOptions
from ..resp import settle
from ..sync import SyncConnection
from ..sync_wire import SyncWire
from ..translate import lost_before_sending
from .audience import Audience, needs_count
from .jobs import apart, waiting_failed
from .nodes import PING, asking_options, find_node, judged_elsewhere, node_options, whose
from .routing import Result, Router, Routing, Send
from .topology import QUESTION, Place, node_address

__all__ = ["ClusterSyncWire"]


class ClusterSyncWire(SyncWire):
    """
    Send exchanges from any thread, each to the node that has its keys.

    Args:
        address: Of the cluster.
        options: Time limits and name.
        context: TLS settings for ``rediss+cluster://``; None means the system's own.
    """

    def __init__(
        self, address: Address, options: WireOptions | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        self._nodes: dict[Place, SyncWire] = {}
        self._guard = threading.Lock()
        self._broken_off: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        super().__init__(address, options, context)
        self._router = Router(address, patience_s=self.options.patience_s, clock=mono_s)
        self._audience = Audience(self._router)

    def _forget_after_fork(self) -> None:
        self._guard = threading.Lock()  # the parent may have held it; the nodes forget by themselves
        super()._forget_after_fork()

    def exchange(self, ask: Exchange) -> list[Any]:
        """See `Wire.exchange`; `InvalidOperation` if one step needs keys of several slots."""
        replies = self._exchanged(ask)
        if needs_count(ask, replies):
            return self._driven(self._audience.counted(ask, replies))
        return replies

    def _exchanged(self, ask: Exchange) -> list[Any]:
        if ask.block_s is not None:
            self._broken_off.discard(threading.current_thread())
            if len(ask.commands) > 1:
                return self._exchanged_apart(ask)
        place = self._router.quick_place(ask)
        first = None
        if place is not None:
            try:
                return self._node(place).exchange(ask)
            except LabspineError as error:
                if ask.block_s is not None and (ended := self._ended()) is not None:
                    raise ended from error
                first = (place, error)
        (result,) = self._driven(self._router.perform([ask], first))
        if isinstance(result, LabspineError):
            raise result
        return result

    def _exchanged_apart(self, ask: Exchange) -> list[Any]:
        first, last = apart(ask)
        done = self._exchanged(first)
        try:
            return done + self._exchanged(last)
        except NotConnected as error:
            raise waiting_failed(error) from error

    def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """See `Wire.exchange_many`; one write for each node."""
        try:
            return list(self._driven(self._router.perform(asks)))
        except LabspineError as error:
            return [error] * len(asks)

    def _driven(self, flow: Routing) -> list[Result]:
        try:
            step = next(flow)
            while True:
                if isinstance(step, float):
                    self._closing.wait(step)
                    ended = self._ended()
                    step = flow.send([]) if ended is None else flow.throw(ended)
                else:
                    step = flow.send([self._sent(send) for send in step])
        except StopIteration as end:
            results: list[Result] = end.value
            return results

    def _ended(self) -> NotConnected | None:
        """Tell why there is no sense in waiting on."""
        if self._is_closed:
            return NotConnected(f"this connector to {self.address} is closed")
        if threading.current_thread() in self._broken_off:
            self._broken_off.discard(threading.current_thread())
            return NotConnected("the wait was broken off here")
        return None

    def _sent(self, send: Send) -> list[Result]:
        try:
            if send.asks[0] is QUESTION:
                return [self._asked(send.place)]
            node = self._node(send.place)
            if len(send.asks) == 1:
                return [node.exchange(send.asks[0])]
            return node.exchange_many(list(send.asks))
        except LabspineError as error:
            return [error] * len(send.asks)

    def _asked(self, place: Place) -> list[Any]:
        """Ask a node who has what, on a link of its own."""
        options = asking_options(self.options, is_known=self._router.topology is not None)
        try:
            link = SyncConnection(node_address(self.address, place), options, self._context)
            try:
                return settle(QUESTION, link.exchange(QUESTION))
            finally:
                link.close()
        except ConnectionLost as lost:
            raise lost_before_sending(self.address, lost) from lost

    def _node(self, place: Place) -> SyncWire:
        if self._is_closed:
            raise NotConnected(f"this connector to {self.address} is closed")
        node = self._nodes.get(place)
        if node is None:
            with self._guard:
                node = self._nodes.get(place)
                if node is None:
                    address = node_address(self.address, place)
                    node = SyncWire.made_for(address, node_options(self.options), self._context)
                    self._nodes[place] = node
        return node

    def open_link(self, key: Argument | None = None) -> SyncConnection:
        """See `SyncWire.open_link`; `NotConnected` if nobody serves the key's slot for too long."""
        if key is None:
            link = find_node(self.address, self.options, self._context)
        else:
            with contextlib.suppress(PermissionDenied):
                self._exchanged(whose(key))
            address = node_address(self.address, self._router.owner(slot_of(key)))
            link = SyncConnection(address, node_options(self.options), self._context)
        self._router.watch(link)
        return link

    def exchange_beside(self, link: SyncConnection, ask: Exchange) -> list[Any]:
        """See `SyncWire.exchange_beside`."""
        return self._node((link.address.host, link.address.port)).exchange(ask)

    def log_in(self, address: Address, check: Exchange) -> None:
        """See `SyncWire.log_in`; every node is asked before anything changes."""
        self.connect()
        for place in list(self._nodes):
            try:
                link = SyncConnection(node_address(address, place), self.options, self._context)
                try:
                    settle(check, judged_elsewhere(link.exchange(check)))
                finally:
                    link.close()
            except ConnectionLost as lost:
                raise lost_before_sending(address, lost) from lost
        self.address = self._router.address = address
        for place, node in list(self._nodes.items()):
            node.log_in(node_address(address, place), PING)

    def break_off(self, owner: threading.Thread) -> None:
        """See `Wire.break_off`."""
        self._broken_off.add(owner)
        for node in list(self._nodes.values()):
            node.break_off(owner)

    def distrust(self) -> None:
        """See `SyncWire.distrust`."""
        self._router.distrust()
        for node in list(self._nodes.values()):
            node.distrust()

    def close(self) -> None:
        """See `SyncWire.close`."""
        self._is_closed = True
        self._closing.set()
        with self._guard:
            nodes = list(self._nodes.values())
        for node in nodes:
            node.close()
