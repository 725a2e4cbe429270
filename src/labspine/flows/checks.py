"""Checks of the arguments of connector calls, before anything is sent."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from ..errors import InvalidArgument, shown

if TYPE_CHECKING:
    from .exchange import Argument

__all__ = ["count_above_zero", "expiry", "seconds", "stream_id", "whole"]

_STREAM_ID = re.compile(r"\(?\d{1,20}(-\d{1,20})?")


def whole(name: str, value: object) -> int:
    """
    Require a whole number.

    Args:
        name: The argument's name, for the error.
        value: What the caller gave.

    Returns:
        The number.

    Raises:
        InvalidArgument: If it is not an int.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"{name}={shown(value)}: a whole number is needed")
    return value


def count_above_zero(name: str, value: object) -> int:
    """Require a whole number of 1 or more; raises `InvalidArgument` otherwise."""
    number = whole(name, value)
    if number < 1:
        raise InvalidArgument(f"{name}={number}: must be 1 or more; leave it out for no limit")
    return number


def seconds(name: str, value: object) -> float:
    """Require a finite number of seconds, 0 or more; raises `InvalidArgument` otherwise."""
    if type(value) is float and 0.0 <= value < math.inf:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidArgument(f"{name}={shown(value)}: seconds are a number")
    if not math.isfinite(value) or value < 0:
        raise InvalidArgument(f"{name}={value}: must be 0 or more and finite; use None to wait without limit")
    return float(value)


def expiry(expire_s: object) -> tuple[Argument, ...]:
    """
    Turn a time to live into the option of SET.

    Args:
        expire_s: Seconds above zero, or None.

    Returns:
        ``("PX", milliseconds)``, or an empty tuple.

    Raises:
        InvalidArgument: If it is not above zero.
    """
    if expire_s is None:
        return ()
    milliseconds = round(seconds("expire_s", expire_s) * 1000)
    if milliseconds < 1:
        raise InvalidArgument(f"expire_s={expire_s}: must be 0.001 or more; leave it out to keep the value")
    return ("PX", milliseconds)


def stream_id(name: str, value: object, *, special: tuple[str, ...] = ("-", "+")) -> str:
    """
    Require the id of a stream entry.

    Args:
        name: The argument's name, for the error.
        value: ``"1526919030474-55"``, ``"1526919030474"``, a number of milliseconds, or a special id.
        special: The special ids that this command knows.

    Returns:
        The id as text.

    Raises:
        InvalidArgument: If the server could not understand it.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    if isinstance(text, str) and (text in special or _STREAM_ID.fullmatch(text)):
        return text
    allowed = ", ".join(f'"{s}"' for s in special)
    raise InvalidArgument(f'{name}={shown(value)}: a stream id looks like "1526919030474-0" (or {allowed})')
