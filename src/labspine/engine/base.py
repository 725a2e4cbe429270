"""
What both doors of the engine share: settings, commands, subscribers, and requests from any thread.

Nothing here waits. A request sets a flag under a lock and wakes the loop, so it can be made from callbacks,
devices, signal handlers and other threads alike.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument, shown
from .bluesky_link import BlueskyNames, host_versions
from .documents import Emitter
from .documents.emitter import subscribers_by_name
from .durable import begin_journal
from .errors import EngineBusy, TransitionError, kind
from .interrupt import is_stronger
from .journal import Journal, journal_of
from .msg import Msg, as_plan
from .observe import Watched
from .performers import Commanded
from .preflight import LooksAhead
from .session import NO_PLAN_RETURN, Frame, Session, SuspendRequest
from .state import STATES, EngineState, check_transition
from .suspend import Suspendable

if TYPE_CHECKING:
    from .journal.replay import Replay

__all__ = ["EngineBase", "default_scan_id_source"]

logger = logging.getLogger("labspine.engine")
state_logger = logging.getLogger("labspine.engine.state")

Metadata = MutableMapping[str, Any]


def default_scan_id_source(md: Metadata) -> int:
    """
    Count scans.

    Args:
        md: The engine's metadata.

    Returns:
        One more than the last ``scan_id``.
    """
    return int(md.get("scan_id", 0)) + 1


def default_md_validator(md: dict[str, Any]) -> None:
    """
    Refuse a ``sample`` that databases cannot search.

    Args:
        md: Metadata of the run that is about to start.

    Raises:
        InvalidArgument: If ``sample`` is neither text nor a dict.
    """
    sample = md.get("sample", "")
    if not (hasattr(sample, "keys") or isinstance(sample, str)):
        raise InvalidArgument(f"metadata 'sample' must be text or a dict, got {shown(sample)}")


class EngineBase(Commanded, LooksAhead, Watched, Suspendable, BlueskyNames):
    """
    Settings and requests of an engine; use :class:`RunEngine` or :class:`AsyncRunEngine`.

    Args:
        md: Metadata that goes into every start document; any mutable mapping.
        preprocessors: Functions that take a plan and return a plan, applied in order.
        md_validator: Raises to refuse the metadata of a run.
        md_normalizer: Returns the metadata to use; gets a deep copy.
        scan_id_source: Plain or coroutine function of the metadata that gives the next ``scan_id``.
        journal: Where each call is written down before anybody is told: True, a directory or a
            :class:`Journal`; None writes nothing.
    """

    NO_PLAN_RETURN = NO_PLAN_RETURN

    def __init__(
        self,
        md: Metadata | None = None,
        *,
        preprocessors: list[Callable[[Any], Any]] | None = None,
        md_validator: Callable[[dict[str, Any]], object] | None = None,
        md_normalizer: Callable[[dict[str, Any]], Any] | None = None,
        scan_id_source: Callable[[Any], Any] = default_scan_id_source,
        journal: Journal | str | Path | bool | None = None,
    ) -> None:
        super().__init__()
        self.journal = journal_of(journal)
        self.md: Metadata = {} if md is None else md
        self.md["versions"] = {**self.md.get("versions", {}), **host_versions()}
        self.preprocessors: list[Callable[[Any], Any]] = [] if preprocessors is None else preprocessors
        self.md_validator = md_validator or default_md_validator
        self.md_normalizer = md_normalizer
        self.scan_id_source = scan_id_source
        self.msg_hook: Callable[[Any], object] | None = None
        self.state_hook: Callable[[EngineState, EngineState], object] | None = None
        self.waiting_hook: Callable[[Any], object] | None = None
        self.record_interruptions = False
        self.strict = False
        # Seconds that a status may take; a device with an attribute of this name has its own. None: no limit.
        self.device_timeout_s: float | None = None
        # Seconds that the plan, then each device has for its clean-up when the program was told to end.
        self.exit_limit_s = 5.0
        self._is_rewindable = True
        # bluesky's private name of a setting that people use.
        self._require_stream_declaration = False
        self.emitter = Emitter()
        self.cleanup_problems: tuple[str, ...] = ()
        self._state = STATES["idle"]
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._is_pause_left = False

    # -- documents ---------------------------------------------------------------------------------

    @property
    def ignore_callback_exceptions(self) -> bool:
        """Turn exceptions of subscribers into warnings instead of ending the plan."""
        return self.emitter.ignore_exceptions

    @ignore_callback_exceptions.setter
    def ignore_callback_exceptions(self, value: bool) -> None:
        self.emitter.ignore_exceptions = bool(value)

    # -- state -------------------------------------------------------------------------------------

    @property
    def state(self) -> EngineState:
        """What the engine is doing: text with ``is_idle``, ``is_running``, ``is_paused``, ``can_pause``."""
        return self._state

    def change_state(self, new: str) -> None:
        """
        Enter a state.

        Args:
            new: Its name.

        Raises:
            TransitionError: If it cannot be entered from the present one.
        """
        with self._lock:
            old = self._state
            self._state = check_transition(old, new)
        if old == new:
            return
        extra = {"old_state": old, "new_state": self._state}
        state_logger.info("%s -> %s", old, new, extra=extra)
        if self.state_hook is not None:
            try:
                self.state_hook(STATES[new], old)
            except Exception:
                # Whoever changes the state must get to the end of it: a caller waits for that.
                logger.exception("state_hook failed at %s -> %s", old, new)

    @property
    def resumable(self) -> bool:
        """Whether a pause now could be resumed later."""
        session = self._session
        return session is None or session.cache is not None

    @property
    def rewindable(self) -> bool:
        """Whether plans may be replayed from their checkpoint; set between calls, for the next ones."""
        session = self._session
        return self._is_rewindable if session is None else session.rewindable

    @rewindable.setter
    def rewindable(self, value: bool) -> None:
        session = self._session
        if session is None:
            self._is_rewindable = bool(value)
        elif session.rewindable != bool(value):
            session.rewindable = bool(value)
            session.reset_checkpoint()

    @property
    def deferred_pause_requested(self) -> bool:
        """Whether the plan will pause at its next checkpoint; after its end, whether it never came to one."""
        session = self._session
        return self._is_pause_left if session is None else session.is_pause_deferred

    @property
    def log(self) -> logging.Logger:
        """The engine's logger."""
        return logger

    # -- beginning and end of a call ---------------------------------------------------------------

    def _begin(
        self,
        plan: object,
        subs: Any,
        metadata: dict[str, Any],
        loop: asyncio.AbstractEventLoop,
        *,
        replay: Replay | None = None,
    ) -> Session:
        pairs = subscribers_by_name(subs)
        generator = as_plan(plan)
        for wrap in self.preprocessors:
            generator = as_plan(wrap(generator))
        frames = [Frame(generator)]
        waits = [until for s in list(self._suspenders.values()) for until in _tripped(s)]
        if waits:
            frames.append(Frame(as_plan(Msg("wait_for", None, waits))))
        with self._lock:
            if self._state == "panicked":
                raise EngineBusy(
                    "the loop thread of this engine does not react (panicked); "
                    "wait until it is idle again or make a new engine"
                )
            if self._session is not None or not self._state.is_idle:
                raise EngineBusy(
                    f"the engine is {self._state}: it performs a plan already; wait, or abort that one"
                )
            session = Session(self, plan=plan, frames=frames, metadata=metadata, loop=loop)
            session.replay = replay
            session.journal = begin_journal(self, plan, metadata) if replay is None else replay.journal
            self._session = self._last_session = session
        try:
            session.tokens.update([self.emitter.subscribe(func, name) for name, func in pairs])
            self.change_state("running")
        except BaseException:
            self._forget(session)
            raise
        return session

    def _forget(self, session: Session) -> None:
        for token in session.tokens:
            self.emitter.unsubscribe(token)
        session.tokens.clear()
        with self._lock:
            if self._session is session:
                self._session = None
        if not self._state.is_idle:
            self.change_state("idle")

    def finish(self, session: Session) -> None:
        """
        End a call; for the conductor of the session.

        Args:
            session: The call, which has its outcome.
        """
        session.is_over = True
        if session.slow is not None:
            session.slow.end()
        self.cleanup_problems = tuple(session.problems)
        self._is_pause_left = session.is_pause_deferred
        self._forget(session)
        self.tell_rest(session)

    def tell_rest(self, session: Session) -> None:
        """
        Tell whoever waits for the call that it is paused or over.

        Args:
            session: The call.
        """
        session.rest.set()

    # -- requests, from any thread -----------------------------------------------------------------

    def request_pause(self, defer: bool = False) -> None:
        """
        Ask for a pause; returns at once.

        Args:
            defer: Go on to the next checkpoint first.

        Raises:
            TransitionError: If no plan is running.
        """
        with self._lock:
            session = self._need_session("paused")
            if not self._state.can_pause:
                raise kind(TransitionError)(f"the engine is {self._state} and cannot be paused")
            if defer:
                session.is_pause_deferred = True
                logger.info("a pause is requested; the plan goes on to its next checkpoint")
                return
            session.is_pause_deferred = False
            session.pause_wanted = True
            self.change_state("pausing")
            self._wake(session)

    def _request_resume(self) -> Session:
        with self._lock:
            session = self._session
            if session is None or not self._state.is_paused:
                raise kind(TransitionError)(f"the engine is {self._state}; only a paused plan can be resumed")
            session.resume_wanted = True
            session.rest.clear()
            self._wake(session)
            return session

    def _request_ending(self, state: str, reason: str = "") -> Session:
        with self._lock:
            session = self._need_session(state)
            check_transition(self._state, state)
            session.is_interrupted = True
            if is_stronger(state, session.ending):
                session.ending, session.is_ending_told = state, False
            session.reason = reason or session.reason
            session.rest.clear()
            self.change_state(state)
            self._wake(session)
            return session

    def request_suspend(
        self,
        fut: Callable[[], Any],
        *,
        pre_plan: Any = None,
        post_plan: Any = None,
        justification: str | None = None,
    ) -> None:
        """
        Ask the plan to wait for something; returns at once. Ignored when no plan is running.

        Args:
            fut: Called to get an awaitable; the plan goes on, from its checkpoint, when that is done.
            pre_plan: A plan, or a function that gives one, to perform before waiting.
            post_plan: The same, to perform after waiting.
            justification: Why; goes into the interruptions of the run.
        """
        with self._lock:
            session = self._session
            if session is None or session.ending is not None:
                return
            session.suspensions.append(SuspendRequest(fut, pre_plan, post_plan, justification))
            if self._state.is_running:
                self.change_state("suspending")
            self._wake(session)

    def _need_session(self, wanted: str) -> Session:
        if self._session is None:
            raise kind(TransitionError)(f"the engine is {self._state}: there is no plan to be {wanted}")
        return self._session

    def _wake(self, session: Session) -> None:
        session.attention = True
        try:
            session.loop.call_soon_threadsafe(_look, session)
        except RuntimeError as error:
            raise EngineBusy("the loop of this engine is closed; make a new engine") from error


def _look(session: Session) -> None:
    if session.is_over or not hasattr(session, "permit"):
        return
    session.permit.set()
    session.raise_attention()


def _tripped(suspender: Any) -> Iterable[Callable[[], Any]]:
    futures, justification = suspender.get_futures()
    if futures:
        logger.warning("the plan begins when its suspenders are ready: %s", justification)
    return list(futures)
