"""
One suspender: it follows a value, and holds plans while that is bad.

The source may be a signal of ophyd or ophyd-async, a topic of a bus, or what else has ``subscribe``; it may
call from any thread. What counts is the last value: a source that is bad when the suspender is installed, or
turns bad again while the plan waits, holds the plan as well.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ...errors import InvalidArgument, shown

__all__ = ["Source", "Suspender"]

logger = logging.getLogger("labspine.engine.suspend")

LIMIT_S = 10.0


class Source(Protocol):
    """Something whose changes can be followed."""

    def subscribe(self, function: Callable[..., object], /) -> Any:
        """
        Follow it.

        Args:
            function: Called with each new value, with a reading ``{name: {"value": ...}}`` or ``value=``.

        Returns:
            Ignored, unless it has ``close``, ``cancel`` or ``unsubscribe``, or is callable: that ends it.
        """
        ...


class Suspender:
    """
    Hold plans while a value is bad.

    Args:
        source: What to follow; see :class:`Source`.
        suspend_if: Tells whether a value is bad; by default, what Python takes for false is bad.
        resume_if: Tells whether a value is good enough to go on; by default, whatever is not bad.
        settle_s: Seconds that the value must have been good before the plan goes on.
        pre_plan: A plan, or a function that gives one, to perform when the plan is suspended.
        post_plan: The same, before the plan goes on.
        name: Goes into the reason; by default the name of the source.
    """

    def __init__(
        self,
        source: Any,
        *,
        suspend_if: Callable[[Any], object] | None = None,
        resume_if: Callable[[Any], object] | None = None,
        settle_s: float = 0.0,
        pre_plan: Any = None,
        post_plan: Any = None,
        name: str = "",
    ) -> None:
        if not (hasattr(source, "subscribe") or hasattr(source, "subscribe_reading")):
            raise InvalidArgument(
                f"a suspender follows something with subscribe(function), not {shown(source)}"
            )
        if not settle_s >= 0:
            raise InvalidArgument(f"settle_s must be seconds from 0 on, got {shown(settle_s)}")
        self.name = name or str(getattr(source, "name", "") or shown(source))
        self._source = source
        self._is_bad = suspend_if if suspend_if is not None else _is_false
        self._is_good = resume_if if resume_if is not None else self._is_not_bad
        self._settle_s = settle_s
        self._plans = (pre_plan, post_plan)
        self._engine: Any = None
        self._lock = threading.Lock()
        # Not done while the value is bad.
        self._gate: concurrent.futures.Future[None] | None = None
        self._is_holding = False
        self._value: Any = None
        self._end: Any = None

    def _is_not_bad(self, value: Any) -> bool:
        return not self._is_bad(value)

    @property
    def is_tripped(self) -> bool:
        """Whether the value is bad, or has not been good enough since."""
        return self._gate is not None

    @property
    def reason(self) -> str:
        """Why plans are held, in words."""
        return f"{self.name} is {shown(self._value, 40)}"

    def install(self, engine: Any) -> None:
        """
        Begin to follow the source; the engine calls this.

        Args:
            engine: The engine whose plans are held.

        Raises:
            InvalidArgument: If it is installed already.
        """
        if self._engine is not None:
            raise InvalidArgument(f"the suspender of {self.name} is installed already; make a second one")
        self._engine = engine
        try:
            _on_loop(getattr(engine, "loop", None), self._follow)
        except BaseException:
            self._engine = None
            raise

    def remove(self) -> None:
        """Stop following the source and let a plan that is held go on; the engine calls this."""
        engine, self._engine = self._engine, None
        _on_loop(getattr(engine, "loop", None), self._leave)
        self._open()

    def get_futures(self) -> tuple[list[Callable[[], Any]], str]:
        """
        Tell a plan that is about to begin what to wait for.

        Returns:
            Functions that give an awaitable, and why.
        """
        return ([self._until_good], self.reason) if self.is_tripped else ([], "")

    def _follow(self) -> None:
        subscribe = getattr(self._source, "subscribe_reading", None) or self._source.subscribe
        self._end = subscribe(self._changed)

    def _leave(self) -> None:
        end, self._end = self._end, None
        if hasattr(self._source, "clear_sub"):
            self._source.clear_sub(self._changed)
            return
        for way in ("close", "cancel", "unsubscribe"):
            if hasattr(end, way):
                getattr(end, way)()
                return
        if callable(end):
            end()

    def _changed(self, *args: Any, **kwargs: Any) -> None:
        value = self._value = _value_of(args, kwargs)
        if self._is_bad(value):
            self._trip()
        elif self.is_tripped and self._is_good(value):
            self._open()

    def _trip(self) -> None:
        engine = self._engine
        with self._lock:
            if engine is None or self._gate is not None:
                return
            self._gate = concurrent.futures.Future()
            is_new = not self._is_holding and not engine.state.is_idle
            self._is_holding = self._is_holding or is_new
        if is_new:
            logger.warning("%s: the plan is suspended", self.reason)
            pre_plan, post_plan = self._plans
            engine.request_suspend(
                self._until_good, pre_plan=pre_plan, post_plan=post_plan, justification=self.reason
            )

    def _open(self) -> None:
        with self._lock:
            gate, self._gate = self._gate, None
        if gate is not None:
            gate.set_result(None)

    async def _until_good(self) -> None:
        try:
            while (gate := self._gate) is not None:
                # Shielded: a pause ends this wait, but not that of the next one.
                await asyncio.shield(asyncio.wrap_future(gate))
                if self._settle_s:
                    await asyncio.sleep(self._settle_s)
            logger.info("%s: the plan goes on", self.reason)
        finally:
            self._is_holding = False


def _is_false(value: Any) -> bool:
    return not value


def _value_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    if "value" in kwargs:
        return kwargs["value"]
    value = args[0] if args else None
    if isinstance(value, dict) and len(value) == 1:
        reading = next(iter(value.values()))
        if isinstance(reading, dict) and "value" in reading:
            return reading["value"]
    return value


def _on_loop(loop: asyncio.AbstractEventLoop | None, call: Callable[[], object]) -> None:
    """Signals of ophyd-async are followed from the loop that they live in."""
    if loop is None or not loop.is_running() or _is_here(loop):
        call()
        return

    async def later() -> None:
        call()

    asyncio.run_coroutine_threadsafe(later(), loop).result(LIMIT_S)


def _is_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
