"""The asynchronous door: performs plans on the loop that is running."""

from __future__ import annotations

import asyncio
from typing import Any

from ..base import EngineBase
from ..bluesky_link import announce_loop
from ..cleanup import conduct
from ..session import RunEngineResult, Session

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
        session = self._begin(plan, subs, metadata, loop)
        try:
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
