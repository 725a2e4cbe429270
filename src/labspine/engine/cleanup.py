"""The end of a call, in order: stop, unmonitor, collect, unstage, close runs. Nothing here can be skipped."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from .driver import drive
from .errors import FailedPause, PlanHalt, RequestAbort, RequestStop, kinds
from .interrupt import CLEAN_UP_S, bounded, note, stop_moved
from .journal import CannotResume
from .msg import Msg
from .performers.flying import collect
from .session import NO_PLAN_RETURN, RunEngineResult, Session
from .statuses import is_status

__all__ = ["conduct"]

logger = logging.getLogger("labspine.engine")


async def conduct(session: Session) -> None:
    """
    Perform a plan from its first step to the last clean-up; its outcome is kept in the session.

    Args:
        session: The call.

    Raises:
        CancelledError: If the task was cancelled from outside, after the clean-up.
    """
    session.settle_on_loop()
    value, cancelled = NO_PLAN_RETURN, None
    try:
        if session.replay is not None:
            session.replay.begin(session)
        value = await drive(session)
    except kinds(RequestStop):
        session.exit_status = "success"
    except kinds(FailedPause, RequestAbort, PlanHalt):
        session.exit_status = "abort"
    except CannotResume as error:
        session.exit_status, session.reason, session.failure = "abort", str(error), error
    except asyncio.CancelledError as error:
        session.exit_status, session.is_interrupted, cancelled = "abort", True, error
        session.task.uncancel()
    except BaseException as error:
        session.exit_status, session.reason = "fail", str(error)
        session.failure = error
    else:
        session.exit_status = "abort" if session.ending in {"aborting", "halting"} else "success"
    finally:
        session.statuses.is_pardoning = True
        try:
            await _clean_up(session)
            _take_late_error(session)
        finally:
            _end_journal(session)
            session.outcome = RunEngineResult(
                tuple(session.uids),
                value,
                session.exit_status,
                session.is_interrupted,
                session.reason,
                session.failure,
            )
            session.engine.finish(session)
    if cancelled is not None:
        raise cancelled


def _take_late_error(session: Session) -> None:
    # A critical subscriber may refuse even the last document.
    if session.errors and session.failure is None:
        session.exit_status, session.failure = "fail", session.errors.popleft()


def _end_journal(session: Session) -> None:
    if session.journal is not None:
        try:
            session.journal.end(session.exit_status, session.reason)
        except Exception as error:
            note(session, f"the journal could not be closed: {error!r}")


def _tell_forgotten(session: Session) -> None:
    if session.exit_status != "success" or session.is_interrupted:
        return
    staged = ", ".join(str(getattr(device, "name", device)) for device in session.staged.values())
    if session.runs:
        logger.warning("the plan ended without 'close_run' for %d run(s); closed now", len(session.runs))
    if staged:
        logger.warning("the plan ended without 'unstage' of %s; unstaged now", staged)


async def _clean_up(session: Session) -> None:
    _tell_forgotten(session)
    await stop_moved(session, success=session.exit_status != "fail")
    for run in session.open_runs():
        for monitor in list(run.monitors.values()):
            try:
                monitor.end()
            except Exception as error:
                note(session, f"could not stop monitoring {monitor.name}: {error!r}")
        run.monitors.clear()
    session.empty_inbox()
    for key, run in list(session.runs.items()):
        for flyer in list(run.uncollected.values()):
            await _collect(session, flyer, key)
    for device in reversed(list(session.staged.values())):
        await _unstage(session, device)
    for run in session.open_runs():
        await _close(session, run)
    session.runs.clear()
    _close_plans(session)


async def _collect(session: Session, flyer: Any, key: Any) -> None:
    try:
        await asyncio.wait_for(collect(session, Msg("collect", flyer, run=key)), CLEAN_UP_S)
    except Exception as error:
        note(session, f"could not collect {getattr(flyer, 'name', flyer)}: {error!r}")


async def _unstage(session: Session, device: Any) -> None:
    name = getattr(device, "name", device)
    try:
        answer = device.unstage()
        if is_status(answer):
            tracked = session.statuses
            tracked.track(answer, ("clean-up", id(device)), f"{name}.unstage")
            if not await tracked.settled(tracked.groups[("clean-up", id(device))], CLEAN_UP_S):
                note(session, f"{name}.unstage() did not finish within {CLEAN_UP_S:g} s")
            elif not answer.success:
                note(session, f"{name}.unstage() failed: {answer!r}")
        else:
            await bounded(lambda: answer)
    except Exception as error:
        note(session, f"could not unstage {name}: {error!r}")


async def _close(session: Session, run: Any) -> None:
    try:
        run.close(session.exit_status, session.reason)
    except Exception as error:
        note(session, f"closing the run {run.uid} failed: {error!r}")
        if session.failure is None and session.exit_status == "success":
            session.failure, session.exit_status = error, "fail"


def _close_plans(session: Session) -> None:
    while session.frames:
        plan = session.frames.pop().plan
        try:
            plan.close()
        except Exception as error:
            note(session, f"the plan {plan!r} did not let itself be closed: {error!r}")
