"""
Call services that follow OpenTera's convention (seed 004), from threads or from tasks.

A client keeps one subscription for its replies and tells them apart by number, so that any number of calls
may be under way and a late reply never answers another call.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from types import TracebackType
from typing import Any, Literal

from ...clock import mono_s
from ...connector import AsyncConnector, MessageObject, RedisConnector
from ...errors import CallError
from ...messages.opentera import RPCReply
from .outcomes import (
    Failures,
    Place,
    answered_place,
    checked_failures,
    limit_of,
    nobody,
    outcome,
    place_of,
    request,
    too_late,
)

__all__ = ["AsyncRpcClient", "RpcClient"]


class _Waiting:
    """A call that waits for its reply; a lock is the cheapest thing that a thread can wait for."""

    __slots__ = ("lock", "reply")

    def __init__(self) -> None:
        self.reply: RPCReply | None = None
        self.lock = threading.Lock()
        self.lock.acquire()


class RpcClient:
    """
    Call procedures by OpenTera's convention; any number of threads may share a client.

    Args:
        connector: The bus; it stays yours, and is closed by you.
        timeout_s: Longest wait for a reply in seconds, unless a call says otherwise.
        failures: ``"raise"`` tells each outcome apart; ``"none"`` returns None for every call that failed, as
            OpenTera's own client does. Wrong arguments raise in both cases.

    Raises:
        InvalidArgument: If an option is out of range.
    """

    def __init__(
        self, connector: RedisConnector, *, timeout_s: float = 10.0, failures: Failures = "raise"
    ) -> None:
        self._failures = checked_failures(failures, timeout_s)
        self._connector = connector
        self._counts_one_node = connector.options.in_cluster  # others may hear what nobody hears there
        self._timeout_s = timeout_s
        self.late_replies = 0
        self._begin()

    def _begin(self) -> None:
        """Start without a subscription; so does a forked child, which must not hear its parent's replies."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_listening = False
        self._replies = answered_place()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}

    def call_service(
        self, service_key: str, function_name: str, *args: Any, timeout_s: float | None = None
    ) -> Any:
        """
        Call a procedure of a service and wait for its result.

        Args:
            service_key: Key or uuid of the service.
            function_name: Name of the procedure.
            args: bool, float, int (-2**63 to 2**64 - 1), str or bytes.
            timeout_s: Longest wait in seconds; None for that of the client.

        Returns:
            What the procedure returned; None is a value.

        Raises:
            InvalidMessage: If an argument cannot travel; nothing was sent. A wrong name: `InvalidName`.
            NoSuchService: If nobody serves it; known at once, except on a Redis Cluster.
            NoSuchProcedure: If a service of ours has no such procedure; `InvalidArgument` if the
                arguments do not fit it, `ServiceBusy` if it has too much to do.
            RemoteError: If the procedure failed.
            CallTimeout: If no reply came in time.
            NotConnected: If there is no connection; `DeliveryUnknown` if it broke while sending.
        """
        return self._call("service", service_key, function_name, args, timeout_s)

    def call(self, module_name: str, function_name: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call a procedure of a module, such as ``TeraServer.UserManagerModule``; see `call_service`."""
        return self._call("module", module_name, function_name, args, timeout_s)

    def _call(
        self,
        kind: Literal["service", "module"],
        name: str,
        procedure: str,
        args: tuple[Any, ...],
        timeout_s: float | None,
    ) -> Any:
        limit_s = limit_of(timeout_s, self._timeout_s)
        place = place_of(kind, name)
        if not self._is_listening or self._process != os.getpid():
            self._listen()
        number = next(self._numbers)
        message = request(procedure, args, reply_to=self._replies.endpoint, number=number)
        waiting = self._waiting[number] = _Waiting()
        try:
            end_mono_s = mono_s() + limit_s
            if self._connector.send(place, message) == 0 and not self._counts_one_node:
                raise nobody(place, procedure)
            waiting.lock.acquire(timeout=max(0.0, min(end_mono_s - mono_s(), threading.TIMEOUT_MAX)))
            if waiting.reply is None:
                raise too_late(place, procedure, limit_s)
            return outcome(waiting.reply, place, procedure)
        except CallError:
            if self._failures == "none":
                return None
            raise
        finally:
            self._waiting.pop(number, None)

    def _listen(self) -> None:
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            if not self._is_listening:
                self._connector.register(self._replies, cb=self._take)
                self._is_listening = True

    def _take(self, message: MessageObject) -> None:
        reply = message.value
        waiting = self._waiting.pop(reply.id, None) if isinstance(reply, RPCReply) else None
        if waiting is None:
            self.late_replies += 1
            return
        waiting.reply = reply
        waiting.lock.release()

    def close(self) -> None:
        """Stop listening for replies; the connector stays open."""
        with self._lock:
            if self._is_listening and self._process == os.getpid():
                self._connector.unregister(self._replies)
            self._is_listening = False

    def __enter__(self) -> RpcClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncRpcClient:
    """
    Call procedures by OpenTera's convention from the tasks of one event loop; see `RpcClient`.

    Args:
        connector: The bus; it stays yours.
        timeout_s: Longest wait for a reply in seconds, unless a call says otherwise.
        failures: ``"raise"`` or ``"none"``.
    """

    def __init__(
        self, connector: AsyncConnector, *, timeout_s: float = 10.0, failures: Failures = "raise"
    ) -> None:
        self._failures = checked_failures(failures, timeout_s)
        self._connector = connector
        self._counts_one_node = connector.options.in_cluster  # others may hear what nobody hears there
        self._timeout_s = timeout_s
        self.late_replies = 0
        self._lock = asyncio.Lock()
        self._is_listening = False
        self._replies = answered_place()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[RPCReply]] = {}

    async def call_service(
        self, service_key: str, function_name: str, *args: Any, timeout_s: float | None = None
    ) -> Any:
        """Call a procedure of a service and wait for its result; as `RpcClient.call_service`."""
        return await self._call("service", service_key, function_name, args, timeout_s)

    async def call(
        self, module_name: str, function_name: str, *args: Any, timeout_s: float | None = None
    ) -> Any:
        """Call a procedure of a module; as `RpcClient.call`."""
        return await self._call("module", module_name, function_name, args, timeout_s)

    async def _call(
        self,
        kind: Literal["service", "module"],
        name: str,
        procedure: str,
        args: tuple[Any, ...],
        timeout_s: float | None,
    ) -> Any:
        limit_s = limit_of(timeout_s, self._timeout_s)
        place: Place = place_of(kind, name)
        if not self._is_listening:
            await self._listen()
        number = next(self._numbers)
        message = request(procedure, args, reply_to=self._replies.endpoint, number=number)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if await self._connector.send(place, message) == 0 and not self._counts_one_node:
                raise nobody(place, procedure)
            async with asyncio.timeout(limit_s):
                reply = await waiting
            return outcome(reply, place, procedure)
        except CallError:
            if self._failures == "none":
                return None
            raise
        except TimeoutError as error:
            if not waiting.cancelled():  # the connector's own limit ended: the request may not have left
                raise
            if self._failures == "none":
                return None
            raise too_late(place, procedure, limit_s) from error
        finally:
            self._waiting.pop(number, None)

    async def _listen(self) -> None:
        async with self._lock:
            if not self._is_listening:
                await self._connector.register(self._replies, cb=self._take)
                self._is_listening = True

    def _take(self, message: MessageObject) -> None:
        reply = message.value
        waiting = self._waiting.pop(reply.id, None) if isinstance(reply, RPCReply) else None
        if waiting is None or waiting.done():
            self.late_replies += 1
            return
        waiting.set_result(reply)

    async def close(self) -> None:
        """Stop listening for replies; the connector stays open."""
        async with self._lock:
            if self._is_listening:
                await self._connector.unregister(self._replies)
            self._is_listening = False

    async def __aenter__(self) -> AsyncRpcClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
