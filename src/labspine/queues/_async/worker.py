"""Workers: take items, call handlers, acknowledge; renew leases meanwhile; end gracefully."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from ...clock import mono_s
from ...errors import InvalidArgument, LabspineError
from ...flows import checks
from ..handlers import Handler, WorkerCounters, chosen_handlers, judged
from ..items import Item, opened
from ..transport import Receipt
from .queue import transport_of
from .running import INTERRUPTIONS, Closing, Crew, stop_signals

__all__ = ["AsyncWorker"]

_log = logging.getLogger("labspine.queues")

_WAIT_S = 0.25
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


class AsyncWorker:
    """
    Work on the items of queues until it is told to stop.

    Handlers may be plain functions or ``async``; as many run at the same time as their ``concurrency`` says.

    Args:
        connector: Of the broker.
        handlers: Functions with ``@worker(queue)``.
        drain_s: How long, when it stops, handlers may go on that have begun, in seconds.

    Raises:
        InvalidArgument: If something is no handler, or the connector belongs to the other door.
    """

    def __init__(self, connector: Any, *handlers: Handler, drain_s: float = 30.0) -> None:
        self.handlers = chosen_handlers(handlers)
        self.counters = WorkerCounters()
        self._drain_s = checks.seconds("drain_s", drain_s)
        self._transport = transport_of(connector)
        self._closing = Closing()
        self._ended = Closing()
        self._held: dict[Receipt, tuple[Handler, float]] = {}
        self._crew: Crew | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(handler.__name__ for handler in self.handlers)})"

    # --- life ---

    async def run(self) -> None:
        """
        Work until SIGTERM, SIGINT or `stop`; then let the handlers that have begun come to their end.

        Signals are heard in the main thread only; a second one ends the program at once.
        """
        with stop_signals(self._closing.set):
            await self.start()
            try:
                while not await self._closing.wait(1.0):
                    pass
            finally:
                await self.stop()

    async def start(self) -> None:
        """
        Begin to work, and return.

        Raises:
            InvalidArgument: If it was started before.
        """
        if self._crew is not None:
            raise InvalidArgument("this worker was started before: make a new one")
        hands = [
            (handler, names)
            for handler in self.handlers
            for names in self._claimed_together(handler)
            for _ in range(handler.options.concurrency)
        ]
        self._crew = Crew(len(hands))
        for handler, names in hands:
            self._crew.begin(self._work, handler, names)
        self._crew.attend(self._renew_leases)

    def _claimed_together(self, handler: Handler) -> list[tuple[str, ...]]:
        """Take all queues of a handler in their order; one by one where the broker cannot do that."""
        if len(handler.queues) == 1 or "several" in self._transport.abilities:
            return [handler.queues]
        return [(queue,) for queue in handler.queues]

    async def stop(self, timeout_s: float | None = None) -> bool:
        """
        Take no more items, wait for the handlers that run, and end.

        What a handler has not finished in time is given to other workers; a plain function cannot be ended,
        its item is given to others when the lease ends.

        Args:
            timeout_s: Longest wait in seconds; None for ``drain_s``.

        Returns:
            Whether all handlers came to their end.
        """
        self._closing.set()
        if self._crew is None:
            return True
        limit_s = self._drain_s if timeout_s is None else checks.seconds("timeout_s", timeout_s)
        is_done = await self._crew.end(limit_s, self._ended)
        if not is_done:
            _log.warning("%r: handlers were still running after %g s", self, limit_s)
        await self._transport.close()
        return is_done

    async def __aenter__(self) -> AsyncWorker:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- work ---

    async def _work(self, handler: Handler, queues: tuple[str, ...]) -> None:
        """Be one hand: claim, work, acknowledge with the next claim."""
        done: list[Receipt] = []
        pause_s = _FIRST_PAUSE_S
        while not self._closing.is_set():
            try:
                items = await self._claim(handler, queues, done)
            except LabspineError as error:
                self.counters.outages += 1
                _log.warning("%s: no items for now: %s", handler.__name__, error)
                await self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            pause_s = _FIRST_PAUSE_S
            done = []
            for at, item in enumerate(items):
                if self._closing.is_set() and at:
                    await self._give_back(items[at:])
                    break
                if await self._handled(handler, item):
                    done.append(item.receipt)
            for item in items:
                self._held.pop(item.receipt, None)
        await self._acknowledge(done)

    async def _claim(self, handler: Handler, queues: tuple[str, ...], done: Sequence[Receipt]) -> list[Item]:
        options = handler.options
        found, refused = await self._transport.claim(
            queues,
            count=options.prefetch,
            wait_s=_WAIT_S,
            lease_s=options.lease_s,
            max_deliveries=options.max_attempts,
            acknowledged=done,
        )
        self.counters.refused += refused
        items, poison = opened(found)
        for receipt, reason in poison:
            self.counters.buried += await self._transport.bury(receipt, reason)
        now = mono_s()
        for item in items:
            self._held[item.receipt] = (handler, now)
        return items

    async def _handled(self, handler: Handler, item: Item) -> bool:
        """Call the handler; tell whether the item is to be acknowledged."""
        crew = self._crew
        if crew is None:
            return False
        self._held[item.receipt] = (handler, mono_s())
        try:
            await crew.call(handler, item)
        except INTERRUPTIONS:
            await self._give_back([item])
            raise
        except BaseException as error:
            self.counters.failed += 1
            self._held.pop(item.receipt, None)
            _log.warning("%s failed on %r: %s", handler.__name__, item, error)
            await self._settle(handler, item, error)
            return False
        self.counters.done += 1
        return True

    async def _settle(self, handler: Handler, item: Item, error: BaseException) -> None:
        """Let an item come again, or bury it; if the broker is away, its lease ends by itself."""
        verdict = judged(handler, item, error)
        try:
            if verdict.reason is not None:
                self.counters.buried += await self._transport.bury(item.receipt, verdict.reason)
            else:
                delay_s = verdict.pause_s if "delay" in self._transport.abilities else 0.0
                await self._transport.give_back(item.receipt, delay_s=delay_s, max_deliveries=None)
        except LabspineError as trouble:
            _log.warning("%r comes again when its lease ends: %s", item, trouble)

    async def _give_back(self, items: Sequence[Item]) -> None:
        for item in items:
            self._held.pop(item.receipt, None)
            try:
                await self._transport.give_back(
                    item.receipt, delay_s=0.0, max_deliveries=None, is_counted=False
                )
            except LabspineError as trouble:
                _log.warning("%r comes again when its lease ends: %s", item, trouble)

    async def _acknowledge(self, done: Sequence[Receipt]) -> None:
        if not done:
            return
        for is_last in (False, True):
            try:
                told = await self._transport.acknowledge(done)
            except LabspineError as trouble:
                if is_last:
                    _log.warning("%d items could not be acknowledged: %s", len(done), trouble)
            else:
                self.counters.refused += told.count(False)
                return

    async def _renew_leases(self) -> None:
        """Touch what handlers have in hand, until they have come to their end."""
        if "touch" not in self._transport.abilities:
            return
        pause_s = min(handler.options.lease_s for handler in self.handlers) / 3
        while not await self._ended.wait(pause_s):
            now = mono_s()
            held = [receipt for receipt, taken in list(self._held.items()) if self._is_due(*taken, now)]
            if not held:
                continue
            try:
                told = await self._transport.touch(held)
            except LabspineError as trouble:
                _log.warning("%d leases could not be renewed: %s", len(held), trouble)
                continue
            for receipt, is_mine in zip(held, told, strict=True):
                if not is_mine and self._held.pop(receipt, None) is not None:
                    self.counters.lost += 1

    @staticmethod
    def _is_due(handler: Handler, since_mono_s: float, now_mono_s: float) -> bool:
        limit_s = handler.options.time_limit_s
        return limit_s is None or now_mono_s - since_mono_s < limit_s
