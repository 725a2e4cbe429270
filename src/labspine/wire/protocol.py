"""The contract between the doors and a wire, so that Sentinel, Cluster or AMQP can take its place later."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..flows import Exchange

__all__ = ["AsyncWire", "ConnectionLost", "Wire", "WireOptions"]


class ConnectionLost(Exception):
    """
    The link broke; never leaves the wire.

    Args:
        reason: What the system said.
        sent: Whether any byte of the command had left; if not, nothing was done.
    """

    def __init__(self, reason: object, *, sent: bool) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.sent = sent


@dataclass(frozen=True)
class WireOptions:
    """
    How a wire behaves.

    Args:
        client_name: Shown by CLIENT LIST on the server.
        timeout_s: Longest wait in seconds for the answer to one write.
        connect_timeout_s: Longest wait in seconds for one attempt to connect.
        patience_s: How long a command waits for a broker that was there before to come back.
    """

    client_name: str = "labspine"
    timeout_s: float = 5.0
    connect_timeout_s: float = 5.0
    patience_s: float = 2.0


@runtime_checkable
class Wire(Protocol):
    """Sends exchanges and returns replies, blocking the calling thread."""

    def exchange(self, ask: Exchange) -> list[Any]:
        """
        Send one exchange and wait for its replies.

        Args:
            ask: The commands.

        Returns:
            One reply a command.

        Raises:
            NotConnected: If nothing was sent.
            DeliveryUnknown: If the link broke after sending something that changes data.
            DeadlinePassed: If no answer came in time.
            LabspineError: If the server refused.
        """

    def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """Send several exchanges in one write; each result is a list of replies, or the error of that one."""

    def break_off(self, owner: threading.Thread) -> None:
        """End what a thread waits for on the server (`Exchange.block_s`): it gets `NotConnected`."""

    def close(self) -> None:
        """Close every connection; later calls raise `NotConnected`."""


@runtime_checkable
class AsyncWire(Protocol):
    """Sends exchanges and returns replies on an event loop."""

    async def exchange(self, ask: Exchange) -> list[Any]:
        """Do as `Wire.exchange` does, for one task."""

    async def exchange_many(self, asks: list[Exchange]) -> list[Any]:
        """Do as `Wire.exchange_many` does, for one task."""

    def break_off(self, owner: asyncio.Task[Any]) -> None:
        """End what a task waits for on the server (`Exchange.block_s`): it gets `NotConnected`."""

    async def close(self) -> None:
        """Close every connection; later calls raise `NotConnected`."""
