"""
What the experiment does: one step (:class:`Msg`), and plans made of steps.

Any object with the five attributes ``command, obj, args, kwargs, run`` is accepted as a step, so that
plans written for bluesky run unchanged.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Hashable, Iterator
from typing import Any, NamedTuple, cast

from ..errors import shown
from .errors import NotAPlan

__all__ = ["Msg", "PlanGenerator", "as_plan", "device_name", "replayed", "words_of"]

LONGEST_WORD = 40
LONGEST_LINE = 120

PlanGenerator = Generator[Any, Any, Any]
"""A plan that can be driven: it yields steps and receives their answers."""


class _Fields(NamedTuple):
    command: str
    obj: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    run: Hashable


class Msg(_Fields):
    """
    Describe one step of a plan; nothing happens until an engine performs it.

    Args:
        command: Name of a registered command, for example ``"set"``.
        obj: The device to apply it to, or None.
        args: Positional arguments of the command.
        run: Key of the run that the step belongs to, for plans with several runs at once.
        kwargs: Keyword arguments of the command.

    Source:
        Seed 003.
    """

    __slots__ = ()

    def __new__(cls, command: str, obj: Any = None, *args: Any, run: Hashable = None, **kwargs: Any) -> Msg:
        return tuple.__new__(cls, (command, obj, args, kwargs, run))

    def __repr__(self) -> str:
        rest = f"args={self.args}, kwargs={self.kwargs}, run={self.run!r}"
        return f"Msg({self.command!r}, obj={self.obj!r}, {rest})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[tuple[Any, ...]]]:
        # namedtuple's own way would nest args inside args.
        return type(self)._make, (tuple(self),)


def as_plan(plan: object) -> PlanGenerator:
    """
    Turn anything that users call a plan into something that can be driven.

    Args:
        plan: A generator, any iterable of steps, one step, or an object whose ``iter()`` is one of these.

    Returns:
        An object with ``send``, ``throw`` and ``close``.

    Raises:
        NotAPlan: If it is a function that was not called, text, a number, None or a coroutine.
    """
    if hasattr(plan, "command") and hasattr(plan, "kwargs"):
        return _single(plan)
    if inspect.iscoroutine(plan) or inspect.isasyncgen(plan):
        raise NotAPlan(
            f"{shown(plan)} is a coroutine, not a plan: write plans as plain generators (def, yield)"
        )
    if isinstance(plan, str | bytes) or not hasattr(plan, "__iter__"):
        raise NotAPlan(_not_a_plan_text(plan))
    iterator = iter(cast("Iterator[Any]", plan))
    if hasattr(iterator, "send") and hasattr(iterator, "throw"):
        return cast("PlanGenerator", iterator)
    return (msg for msg in iterator)


def _not_a_plan_text(plan: object) -> str:
    if callable(plan):
        name = getattr(plan, "__name__", type(plan).__name__)
        return f"{name} is a function, not a plan: did you forget the parentheses? Write {name}(...)"
    return (
        f"{shown(plan)} ({type(plan).__name__}) is not a plan: "
        "give a generator, a list of Msg objects or one Msg"
    )


def _single(msg: object) -> PlanGenerator:
    return (yield msg)


def replayed(steps: list[Any]) -> PlanGenerator:
    """
    Yield recorded steps again and return the answer of the last one.

    Args:
        steps: Steps in the order of their first performance.

    Returns:
        A plan whose return value is the answer to the last step.
    """
    answer = None
    for step in steps:
        answer = yield step
    return answer


def device_name(obj: Any) -> str:
    """
    Name a device for a person.

    Args:
        obj: The object of a step.

    Returns:
        Its name, or a short form of whatever it is.
    """
    return str(getattr(obj, "name", None) or shown(obj))


def words_of(msg: Any) -> str:
    """
    Put one step into words.

    Args:
        msg: The step.

    Returns:
        Command, device and arguments, for example ``set x 3.0 group='a'``.
    """
    parts = [str(msg.command)]
    if msg.obj is not None:
        parts.append(device_name(msg.obj))
    parts += [shown(_plain(each), LONGEST_WORD) for each in msg.args]
    parts += [f"{key}={shown(_plain(value), LONGEST_WORD)}" for key, value in msg.kwargs.items()]
    if msg.run is not None:
        parts.append(f"run={shown(msg.run, LONGEST_WORD)}")
    return shown(" ".join(parts), LONGEST_LINE)


def _plain(value: Any) -> Any:
    # numpy's numbers, as a person writes them.
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value
