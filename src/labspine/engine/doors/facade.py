"""The blocking door: ``RunEngine`` with bluesky's public names, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from ..base import EngineBase, default_scan_id_source
from ..bluesky_link import announce_loop, plot_aware_wait
from ..cleanup import conduct
from ..durable import taken_over
from ..errors import EngineBusy, RunEngineInterrupted, TransitionError, kind, kinds
from ..journal import Journal
from ..session import RunEngineResult, Session
from .qt import qt_wait
from .rescue import rescue, see_it_end
from .sigint import SigintHandler
from .terminate import TerminationHandler
from .watchdog import Watchdog

__all__ = ["RunEngine"]

logger = logging.getLogger("labspine.engine")

START_S = 10.0
PANIC_S = 1.0
LOOK_S = 0.1

PAUSE_MSG = """
The plan is interrupted. Choose how to go on:

RE.resume()    go on from the last checkpoint
RE.abort()     clean up and end the plan; the run is marked as aborted
RE.stop()      clean up and end the plan; the run is marked as a success
RE.halt()      end the plan without its own clean-up
"""


class _EnginePanic(BaseException):
    """Injected into the loop thread when a plan does not let go of it."""


class RunEngine(EngineBase):
    """
    Perform plans; each call blocks until the plan is over or paused.

    Args:
        md: Metadata that goes into every start document; any mutable mapping. ``scan_id`` is kept there.
        loop: An event loop; it is started in a thread unless it runs already.
        preprocessors: Functions that take a plan and return a plan, applied in order.
        context_managers: Classes, called with the engine and entered around each blocking call; by default
            the handlers for Ctrl-C and for SIGTERM and SIGHUP.
        md_validator: Raises to refuse the metadata of a run.
        md_normalizer: Returns the metadata to use; gets a deep copy.
        scan_id_source: Plain or coroutine function of the metadata that gives the next ``scan_id``.
        during_task: Object with ``block(event)`` that waits for a ``threading.Event``.
        call_returns_result: Give a :class:`RunEngineResult` instead of a tuple of run uids.
        journal: Where each call is written down before anybody is told: True, a directory or a
            :class:`~labspine.engine.journal.Journal`; None writes nothing.
    """

    def __init__(  # noqa: PLR0913 - bluesky's signature
        self,
        md: MutableMapping[str, Any] | None = None,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        preprocessors: list[Callable[[Any], Any]] | None = None,
        context_managers: list[Any] | None = None,
        md_validator: Callable[[dict[str, Any]], object] | None = None,
        md_normalizer: Callable[[dict[str, Any]], Any] | None = None,
        scan_id_source: Callable[[Any], Any] = default_scan_id_source,
        during_task: Any = None,
        call_returns_result: bool = False,
        journal: Journal | str | Path | bool | None = None,
    ) -> None:
        super().__init__(
            md,
            preprocessors=preprocessors,
            md_validator=md_validator,
            md_normalizer=md_normalizer,
            scan_id_source=scan_id_source,
            journal=journal,
        )
        self._loop = asyncio.new_event_loop() if loop is None else loop
        self._th = _running_thread(self._loop)
        announce_loop(self._loop)
        self.context_managers: list[Any] = (
            [SigintHandler, TerminationHandler] if context_managers is None else context_managers
        )
        self.pause_msg = PAUSE_MSG
        self._during_task = during_task
        self._call_returns_result = call_returns_result

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that performs the plans."""
        return self._loop

    @property
    def call_returns_result(self) -> bool:
        """Whether calls give a :class:`RunEngineResult`."""
        return self._call_returns_result

    def __call__(self, plan: object, subs: Any = None, /, **metadata: Any) -> Any:
        """
        Perform a plan and wait for its end.

        Args:
            plan: A plan.
            subs: Subscribers for this call only: a callable, a list, or a dict by document name.
            metadata: Goes into the start documents of this call.

        Returns:
            Tuple of run uids, or a :class:`RunEngineResult` with ``call_returns_result``.

        Raises:
            RunEngineInterrupted: If the plan was paused, stopped, aborted or halted.
            PlanError: If plan is no plan, or the engine is busy.
            Exception: What the plan raised.
        """
        self.check_call(metadata)
        self._ready("RE(plan)")
        return self._perform(self._begin(plan, subs, metadata, self._loop))

    def recover(
        self,
        path: str | Path,
        plan: object,
        subs: Any = None,
        *,
        catch_up: bool = True,
        paused: bool = False,
    ) -> Any:
        """
        Go on with the call of a process that died, in the same runs, and wait for its end.

        The plan is told the recorded answers up to its last checkpoint. Devices are brought to rest, then to
        the state in which the plan had left them there; an event that was told before is not told again.

        Args:
            path: The journal of that call.
            plan: The same plan, fresh, on the same devices.
            subs: Subscribers for this call only.
            catch_up: Tell the recorded documents to all subscribers first, so that they have the whole run.
            paused: Pause before anything moves.

        Returns:
            As the call itself.

        Raises:
            JournalError: If that process lives, or the file is no journal.
            CannotResume: If the plan does other things than before, or cannot go on; its runs are closed.
            RunEngineInterrupted: If it was paused, stopped, aborted or halted.
            Exception: What the plan raised.
        """
        self._ready("recover()")
        with taken_over(self, path, catch_up=catch_up, paused=paused) as replay:
            session = self._begin(plan, subs, replay.metadata, self._loop, replay=replay)
        return self._perform(session)

    def _ready(self, what: str) -> None:
        self._not_on_loop(what)
        if self._loop.is_closed():
            raise EngineBusy("this engine is closed; make a new one")

    def _perform(self, session: Session) -> Any:
        def start() -> None:
            # No future as of run_coroutine_threadsafe: the session tells of its end, and holds its task.
            self._loop.call_soon_threadsafe(_launch, session)

        try:
            self._wait(session, start)
        except BaseException:
            if not hasattr(session, "task"):
                self._forget(session)  # it never began: a context manager refused
            raise
        return self._answer(session)

    def resume(self) -> Any:
        """
        Go on from the last checkpoint and wait for the end.

        Returns:
            As the call itself.

        Raises:
            TransitionError: If the plan is not paused.
            RunEngineInterrupted: If it was interrupted again.
            Exception: What the plan raised.
        """
        self._not_on_loop("resume()")
        session = self._request_resume()
        self._wait(session)
        return self._answer(session)

    def stop(self) -> Any:
        """
        End the plan early, as a success. Waits for the end if it was paused.

        Returns:
            As the call itself; for a running plan, what there is so far.

        Raises:
            TransitionError: If there is no plan, or a stronger request is under way.
            Exception: What the plan raised while it cleaned up.
        """
        return self._end("stopping")

    def abort(self, reason: str = "") -> Any:
        """
        End the plan early, as aborted. Waits for the end if it was paused.

        Args:
            reason: Goes into the stop document.

        Returns:
            As the call itself; for a running plan, what there is so far.

        Raises:
            TransitionError: If there is no plan, or it is being halted.
            Exception: What the plan raised while it cleaned up.
        """
        return self._end("aborting", reason)

    def halt(self) -> Any:
        """
        End the plan at once, without its own clean-up. Waits for the end if it was paused.

        Returns:
            As the call itself; for a running plan, what there is so far.

        Raises:
            TransitionError: If there is no plan.
        """
        return self._end("halting")

    def reset(self) -> None:
        """End a plan, if there is one, and forget all subscriptions."""
        if self._session is not None:
            session = self._session
            self.halt()
            session.rest.wait(START_S)
        self.unsubscribe_all()

    def close(self) -> None:
        """
        End the engine's loop and thread; the engine cannot be used afterwards. A second call does nothing.

        A plan is halted; a device that keeps the engine's thread longer than ``exit_limit_s`` is left behind.

        Raises:
            EngineBusy: If it is called on the engine's own thread.
        """
        self._not_on_loop("close()")
        self.drain()
        with suppress(*kinds(TransitionError)):
            self._request_ending("halting", "the engine was closed")
        is_left = see_it_end(self, "the engine is closed")
        self.unsubscribe_all()
        if self.journal is not None:
            self.journal.close()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._th.join(0.0 if is_left else START_S)
            if not self._th.is_alive():
                self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _end(self, state: str, reason: str = "") -> Any:
        was_paused = self._state.is_paused
        session = self._request_ending(state, reason)
        if was_paused and threading.get_ident() != self._th.ident:
            self._wait(session)
            if session.failure is not None:
                raise session.failure
        return self._result(session)

    def _not_on_loop(self, what: str) -> None:
        if threading.get_ident() == self._th.ident:
            raise EngineBusy(
                f"{what} waits and was called on the engine's own thread, from a callback, device or plan; "
                "use 'yield from' in plans, and another thread or AsyncRunEngine otherwise"
            )

    def _wait(self, session: Session, start: Callable[[], None] | None = None) -> None:
        with ExitStack() as stack:
            for manager in self.context_managers:
                stack.enter_context(manager(self))
            if self.watchdog_s:
                stack.enter_context(Watchdog(self, session, self._th.ident or 0))
            if start is not None:
                start()
            try:
                self._block(session)
            except KeyboardInterrupt:
                self._get_out(session)
            except EngineBusy:
                raise  # its thread cannot hear of anything
            except Exception:
                self._request_ending("halting")
                raise

    def _block(self, session: Session) -> None:
        waiter = self._during_task if self._during_task is not None else plot_aware_wait() or qt_wait()
        if waiter is not None:
            waiter.block(session.rest)
        # Python runs handlers of signals in this thread, and a signal that another thread received does not
        # wake it: hence no long wait. A loop thread that has died must not leave us waiting for ever either.
        while not session.rest.wait(LOOK_S):
            if not self._th.is_alive():
                self.change_state("panicked")
                raise EngineBusy("the thread of this engine has died; make a new engine")
            hanging = rescue(session)
            if hanging is not None:
                self.change_state("panicked")
                raise EngineBusy(hanging)

    def _get_out(self, session: Session) -> None:
        session.is_interrupted = True
        try:
            self._request_ending("halting")
        except TransitionError:
            return  # it has just ended
        if session.rest.wait(PANIC_S):
            return
        import ctypes

        # The plan keeps the thread busy; an exception can reach it between two of its instructions.
        ident = ctypes.c_ulong(self._th.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_EnginePanic))
        if not session.rest.wait(PANIC_S):
            self.change_state("panicked")

    def _answer(self, session: Session) -> Any:
        if session.failure is not None and not isinstance(session.failure, _EnginePanic):
            if isinstance(session.failure, KeyboardInterrupt):
                # From inside the plan or a callback; the engine has cleaned up, and this program goes on.
                raise kind(RunEngineInterrupted)(self.pause_msg) from session.failure
            raise session.failure
        if session.is_interrupted or not session.is_over:
            raise kind(RunEngineInterrupted)(self.pause_msg) from None
        return self._result(session)

    def _result(self, session: Session) -> Any:
        uids = tuple(session.uids)
        if not self._call_returns_result:
            return uids
        if session.outcome is not None:
            return session.outcome
        status = "success" if session.ending == "stopping" else "abort"
        return RunEngineResult(uids, self.NO_PLAN_RETURN, status, True, session.reason, session.failure)


def _launch(session: Session) -> None:
    session.task = session.loop.create_task(conduct(session))


_threads: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, threading.Thread] = weakref.WeakKeyDictionary()


def _running_thread(loop: asyncio.AbstractEventLoop) -> threading.Thread:
    known = _threads.get(loop)
    if known is not None and known.is_alive():
        return known
    if loop.is_running():
        raise EngineBusy(
            "this loop runs already, in a thread that this engine does not own: "
            "a blocking engine would stop it; use AsyncRunEngine there"
        )
    started = threading.Event()
    thread = threading.Thread(target=loop.run_forever, name="labspine-engine", daemon=True)
    loop.call_soon(started.set)
    thread.start()
    started.wait(START_S)
    _threads[loop] = thread
    return thread
