"""
From a request to its reply: decode, find the procedure, check the arguments, call it, check the result.

It knows no thread and no broker: who calls it decides where a procedure runs.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ...clock import mono_s
from ...errors import (
    CallCancelled,
    CallTimeout,
    DecodeError,
    InvalidArgument,
    InvalidMessage,
    LabspineError,
    RemoteError,
    TooLarge,
    did_you_mean,
    shown,
)
from ..context import ServedCall, _current
from ..envelope import (
    ITEM,
    LAST,
    PROGRESS,
    VALUE,
    Failure,
    read_ask,
    write_failure,
    write_say,
)
from ..procedures import Procedure
from ..transport import Delivery
from .stats import Stats

__all__ = ["Handler", "Task"]

_log = logging.getLogger("labspine.service")
_MOST_REMEMBERED = 10_000
_PAUSE_ABOVE = 1000
_PAUSE_S = 0.01
_NEARLY_OVER_S = 0.05

Send = Callable[[Delivery, bytes], int]


class _BadResult(Exception):
    """A result that cannot be sent."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Task(NamedTuple):
    """A request whose procedure and arguments are known to be right."""

    delivery: Delivery
    procedure: Procedure
    args: list[Any]
    kwargs: dict[str, Any]
    call: ServedCall


class Handler:
    """
    Answer requests of one instance.

    Args:
        service: Name of the service.
        instance: Name of the instance.
        procedures: What it can do, by name.
        stats: Where to count.
        send: Sends a reply that is not the last one; returns how many wait for the caller.
    """

    def __init__(
        self,
        service: str,
        instance: str,
        procedures: Mapping[str, Procedure],
        *,
        stats: Stats,
        send: Send,
    ) -> None:
        self._send = send
        self.service = service
        self.instance = instance
        self.procedures = procedures
        self.stats = stats
        self._seen: set[str] = set()
        self._seen_before: set[str] = set()
        self._calls: dict[str, ServedCall] = {}

    # --- before it runs ---

    @property
    def running(self) -> int:
        """How many calls run, or wait for their turn here."""
        return len(self._calls)

    def prepare(self, delivery: Delivery) -> Task | bytes:
        """
        Find out what is asked.

        Args:
            delivery: The request.

        Returns:
            The task; or the last reply, empty if there is none to send.
        """
        if delivery.left_s <= 0:
            self.stats.count("expired")
            return b""
        if self._is_repeat(delivery):
            self.stats.count("repeated")
            return b""
        try:
            ask, args, kwargs = read_ask(delivery.body)
        except (DecodeError, TooLarge) as error:
            self.stats.count("invalid")
            _log.warning("%s: a request that cannot be read: %s", self.service, error)
            return self._failure("InvalidMessage", str(error))
        found = self.procedures.get(ask.procedure)
        if found is None or delivery.is_abandoned or found.is_stream is not ask.is_stream:
            refusal = self._refusal(ask.procedure, found, delivery, is_stream=ask.is_stream)
            if found is None or refusal:
                return refusal
        try:
            args, kwargs = found.bind(args, kwargs)
        except InvalidArgument as error:
            self.stats.count("invalid")
            return self._failure("InvalidArgument", str(error))
        limit_s = delivery.left_s
        if found.options.timeout_s is not None:
            limit_s = min(limit_s, found.options.timeout_s)
        call = ServedCall(self.service, found.name, mono_s() + limit_s, outer=ask.trail, sender=ask.sender)
        self._calls[delivery.call_id] = call
        return Task(delivery, found, args, kwargs, call)

    def _refusal(self, name: str, found: Procedure | None, delivery: Delivery, *, is_stream: bool) -> bytes:
        """Make the reply that says why a procedure is not called; empty if it can be."""
        if found is None:
            self.stats.count("invalid")
            hint = did_you_mean(name, self.procedures)
            text = f'the service "{self.service}" has no procedure "{shown(name)}"{hint}'
            text += f"; it has: {', '.join(self.procedures)}"
            return self._failure("NoSuchProcedure", text)
        if delivery.is_abandoned and not found.options.idempotent:
            self.stats.count("died")
            return self._failure(
                "ServiceDied",
                f"the instance that had the call {self.service}.{found.name} died or froze: "
                "done or not done is unknown",
            )
        if found.is_stream is not is_stream:
            text = (
                f"{self.service}.{found.name} gives its results one by one: use stream(...)"
                if found.is_stream
                else f"{self.service}.{found.name} gives one result: call it without stream(...)"
            )
            return self._failure("InvalidArgument", text)
        return b""

    def _is_repeat(self, delivery: Delivery) -> bool:
        """Remember the calls of late, so that one that was sent twice is done once."""
        call_id = delivery.call_id
        if call_id in self._seen or call_id in self._seen_before:
            return not delivery.is_abandoned
        self._remember(call_id)
        return False

    def _remember(self, call_id: str) -> None:
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen_before, self._seen = self._seen, set()
        self._seen.add(call_id)

    def _failure(self, kind: str, text: str, *, is_retryable: bool = False) -> bytes:
        return write_failure(Failure(kind, text, is_retryable=is_retryable), instance=self.instance)

    def busy(self, task: Task, count: int) -> bytes:
        """Make the reply that refuses a call because too many wait."""
        self._calls.pop(task.delivery.call_id, None)
        self.stats.count("busy")
        return self._failure(
            "ServiceBusy",
            f"{self.service}.{task.procedure.name} has {count} calls waiting and accepts no more now",
            is_retryable=True,
        )

    # --- while it runs ---

    def run(self, task: Task) -> bytes:
        """
        Call a procedure that is no coroutine.

        Args:
            task: From `prepare`.

        Returns:
            The last reply.
        """
        call, call_id = task.call, task.delivery.call_id
        call.say_progress = partial(self._say_progress, task.delivery)
        started_s = mono_s()
        token = _current.set(call)
        error = ""
        try:
            if call.is_cancelled:
                call.check()
            result = task.procedure.function(*task.args, **task.kwargs)
            if task.procedure.is_stream:
                return self._give_each(task, result)
            return self._encoded(task, result)
        except BaseException as raised:
            error = f"{type(raised).__name__}: {raised}"
            return self._raised(task, raised)
        finally:
            self._calls.pop(call_id, None)
            _current.reset(token)
            self.stats.end(task.procedure.name, mono_s() - started_s, error)

    def _give_each(self, task: Task, results: Generator[Any, None, Any]) -> bytes:
        number = 0
        try:
            for number, result in enumerate(results, start=1):
                body = self._encoded(task, result, ITEM, number - 1)
                self._pause_for(task, self._send(task.delivery, body))
                task.call.check()
        finally:
            results.close()
        return write_say(LAST, number=number, instance=self.instance)

    def _say_progress(self, delivery: Delivery, done: float, total: float | None, text: str) -> None:
        self._send(delivery, write_say(PROGRESS, [done, total, text], instance=self.instance))

    def _pause_for(self, task: Task, waiting: int) -> None:
        """Let a caller who is slow catch up: it holds what was sent in the broker's memory."""
        if waiting > _PAUSE_ABOVE:
            task.call.sleep(_PAUSE_S * (waiting / _PAUSE_ABOVE))

    async def run_async(self, task: Task, send: Callable[[bytes], Awaitable[int]]) -> bytes:
        """Do as `run` does for a coroutine function or asynchronous generator."""
        call, call_id = task.call, task.delivery.call_id
        call.say_progress = partial(self._say_progress, task.delivery)
        started_s = mono_s()
        _current.set(call)  # of this asyncio task alone
        error = ""
        try:
            call.check()
            if task.procedure.is_stream:
                return await self._give_each_async(task, send)
            return self._encoded(task, await task.procedure.function(*task.args, **task.kwargs))
        except BaseException as raised:
            error = f"{type(raised).__name__}: {raised}"
            return self._raised(task, raised)
        finally:
            self._calls.pop(call_id, None)
            self.stats.end(task.procedure.name, mono_s() - started_s, error)

    async def _give_each_async(self, task: Task, send: Callable[[bytes], Awaitable[int]]) -> bytes:
        number = 0
        results: AsyncGenerator[Any, None] = task.procedure.function(*task.args, **task.kwargs)
        try:
            async for result in results:
                waiting = await send(self._encoded(task, result, ITEM, number))
                number += 1
                if waiting > _PAUSE_ABOVE:
                    await asyncio.sleep(_PAUSE_S * (waiting / _PAUSE_ABOVE))
                task.call.check()
        finally:
            await results.aclose()
        return write_say(LAST, number=number, instance=self.instance)

    def cancel(self, call_id: str) -> None:
        """Tell a procedure that nobody waits for it any more."""
        call = self._calls.get(call_id)
        if call is None:
            self._remember(call_id)  # it may just be on its way
            return
        self.stats.count("cancelled")
        call.cancel()

    def cancel_all(self) -> None:
        """Tell all procedures that run here to end."""
        for call in list(self._calls.values()):
            call.cancel()

    # --- after it ran ---

    def _encoded(self, task: Task, result: object, kind: int = VALUE, number: int = 0) -> bytes:
        """Check and encode a result; raises `_BadResult` if that cannot be."""
        try:
            value = task.procedure.checked_result(result)
            return write_say(kind, value, number=number, instance=self.instance)
        except (InvalidMessage, TooLarge) as error:
            raise _BadResult(error) from error

    def _raised(self, task: Task, error: BaseException) -> bytes:
        """Make the reply to a call whose procedure, or its result, was not as it should be."""
        name = f"{self.service}.{task.procedure.name}"
        if task.call.is_cancelled and not isinstance(error, Exception):  # asyncio's own cancellation
            error = CallCancelled(f"{name} was cancelled by its caller")
        kind, text = "RemoteError", f"{name} raised {_type_of(error)}: {error}"
        if isinstance(error, CallCancelled) and task.call.is_cancelled:
            kind, text = "CallCancelled", f"{name} was cancelled by its caller"
        elif _is_timeout(error) and task.call.left_s <= _NEARLY_OVER_S:
            kind, text = "CallTimeout", str(error)  # also when a nested call used up the time
        elif isinstance(error, _BadResult):
            error = error.reason
            kind = "TooLarge" if isinstance(error, TooLarge) else kind
            text = f"the result of {name} cannot be sent: {error}"
        failure = Failure(
            kind,
            text,
            remote_type=_type_of(error),
            traceback="".join(traceback.format_exception(error)),
            code=error.code if isinstance(error, LabspineError) else "",
            is_retryable=bool(getattr(error, "retryable", False)),
        )
        return write_failure(failure, instance=self.instance)


def _is_timeout(error: BaseException) -> bool:
    if isinstance(error, RemoteError):
        return error.remote_type.endswith(".CallTimeout")
    return isinstance(error, CallTimeout)


def _type_of(error: BaseException) -> str:
    kind = type(error)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
