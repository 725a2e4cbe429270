"""What a caller gets: options of a call, and the error that each failure becomes."""

from __future__ import annotations

import msgspec

from ..errors import (
    CallCancelled,
    CallError,
    CallTimeout,
    InvalidArgument,
    InvalidMessage,
    LabspineError,
    NoSuchProcedure,
    NoSuchService,
    PermissionDenied,
    RemoteError,
    ServiceBusy,
    ServiceDied,
    TooLarge,
    shown,
)
from ..flows import checks
from .context import ServedCall
from .envelope import Failure

__all__ = ["CallProgress", "error_of", "limit_of", "retry_pause_s", "timed_out"]

_LONGEST_S = 86_400.0
_CALL_ERRORS: dict[str, type[CallError]] = {
    cls.__name__: cls
    for cls in (
        NoSuchService,
        NoSuchProcedure,
        RemoteError,
        ServiceDied,
        ServiceBusy,
        CallCancelled,
        CallTimeout,
    )
}
_OTHERS: dict[str, type[LabspineError]] = {
    cls.__name__: cls for cls in (InvalidArgument, InvalidMessage, TooLarge, PermissionDenied)
}


class CallProgress(msgspec.Struct, frozen=True):
    """
    How far a procedure is.

    Args:
        done: How much is done, in the procedure's own units.
        total: How much there is; None if that is not known.
        text: What is being done.
    """

    done: float
    total: float | None
    text: str


def limit_of(timeout_s: object, present: ServedCall | None) -> float:
    """
    Check a time limit; a call inside a procedure has no more time than that procedure's own caller.

    Args:
        timeout_s: Wanted, in seconds.
        present: The call that is served here.

    Returns:
        The time limit in seconds.

    Raises:
        InvalidArgument: If it is 0, negative, None, or above a day.
        CallTimeout: If nothing is left of the present call's time.
    """
    if present is None and type(timeout_s) is float and 0.0 < timeout_s <= _LONGEST_S:
        return timeout_s  # the usual case on its own
    if timeout_s is None:
        raise InvalidArgument("timeout_s=None: a call always has a time limit; at most 86400 seconds")
    limit_s = checks.seconds("timeout_s", timeout_s)
    if not 0 < limit_s <= _LONGEST_S:
        raise InvalidArgument(f"timeout_s={shown(timeout_s)}: must be above 0 and at most 86400 seconds")
    if present is None:
        return limit_s
    present.check()
    return min(limit_s, max(present.left_s, 0.001))


def error_of(failure: Failure, service: str, procedure: str) -> LabspineError:
    """Make the error for a failure that the service has told."""
    other = _OTHERS.get(failure.kind)
    if other is not None:
        return other(failure.text)
    cls = _CALL_ERRORS.get(failure.kind, RemoteError)
    error = cls(failure.text, service=service, procedure=procedure, retryable=failure.is_retryable)
    if isinstance(error, RemoteError):
        error.remote_type = failure.remote_type
        error.remote_message = failure.text.partition(f" raised {failure.remote_type}: ")[2] or failure.text
        error.remote_traceback = failure.traceback
        error.remote_code = failure.code
    return error


def timed_out(service: str, procedure: str, *, limit_s: float, trail: tuple[str, ...]) -> CallTimeout:
    """Make the error for a call without an answer in time; it says who waits for whom."""
    chain = " waits for ".join((*trail, f"{service}.{procedure}"))
    return CallTimeout(
        f"no answer within {limit_s:.3g} s: {chain}; the service was told to stop",
        service=service,
        procedure=procedure,
    )


def retry_pause_s(attempt: int) -> float:
    """Say how long to wait before the next attempt, in seconds."""
    return float(min(1.0, 0.05 * 2**attempt))
