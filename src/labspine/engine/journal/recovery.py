"""After the death of a process: devices that it touched come to rest, runs that it left open are closed."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..documents import compose
from ..statuses import is_status
from .book import Journal
from .story import CallStory

__all__ = ["RestReport", "bring_to_rest", "child_named", "close_call"]

LIMIT_S = 5.0
"""Longest time for one device."""


@dataclass
class RestReport:
    """What became of the devices: who is at rest, who was not found, and what went wrong."""

    stopped: list[str] = field(default_factory=list)
    unstaged: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def bring_to_rest(
    story: CallStory,
    find: Callable[[str], Any],
    *,
    loop: asyncio.AbstractEventLoop | None = None,
    limit_s: float = LIMIT_S,
) -> RestReport:
    """
    Stop what was moved and unstage what was staged, the last one first; one that hangs keeps nobody waiting.

    Args:
        story: What the dead process did.
        find: Gives the device of a name, or None.
        loop: The running loop of asynchronous devices, in another thread; None makes one for each call.
        limit_s: Seconds for each device.

    Returns:
        What was done.
    """
    report = RestReport()
    for verb, names, done in (
        ("stop", story.moved, report.stopped),
        ("unstage", story.staged, report.unstaged),
    ):
        for name, root in reversed(names):
            device = _found(find, name, root)
            if device is None:
                if name not in report.missing:
                    report.missing.append(name)
            elif callable(getattr(device, verb, None)):
                problem = _within(limit_s, getattr(device, verb), loop)
                if problem is None:
                    done.append(name)
                else:
                    report.problems.append(f"{name}.{verb}() {problem}")
    return report


def _found(find: Callable[[str], Any], name: str, root: str) -> Any:
    device = find(name)
    if device is not None:
        return device
    top = find(root)
    return None if top is None else child_named(top, name)


def child_named(device: Any, name: str) -> Any:
    """
    Look for a part of a device.

    Args:
        device: The device, of ophyd or ophyd-async.
        name: Name of the part.

    Returns:
        The part, or None.
    """
    waiting = [device]
    for _ in range(10_000):
        if not waiting:
            return None
        each = waiting.pop()
        if getattr(each, "name", None) == name:
            return each
        waiting.extend(_children(each))
    return None


def _children(device: Any) -> Iterator[Any]:
    if callable(getattr(device, "children", None)):
        yield from (child for _, child in device.children())
    for attribute in getattr(device, "component_names", ()):
        yield getattr(device, attribute, None)


def _within(limit_s: float, act: Callable[[], Any], loop: asyncio.AbstractEventLoop | None) -> str | None:
    """Act in a thread; return what went wrong."""
    outcome: list[BaseException | None] = []

    def work() -> None:
        try:
            _settle(act(), loop, limit_s)
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    # A daemon: code of a device that never comes back must not keep this process.
    thread = threading.Thread(target=work, name="labspine-rest", daemon=True)
    thread.start()
    thread.join(limit_s + 0.5)
    if not outcome:
        return f"did not come back within {limit_s:g} s"
    return None if outcome[0] is None else f"failed: {type(outcome[0]).__name__}: {outcome[0]}"


def _settle(answer: Any, loop: asyncio.AbstractEventLoop | None, limit_s: float) -> None:
    if is_status(answer):
        deadline = time.monotonic() + limit_s
        while not answer.done:
            if time.monotonic() > deadline:
                raise TimeoutError(f"was not done within {limit_s:g} s")
            time.sleep(0.005)
    elif inspect.isawaitable(answer):
        waiting = asyncio.wait_for(_awaited(answer), limit_s)
        if loop is not None:
            asyncio.run_coroutine_threadsafe(waiting, loop).result(limit_s + 0.2)
        else:
            asyncio.run(waiting)


async def _awaited(answer: Any) -> Any:
    return await answer


def close_call(book: Journal, path: Path, *, why: str = "") -> CallStory:
    """
    Close every run that a dead process left open, and its journal.

    Args:
        book: The directory of journals.
        path: The journal.
        why: Added to the reason, for instance why the plan could not go on.

    Returns:
        What the journal tells now; its runs have their stop documents.

    Raises:
        JournalError: If its process lives, or it is no journal.
    """
    story, journal = book.adopt(path)
    if story.ending is not None:
        journal.finish()
        return story
    reason = story.words() + (f"; {why}" if why else "")
    for run in story.open_runs:
        doc = compose.stop(run.uid, exit_status="abort", reason=reason, num_events=run.numbers)
        journal.document("stop", doc)
        run.stop = doc
        story.documents.append(("stop", doc))
    journal.end("abort", reason)
    story.ending = {"exit_status": "abort", "reason": reason}
    return story
