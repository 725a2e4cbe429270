"""What happens between two steps when somebody wants something: end, failures, pause, suspension."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from .errors import FailedPause, NoReplayAllowed, PlanHalt, RequestAbort, RequestStop, kind, kinds
from .msg import Msg, PlanGenerator, as_plan, replayed
from .session import ENDINGS, Frame, Session, SuspendRequest

__all__ = ["attend", "begin_suspension", "bounded", "note", "stop_moved", "wake_devices"]

logger = logging.getLogger("labspine.engine")

CLEAN_UP_S = 5.0
"""Longest time for one device to come to rest."""

SIGNALS: dict[str, type[BaseException]] = {
    "stopping": RequestStop,
    "aborting": RequestAbort,
    "halting": PlanHalt,
}


async def attend(session: Session) -> None:
    """
    Look at everything that was requested or went wrong, the most urgent first.

    Args:
        session: The call.

    Raises:
        PlanHalt: If it is to end without the plan's own clean-up.
    """
    session.attention = False
    if session.ending is not None and not session.is_ending_told:
        _tell_ending(session)
        return
    frame = session.frames[-1]
    error = _take_errors(session)
    if error is not None and frame.error is not None:
        # The plan has not been told the first one yet, which may be the signal to end.
        frame.error.add_note(f"also failed: {error!r}")
    elif error is not None:
        frame.error, frame.unanswered = error, None
    if session.pause_wanted:
        await _pause(session)
    if session.ending is None and session.suspensions and not session.is_suspending:
        # One after the other: nothing is measured before every suspender is content.
        _suspend(session, session.suspensions.popleft())
    if session.ending is not None and not session.is_ending_told:
        _tell_ending(session)
        return
    _owe_answer(session)


def _take_errors(session: Session) -> BaseException | None:
    first: BaseException | None = session.statuses.take_failure()
    while session.errors:
        error = session.errors.popleft()
        if first is None:
            first = error
        else:
            first.add_note(f"also failed: {error!r}")
    return first


def _tell_ending(session: Session) -> None:
    ending = session.ending or "aborting"
    session.is_ending_told = True
    session.pause_wanted = False
    session.suspensions.clear()
    if ending == "halting":
        _halt(session)
    frame = session.frames[-1]
    signal = kind(SIGNALS[ending])
    frame.error = signal(session.reason) if session.reason else signal()
    frame.unanswered = None


def _halt(session: Session) -> None:
    top = session.frames[-1].plan
    try:
        step = top.throw(kind(PlanHalt)())
    except BaseException as error:
        logger.debug("the plan ended with %r when it was halted", error)
    else:
        logger.warning(
            "the plan wanted to go on with %r although it was halted; that step is not performed", step
        )
    raise kind(PlanHalt)()


def _owe_answer(session: Session) -> None:
    # An interrupted step that nothing replays is performed again: the plan gets its true answer.
    frame = session.frames[-1]
    if frame.unanswered is not None:
        steps, frame.unanswered = [frame.unanswered], None
        session.frames.append(Frame(replayed(_without_last(session, steps)), delivers=True))


def _without_last(session: Session, steps: list[Any]) -> list[Any]:
    # It is about to be cached again.
    if session.cache and session.cache[-1] is steps[-1]:
        session.cache.pop()
    return steps


async def _pause(session: Session) -> None:
    session.pause_wanted = False
    if session.cache is None:
        _refuse(session, "a pause was requested, but the plan has no checkpoint to return to; it is aborted")
        return
    for run in session.open_runs():
        run.record_interruption("pause")
    await _bring_to_rest(session)
    if session.ending is None:
        await _stay_paused(session)
    if session.ending is not None:
        return
    for run in session.open_runs():
        run.record_interruption("resume")
    await wake_devices(session)
    _push_replay(session)


def _refuse(session: Session, words: str) -> None:
    session.is_interrupted = True
    session.ending, session.is_ending_told = "aborting", True
    session.engine.change_state("aborting")
    frame = session.frames[-1]
    frame.error, frame.unanswered = kind(FailedPause)(words), None


async def _stay_paused(session: Session) -> None:
    session.permit.clear()
    session.resume_wanted = False
    session.is_interrupted = True
    session.engine.change_state("paused")
    session.engine.tell_rest(session)
    began_s = session.loop.time()
    while not (session.resume_wanted or session.ending is not None):
        await session.permit.wait()
        session.permit.clear()
    if session.watch is not None and session.watch.accounts is not None:
        session.watch.accounts.pause(session.loop.time() - began_s)
    if session.ending is None:
        session.is_interrupted = False
        session.engine.change_state("running")


async def _bring_to_rest(session: Session) -> None:
    for run in session.open_runs():
        for monitor in run.monitors.values():
            monitor.silence()
    await stop_moved(session, success=True)
    for device in session.pausable():
        try:
            await bounded(device.pause)
        except kinds(NoReplayAllowed):
            session.reset_checkpoint()
        except Exception as error:
            note(session, f"{_name(device)}.pause() failed: {error!r}")


async def wake_devices(session: Session) -> None:
    """
    Undo what a pause or suspension did to devices and monitors.

    Args:
        session: The call.
    """
    for device in session.pausable():
        try:
            await bounded(device.resume)
        except Exception as error:
            note(session, f"{_name(device)}.resume() failed: {error!r}")
    for run in session.open_runs():
        for monitor in run.monitors.values():
            monitor.listen()


def _take_replay(session: Session) -> list[Any]:
    steps = list(session.cache or ())
    frame = session.frames[-1]
    if steps:
        session.statuses.disown_fresh()
        for run in session.open_runs():
            run.rewind()
    owed = frame.unanswered
    if owed is not None and not (steps and steps[-1] is owed) and owed.command != "sleep":
        # A device forbade the replay, or the step is never cached; its answer is owed all the same.
        # The answer of a sleep is None always, so a forbidden one is simply over.
        steps.append(owed)
    if session.cache is not None:
        session.cache.clear()
    return steps


def _push_replay(session: Session) -> None:
    frame = session.frames[-1]
    is_owed, steps = frame.unanswered is not None, _take_replay(session)
    frame.unanswered = None
    if steps:
        session.frames.append(Frame(replayed(steps), delivers=is_owed))


def _suspend(session: Session, request: SuspendRequest) -> None:
    if session.cache is None:
        _refuse(session, "a suspender tripped, but the plan has no checkpoint to return to; it is aborted")
        return
    session.is_suspending = True
    if session.engine.state == "suspending":
        session.engine.change_state("running")
    start = Msg(
        "_start_suspender", None, request.pre_plan, request.post_plan, request.justification, request.until
    )
    session.frames.append(Frame(as_plan(start)))


async def begin_suspension(session: Session, msg: Any) -> None:
    """
    Perform ``_start_suspender``: rest, then a plan that waits and replays.

    Args:
        session: The call.
        msg: The step, with pre-plan, post-plan, justification and what to wait for.
    """
    pre_plan, post_plan, justification, until = msg.args
    for run in session.open_runs():
        run.record_interruption(justification if justification is not None else "suspended")
    await _bring_to_rest(session)
    below = session.frames[-2]
    is_owed = below.unanswered is not None
    top = session.frames.pop()
    steps = _take_replay(session)
    below.unanswered = None
    session.frames.append(Frame(_suspended(session, (pre_plan, until, post_plan), steps), delivers=is_owed))
    session.frames.append(top)
    session.is_suspending = False
    session.num_suspensions += 1
    session.attention = session.attention or bool(session.suspensions)


def _suspended(session: Session, parts: tuple[Any, Any, Any], steps: list[Any]) -> PlanGenerator:
    pre_plan, until, post_plan = (
        part() if i != 1 and callable(part) else part for i, part in enumerate(parts)
    )
    was_rewindable = session.rewindable
    yield Msg("rewindable", None, False)
    if pre_plan is not None:
        yield from as_plan(pre_plan)
    yield Msg("wait_for", None, [until])
    yield Msg("_resume_from_suspender")
    if post_plan is not None:
        yield from as_plan(post_plan)
    yield Msg("rewindable", None, was_rewindable)
    return (yield from replayed(steps))


async def stop_moved(session: Session, *, success: bool) -> None:
    """
    Stop everything that was set in this call.

    Args:
        session: The call; what could not be stopped is noted.
        success: Whether an interrupted move counts as done.
    """
    rest = session.to_stop = deque(d for d in session.moved.values() if hasattr(d, "stop"))
    while rest:
        device = rest.popleft()
        session.in_stop = (time.monotonic(), device)
        try:
            await bounded(_stopper(device, success))
        except Exception as error:
            note(session, f"{_name(device)}.stop() failed: {error!r}")
        finally:
            session.in_stop = None


def _stopper(device: Any, success: bool) -> Callable[[], Any]:
    return lambda: device.stop(success=success)


async def bounded(call: Callable[[], Any]) -> Any:
    """
    Call something of a device and await its answer, but not for ever.

    Args:
        call: The call.

    Returns:
        Its value.

    Raises:
        TimeoutError: If it took longer than 5 s.
    """
    answer = call()
    if inspect.isawaitable(answer):
        return await asyncio.wait_for(_awaited(answer), CLEAN_UP_S)
    return answer


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def note(session: Session, problem: str) -> None:
    """
    Keep a problem that must not keep others from being cleaned up.

    Args:
        session: The call.
        problem: What went wrong.
    """
    session.problems.append(problem)
    logger.error("%s", problem)


def _name(device: Any) -> str:
    return str(getattr(device, "name", None) or device)


def is_stronger(new: str, old: str | None) -> bool:
    """
    Compare two ways to end a plan.

    Args:
        new: The one that is wanted.
        old: The one that is under way.

    Returns:
        True when the new one must be told to the plan as well.
    """
    return old is None or ENDINGS[new] >= ENDINGS[old]
