"""Walk through a plan with made-up answers and look at each step."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from ...errors import did_you_mean, shown
from ...ids import new_uid
from ..errors import NotAPlan
from ..msg import PlanGenerator, as_plan, device_name
from ..performers import BUILT_IN, Command
from ..performers.command import missing
from ..performers.timing import seconds
from .answers import DoneStatus, World, close_quietly, is_finite, limits_of, number, walking_in
from .estimate import Estimate
from .report import Finding, Preflight, Travel
from .steps import StepList

__all__ = ["preflight"]

MOST_MESSAGES = 1_000_000
MOST_FINDINGS = 50


def preflight(
    plan: object,
    *,
    limits: bool = True,
    commands: Mapping[Any, Command] | None = None,
    max_messages: int = MOST_MESSAGES,
    most_steps: int = 0,
    wrappers: Iterable[Callable[[Any], Any]] = (),
) -> Preflight:
    """
    Walk through a plan without touching hardware: nothing is set, triggered, staged or configured.

    Present positions are read where a device tells them without waiting, so that relative plans are judged
    rightly. Detectors of adaptive plans are read as they are now. A plan that looks at ``obj.position``
    itself, as bluesky's relative moves do, sees the present position, not the one after the moves before.

    Args:
        plan: A fresh plan; it is used up.
        limits: Compare positions with ``limits`` and ``check_value`` of the motors.
        commands: Commands that the engine knows; the built-in ones by default.
        max_messages: Where to stop.
        most_steps: How many steps to give in words.
        wrappers: Preprocessors to apply first, in order.

    Returns:
        Steps, points, positions and problems. A plan that raises, or that is no plan, is a problem too.
    """
    walk = _Walk(commands if commands is not None else BUILT_IN, check_limits=limits)
    walk.listed.most_steps = most_steps
    try:
        generator = as_plan(plan)
        for wrap in wrappers:
            generator = as_plan(wrap(generator))
    except NotAPlan as error:
        return Preflight(problems=(str(error),), is_complete=False)
    return walk.through(generator, max_messages)


class _Run:
    def __init__(self) -> None:
        self.stream: str | None = None
        self.has_readings = False
        self.monitored: set[int] = set()


class _Walk:
    def __init__(self, commands: Mapping[Any, Command], *, check_limits: bool) -> None:
        self.commands = commands
        self.check_limits = check_limits
        self.world = World()
        self.estimate = Estimate()
        self.listed = StepList(0)
        self.runs: dict[Hashable, _Run] = {}
        self.points: dict[str, int] = {}
        self.travels: dict[str, Travel] = {}
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.num_messages = 0
        self.num_runs = 0
        self.is_rewindable = True
        self._said: set[str] = set()
        self._answers: dict[str, Callable[[Any], Any]] = {
            "read": self._read,
            "locate": self._locate,
            "set": self._set,
            "open_run": self._open_run,
            "close_run": self._close_run,
            "create": self._create,
            "save": self._save,
            "drop": self._drop,
            "checkpoint": self._checkpoint,
            "configure": lambda msg: ({}, {}),
            "sleep": self._sleep,
            "wait": self._wait,
            "trigger": self._trigger,
            "wait_for": lambda msg: [],
            "input": lambda msg: "",
            "rewindable": self._rewindable,
            "subscribe": lambda msg: self.num_messages,
            "stage": lambda msg: [msg.obj],
            "unstage": lambda msg: [msg.obj],
            "collect": lambda msg: [],
            "monitor": self._monitor,
            "unmonitor": self._unmonitor,
            **dict.fromkeys(("prepare", "kickoff", "complete"), lambda msg: DoneStatus()),
        }

    def through(self, plan: PlanGenerator, max_messages: int) -> Preflight:
        answer: Any = None
        is_complete = False
        token = walking_in.set(self.world)
        try:
            while self.num_messages < max_messages:
                msg = plan.send(answer)
                self.num_messages += 1
                answer = self._look(msg)
                if len(self.findings) >= MOST_FINDINGS:
                    self.notes.append(f"stopped after {MOST_FINDINGS} problems")
                    break
            else:
                self.notes.append(f"stopped after {max_messages} steps; the plan may be endless")
        except StopIteration:
            is_complete = True
        except Exception as error:
            self._find(f"the plan raised {type(error).__name__}: {shown(str(error), 200)}", with_point=False)
        finally:
            _close(plan)
            walking_in.reset(token)
        return self._report(is_complete=is_complete)

    def _report(self, *, is_complete: bool) -> Preflight:
        total = self.points.get("primary", max(self.points.values(), default=0))
        return Preflight(
            num_messages=self.num_messages,
            num_runs=self.num_runs,
            points=dict(self.points),
            positions=dict(self.travels),
            problems=tuple(_worded(finding, total) for finding in self.findings),
            notes=(*self.notes, *self.world.notes, *self._silent_devices()),
            is_complete=is_complete,
            duration_s=self.estimate.duration_s,
            size_bytes=self.estimate.size_bytes,
            commands=dict(self.listed.counts),
            devices=self.listed.names(),
            unfit=dict(self.listed.unfit),
            steps=tuple(self.listed.words),
        )

    def _find(self, text: str, *, with_point: bool = True) -> None:
        # One word about each problem, at the first point where it appears.
        if text not in self._said:
            self._said.add(text)
            point = self.points.get("primary", 0) + 1 if with_point and self.runs else None
            self.findings.append(Finding(text, point))

    def _look(self, msg: Any) -> Any:
        try:
            name, obj, run = msg.command, msg.obj, msg.run
            self.listed.note(msg)
        except AttributeError:
            self._find(f"step {self.num_messages} is {shown(msg)} ({type(msg).__name__}), which is no Msg")
            return None
        command = self.commands.get(name)
        if command is None:
            self._find(f"no command {shown(name)!r}{did_you_mean(str(name), self.commands)}")
            return None
        lacks = missing(obj, command.needs)
        if lacks:
            self.listed.lacks(obj, lacks)
            advice = "; give the device itself, not its name" if isinstance(obj, str) else ""
            self._find(
                f"{device_name(obj)} cannot be used with '{name}': it lacks {', '.join(lacks)}{advice}"
            )
        if command.in_run and run not in self.runs:
            self._find(f"'{name}' needs an open run; send 'open_run' first")
            return None
        answer = self._answers.get(name)
        return answer(msg) if answer is not None else None

    # -- one function a command that needs a look ----------------------------------------------------

    def _open_run(self, msg: Any) -> str:
        if msg.run in self.runs:
            self._find("'open_run' came while this run is open")
        self.runs[msg.run] = _Run()
        self.num_runs += 1
        return new_uid()

    def _close_run(self, msg: Any) -> None:
        if self.runs.pop(msg.run).stream is not None:
            self._find("'close_run' came between 'create' and 'save': that event would be lost")

    def _create(self, msg: Any) -> None:
        run = self.runs[msg.run]
        name = msg.kwargs.get("name", msg.args[0] if msg.args else None)
        if run.stream is not None:
            self._find("a second 'create' came before 'save' or 'drop'")
        if not isinstance(name, str) or not name:
            self._find("'create' needs the name of a stream")
            name = "?"
        run.stream, run.has_readings = name, False

    def _save(self, msg: Any) -> None:
        run = self.runs[msg.run]
        if run.stream is None:
            self._find("'save' came without 'create'")
        elif run.has_readings:
            self.points[run.stream] = self.points.get(run.stream, 0) + 1
        run.stream = None

    def _drop(self, msg: Any) -> None:
        if self.runs[msg.run].stream is None:
            self._find("'drop' came without 'create'")
        self.runs[msg.run].stream = None

    def _checkpoint(self, msg: Any) -> None:
        if any(run.stream is not None for run in self.runs.values()):
            self._find("'checkpoint' came between 'create' and 'save'")

    def _sleep(self, msg: Any) -> None:
        try:
            self.estimate.sleep(seconds(msg.args[0] if len(msg.args) == 1 else None, what="'sleep'"))
        except ValueError as error:
            self._find(str(error))

    def _rewindable(self, msg: Any) -> bool:
        if msg.args and msg.args[0] is not None:
            self.is_rewindable = bool(msg.args[0])
        return self.is_rewindable

    def _monitor(self, msg: Any) -> None:
        monitored = self.runs[msg.run].monitored
        if id(msg.obj) in monitored:
            self._find(f"{device_name(msg.obj)} is monitored twice")
        monitored.add(id(msg.obj))

    def _unmonitor(self, msg: Any) -> None:
        if id(msg.obj) not in self.runs[msg.run].monitored:
            self._find(f"{device_name(msg.obj)} is unmonitored without being monitored")
        self.runs[msg.run].monitored.discard(id(msg.obj))

    def _read(self, msg: Any) -> Any:
        run = self.runs.get(msg.run)
        if run is not None:
            run.has_readings = True
            if run.stream is not None:
                self.estimate.read(msg.obj)
        return self.world.read(msg.obj)

    def _locate(self, msg: Any) -> Any:
        places = [self.world.locate(obj) for obj in (msg.obj, *msg.args)]
        return places[0] if len(places) == 1 and msg.kwargs.get("squeeze", True) else places

    def _set(self, msg: Any) -> DoneStatus:
        obj = msg.obj
        if not msg.args and not msg.kwargs.keys() - {"group"}:
            self._find(f"'set' of {device_name(obj)} has no target")
        elif msg.args:
            here, there = number(self.world.position(obj)), number(msg.args[0])
            self.estimate.move(
                obj, None if here is None or there is None else there - here, msg.kwargs.get("group")
            )
            self._check_target(obj, msg.args[0])
            self.world.move(obj, msg.args[0])
        return DoneStatus()

    def _trigger(self, msg: Any) -> DoneStatus:
        self.estimate.trigger(msg.obj, msg.kwargs.get("group"))
        return DoneStatus()

    def _wait(self, msg: Any) -> bool:
        self.estimate.wait(msg.kwargs.get("group", msg.args[0] if msg.args else None))
        return True

    def _silent_devices(self) -> list[str]:
        silent = (("duration", self.estimate.silent), ("size", self.estimate.sizeless))
        return [
            f"the {what} of {', '.join(sorted(set(names.values())))} is not known and not counted"
            for what, names in silent
            if names
        ]

    def _check_target(self, obj: Any, target: Any) -> None:
        name, value = device_name(obj), number(target)
        if value is None:
            if number(self.world.position(obj)) is not None:
                self._find(f"{name}: {shown(target)} ({type(target).__name__}) is not a number")
            return
        self._travel(name, value)
        if not is_finite(value):
            self._find(f"{name}: {value} is not a finite number")
        elif self.check_limits:
            self._check_limits(obj, value)

    def _check_limits(self, obj: Any, value: float) -> None:
        bounds = limits_of(obj)
        if bounds is not None:
            if not bounds[0] <= value <= bounds[1]:
                self._find(f"{device_name(obj)}: {value:g} is outside limits [{bounds[0]:g}, {bounds[1]:g}]")
            return
        checker = getattr(obj, "check_value", None)
        if checker is None or inspect.iscoroutinefunction(checker):
            return
        try:
            close_quietly(checker(value))
        except Exception as error:
            self._find(f"{device_name(obj)}: {value:g} is refused: {shown(str(error), 120)}")

    def _travel(self, name: str, value: float) -> None:
        old = self.travels.get(name)
        self.travels[name] = (
            Travel(value, value, value, value, 1)
            if old is None
            else Travel(old.first, value, min(old.lowest, value), max(old.highest, value), old.num_moves + 1)
        )


def _worded(finding: Finding, total: int) -> str:
    return finding.text if finding.point is None else f"{finding.text} (point {finding.point} of {total})"


def _close(plan: PlanGenerator) -> None:
    # A plan that resists being closed is the engine's business, not ours.
    with contextlib.suppress(Exception):
        plan.close()
