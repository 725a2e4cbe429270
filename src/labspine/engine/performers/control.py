"""Steps that talk to the engine itself: checkpoints, pausing, subscriptions, suspenders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import shown
from ..errors import BadStep, IllegalMessageSequence, InvalidCommand, kind
from ..interrupt import begin_suspension, wake_devices

if TYPE_CHECKING:
    from ..session import Session

__all__ = [
    "checkpoint",
    "clear_checkpoint",
    "engine_class",
    "install_suspender",
    "pause",
    "remove_suspender",
    "resume_from_suspender",
    "rewindable",
    "start_suspender",
    "subscribe",
    "unsubscribe",
]


def checkpoint(session: Session, msg: Any) -> None:
    """
    Make this the place to come back to after a pause: ``Msg('checkpoint')``.

    A pause that waits for a checkpoint happens here.

    Raises:
        IllegalMessageSequence: Between 'create' and 'save'.
    """
    for run in session.runs.values():
        if run.bundle is not None:
            raise kind(IllegalMessageSequence)(
                "'checkpoint' is not allowed between 'create' and 'save' or 'drop'"
            )
    session.reset_checkpoint()
    if session.is_pause_deferred and session.engine.state.can_pause:
        session.engine.request_pause(defer=False)


def clear_checkpoint(session: Session, msg: Any) -> None:
    """
    Forbid going back for the rest of the plan: ``Msg('clear_checkpoint')``. A pause then aborts the plan.
    """
    session.cache = None


def rewindable(session: Session, msg: Any) -> bool:
    """
    Allow or forbid replaying: ``Msg('rewindable', None, True | False | None)``. The answer is the rule.

    Raises:
        BadStep: If there is not exactly one argument.
    """
    if len(msg.args) != 1:
        raise BadStep(f"'rewindable' takes True, False or None, got {shown(msg.args)}")
    if msg.args[0] is not None:
        session.engine.rewindable = bool(msg.args[0])
    return session.rewindable


def pause(session: Session, msg: Any) -> None:
    """
    Pause: ``Msg('pause', defer=False)``; with ``defer=True`` at the next checkpoint.
    """
    session.engine.request_pause(bool(msg.kwargs.get("defer", msg.args[0] if msg.args else False)))


def subscribe(session: Session, msg: Any) -> int:
    """
    Subscribe until the end of the call: ``Msg('subscribe', None, func, 'all')``. The answer is a token.

    Raises:
        BadStep: If no function is given.
        InvalidArgument: If it cannot be called with name and document.
    """
    if not msg.args and "func" not in msg.kwargs:
        raise BadStep("'subscribe' needs a function: Msg('subscribe', None, func, 'all')")
    token = session.engine.emitter.subscribe(*msg.args, **msg.kwargs)
    session.tokens.add(token)
    session.reset_checkpoint()
    return token


def unsubscribe(session: Session, msg: Any) -> None:
    """
    End ``subscribe``: ``Msg('unsubscribe', None, token)``.

    Raises:
        BadStep: If there is no such subscription in this plan.
    """
    token = msg.kwargs.get("token", msg.args[0] if msg.args else None)
    if token not in session.tokens:
        raise UnknownToken(f"this plan has no subscription {shown(token)}")
    session.engine.emitter.unsubscribe(token)
    session.tokens.discard(token)
    session.reset_checkpoint()


class UnknownToken(BadStep, InvalidCommand):
    """A step names a subscription that does not exist."""


def install_suspender(session: Session, msg: Any) -> None:
    """
    Let something suspend plans: ``Msg('install_suspender', None, suspender)``.

    Raises:
        BadStep: If no suspender is given.
    """
    session.engine.install_suspender(_suspender(msg))


def remove_suspender(session: Session, msg: Any) -> None:
    """
    Take a suspender away: ``Msg('remove_suspender', None, suspender)``.

    Raises:
        BadStep: If no suspender is given.
    """
    session.engine.remove_suspender(_suspender(msg))


def _suspender(msg: Any) -> Any:
    if len(msg.args) != 1:
        raise BadStep(f"'{msg.command}' takes one suspender, got {shown(msg.args)}")
    return msg.args[0]


def engine_class(session: Session, msg: Any) -> type:
    """Tell the class of the engine: ``Msg('RE_class')``."""
    return type(session.engine)


async def start_suspender(session: Session, msg: Any) -> None:
    """Begin a suspension; sent by the engine itself."""
    await begin_suspension(session, msg)


async def resume_from_suspender(session: Session, msg: Any) -> None:
    """End a suspension; sent by the engine itself."""
    session.num_suspensions -= 1
    if session.num_suspensions <= 0:
        await wake_devices(session)
