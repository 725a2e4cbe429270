"""Looking at each step of a plan on its way to the engine: the basis of all preprocessors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from labspine.engine import as_plan
from labspine.plan_stubs.base import Plan

__all__ = ["as_decorator", "msg_mutator", "pchain", "plan_mutator", "rewritten"]


def as_decorator(wrapper: Callable[..., Plan]) -> Callable[..., Any]:
    """
    Turn a wrapper of plans into a decorator of functions that make plans.

    Args:
        wrapper: Takes a plan and settings, returns a plan.

    Returns:
        ``decorator(settings)(function)``.
    """

    @functools.wraps(wrapper)
    def configured(*settings: Any, **named: Any) -> Callable[[Callable[..., Any]], Callable[..., Plan]]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Plan]:
            @functools.wraps(function)
            def decorated(*args: Any, **kwargs: Any) -> Plan:
                # A generator function, so that the plan bears the name of the decorated function.
                return (yield from wrapper(function(*args, **kwargs), *settings, **named))

            return decorated

        return decorate

    return configured


def rewritten(plan: Any, act: Callable[[Any], Plan | None]) -> Plan:
    """
    Put other steps in the place of some steps of a plan.

    Args:
        plan: The plan.
        act: Called with each step; returns None to leave it as it is, or a plan to perform instead, whose
            value answers the step. What that plan yields is not looked at again.

    Returns:
        A plan whose value is that of the plan.
    """
    plan = as_plan(plan)
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            msg = plan.send(answer) if error is None else plan.throw(error)
        except StopIteration as end:
            return end.value
        error = None
        try:
            instead = act(msg)
            answer = (yield msg) if instead is None else (yield from instead)
        except GeneratorExit:
            plan.close()
            raise
        except Exception as raised:
            error, answer = raised, None


def msg_mutator(plan: Any, msg_proc: Callable[[Any], Any]) -> Plan:
    """
    Change single steps of a plan.

    Args:
        plan: The plan.
        msg_proc: Takes a step; returns the step to perform, or None to leave it out.

    Returns:
        A plan whose value is that of the plan; a step that is left out is answered with None.
    """

    def act(msg: Any) -> Plan | None:
        changed = msg_proc(msg)
        return None if changed is msg else _one_or_none(changed)

    return rewritten(plan, act)


def _one_or_none(msg: Any) -> Plan:
    return None if msg is None else (yield msg)


def plan_mutator(plan: Any, msg_proc: Callable[[Any], tuple[Any, Any]]) -> Plan:
    """
    Insert plans before, in the place of, or after single steps; inserted steps are looked at as well.

    Args:
        plan: The plan.
        msg_proc: Takes a step; returns a pair. The first is None, or a plan to perform instead of the step
            (it may yield the step itself, which is then not looked at again); the answer to its last step
            answers the step. The second is None, or a plan to perform afterwards.

    Returns:
        A plan whose value is that of the plan. It keeps no step longer than needed.
    """
    return _mutated(plan, msg_proc, {})


def _mutated(plan: Any, msg_proc: Callable[[Any], tuple[Any, Any]], open_steps: dict[int, Any]) -> Plan:
    def act(msg: Any) -> Plan | None:
        if id(msg) in open_steps:
            return None
        head, tail = msg_proc(msg)
        if head is None and tail is None:
            return None
        return inserted(msg, head, tail)

    def inserted(msg: Any, head: Any, tail: Any) -> Plan:
        open_steps[id(msg)] = msg
        answers = [None]
        try:
            first = as_plan(msg if head is None else head)
            yield from _mutated(_listening(first, answers), msg_proc, open_steps)
            if tail is not None:
                yield from _mutated(tail, msg_proc, open_steps)
        finally:
            del open_steps[id(msg)]
        return answers[0]

    return rewritten(plan, act)


def _listening(plan: Any, answers: list[Any]) -> Plan:
    """Perform a plan and keep the answer to its last step."""

    def act(msg: Any) -> Plan:
        answers[0] = yield msg
        return answers[0]

    return rewritten(plan, act)


def pchain(*args: Any) -> Plan:
    """
    Perform plans one after the other.

    Args:
        args: Plans.

    Returns:
        A plan whose value is the tuple of their values.
    """
    values = []
    try:
        for plan in args:
            values.append((yield from as_plan(plan)))
    finally:
        for plan in args[len(values) :]:
            if hasattr(plan, "close"):
                plan.close()
    return tuple(values)
