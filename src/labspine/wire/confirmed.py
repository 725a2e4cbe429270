"""
Wires that count a change as done only when replicas have it (``?replicas=1``).

WAIT travels behind each change on the same connection. A master that dies right after its answer then loses
nothing that was told as done. What waits on the server (blocking pops) is not confirmed.
"""

from __future__ import annotations

from typing import Any

from ..errors import LabspineError, ServerError
from ..flows import Exchange
from .address import Address
from .asyncio_wire import AsyncioWire
from .protocol import WireOptions
from .sync_wire import SyncWire

__all__ = ["ConfirmedAsyncioWire", "ConfirmedSyncWire"]

_LONGEST_WAIT_S = 1.0


class ConfirmedSyncWire(SyncWire):
    """As `SyncWire`; a change that too few replicas have is a `ServerError`."""

    def exchange(self, ask: Exchange) -> list[Any]:
        """See `Wire.exchange`."""
        if not _is_change(ask):
            return super().exchange(ask)
        return _result(self.exchange_many([ask]))

    def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """See `Wire.exchange_many`."""
        if not any(map(_is_change, asks)):
            return super().exchange_many(asks)
        results = super().exchange_many([*asks, _wait(self.address, self.options)])
        return _judged(asks, results, self.address)


class ConfirmedAsyncioWire(AsyncioWire):
    """As `AsyncioWire`; a change that too few replicas have is a `ServerError`."""

    async def exchange(self, ask: Exchange) -> list[Any]:
        """See `Wire.exchange`."""
        if not _is_change(ask):
            return await super().exchange(ask)
        return _result(await self.exchange_many([ask]))

    async def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """See `Wire.exchange_many`."""
        if not any(map(_is_change, asks)):
            return await super().exchange_many(asks)
        results = await super().exchange_many([*asks, _wait(self.address, self.options)])
        return _judged(asks, results, self.address)


def _is_change(ask: Exchange) -> bool:
    return not ask.readonly and ask.block_s is None


def _result(results: list[Any]) -> list[Any]:
    if isinstance(results[0], Exception):
        raise results[0]
    replies: list[Any] = results[0]
    return replies


def _wait(address: Address, options: WireOptions) -> Exchange:
    limit_ms = round(1000 * min(_LONGEST_WAIT_S, options.timeout_s / 2))
    return Exchange((("WAIT", address.replicas, limit_ms),), readonly=True)


def _judged(asks: list[Exchange], results: list[Any], address: Address) -> list[Any]:
    """Turn changes that were not confirmed into errors."""
    *results, told = results
    if isinstance(told, LabspineError):
        why = f"whether replicas have it is unknown ({told})"
    elif int(told[0]) < address.replicas:
        why = f"only {told[0]} of {address.replicas} replicas confirmed it in time"
    else:
        return results
    text = f"{address}: the master has done this, but {why}: it is lost if the master dies now"
    return [
        ServerError(text) if _is_change(ask) and not isinstance(result, Exception) else result
        for ask, result in zip(asks, results, strict=True)
    ]
