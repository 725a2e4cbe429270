"""What a scan server that died has left: runs to be closed, and plans that can go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from labspine.engine import RunEngine
from labspine.engine.journal import Journal, JournalError
from labspine.engine.journal.book import ENDED
from labspine.engine.journal.reader import tag_of
from labspine.engine.journal.recovery import RestReport, bring_to_rest, close_call
from labspine.engine.journal.story import CallStory, read_story
from labspine.errors import LabspineError, RequestRefused
from labspine.messages import ScanQueueMessage

from ..devices import DeviceRegistry
from .queue import QueueEntry

__all__ = [
    "Aftermath",
    "Left",
    "Recovery",
    "entry_from",
    "finder_in",
    "request_id",
    "resume_here",
    "take_stock",
]

_log = logging.getLogger("labspine.lab")

Recovery = Literal["resume", "close"]
"""What to do with a plan that can go on."""

_ENDED_LOOKED_AT = 5


@dataclass
class Left:
    """One call that a dead process left: its journal, what it tells, and what became of its devices."""

    path: Path
    story: CallStory
    report: RestReport
    why_closed: str | None


@dataclass
class Aftermath:
    """All that was found."""

    resumable: list[Left] = field(default_factory=list)
    closed: list[Left] = field(default_factory=list)
    ended: dict[str, CallStory] = field(default_factory=dict)
    last_number: int = 0


def take_stock(
    book: Journal,
    registry: DeviceRegistry,
    *,
    recovery: Recovery,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Aftermath:
    """
    Bring devices to rest, close what cannot go on, and name what can.

    Args:
        book: The journals.
        registry: The devices.
        recovery: ``close`` closes everything.
        loop: The running loop of asynchronous devices.

    Returns:
        What was found; resumable calls wait for :meth:`RunEngine.recover`.
    """
    found = Aftermath()
    for path in book.orphans():
        if tag_of(path) != book.tag:
            _log.warning("%s was left by a lab on another broker: labspine recover treats it", path)
            continue
        try:
            story = read_story(path)
            report = bring_to_rest(story, finder_in(registry), loop=loop)
            why = _why_not(story, recovery)
            if why is not None:
                story = close_call(book, path, why=why if story.request is not None else "")
                left = Left(path.with_suffix(ENDED), story, report, why)
            else:
                left = Left(path, story, report, None)
        except JournalError as error:
            _log.error("%s", error)
            continue
        for words in (*report.problems, *(f"{name} is not here to be stopped" for name in report.missing)):
            _log.error("after the death of %s: %s", story.header.get("pid"), words)
        found.last_number = max(found.last_number, _last_number(story))
        (found.closed if why is not None else found.resumable).append(left)
    for path in book.paths(ENDED)[-_ENDED_LOOKED_AT:]:
        try:
            story = read_story(path)
        except JournalError:
            continue
        found.last_number = max(found.last_number, _last_number(story))
        found.ended[request_id(story)] = story
    return found


def finder_in(registry: DeviceRegistry) -> Callable[[str], Any]:
    """
    Make the function that looks for a device after a crash.

    Args:
        registry: The devices.

    Returns:
        A function of the name that gives the device, or None.
    """

    def find(name: str) -> Any:
        try:
            return registry[name]
        except LabspineError:
            return None

    return find


def _why_not(story: CallStory, recovery: Recovery) -> str | None:
    if recovery == "close":
        return "interrupted plans are closed here, not resumed"
    if story.request is None:
        return "the plan was not requested by name"
    return story.why_not_resumable()


def _last_number(story: CallStory) -> int:
    numbers = [run.start.get("scan_id") for run in story.runs.values()]
    return max((number for number in numbers if isinstance(number, int)), default=0)


def request_id(story: CallStory) -> str:
    """
    Tell to which request a call belonged.

    Args:
        story: The call.

    Returns:
        Its identifier; empty when the plan was not requested.
    """
    return str((story.request or {}).get("rid", ""))


def entry_from(request: Mapping[str, Any]) -> QueueEntry:
    """
    Make an entry of the queue from a request that stands in a journal.

    Args:
        request: The request.

    Returns:
        The entry, for a broker that has forgotten it.
    """
    return QueueEntry.of(
        ScanQueueMessage(
            scan_type=str(request["plan"]),
            parameter={"args": list(request["args"]), "kwargs": dict(request["kwargs"])},
            queue="primary",
            metadata={
                "RID": request["rid"],
                "queue_id": request["queue_id"],
                "num_points": request["num_points"],
                "user_metadata": dict(request["user_metadata"]),
            },
        )
    )


def resume_here(book: Journal, path: Path, registry: DeviceRegistry) -> str | None:
    """
    Go on with a requested plan in this process, without a scan server.

    Args:
        book: The journals.
        path: The journal of the call, which can go on.
        registry: The devices; they are at rest.

    Returns:
        None if the plan came to its end, else why not; the runs are closed in any case.
    """
    from ..plans.registry import default_plans
    from ..plans.requests import prepare
    from .baseline import with_baseline

    story = read_story(path)
    try:
        entry = entry_from(story.request or {})
        ready = prepare(entry.message, registry=registry, plans=default_plans())
    except RequestRefused as error:
        close_call(book, path, why=str(error))
        return str(error)
    engine = RunEngine(journal=book, preprocessors=[lambda plan: with_baseline(plan, registry)])
    try:
        engine.recover(path, ready.build())
    except LabspineError as error:
        return str(error)
    finally:
        engine.close()
    return None
