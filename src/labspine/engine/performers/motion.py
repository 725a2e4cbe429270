"""Steps that move or prepare devices: set, trigger, prepare, stop, stage, unstage."""

from __future__ import annotations

import inspect
from math import isfinite
from numbers import Number, Real
from typing import TYPE_CHECKING, Any, cast

from ...errors import shown
from ..errors import BadTarget
from ..statuses import is_status
from .command import lacking, require

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["group_of", "prepare", "set_", "stage", "stop", "trigger", "unstage"]


def group_of(msg: Any) -> tuple[Any, dict[str, Any]]:
    """
    Split the keyword arguments of a step.

    Args:
        msg: The step, which is left as it is: it may be performed again.

    Returns:
        The group for ``wait``, and the keyword arguments for the device.
    """
    kwargs = msg.kwargs
    if not kwargs:
        return None, kwargs
    rest = dict(kwargs)
    return rest.pop("group", None), rest


def set_(session: Session, msg: Any) -> Any:
    """
    Move something: ``Msg('set', obj, target, group=None)``. The answer is its status.

    The object is stopped at a pause and at the end.

    Raises:
        MissingAbility: If it cannot be set.
        BadTarget: If a motor is sent to something that is no finite number.
        BadStep: If it cannot take these arguments.
        NotAStatus: If it returns no status.
    """
    obj = msg.obj
    try:
        move = obj.set
    except AttributeError:
        raise lacking(obj, ("set",), "set") from None
    if msg.args and type(msg.args[0]) is not int:
        check_target(obj, msg.args[0])
    group, kwargs = group_of(msg)
    session.moved[id(obj)] = obj
    return session.statuses.track(move(*msg.args, **kwargs), group, "set()", obj)


def check_target(obj: Any, target: Any) -> None:
    """
    Keep motors from being sent to what is no place.

    Args:
        obj: The device; only those whose ``position`` is a number are judged.
        target: Where it is sent.

    Raises:
        BadTarget: If it is NaN, infinite, complex or text.
    """
    if type(target) is float:
        if isfinite(target):
            return
    elif not isinstance(target, str | bytes | complex | Number):
        return  # arrays, records and enumerations are the device's business
    elif not isinstance(target, str | bytes | complex) and isfinite(cast("float", target)):
        return
    place = getattr(obj, "position", None)
    if isinstance(place, Real):
        name = getattr(obj, "name", None) or shown(obj)
        raise BadTarget(
            f"{name} cannot be set to {shown(target)} ({type(target).__name__}): its position is a number; "
            "give a finite number"
        )


def trigger(session: Session, msg: Any) -> Any:
    """
    Have a detector measure: ``Msg('trigger', obj, group=None)``. The answer is its status.

    Raises:
        MissingAbility: If it cannot be triggered.
        NotAStatus: If it returns no status.
    """
    obj = msg.obj
    try:
        act = obj.trigger
    except AttributeError:
        raise lacking(obj, ("trigger",), "trigger") from None
    group, kwargs = group_of(msg)
    return session.statuses.track(act(*msg.args, **kwargs), group, "trigger()", obj)


def prepare(session: Session, msg: Any) -> Any:
    """
    Make a device ready: ``Msg('prepare', obj, value, group=None)``. The answer is its status.

    Raises:
        MissingAbility: If it cannot be prepared.
        NotAStatus: If it returns no status.
    """
    obj = require(msg, "prepare")
    group, kwargs = group_of(msg)
    return session.statuses.track(obj.prepare(*msg.args, **kwargs), group, "prepare()", obj)


def stop(session: Session, msg: Any) -> Any:
    """
    Stop a device: ``Msg('stop', obj)``. The answer is what its ``stop`` returns.

    Raises:
        MissingAbility: If it cannot be stopped.
    """
    answer = require(msg, "stop").stop()
    return _awaited(answer) if inspect.isawaitable(answer) else answer


async def _awaited(answer: Any) -> Any:
    return await answer


def stage(session: Session, msg: Any) -> Any:
    """
    Get a device ready for measuring: ``Msg('stage', obj, group=None)``.

    It is unstaged at the end at the latest, even when staging failed half-way. The answer is what its
    ``stage`` returns; an object without that method is ready always.
    """
    obj = msg.obj
    if not (hasattr(obj, "stage") and hasattr(obj, "unstage")):
        return []
    group, _ = group_of(msg)
    session.staged[id(obj)] = obj
    answer = obj.stage()
    session.reset_checkpoint()
    return session.statuses.track(answer, group, "stage()", obj) if is_status(answer) else answer


def unstage(session: Session, msg: Any) -> Any:
    """
    Undo ``stage``: ``Msg('unstage', obj, group=None)``. The answer is what its ``unstage`` returns.
    """
    obj = msg.obj
    if not (hasattr(obj, "stage") and hasattr(obj, "unstage")):
        return []
    group, _ = group_of(msg)
    answer = obj.unstage()
    session.staged.pop(id(obj), None)
    session.reset_checkpoint()
    return session.statuses.track(answer, group, "unstage()", obj) if is_status(answer) else answer
