"""What happens after a plan, however it ends."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from labspine.engine import Msg, as_plan
from labspine.plan_stubs.base import BadPlan, Plan

from .mutating import as_decorator

__all__ = [
    "contingency_decorator",
    "contingency_wrapper",
    "finalize_decorator",
    "finalize_wrapper",
    "rewindable_wrapper",
    "subs_decorator",
    "subs_wrapper",
    "suspend_decorator",
    "suspend_wrapper",
]


def finalize_wrapper(plan: Any, final_plan: Any, *, pause_for_debug: bool = False) -> Plan:
    """
    Perform a plan, and another one after it, also when the first one fails, is stopped or aborted.

    Only ``halt`` skips it.

    Args:
        plan: The plan.
        final_plan: A plan, or a function that makes it.
        pause_for_debug: Pause before it when the first one fails.

    Returns:
        A plan whose value is that of the first.
    """
    is_halted = False
    try:
        value = yield from as_plan(plan)
    except GeneratorExit:
        is_halted = True
        raise
    except BaseException:
        if pause_for_debug:
            yield Msg("pause", None, defer=False)
        raise
    finally:
        if not is_halted:
            yield from as_plan(final_plan() if callable(final_plan) else final_plan)
    return value


def contingency_wrapper(
    plan: Any,
    *,
    except_plan: Callable[[Exception], Any] | None = None,
    else_plan: Callable[[], Any] | None = None,
    final_plan: Callable[[], Any] | None = None,
    pause_for_debug: bool = False,
    auto_raise: bool = True,
) -> Plan:
    """
    Perform a plan as ``try`` ... ``except`` ... ``else`` ... ``finally`` does.

    Args:
        plan: The plan.
        except_plan: Takes the exception and makes the plan to perform after it.
        else_plan: Makes the plan to perform after success.
        final_plan: Makes the plan to perform in any case but ``halt``.
        pause_for_debug: Pause when the plan fails.
        auto_raise: Raise the exception again after ``except_plan``.

    Returns:
        A plan whose value is that of the plan, or of ``except_plan`` with ``auto_raise=False``.
    """
    is_halted = False
    try:
        value = yield from as_plan(plan)
    except GeneratorExit:
        is_halted = True
        raise
    except Exception as error:
        if pause_for_debug:
            yield Msg("pause", None, defer=False)
        if except_plan is None:
            raise
        value = yield from as_plan(except_plan(error))
        if auto_raise:
            raise
    else:
        if else_plan is not None:
            yield from as_plan(else_plan())
    finally:
        if not is_halted and final_plan is not None:
            yield from as_plan(final_plan())
    return value


def finalize_decorator(final_plan: Callable[[], Any]) -> Callable[[Callable[..., Any]], Callable[..., Plan]]:
    """
    Decorate a function that makes plans with :func:`finalize_wrapper`.

    Args:
        final_plan: A function that makes the last plan; it is needed anew for each call.

    Returns:
        The decorator.

    Raises:
        BadPlan: If a plan was given instead of a function.
    """
    if not callable(final_plan):
        raise BadPlan(
            "finalize_decorator takes a function that makes the last plan: leave out the parentheses"
        )

    def decorate(function: Callable[..., Any]) -> Callable[..., Plan]:
        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Plan:
            return finalize_wrapper(function(*args, **kwargs), final_plan)

        return decorated

    return decorate


def rewindable_wrapper(plan: Any, rewindable: bool) -> Plan:
    """
    Forbid that the steps of a plan are replayed after a pause.

    Args:
        plan: The plan.
        rewindable: False to forbid it; True changes nothing.

    Returns:
        A plan whose value is that of the plan.
    """
    if rewindable:
        return (yield from as_plan(plan))
    before = yield Msg("rewindable", None, None)
    if not before:
        return (yield from as_plan(plan))
    yield Msg("rewindable", None, False)
    return (yield from finalize_wrapper(plan, Msg("rewindable", None, True)))


def _pairs(subs: Any) -> list[tuple[str, Any]]:
    if subs is None:
        return []
    if callable(subs):
        return [("all", subs)]
    if isinstance(subs, Mapping):
        return [(n, f) for n, funcs in subs.items() for f in ([funcs] if callable(funcs) else funcs)]
    return [("all", func) for func in subs]


def subs_wrapper(plan: Any, subs: Any) -> Plan:
    """
    Have functions receive the documents of a plan.

    Args:
        plan: The plan.
        subs: A function, a list of them, or a dict of them by document name.

    Returns:
        A plan whose value is that of the plan.
    """
    tokens: list[Any] = []

    def begin() -> Plan:
        for name, func in _pairs(subs):
            tokens.append((yield Msg("subscribe", None, func, name)))
        return (yield from as_plan(plan))

    def end() -> Plan:
        for token in tokens:
            yield Msg("unsubscribe", None, token=token)

    return finalize_wrapper(begin(), end)


def suspend_wrapper(plan: Any, suspenders: Any) -> Plan:
    """
    Let something suspend a plan.

    Args:
        plan: The plan.
        suspenders: One suspender or several.

    Returns:
        A plan whose value is that of the plan.
    """
    chosen = list(suspenders) if isinstance(suspenders, Iterable) else [suspenders]

    def begin() -> Plan:
        for suspender in chosen:
            yield Msg("install_suspender", None, suspender)
        return (yield from as_plan(plan))

    def end() -> Plan:
        for suspender in chosen:
            yield Msg("remove_suspender", None, suspender)

    return finalize_wrapper(begin(), end)


contingency_decorator = as_decorator(contingency_wrapper)
subs_decorator = as_decorator(subs_wrapper)
suspend_decorator = as_decorator(suspend_wrapper)
