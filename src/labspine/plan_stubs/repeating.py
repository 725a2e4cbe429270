"""Doing something again and again."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from labspine.engine import Msg, as_plan
from labspine.errors import LabspineWarning, shown

from .base import BadPlan, Plan

__all__ = ["broadcast_msg", "caching_repeater", "repeat", "repeater"]


def repeat(plan: Callable[[], Any], num: int | None = 1, delay: float | Iterable[float | None] = 0.0) -> Plan:
    """
    Perform a plan several times, with a checkpoint before each.

    Args:
        plan: Makes the plan.
        num: How often; None means until something stops it, or until the delays are used up.
        delay: Seconds from the beginning of one to that of the next, or a list of such.

    Raises:
        BadPlan: If there are fewer delays than pauses between the repetitions.
    """
    delays = iter(check_delay(delay, num))
    return _repeat(plan, num, delays)


def check_delay(delay: Any, num: int | None) -> Iterable[float | None]:
    """
    Check the delays of a repetition.

    Args:
        delay: One number, or one for each pause.
        num: Number of repetitions.

    Returns:
        Delays, without end if one number was given.

    Raises:
        BadPlan: If there are too few, or one is no number.
    """
    if delay is None or not isinstance(delay, Iterable):
        return itertools.repeat(_seconds(delay))
    if isinstance(delay, str):
        raise _bad_delay(delay)
    try:
        number = len(delay)  # type: ignore[arg-type]
    except TypeError:
        return delay
    if num and num - 1 > number:
        raise BadPlan(f"num={num} needs {num - 1} delays, but there are only {number}")
    return delay


def _seconds(delay: Any) -> float | None:
    if delay is None:
        return None
    try:
        number = float(delay)
    except (TypeError, ValueError):
        raise _bad_delay(delay) from None
    if not 0 <= number < math.inf:
        raise _bad_delay(delay)
    return number


def _bad_delay(delay: Any) -> BadPlan:
    return BadPlan(f"delay must be a number of seconds from 0 on, or a list of them; got {shown(delay)}")


def _repeat(plan: Callable[[], Any], num: int | None, delays: Iterator[float | None]) -> Plan:
    for number in itertools.count(1):
        if num is not None and number > num:
            return
        began = time.time()
        yield Msg("checkpoint")
        yield from as_plan(plan())
        try:
            delay = next(delays)
        except StopIteration:
            if num is None or number == num:
                return
            raise BadPlan(f"num={num} needs {num - 1} delays, but there are only {number - 1}") from None
        if delay and (rest := delay - (time.time() - began)) > 0:
            yield Msg("sleep", None, rest)


def repeater(n: int | None, gen_func: Callable[..., Any], *args: Any, **kwargs: Any) -> Plan:
    """
    Perform ``gen_func(*args, **kwargs)`` n times, without end if n is None.
    """
    for _ in itertools.count() if n is None else range(n):
        yield from as_plan(gen_func(*args, **kwargs))


def caching_repeater(n: int | None, plan: Any) -> Plan:
    """
    Perform the steps of a plan n times; kept for old plans, because the plan sees no answers.
    """
    warnings.warn(
        "caching_repeater hides the answers from the plan: use repeater", LabspineWarning, stacklevel=2
    )
    return repeater(n, iter, list(plan))


def broadcast_msg(command: str, objs: Iterable[Any], *args: Any, **kwargs: Any) -> Plan:
    """Send one command to several objects. Answer: the list of their answers."""
    answers = []
    for obj in objs:
        answers.append((yield Msg(command, obj, *args, **kwargs)))
    return answers
