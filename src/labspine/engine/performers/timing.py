"""Steps that take time: wait, wait_for, sleep, input; and null, which takes none."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from ...errors import shown
from ..errors import BadStep, WaitForTimeoutError, kind

if TYPE_CHECKING:
    from ..session import Session
    from ..statuses import Tracked

__all__ = ["ask", "null", "seconds", "sleep", "wait", "wait_for"]

logger = logging.getLogger("labspine.engine")

LONGEST_S = 1e8
"""Three years; longer waits are mistakes of unit."""


def seconds(value: Any, *, what: str) -> float:
    """
    Check a duration.

    Args:
        value: What the plan gave.
        what: For the error text.

    Returns:
        Seconds.

    Raises:
        BadStep: If it is no number, negative, NaN or longer than three years.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadStep(f"{what} needs a number of seconds, got {shown(value)}") from None
    if math.isnan(number) or number < 0 or number > LONGEST_S:
        raise BadStep(f"{what} needs seconds between 0 and {LONGEST_S:g}, got {shown(value)}")
    return number


def null(session: Session, msg: Any) -> None:
    """Do nothing: ``Msg('null')``."""


def sleep(session: Session, msg: Any) -> Any:
    """
    Wait for some seconds while everything else goes on: ``Msg('sleep', None, seconds)``.

    Raises:
        BadStep: If the duration is no number, negative, NaN or longer than three years.
    """
    if len(msg.args) != 1:
        raise BadStep(f"'sleep' takes one number of seconds, got {shown(msg.args)}")
    return asyncio.sleep(seconds(msg.args[0], what="'sleep'"))


def wait(session: Session, msg: Any) -> Any:
    """
    Wait for a group: ``Msg('wait', None, group, timeout=None, error_on_timeout=True, watch=())``.

    The answer is True when all of the group is done. A failure of any status ends the wait at once.

    Raises:
        BadStep: If no group is named.
        WaitForTimeoutError: If the time is over and error_on_timeout is True.
    """
    kwargs = msg.kwargs
    if "group" not in kwargs and len(msg.args) != 1:
        raise BadStep("'wait' needs a group: Msg('wait', None, group)")
    group = msg.args[0] if msg.args else kwargs["group"]
    statuses = session.statuses
    members = statuses.groups.pop(group, None)
    if not members:
        _check_known(session, group)
        return True
    limit = kwargs.get("timeout")
    timeout_s = None if limit is None else seconds(limit, what="the timeout of 'wait'")
    is_strict = kwargs.get("error_on_timeout", True)
    if is_strict or group not in statuses.announced:
        _tell(session, {t.status for t in members})
    if all(t.is_settled for t in members):
        statuses.announced.discard(group)
        _tell(session, None)
        return True
    if not is_strict:
        statuses.announced.add(group)
    return _wait(session, group, members=members, timeout_s=timeout_s, is_strict=is_strict)


async def _wait(
    session: Session, group: Hashable, *, members: list[Tracked], timeout_s: float | None, is_strict: bool
) -> bool:
    statuses = session.statuses
    is_done = False
    try:
        is_done = await statuses.settled(members, timeout_s)
        if not is_done and not is_strict:
            # Some devices change their mind without calling back; here the plan asks again and again.
            is_done = all(t.is_settled or t.status.done for t in members)
    finally:
        if not is_done:
            # Somebody may wait again; what has settled needs no second wait.
            rest = members if timeout_s is not None else [t for t in members if not t.is_settled]
            statuses.groups[group] = [t for t in rest if not t.is_disowned]
        if is_done or is_strict:
            statuses.announced.discard(group)
            _tell(session, None)
    if not is_done and is_strict:
        late = ", ".join(shown(t.status) for t in members if not t.is_settled)
        raise kind(WaitForTimeoutError)(
            f"group {group!r} was not done after {timeout_s:g} s; still busy: {late}"
        )
    return is_done


def _check_known(session: Session, group: Hashable) -> None:
    if session.statuses.is_known(group):
        return
    text = f"step {session.step} waits for the group {shown(group)}, which no step has used"
    if session.engine.strict:
        raise BadStep(text)
    logger.info("%s", text)


def _tell(session: Session, statuses: set[Any] | None) -> None:
    hook = session.engine.waiting_hook
    if hook is not None:
        hook(statuses)


def wait_for(session: Session, msg: Any) -> Any:
    """
    Wait for anything awaitable: ``Msg('wait_for', None, [function, ...], timeout=None)``.

    Each function gives an awaitable. The answer is the list of their tasks; look there for their results.

    Raises:
        BadStep: If no list of functions is given.
        WaitForTimeoutError: If the time is over first.
    """
    if len(msg.args) != 1 or not msg.args[0]:
        raise BadStep("'wait_for' needs a list of functions that each give an awaitable")
    makers = list(msg.args[0])
    wrong = [maker for maker in makers if not callable(maker)]
    if wrong:
        raise BadStep(f"'wait_for' needs functions that give awaitables, not {shown(wrong[0])}")
    return _wait_for(makers, msg.kwargs)


async def _wait_for(makers: list[Any], options: dict[str, Any]) -> list[Any]:
    given = [maker() for maker in makers]
    futures = [asyncio.ensure_future(each) for each in given]
    try:
        _, pending = await asyncio.wait(futures, **options)
    except asyncio.CancelledError:
        # Tasks that were made here belong to this step; futures that were given belong to somebody else.
        for future, source in zip(futures, given, strict=True):
            if future is not source:
                future.cancel()
        raise
    if pending:
        raise kind(WaitForTimeoutError)(
            "Plan failed to complete in the specified time: "
            f"{len(pending)} of {len(futures)} things were not done after {options.get('timeout')} s"
        )
    return futures


async def ask(session: Session, msg: Any) -> str:
    """
    Ask the person at the terminal: ``Msg('input', None, prompt='>')``.

    The answer is the line, without its end.
    """
    sys.stdout.write(msg.kwargs.get("prompt", ""))
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str] = loop.create_future()

    def answer(line: str) -> None:
        if not future.done():
            future.set_result(line)

    def read_line() -> None:
        line = sys.stdin.readline()
        loop.call_soon_threadsafe(answer, line)

    # A daemon, because nothing can wake a thread that reads from a terminal.
    threading.Thread(target=read_line, name="labspine-input", daemon=True).start()
    return (await future).rstrip("\n")
