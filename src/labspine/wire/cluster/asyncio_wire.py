"""The asyncio wire to a cluster: one `AsyncioWire` for each node, sent to by `Router`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import weakref
from typing import Any

from ...clock import mono_s
from ...errors import LabspineError, NotConnected, PermissionDenied
from ...flows import Argument, Exchange
from ...flows.slots import slot_of
from ..address import Address
from ..asyncio import AsyncConnection, open_connection
from ..asyncio_wire import AsyncioWire
from ..protocol import ConnectionLost, WireOptions
from ..resp import settle
from ..translate import lost_before_sending
from .audience import Audience, needs_count
from .jobs import apart, waiting_failed
from .nodes import PING, asking_options, find_node_async, judged_elsewhere, node_options, whose
from .routing import Result, Router, Routing, Send
from .topology import QUESTION, Place, node_address

__all__ = ["ClusterAsyncioWire"]


class ClusterAsyncioWire(AsyncioWire):
    """
    Send exchanges from any task of one event loop, each to the node that has its keys.

    Args:
        address: Of the cluster.
        options: Time limits and name.
        context: TLS settings for ``rediss+cluster://``; None means the system's own.
    """

    def __init__(
        self, address: Address, options: WireOptions | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(address, options, context)
        self._nodes: dict[Place, AsyncioWire] = {}
        self._broken_off: weakref.WeakSet[asyncio.Task[Any] | None] = weakref.WeakSet()
        self._router = Router(address, patience_s=self.options.patience_s, clock=mono_s)
        self._audience = Audience(self._router)

    async def exchange(self, ask: Exchange) -> list[Any]:
        """See `Wire.exchange`; `InvalidOperation` if one step needs keys of several slots."""
        replies = await self._exchanged(ask)
        if needs_count(ask, replies):
            return await self._driven(self._audience.counted(ask, replies))
        return replies

    async def _exchanged(self, ask: Exchange) -> list[Any]:
        if ask.block_s is not None:
            self._broken_off.discard(asyncio.current_task())
            if len(ask.commands) > 1:
                return await self._exchanged_apart(ask)
        place = self._router.quick_place(ask)
        first = None
        if place is not None:
            try:
                return await self._node(place).exchange(ask)
            except LabspineError as error:
                if ask.block_s is not None and (ended := self._ended()) is not None:
                    raise ended from error
                first = (place, error)
        (result,) = await self._driven(self._router.perform([ask], first))
        if isinstance(result, LabspineError):
            raise result
        return result

    async def _exchanged_apart(self, ask: Exchange) -> list[Any]:
        first, last = apart(ask)
        done = await self._exchanged(first)
        try:
            return done + await self._exchanged(last)
        except NotConnected as error:
            raise waiting_failed(error) from error

    async def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """See `Wire.exchange_many`; one write for each node, all at once."""
        try:
            return list(await self._driven(self._router.perform(asks)))
        except LabspineError as error:
            return [error] * len(asks)

    async def _driven(self, flow: Routing) -> list[Result]:
        try:
            step = next(flow)
            while True:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                    ended = self._ended()
                    step = flow.send([]) if ended is None else flow.throw(ended)
                elif len(step) == 1:
                    step = flow.send([await self._sent(step[0])])
                else:
                    async with asyncio.TaskGroup() as group:
                        tasks = [group.create_task(self._sent(send)) for send in step]
                    step = flow.send([task.result() for task in tasks])
        except StopIteration as end:
            results: list[Result] = end.value
            return results

    def _ended(self) -> NotConnected | None:
        """Tell why there is no sense in waiting on."""
        if self._is_closed:
            return NotConnected(f"this connector to {self.address} is closed")
        if asyncio.current_task() in self._broken_off:
            self._broken_off.discard(asyncio.current_task())
            return NotConnected("the wait was broken off here")
        return None

    async def _sent(self, send: Send) -> list[Result]:
        try:
            if send.asks[0] is QUESTION:
                return [await self._asked(send.place)]
            node = self._node(send.place)
            if len(send.asks) == 1:
                return [await node.exchange(send.asks[0])]
            return await node.exchange_many(list(send.asks))
        except LabspineError as error:
            return [error] * len(send.asks)

    async def _asked(self, place: Place) -> list[Any]:
        """Ask a node who has what, on a link of its own."""
        options = asking_options(self.options, is_known=self._router.topology is not None)
        try:
            link = await open_connection(node_address(self.address, place), options, self._context)
            try:
                return settle(QUESTION, await link.exchange(QUESTION))
            finally:
                link.close()
        except ConnectionLost as lost:
            raise lost_before_sending(self.address, lost) from lost

    def _node(self, place: Place) -> AsyncioWire:
        self._check_place()
        node = self._nodes.get(place)
        if node is None:
            address = node_address(self.address, place)
            node = self._nodes[place] = AsyncioWire.made_for(
                address, node_options(self.options), self._context
            )
        return node

    async def open_link(self, key: Argument | None = None) -> AsyncConnection:
        """See `SyncWire.open_link`; `NotConnected` if nobody serves the key's slot for too long."""
        if key is None:
            link = await find_node_async(self.address, self.options, self._context)
        else:
            with contextlib.suppress(PermissionDenied):
                await self._exchanged(whose(key))
            address = node_address(self.address, self._router.owner(slot_of(key)))
            link = await open_connection(address, node_options(self.options), self._context)
        self._router.watch(link)
        return link

    async def log_in(self, address: Address, check: Exchange) -> None:
        """See `SyncWire.log_in`; every node is asked before anything changes."""
        await self.connect()
        for place in list(self._nodes):
            try:
                link = await open_connection(node_address(address, place), self.options, self._context)
                try:
                    settle(check, judged_elsewhere(await link.exchange(check)))
                finally:
                    link.close()
            except ConnectionLost as lost:
                raise lost_before_sending(address, lost) from lost
        self.address = self._router.address = address
        for place, node in list(self._nodes.items()):
            await node.log_in(node_address(address, place), PING)

    def break_off(self, owner: asyncio.Task[Any]) -> None:
        """See `AsyncWire.break_off`."""
        self._broken_off.add(owner)
        for node in list(self._nodes.values()):
            node.break_off(owner)

    def distrust(self) -> None:
        """See `AsyncioWire.distrust`."""
        self._router.distrust()
        for node in self._nodes.values():
            node.distrust()

    async def close(self) -> None:
        """See `AsyncioWire.close`."""
        self._is_closed = True
        for node in list(self._nodes.values()):
            await node.close()
