"""The asynchronous door: performs plans on the loop that is running."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..base import EngineBase
from ..bluesky_link import announce_loop
from ..cleanup import conduct
from ..durable import taken_over
from ..session import RunEngineResult, Session
from .watchdog import Watchdog

__all__ = ["AsyncRunEngine"]


class AsyncRunEngine(EngineBase):
    """
    Perform plans inside a program that has its own event loop.

    All requests (``pause``, ``resume``, ``stop``, ``abort``, ``halt``) return at once and may come from any
    thread; :meth:`run` returns when the plan is over.
    """

    async def run(self, plan: object, subs: Any = None, /, **metadata: Any) -> RunEngineResult:
        """
        Perform a plan. A pause does not end this call. Cancelling it aborts the plan and cleans up.

        Args:
            plan: A plan.
            subs: Subscribers for this call only: a callable, a list, or a dict by document name.
            metadata: Goes into the start documents of this call.

        Returns:
            Runs, return value and exit status; a plan that was stopped or aborted is told there.

        Raises:
            PlanError: If plan is no plan, or the engine is busy.
            Exception: What the plan raised.
        """
        loop = asyncio.get_running_loop()
        announce_loop(loop)
        return await self._perform(self._begin(plan, subs, metadata, loop))

    async def recover(
        self,
        path: str | Path,
        plan: object,
        subs: Any = None,
        *,
        catch_up: bool = True,
        paused: bool = False,
    ) -> RunEngineResult:
        """
        Go on with the call of a process that died, in the same runs; see :meth:`RunEngine.recover`.

        Args:
            path: The journal of that call.
            plan: The same plan, fresh, on the same devices.
            subs: Subscribers for this call only.
            catch_up: Tell the recorded documents to all subscribers first.
            paused: Pause before anything moves.

        Returns:
            As :meth:`run`.

        Raises:
            JournalError: If that process lives, or the file is no journal.
            CannotResume: If the plan does other things than before, or cannot go on; its runs are closed.
            Exception: What the plan raised.
        """
        loop = asyncio.get_running_loop()
        announce_loop(loop)
        with taken_over(self, path, catch_up=catch_up, paused=paused) as replay:
            session = self._begin(plan, subs, replay.metadata, loop, replay=replay)
        return await self._perform(session)

    async def _perform(self, session: Session) -> RunEngineResult:
        try:
            with ExitStack() as stack:
                if self.watchdog_s:
                    stack.enter_context(Watchdog(self, session, threading.get_ident()))
                await conduct(session)
        finally:
            if not session.is_over:
                self._forget(session)
        if session.failure is not None:
            raise session.failure
        return _outcome(session)

    def pause(self, *, defer: bool = False) -> None:
        """
        Ask for a pause.

        Args:
            defer: Go on to the next checkpoint first.

        Raises:
            TransitionError: If no plan is running.
        """
        self.request_pause(defer)

    def resume(self) -> None:
        """
        Go on from the last checkpoint.

        Raises:
            TransitionError: If the plan is not paused.
        """
        self._request_resume()

    def stop(self) -> None:
        """
        End the plan early, as a success.

        Raises:
            TransitionError: If there is no plan, or a stronger request is under way.
        """
        self._request_ending("stopping")

    def abort(self, reason: str = "") -> None:
        """
        End the plan early, as aborted.

        Args:
            reason: Goes into the stop document.

        Raises:
            TransitionError: If there is no plan, or it is being halted.
        """
        self._request_ending("aborting", reason)

    def halt(self) -> None:
        """
        End the plan at once, without its own clean-up; the engine's clean-up is done.

        Raises:
            TransitionError: If there is no plan.
        """
        self._request_ending("halting")


def _outcome(session: Session) -> RunEngineResult:
    if session.outcome is None:
        raise RuntimeError("a session ended without an outcome")
    return session.outcome
