"""Run one request after the other on one engine, and let others pause and end it from any thread."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from labspine.clock import mono_s
from labspine.engine import RunEngine, RunEngineInterrupted
from labspine.engine.journal import Journal
from labspine.errors import InvalidOperation

from ..devices import DeviceRegistry
from .announcer import Announcer, Ending
from .baseline import with_baseline

__all__ = ["Outcome", "PlanRunner", "Way"]

_log = logging.getLogger("labspine.lab")

_CLOSE_LIMIT_S = 1.0

Way = Literal["abort", "halt", "stop"]

_ENDINGS: Mapping[Way, Ending] = {"abort": "aborted", "halt": "halted", "stop": "user_completed"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a plan ended: completed, ended early by a person, or failed with an error."""

    kind: Literal["completed", "ended", "failed"]
    error: BaseException | None = None
    way: Way | None = None
    reason: str = ""


class Voice(Protocol):
    """Who announces what the documents do not say: pauses, and who ended a scan."""

    def end_as(self, ending: Ending, reason: Literal["user", "alarm"] | None) -> None: ...

    def show_state(self, status: Literal["open", "paused"]) -> None: ...


class PlanRunner:
    """
    Own the engine of a scan server.

    Args:
        announcer: Receives the documents, unless there is a journal; it is told when a pause begins and ends.
        registry: The devices; those of priority ``baseline`` are read at the start of each run.
        next_scan_number: Gives the number of the next run.
        on_state: Called with ``paused`` or ``open`` when a pause has begun or ended.
        metadata: Goes into the start document of each run.
        journal: Where everything is written down before anybody is told.
    """

    def __init__(
        self,
        announcer: Announcer | Voice,
        registry: DeviceRegistry,
        *,
        next_scan_number: Callable[[], int],
        on_state: Callable[[Literal["open", "paused"]], None],
        metadata: Mapping[str, object] | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self.engine = RunEngine(
            dict(metadata or {}),
            loop=self._loop,
            context_managers=[],
            preprocessors=[lambda plan: with_baseline(plan, registry)],
            scan_id_source=lambda _md: next_scan_number(),
            journal=journal,
        )
        if isinstance(announcer, Announcer):
            self.engine.subscribe(announcer)
        self._announcer: Voice = announcer
        self._on_state = on_state
        self._lock = threading.RLock()
        self._told = threading.Condition(self._lock)
        self._running = False
        self._resume_wanted = False
        self._way: Way | None = None
        self._reason = ""

    @property
    def is_running(self) -> bool:
        """Say whether a plan is being performed or paused."""
        return self._running

    @property
    def is_paused(self) -> bool:
        """Say whether the plan is paused."""
        return self._running and self.engine.state == "paused"

    def run(self, plan: Iterable[object], metadata: Mapping[str, object]) -> Outcome:
        """
        Perform a plan to its end, pauses included.

        Args:
            plan: The plan.
            metadata: What the person said about it; goes into the start of its runs.

        Returns:
            How it ended; errors of plan and devices are in it, not raised.
        """
        return self._carry_out(lambda: self.engine(plan, **dict(metadata)))

    def recover(self, path: Path, plan: Iterable[object], *, paused: bool = False) -> Outcome:
        """
        Go on with a plan whose process died; its devices are at rest.

        Args:
            path: The journal of its call.
            plan: The same plan.
            paused: Pause first, because it was paused when its process died.

        Returns:
            How it ended; that it could not go on is in it as well.
        """
        return self._carry_out(lambda: self.engine.recover(path, plan, catch_up=False, paused=paused))

    def _carry_out(self, action: Callable[[], object]) -> Outcome:
        with self._lock:
            self._running, self._resume_wanted, self._way, self._reason = True, False, None, ""
        try:
            error = self._attempt(action)
            while self.engine.state == "paused":
                self._show("paused")
                error = self._attempt(self._go_on)
            return self._outcome(error)
        finally:
            with self._lock:
                self._running = False
                self._told.notify_all()

    def _attempt(self, action: Callable[[], object]) -> BaseException | None:
        try:
            action()
        except Exception as error:
            return error
        return None

    def _go_on(self) -> object:
        """Wait in a pause for what comes next, and do it on the thread that runs the plan."""
        with self._told:
            self._told.wait_for(lambda: self._resume_wanted or self._way is not None)
            way, self._resume_wanted = self._way, False
        if way is not None:
            return self._end_engine(way)
        self._show("open")
        return self.engine.resume()

    def _show(self, state: Literal["open", "paused"]) -> None:
        self._announcer.show_state(state)
        self._on_state(state)

    def _outcome(self, error: BaseException | None) -> Outcome:
        with self._lock:
            way, reason = self._way, self._reason
        if way is not None:
            return Outcome("ended", way=way, reason=reason)
        if error is None:
            return Outcome("completed")
        return Outcome("failed", error=error, reason=str(error))

    def pause(self, *, defer: bool) -> None:
        """
        Ask for a pause.

        Args:
            defer: Go on to the next checkpoint first.

        Raises:
            InvalidOperation: If nothing runs, or it is paused already.
        """
        with self._lock:
            if not self._running or self.engine.state != "running":
                raise InvalidOperation(f"nothing to pause: the engine is {self.engine.state}")
            self.engine.request_pause(defer)

    def resume(self) -> None:
        """
        Let the paused plan go on.

        Raises:
            InvalidOperation: If nothing is paused.
        """
        with self._told:
            if not self.is_paused:
                raise InvalidOperation(f"nothing to continue: the engine is {self.engine.state}")
            self._resume_wanted = True
            self._told.notify_all()

    def end(self, way: Way, *, reason: str = "") -> None:
        """
        End the plan that runs or is paused; a stronger way may follow a weaker one.

        Args:
            way: ``abort`` (with the clean-up of the plan), ``halt`` (without), ``stop`` (as a success).
            reason: Why, for the stop document.

        Raises:
            InvalidOperation: If nothing runs.
        """
        with self._told:
            if not self._running:
                raise InvalidOperation("nothing to end: no plan is running")
            self._way, self._reason = way, reason
            self._announcer.end_as(_ENDINGS[way], "user")
            is_paused = self.engine.state == "paused"
            self._told.notify_all()
        if not is_paused:
            error = self._attempt(lambda: self._end_engine(way))
            if error is not None and not isinstance(error, RunEngineInterrupted):
                _log.info("the plan had ended before it could be ended: %s", error)

    def _end_engine(self, way: Way) -> object:
        match way:
            case "abort":
                return self.engine.abort(self._reason)
            case "halt":
                return self.engine.halt()
            case "stop":
                return self.engine.stop()

    def close(self) -> None:
        """End the thread of the engine; a plan that does not let go of it keeps it."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        deadline = mono_s() + _CLOSE_LIMIT_S
        pause = threading.Event()
        while self._loop.is_running() and mono_s() < deadline:
            pause.wait(0.005)
        if not self._loop.is_running():
            self._loop.close()
