"""What a journal tells: answered steps, documents, devices that were touched, how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import JournalError
from .reader import read_records
from .steps import ERROR, OPAQUE, PLAIN, Entry, with_arrays

__all__ = ["CallStory", "RunStory", "read_story"]

COMMAND, NAME, DIGEST, KIND, ANSWER = range(5)
POINTS = frozenset(
    {
        "checkpoint",
        "open_run",
        "close_run",
        "stage",
        "unstage",
        "monitor",
        "unmonitor",
        "subscribe",
        "unsubscribe",
    }
)
"""Steps after which a plan can go on: those to which a pause would come back, and open_run."""

ANY = "any"
"""Stands for the arguments of a step whose document is there, but whose answer was not written any more."""


@dataclass
class RunStory:
    """One run as its documents tell it."""

    start: dict[str, Any]
    stop: dict[str, Any] | None = None
    descriptors: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    trace: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    has_assets: bool = False

    @property
    def uid(self) -> str:
        """Identifier of the run."""
        return str(self.start["uid"])

    def number_at(self, stream: str, point: int) -> int:
        """
        Count the events of a stream that were there when so many steps were answered.

        Args:
            stream: Its name.
            point: Number of steps.

        Returns:
            The last number; 0 before the first event.
        """
        return max((number for at, number in self.trace.get(stream, ()) if at < point), default=0)

    def take(self, name: str, doc: dict[str, Any], at: int) -> None:
        """
        Take a document of this run.

        Args:
            name: Its name.
            doc: The document.
            at: How many steps had been answered before.
        """
        if name == "descriptor":
            self.descriptors[doc["uid"]] = doc
            self.numbers.setdefault(doc["name"], 0)
        elif name in ("event", "event_page"):
            stream = self.descriptors[doc["descriptor"]]["name"]
            number = doc["seq_num"] if name == "event" else max(doc["seq_num"], default=0)
            self.numbers[stream] = max(self.numbers[stream], int(number))
            self.trace.setdefault(stream, []).append((at, int(number)))
        elif name == "stop":
            self.stop = doc
        else:
            self.has_assets = True


@dataclass
class CallStory:
    """
    One call of an engine.

    Args:
        path: Its journal.
        header: What was known at its beginning.
        died_utc_s: Time of the last record, if it was not ended.
    """

    path: Path
    header: dict[str, Any]
    died_utc_s: float
    size: int = 0
    steps: list[Entry] = field(default_factory=list)
    documents: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    runs: dict[str, RunStory] = field(default_factory=dict)
    touched: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ending: dict[str, Any] | None = None
    num_resumed: int = 0

    @property
    def request(self) -> dict[str, Any] | None:
        """The request by name and arguments, if the plan came from one."""
        request = self.header.get("request")
        return request if isinstance(request, dict) else None

    @property
    def plan(self) -> str:
        """Name of the plan."""
        return str((self.request or {}).get("plan") or self.header.get("plan", ""))

    @property
    def open_runs(self) -> list[RunStory]:
        """Runs without a stop document, in order of opening."""
        return [run for run in self.runs.values() if run.stop is None]

    @property
    def num_events(self) -> int:
        """Events of all runs, baseline included."""
        return sum(sum(run.numbers.values()) for run in self.runs.values())

    @property
    def staged(self) -> list[tuple[str, str]]:
        """Name and root of devices that were staged and not unstaged by the plan."""
        found: dict[str, str] = {}
        for command, name, root in self.touched:
            if command == "stage":
                found[name] = root
        for step in self.steps:
            if (
                step[COMMAND] == "unstage"
                and step[NAME] in found
                and not self._is_staged_again(str(step[NAME]))
            ):
                del found[str(step[NAME])]
        return list(found.items())

    def _is_staged_again(self, name: str) -> bool:
        touches = sum(1 for command, each, _ in self.touched if command == "stage" and each == name)
        undone = sum(1 for step in self.steps if step[COMMAND] == "unstage" and step[NAME] == name)
        return touches > undone

    @property
    def moved(self) -> list[tuple[str, str]]:
        """Name and root of devices that were told to do something, in order of the first time."""
        return list({name: root for command, name, root in self.touched if command != "stage"}.items())

    @property
    def was_paused(self) -> bool:
        """Whether a person had paused it."""
        states = [facts.get("status") for what, facts in self.notes if what == "state"]
        return bool(states) and states[-1] == "paused"

    def words(self) -> str:
        """Say that the process died, when, and after what."""
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.died_utc_s))
        who = f"process {self.header.get('pid')} on {self.header.get('host')}"
        return f"process died at {when}, after {self.num_events} events ({who})"

    def why_not_resumable(self) -> str | None:
        """
        Find out whether the plan can go on in another process.

        Returns:
            None if it can, else why it cannot.
        """
        if self.header.get("resumable") is False:
            return f"the plan {self.plan} declares itself not resumable"
        if self.ending is not None:
            return "it had come to its end"
        if any(what == "abandoned" for what, _ in self.notes):
            return "it was told to end, but a device did not let go"
        return self._forbidden() or self._obstacle()

    def _forbidden(self) -> str | None:
        """Tell what the plan itself has done against going on."""
        commands = [step[COMMAND] for step in self.steps]
        if "clear_checkpoint" in commands:
            return "the plan has forbidden to go back to a checkpoint"
        if self.point() == 0 and self.runs:
            return "it had come to no place where it could go on"
        if "checkpoint" not in commands and self._has_measured():
            return "the plan makes no checkpoints"
        rules = [step[DIGEST] for step in self.steps[: self.point()] if step[COMMAND] == "rewindable"]
        return "the plan has forbidden to go back" if rules and rules[-1] is False else None

    def _obstacle(self) -> str | None:
        """Tell what cannot be done again in another process."""
        steps = self.steps[: self.point()]
        if any(run.has_assets for run in self.open_runs):
            return "detectors were writing files of their own, and these cannot be continued"
        for number, step in enumerate(steps, 1):
            if step[KIND] in (OPAQUE, ERROR):
                what = "an error" if step[KIND] == ERROR else "an answer that cannot be kept"
                return f"step {number}, '{step[COMMAND]}' on {step[NAME]}, gave {what} ({step[ANSWER]})"
        return "a flyer was under way" if _is_flying(steps) else None

    def _has_measured(self) -> bool:
        return any(
            number > 0 and stream != "baseline"
            for run in self.open_runs
            for stream, number in run.numbers.items()
        )

    def point(self) -> int:
        """
        Find where the plan can go on.

        Returns:
            How many of the answered steps are behind it.
        """
        for number in range(len(self.steps), 0, -1):
            if self.steps[number - 1][COMMAND] in POINTS:
                return number
        return 0


def _is_flying(steps: list[Entry]) -> bool:
    kicked = {step[NAME] for step in steps if step[COMMAND] == "kickoff"}
    return bool(kicked - {step[NAME] for step in steps if step[COMMAND] == "collect"})


def read_story(path: Path) -> CallStory:
    """
    Read a journal from its beginning to its last whole record.

    Args:
        path: The file.

    Returns:
        What it tells.

    Raises:
        JournalError: If it cannot be read or does not begin as a journal does.
    """
    records = read_records(path)
    first = next(records, None)
    if first is None or first[1][0] != "O":
        raise JournalError(f"{path} is no journal, or nothing was written into it; remove it")
    story = CallStory(path, first[1][1], died_utc_s=path.stat().st_mtime, size=first[0])
    for end, record in records:
        story.size = end
        _take(story, record)
    _complete_steps(story)
    return story


def _take(story: CallStory, record: list[Any]) -> None:
    kind = record[0]
    fixed = {"D": 3, "T": 4, "N": 3, "S": 1, "R": 2, "E": 2}.get(kind)
    if fixed is None:
        return  # a kind of record of a later version
    if len(record) > fixed:
        steps = [tuple(step) for step in record[fixed]]
        if kind == "D" and record[1] == "event":
            steps = with_arrays(steps, record[2]["data"])
        story.steps.extend(steps)
    if kind == "D":
        _take_document(story, record[1], record[2])
    elif kind == "T":
        story.touched.append((record[1], record[2], record[3]))
    elif kind == "N":
        story.notes.append((record[1], record[2]))
    elif kind == "R":
        _complete_steps(story)
        del story.steps[record[1]["steps"] :]
        story.num_resumed += 1
    elif kind == "E":
        story.ending = record[1]


def _take_document(story: CallStory, name: str, doc: dict[str, Any]) -> None:
    story.documents.append((name, doc))
    if name == "start":
        story.runs[doc["uid"]] = RunStory(doc)
        return
    run = story.runs.get(doc.get("run_start", ""))
    if run is None:
        run = next((r for r in story.runs.values() if doc.get("descriptor") in r.descriptors), None)
    if run is None and story.runs:
        run = list(story.runs.values())[-1]  # resource and datum documents of old detectors
    if run is not None:
        run.take(name, doc, len(story.steps))


def _complete_steps(story: CallStory) -> None:
    """Add the one step whose document is there, but not its answer: the process died between the two."""
    opened = {step[ANSWER] for step in story.steps if step[COMMAND] == "open_run"}
    closed = {step[ANSWER] for step in story.steps if step[COMMAND] == "close_run"}
    for run in story.runs.values():
        if run.uid not in opened:
            story.steps.append(("open_run", None, ANY, PLAIN, run.uid))
        if run.stop is not None and run.uid not in closed:
            story.steps.append(("close_run", None, ANY, PLAIN, run.uid))
