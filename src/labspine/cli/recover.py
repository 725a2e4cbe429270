"""``labspine recover``: what a lab that died has left, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .context import JsonOption, say, say_json
from .up import DATA_DIR, DataOption, registry_maker

if TYPE_CHECKING:
    from ..engine.journal import Journal
    from ..engine.journal.recovery import RestReport
    from ..engine.journal.story import CallStory
    from ..lab import DeviceRegistry


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("recover")(recover)


def recover(
    lab: Annotated[
        str | None,
        typer.Option("--lab", metavar="MODULE:FUNCTION", help="A function that returns your DeviceRegistry."),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The devices are the simulated beamline.")] = False,
    data: DataOption = DATA_DIR,
    journal: Annotated[
        Path | None, typer.Option("--journal", metavar="DIR", help="The journals; default: DATA/journal.")
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only show what there is; the default.")] = False,
    close: Annotated[
        bool, typer.Option("--close", help="Stop and unstage the devices, and close the runs.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the plans that can; close the others.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """
    Close, or go on with, the scans of a lab that was killed or lost its power.

    A lab that is started does this by itself. What is not on the bus yet is told when the lab is started.
    """
    from ..engine.journal import Journal

    if sum((show, close, resume)) > 1:
        raise ConfigError("give one of --list, --close and --resume")
    book = Journal(journal if journal is not None else data / "journal")
    registry = registry_maker(lab, demo=demo, speed=1.0)() if lab is not None or demo else None
    if resume and registry is None:
        raise ConfigError("--resume needs the devices: give --lab MODULE:FUNCTION, or --demo")
    act = _Actions(book, registry)
    problems = 0
    found = book.orphans()
    for path in found:
        facts = act.resume(path) if resume else act.close(path, "") if close else act.describe(path)
        problems += len(facts.get("problems", ()))
        say_json(facts) if as_json else say("\n".join(_lines(facts)))
    if not found and not as_json:
        say(f" nothing to recover in {book.directory}")
    if problems:
        raise typer.Exit(1)


class _Actions:
    def __init__(self, book: Journal, registry: DeviceRegistry | None) -> None:
        self._book = book
        self._registry = registry

    def describe(self, path: Path) -> dict[str, Any]:
        from ..engine.journal.story import read_story

        story = read_story(path)
        why_not = story.why_not_resumable() or (
            None if story.request else "the plan was not requested by name; use RE.recover(journal, plan)"
        )
        return {**_facts(story), "state": "open", "can_resume": why_not is None, "why_not": why_not}

    def close(self, path: Path, why: str) -> dict[str, Any]:
        from ..engine.journal.recovery import close_call
        from ..engine.journal.story import read_story

        report = self._rest(read_story(path))
        story = close_call(self._book, path, why=why)
        return {**_facts(story), "state": "closed", "why_not": why or None, **_device_facts(report, story)}

    def _rest(self, story: CallStory) -> RestReport | None:
        from ..engine.journal.recovery import bring_to_rest
        from ..lab.scans.aftermath import finder_in

        registry = self._registry
        if registry is None:
            return None
        return bring_to_rest(story, finder_in(registry))

    def resume(self, path: Path) -> dict[str, Any]:
        from ..engine.journal.story import read_story
        from ..lab.scans.aftermath import resume_here

        facts = self.describe(path)
        if facts["why_not"] is not None or self._registry is None:
            return self.close(path, str(facts["why_not"]))
        report = self._rest(read_story(path))
        error = resume_here(self._book, path, self._registry)
        story = read_story(path.with_suffix(".ended"))
        state = "resumed" if error is None else "closed"
        return {**_facts(story), "state": state, "why_not": error, **_device_facts(report, story)}


def _facts(story: CallStory) -> dict[str, Any]:
    return {
        "journal": str(story.path),
        "plan": story.plan,
        "process": story.header.get("pid"),
        "host": story.header.get("host"),
        "died_utc_s": round(story.died_utc_s, 3),
        "events": story.num_events,
        "runs": [
            {
                "uid": run.uid,
                "scan_id": run.start.get("scan_id"),
                "events": run.numbers,
                "exit_status": run.stop["exit_status"] if run.stop else None,
                "reason": run.stop["reason"] if run.stop else None,
            }
            for run in story.runs.values()
        ],
        "moved": [name for name, _ in story.moved],
        "staged": [name for name, _ in story.staged],
    }


def _device_facts(report: RestReport | None, story: CallStory) -> dict[str, Any]:
    if report is None:
        touched = sorted({name for name, _ in (*story.moved, *story.staged)})
        return {"stopped": [], "unstaged": [], "not_stopped": touched, "problems": []}
    return {
        "stopped": report.stopped,
        "unstaged": report.unstaged,
        "not_stopped": report.missing,
        "problems": report.problems,
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(facts["died_utc_s"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    numbers = ", ".join(str(run["scan_id"]) for run in facts["runs"]) or "none"
    lines = [
        f" {facts['plan']}: died {when}, process {facts['process']} on {facts['host']}",
        f"   runs {numbers}, {facts['events']} events; {facts['journal']}",
    ]
    match facts["state"]:
        case "open" if facts["can_resume"]:
            lines.append("   can go on: labspine recover --resume, or --close to end it")
        case "open":
            lines.append(f"   can be closed with --close; it cannot go on: {facts['why_not']}")
        case "resumed":
            lines.append("   ✔ went on to its end")
        case _:
            lines.append("   ✔ closed" + (f": {facts['why_not']}" if facts["why_not"] else ""))
    if facts.get("not_stopped"):
        names = ", ".join(facts["not_stopped"])
        lines.append(f"   ! not told to stop, because they are not known here: {names}; give --lab")
    lines += [f"   ✘ {problem}" for problem in facts.get("problems", ())]
    return lines
