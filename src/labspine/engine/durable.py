"""Between the engine and its journal: where a call begins to be written down, and where one is taken over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import TransitionError
from .journal import CallJournal, Journal

if TYPE_CHECKING:
    from .base import EngineBase
    from .journal.replay import Replay

__all__ = ["begin_journal", "is_resumable", "not_resumable", "taken_over"]

logger = logging.getLogger("labspine.engine")


Plan = TypeVar("Plan", bound=Callable[..., Any])
_not_resumable: set[CodeType] = set()


def not_resumable(plan: Plan) -> Plan:
    """
    Declare that a plan must not go on by itself after a crash; its run is closed instead.

    Use it for plans whose steps cannot be done twice, such as those that open a valve or use up a sample.

    Args:
        plan: A function that returns steps.

    Returns:
        The same function.
    """
    plan.resumable = False  # type: ignore[attr-defined]
    code = getattr(plan, "__code__", None)
    if code is not None:
        _not_resumable.add(code)
    return plan


def is_resumable(plan: object) -> bool:
    """
    Tell whether a plan allows to be continued by another process.

    Args:
        plan: A function that returns steps, or what it returned.

    Returns:
        False when it was declared so.
    """
    return getattr(plan, "resumable", True) is not False and (
        getattr(plan, "gi_code", None) not in _not_resumable
    )


def begin_journal(engine: EngineBase, plan: object, metadata: dict[str, Any]) -> CallJournal | None:
    """
    Begin to write a call down, if the engine has a journal.

    Args:
        engine: The engine.
        plan: Its plan.
        metadata: Keyword arguments of the call; runs that another process opens later need them.

    Returns:
        The journal of the call, or None.
    """
    book = engine.journal
    if book is None:
        return None
    about: dict[str, Any] = {"plan": getattr(plan, "__name__", type(plan).__name__), "metadata": metadata}
    if not is_resumable(plan):
        about["resumable"] = False
    return book.begin(about, on_full=lambda words: _on_full_disk(engine, words))


def _on_full_disk(engine: EngineBase, words: str) -> None:
    book = engine.journal
    policy = "continue" if book is None else book.on_full
    if book is not None and book.full_hook is not None:
        book.full_hook(words)
    try:
        if policy == "pause":
            engine.request_pause(defer=True)
        elif policy == "abort":
            engine._request_ending("aborting", words)
    except TransitionError as error:
        logger.warning("%s; %s", words, error)


@contextmanager
def taken_over(engine: EngineBase, path: str | Path, *, catch_up: bool, paused: bool) -> Iterator[Replay]:
    """
    Take over the journal of a process that died, for a new call; give it back if the call does not begin.

    Args:
        engine: The engine that goes on.
        path: The journal.
        catch_up: Tell the recorded documents to the subscribers first.
        paused: Pause before anything moves.

    Yields:
        What leads the plan to its place.

    Raises:
        JournalError: If the process lives, or the file is no journal.
    """
    from .journal.replay import Replay

    path = Path(path)
    book = engine.journal if engine.journal is not None else Journal(path.parent)
    story, journal = book.adopt(path)
    journal.on_full = lambda words: _on_full_disk(engine, words)
    try:
        yield Replay(story, journal, catch_up=catch_up, paused=paused)
    except BaseException:
        journal.give_back()
        raise
