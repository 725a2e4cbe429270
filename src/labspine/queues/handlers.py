"""What a worker does with items, and what it does when that fails."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import DeadlinePassed, InvalidArgument, WorkRefused, shown
from ..flows import checks
from .items import Item, queue_name
from .options import MOST_AT_ONCE, QueueOptions

__all__ = [
    "Failure",
    "Handler",
    "WorkerCounters",
    "WorkerOptions",
    "call_async",
    "call_plain",
    "chosen_handlers",
    "judged",
    "worker",
]

_MOST_REASON_CHARACTERS = 4000
_STOPS = (SystemExit, KeyboardInterrupt, GeneratorExit)


@dataclass(frozen=True)
class WorkerOptions:
    """
    How items are worked on.

    Args:
        max_attempts: After so many deliveries without success an item is buried.
        backoff_s: Seconds before the second attempt; doubled for each further one.
        longest_backoff_s: No pause is longer.
        concurrency: How many items at the same time.
        prefetch: How many items one hand takes at once. Above 1 is quicker for very short work, but what was
            taken and not yet done comes again when the worker is killed.
        lease_s: An item of a worker that died is given to others after so many seconds; while a handler runs,
            its lease is renewed.
        time_limit_s: A handler that runs longer is taken for dead: its lease is not renewed any more, and an
            asyncio handler is cancelled. None for no limit.
    """

    max_attempts: int = 5
    backoff_s: float = 1.0
    longest_backoff_s: float = 300.0
    concurrency: int = 1
    prefetch: int = 1
    lease_s: float = 30.0
    time_limit_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name in ("max_attempts", "concurrency", "prefetch"):
            checks.count_above_zero(name, getattr(self, name))
        if self.prefetch > MOST_AT_ONCE:
            raise InvalidArgument(f"prefetch={self.prefetch}: at most {MOST_AT_ONCE}")
        checks.seconds("backoff_s", self.backoff_s)
        checks.seconds("longest_backoff_s", self.longest_backoff_s)
        if self.time_limit_s is not None and checks.seconds("time_limit_s", self.time_limit_s) == 0:
            raise InvalidArgument("time_limit_s=0: must be above 0; None for no limit")
        QueueOptions(lease_s=self.lease_s)

    def pause_s(self, deliveries: int) -> float:
        """Say how long to wait before the next attempt, in seconds."""
        doubled = self.backoff_s * float(2 ** min(max(deliveries - 1, 0), 60))
        return float(min(doubled, self.longest_backoff_s))


class Handler:
    """
    A function that works on the items of some queues; `worker` makes it, and it can still be called.

    Args:
        function: Takes an `Item`; plain or ``async``.
        queues: Names of the queues; those before come first.
        options: How.
    """

    def __init__(
        self, function: Callable[[Item], Any], queues: tuple[str, ...], options: WorkerOptions
    ) -> None:
        self.function = function
        self.queues = queues
        self.options = options
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  # the method itself is asked, not whether it is there
        )
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self.__doc__ = function.__doc__

    def __call__(self, item: Item) -> Any:
        """Call the function."""
        return self.function(item)

    def __repr__(self) -> str:
        return f"Handler({self.__name__}, queues={list(self.queues)})"


def worker(*queues: object, **options: Any) -> Callable[[Callable[[Item], Any]], Handler]:
    """
    Make a function the handler of some queues; give it to `Worker`.

    The item is acknowledged when the function returns. When it raises, the item comes again after a pause,
    and is buried after ``max_attempts``; when it raises `WorkRefused`, the item is buried at once. An item
    may come twice (``item.is_repeated``), for example because a worker died: use ``item.id`` to let its
    effect happen once.

    Args:
        queues: Names or endpoints; items of those before come first.
        options: See `WorkerOptions`: max_attempts, backoff_s, concurrency, prefetch, lease_s ...

    Returns:
        The decorator.

    Raises:
        InvalidArgument: If there is no queue, or an option is unknown or cannot work.
        InvalidName: If a name breaks the grammar of names.
    """
    if not queues or callable(queues[0]):
        raise InvalidArgument('a worker needs the name of its queue: write @worker("reconstruct")')
    names = tuple(dict.fromkeys(map(queue_name, queues)))
    try:
        chosen = WorkerOptions(**options)
    except TypeError as error:
        raise InvalidArgument(f"an option of the worker is not known: {error}") from error

    def decorate(function: Callable[[Item], Any]) -> Handler:
        if not callable(function):
            raise InvalidArgument(f"{shown(function)} cannot be called: a handler is a function of one item")
        try:
            inspect.signature(function).bind(None)
        except TypeError as error:
            raise InvalidArgument(f"{shown(function)} cannot be called with one item: {error}") from error
        except ValueError:
            pass  # some builtins do not tell their signature
        return Handler(function, names, chosen)

    return decorate


def chosen_handlers(handlers: tuple[object, ...]) -> tuple[Handler, ...]:
    """Insist on handlers; raises `InvalidArgument` otherwise."""
    if not handlers:
        raise InvalidArgument("a Worker needs handlers: functions with @worker(queue)")
    for handler in handlers:
        if not isinstance(handler, Handler):
            raise InvalidArgument(f"{shown(handler)} is no handler: decorate it with @worker(queue)")
    return handlers  # type: ignore[return-value]  # each was looked at


def call_plain(handler: Handler, item: Item) -> None:
    """
    Call a plain handler.

    Raises:
        Exception: Whatever it raises; ``SystemExit`` and the like come out as `RuntimeError`, so that they
            end neither a thread nor a loop.
    """
    try:
        handler.function(item)
    except _STOPS as stop:
        raise RuntimeError(f"the handler raised {type(stop).__name__}") from stop


async def call_async(handler: Handler, item: Item) -> None:
    """
    Call an ``async`` handler, and cancel it at its time limit.

    Raises:
        DeadlinePassed: If it runs longer than its time limit.
        Exception: Whatever it raises; as `call_plain`.
    """
    limit_s = handler.options.time_limit_s
    try:
        async with asyncio.timeout(limit_s) as limit:
            await handler.function(item)
    except _STOPS as stop:
        raise RuntimeError(f"the handler raised {type(stop).__name__}") from stop
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlinePassed(f"{handler.__name__} ran longer than its time limit of {limit_s:g} s") from error


class WorkerCounters(msgspec.Struct):
    """
    What a worker has done.

    Args:
        done: Items whose handler returned.
        failed: Handlers that raised.
        buried: Items buried, after the last attempt or because they could not be read.
        refused: Acknowledgements that came too late: the item had been given to another.
        lost: Leases that ended while the handler ran.
        outages: How often the broker could not be reached.
    """

    done: int = 0
    failed: int = 0
    buried: int = 0
    refused: int = 0
    lost: int = 0
    outages: int = 0


class Failure(msgspec.Struct, frozen=True):
    """
    What is to be done with an item whose handler raised.

    Args:
        reason: Why it is buried; None if it comes again.
        pause_s: Seconds until it comes again.
    """

    reason: str | None
    pause_s: float = 0.0


def judged(handler: Handler, item: Item, error: BaseException) -> Failure:
    """
    Decide what happens to an item after an error.

    Args:
        handler: Which handler raised.
        item: On what.
        error: What it raised.

    Returns:
        Whether the item is buried, and why; else when it comes again.
    """
    if isinstance(error, WorkRefused):
        return Failure(f"refused by {handler.__name__}: {error}")
    if item.deliveries < handler.options.max_attempts:
        return Failure(None, handler.options.pause_s(item.deliveries))
    lines = traceback.format_exception(error)
    text = f"{handler.__name__} failed {item.deliveries} times, the last time so:\n{''.join(lines).strip()}"
    if len(text) > _MOST_REASON_CHARACTERS:
        half = _MOST_REASON_CHARACTERS // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    return Failure(text)
