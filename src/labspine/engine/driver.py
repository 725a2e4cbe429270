"""
The loop: take a step from the plan, perform it, tell the plan the answer.

A performer that needs no waiting is a plain call; the event loop gets a turn every millisecond. A performer
that waits returns a coroutine, which is awaited here, in one place, so that it can be interrupted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from types import CoroutineType
from typing import Any

from ..errors import DeviceError, did_you_mean, shown
from .errors import BadStep, InvalidCommand, NotAStep, kind
from .interrupt import attend
from .journal import CallJournal, JournalError
from .journal.steps import TOUCHING
from .journal.writer import MOST_STEPS
from .session import Frame, Session

__all__ = ["drive"]

TURN_S = 0.001
PERFORMERS = __name__.rpartition(".")[0] + ".performers"
CACHE_LIMIT = 200_000
"""Steps kept for a replay; a plan that sends more without a checkpoint cannot be resumed after a pause."""

msg_logger = logging.getLogger("labspine.engine.msg")


class _Interrupted(Exception):
    pass


async def drive(session: Session) -> Any:  # noqa: PLR0912 - a call for each step would cost too much
    """
    Perform the plans on the stack until it is empty.

    Args:
        session: The call; its stack holds at least one plan.

    Returns:
        The return value of the lowest plan.

    Raises:
        BaseException: What the lowest plan raised, including the signals that were thrown into it.
    """
    frames = session.frames
    frames[0].journal = session.journal
    clock = time.perf_counter
    turn_at = clock() + TURN_S
    while True:
        while session.attention:
            await attend(session)
        if clock() > turn_at:
            await _turn(session)
            turn_at = clock() + TURN_S
            continue
        frame = frames[-1]
        journal = frame.journal
        if journal is not None and frame.last is not None:
            # What the plan is about to be told is written down first.
            steps = journal.steps
            steps.append((frame.last, frame.answer, frame.error))
            if frame.last.command == "checkpoint" or len(steps) >= MOST_STEPS:
                _write_down(frame, journal)
            frame.last = None
        try:
            if frame.error is None:
                msg = frame.plan.send(frame.answer)
            else:
                error, frame.error = frame.error, None
                msg = frame.plan.throw(error)
        except StopIteration as end:
            frames.pop()
            if not frames:
                return end.value
            if frame.delivers:
                frames[-1].answer = end.value
            continue
        except Exception as failure:
            frames.pop()
            if not frames:
                raise
            frames[-1].error = failure
            continue
        frame.answer = None
        frame.last = msg
        session.step += 1
        try:
            answer = _perform(session, msg)
            if type(answer) is CoroutineType:
                answer = await _fly(session, answer, msg.command)
            frame.answer = answer
        except _Interrupted:
            frame.unanswered = msg
        except Exception as failure:
            frame.error = failure


def _write_down(frame: Frame, journal: CallJournal) -> None:
    try:
        journal.write_steps()
    except JournalError as failure:
        frame.error = frame.error or failure


def _perform(session: Session, msg: Any) -> Any:
    engine = session.engine
    try:
        command = msg.command
        entry = session.commands.get(command)
        obj = msg.obj
    except (AttributeError, TypeError):
        raise _not_a_step(session, msg) from None
    hook = engine.msg_hook
    if hook is not None:
        hook(msg)
    if entry is None:
        near = did_you_mean(str(command), engine.table)
        raise kind(InvalidCommand)(f"no command {shown(command)!r}{near}; RE.commands lists them")
    if obj is not None:
        session.seen[id(obj)] = obj
        if session.journal is not None and command in TOUCHING:
            session.journal.touch(command, obj)
    if entry.is_cacheable and session.rewindable and session.cache is not None:
        session.cache.append(msg)
    try:
        return entry.perform(session, msg)
    except TypeError as error:
        explained = _explained(session, msg, error)
        if explained is error:
            raise
        raise explained from error


def _not_a_step(session: Session, msg: Any) -> NotAStep:
    return NotAStep(
        f"the plan yielded {shown(msg)} ({type(msg).__name__}) at step {session.step}, which is no Msg: "
        "yield Msg(...) or 'yield from' another plan"
    )


def _explained(session: Session, msg: Any, error: TypeError) -> Exception:
    # Only a call with wrong arguments is the plan's fault; a TypeError from inside a device is not.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = trace.tb_frame.f_globals.get("__name__", "") if trace is not None else ""
    if "argument" not in str(error) or not where.startswith(PERFORMERS):
        return error
    name = getattr(msg.obj, "name", None) or shown(msg.obj)
    return BadStep(f"step {session.step}, '{msg.command}' on {name}: {error}")


async def _fly(session: Session, waiting: Any, command: str) -> Any:
    session.in_flight = command
    session.flight_number += 1
    if session.attention:
        session.nudge()
    try:
        return await waiting
    except asyncio.CancelledError:
        if session.is_cancel_sent:
            raise _Interrupted from None
        if session.task.cancelling():
            raise
        raise DeviceError(f"'{command}' was cancelled by the device or by code that it called") from None
    finally:
        session.in_flight = None
        if session.is_cancel_sent:
            session.is_cancel_sent = False
            session.task.uncancel()


async def _turn(session: Session) -> None:
    if session.cache is not None and len(session.cache) > CACHE_LIMIT:
        session.cache = None
        msg_logger.warning(
            "the plan sent %d steps without a checkpoint; it cannot be resumed after a pause any more",
            CACHE_LIMIT,
        )
    await asyncio.sleep(0)
