"""The state of one call of the engine; thrown away at its end, so that nothing leaks into the next one."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .documents import Run
from .errors import IllegalMessageSequence, kind
from .journal import JournalError
from .msg import PlanGenerator
from .observe import SlowSteps, watch_of
from .statuses import Statuses

if TYPE_CHECKING:
    from .base import EngineBase
    from .journal import CallJournal
    from .journal.replay import Replay

__all__ = ["NO_PLAN_RETURN", "Frame", "RunEngineResult", "Session", "SuspendRequest"]

NO_PLAN_RETURN: Any = object()
"""Stands for the return value of a plan that did not get to its end."""

ENDINGS = {"stopping": 1, "aborting": 2, "halting": 3}
"""Ways to end a plan, with their strength."""


@dataclass(frozen=True)
class RunEngineResult:
    """
    What became of a plan.

    Args:
        run_start_uids: Identifiers of the runs, in order.
        plan_result: Return value of the plan.
        exit_status: ``success``, ``abort`` or ``fail``.
        interrupted: True when it was stopped, aborted or halted.
        reason: Why it was aborted.
        exception: What the plan raised.
    """

    run_start_uids: tuple[str, ...]
    plan_result: Any
    exit_status: str
    interrupted: bool
    reason: str
    exception: BaseException | None


@dataclass(frozen=True)
class SuspendRequest:
    """A suspender wants the plan to wait: for what, and what to do before and after."""

    until: Any
    pre_plan: Any
    post_plan: Any
    justification: str | None


class Frame:
    """One plan on the stack, and what it will be told next."""

    __slots__ = ("answer", "delivers", "error", "journal", "last", "plan", "unanswered")

    def __init__(self, plan: PlanGenerator, *, delivers: bool = False) -> None:
        self.plan = plan
        self.answer: Any = None
        self.error: BaseException | None = None
        # Its latest step, and where the steps of the user's own plan are written down with their answers.
        self.last: Any = None
        self.journal: CallJournal | None = None
        # A step of this plan was interrupted; its answer is still owed.
        self.unanswered: Any = None
        # Its return value answers the plan below.
        self.delivers = delivers


class Session:
    """
    One plan being performed.

    Args:
        engine: Its engine: hooks, commands, subscribers.
        plan: The plan as the user gave it, for the metadata.
        frames: The stack that begins with this plan.
        metadata: Keyword arguments of the call.
        loop: The loop that performs it.
    """

    def __init__(
        self,
        engine: EngineBase,
        *,
        plan: object,
        frames: list[Frame],
        metadata: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.frames = frames
        self.metadata = metadata
        self.loop = loop
        self.runs: dict[Hashable, Run] = {}
        self.uids: list[str] = []
        self.step = 0
        # The steps since the last checkpoint; None when the plan forbids going back.
        self.cache: list[Any] | None = []
        self.rewindable = engine.rewindable
        self.staged: dict[int, Any] = {}
        self.moved: dict[int, Any] = {}
        self.seen: dict[int, Any] = {}
        # Devices that are still to be stopped, and the one whose stop() was called, with when (monotonic).
        self.to_stop: deque[Any] = deque()
        self.in_stop: tuple[float, Any] | None = None
        self.tokens: set[int] = set()
        self.exit_status = "success"
        self.reason = ""
        self.is_interrupted = False
        self.is_over = False
        # Its thread does not come back, and the program ends without it.
        self.is_abandoned = False
        # Requests; set from any thread, looked at by the driver when ``attention`` is set.
        self.attention = False
        self.ending: str | None = None
        self.is_ending_told = False
        self.pause_wanted = False
        self.resume_wanted = False
        self.is_pause_deferred = False
        self.is_suspending = False
        self.num_suspensions = 0
        self.suspensions: deque[SuspendRequest] = deque()
        self.errors: deque[BaseException] = deque()
        self.inbox: deque[Callable[[], None]] = deque()
        # Set while the caller's thread may go on: paused or over.
        self.rest = threading.Event()
        self.outcome: RunEngineResult | None = None
        self.failure: BaseException | None = None
        self.problems: list[str] = []
        self.statuses: Statuses
        self.task: asyncio.Task[Any]
        self.thread_id = 0
        self.in_flight: str | None = None
        self.flight_number = 0
        self.is_cancel_sent = False
        self.permit: asyncio.Event
        # Who watches the steps; then it also stands for the table of commands.
        self.watch = watch_of(engine)
        self.commands: Any = engine.table if self.watch is None else self.watch
        self.slow: SlowSteps | None = None
        self.journal: CallJournal | None = None
        # A call that goes on where another process died; what that one told already is not told again.
        self.replay: Replay | None = None
        self.is_told: Callable[[str, dict[str, Any]], bool] | None = None

    def settle_on_loop(self) -> None:
        """Create what belongs to the loop; called first thing by the task that performs the plan."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a session must run in a task")
        self.task = task
        self.thread_id = threading.get_ident()
        self.permit = asyncio.Event()
        self.statuses = Statuses(self.loop, self.raise_attention, self.engine.device_timeout_s)
        if self.engine.slow_step_s:
            self.slow = SlowSteps(self, self.engine.slow_step_s)
            self.slow.begin()

    @property
    def default_exit_status(self) -> str:
        """How a run ends whose plan does not say: a plan that was told to abort has not succeeded."""
        return "abort" if self.ending in {"aborting", "halting"} else "success"

    def run_of(self, msg: Any) -> Run:
        """
        Find the open run that a step belongs to.

        Args:
            msg: The step.

        Returns:
            Its run.

        Raises:
            IllegalMessageSequence: If that run is not open.
        """
        run = self.runs.get(msg.run)
        if run is None:
            which = "no run is open" if msg.run is None else f"no run with the key {msg.run!r} is open"
            raise kind(IllegalMessageSequence)(
                f"'{msg.command}' needs an open run, but {which}; send 'open_run' first"
            )
        return run

    def reset_checkpoint(self) -> None:
        """Make this the place to come back to after a pause."""
        if self.cache is None:
            return
        self.cache.clear()
        self.statuses.mark()
        for run in self.runs.values():
            run.mark()

    def raise_attention(self) -> None:
        """Have the driver look at requests and failures; on the loop only."""
        self.attention = True
        self.nudge()

    @property
    def is_wanted(self) -> bool:
        """Whether there is something that the driver has not dealt with."""
        return bool(
            (self.ending is not None and not self.is_ending_told)
            or self.pause_wanted
            or self.suspensions
            or self.errors
            or self.statuses.has_failure
        )

    def nudge(self) -> None:
        """Interrupt a step that is only waiting; on the loop only."""
        # A request that was dealt with before its wake-up call came must not interrupt anything.
        if self.in_flight is None or self.is_cancel_sent or not self.is_wanted:
            return
        patience_s = 0.0 if self.ending == "halting" else self.engine.patience_of(self.in_flight)
        if patience_s <= 0:
            self._cancel_flight(self.flight_number)
        else:
            self.loop.call_later(patience_s, self._cancel_flight, self.flight_number)

    def _cancel_flight(self, number: int) -> None:
        if self.in_flight is not None and number == self.flight_number and not self.is_cancel_sent:
            self.is_cancel_sent = True
            self.task.cancel()

    def post(self, action: Callable[[], None]) -> None:
        """
        Perform something on the loop, in order, from any thread; at once when this is the loop's thread.

        Args:
            action: For example the composition of a monitor's event.
        """
        self.inbox.append(action)
        if threading.get_ident() == self.thread_id:
            self.empty_inbox()
        else:
            self.loop.call_soon_threadsafe(self.empty_inbox)

    def empty_inbox(self) -> None:
        """Perform what was posted; its errors are told to the plan. On the loop only."""
        while self.inbox:
            action = self.inbox.popleft()
            try:
                action()
            except Exception as error:
                self.errors.append(error)
                self.raise_attention()

    def emit(self, name: str, doc: dict[str, Any]) -> None:
        """
        Hand out a document.

        Args:
            name: Name of the document.
            doc: The document.
        """
        if self.is_told is not None and self.is_told(name, doc):
            return
        if self.journal is not None:
            try:
                self.journal.document(name, doc)
            except JournalError as error:
                if name != "stop":
                    raise
                # Whatever the disk does, everybody hears that the run is over.
                self.problems.append(str(error))
        self.engine.emitter.emit(name, doc)

    def pausable(self) -> list[Any]:
        """
        List the devices of this call that want to know of pauses.

        Returns:
            Devices in the order of their first step.
        """
        return [d for d in self.seen.values() if hasattr(d, "pause") and hasattr(d, "resume")]

    def open_runs(self) -> Iterator[Run]:
        """
        List the runs that are open.

        Returns:
            Runs in order of opening.
        """
        return iter(list(self.runs.values()))
