"""Check a callback when it is registered, not when the first message arrives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InvalidArgument, shown

__all__ = ["Callback", "callback_name", "check_callback"]

Callback = Callable[..., Any]


def check_callback(callback: object, kwargs: Mapping[str, object], *, may_be_coroutine: bool) -> Callback:
    """
    Insist that a callback can be called as ``callback(message_object, **kwargs)``.

    Args:
        callback: What the caller gave.
        kwargs: The keyword arguments that it will receive.
        may_be_coroutine: Whether coroutine functions can be awaited here.

    Returns:
        The callback.

    Raises:
        InvalidArgument: If it cannot be called like that.
    """
    if callback is None:
        raise InvalidArgument("a callback is missing: register(endpoint, cb=function)")
    if not callable(callback):
        raise InvalidArgument(f"the callback {shown(callback)} is not callable: give a function")
    if not may_be_coroutine and inspect.iscoroutinefunction(callback):
        raise InvalidArgument(
            f"{callback_name(callback)} is a coroutine function, which nobody would await here: "
            "use AsyncConnector"
        )
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):
        return callback
    try:
        signature.bind(object(), **kwargs)
    except TypeError as error:
        raise InvalidArgument(
            f"{callback_name(callback)}{signature} cannot be called as "
            f"callback(message{''.join(f', {k}=...' for k in kwargs)}): {error}"
        ) from error
    return callback


def callback_name(callback: object) -> str:
    """Name a callback for texts and logs."""
    return str(getattr(callback, "__qualname__", None) or shown(callback))
