"""
The call that is being served here: what is left of its time, whether it was cancelled, its progress.

A nested call finds it through a context variable, so that deadlines travel without anybody passing them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar

from ..clock import mono_s
from ..errors import CallCancelled, CallTimeout

__all__ = ["ServedCall", "check_cancelled", "current_call", "progress"]


class ServedCall:
    """
    One call while its procedure runs.

    Args:
        service: Name of the service.
        procedure: Name of the procedure.
        deadline_mono_s: When the caller stops waiting, on this process's monotonic clock.
        outer: The calls in which it is nested, outermost first.
        sender: Who asks.
    """

    __slots__ = (
        "_event",
        "_is_cancelled",
        "_outer",
        "deadline_mono_s",
        "on_cancel",
        "procedure",
        "say_progress",
        "sender",
        "service",
    )

    def __init__(
        self,
        service: str,
        procedure: str,
        deadline_mono_s: float,
        *,
        outer: tuple[str, ...] = (),
        sender: str = "",
    ) -> None:
        self.service = service
        self.procedure = procedure
        self.deadline_mono_s = deadline_mono_s
        self.sender = sender
        self._outer = outer
        self.say_progress: Callable[[float, float | None, str], object] | None = None
        self._is_cancelled = False
        self._event: threading.Event | None = None
        self.on_cancel: Callable[[], object] | None = None

    @property
    def trail(self) -> tuple[str, ...]:
        """The calls in which it is nested, itself last, as ``service.procedure``."""
        return (*self._outer, f"{self.service}.{self.procedure}")

    @property
    def left_s(self) -> float:
        """What is left of the caller's time, in seconds; never below 0."""
        return max(0.0, self.deadline_mono_s - mono_s())

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits for the result any more: cancelled, or the time is over."""
        return self._is_cancelled or mono_s() > self.deadline_mono_s

    def cancel(self) -> None:
        """Note that the caller does not want the result."""
        self._is_cancelled = True
        if self._event is not None:
            self._event.set()
        if self.on_cancel is not None:
            self.on_cancel()

    def check(self) -> None:
        """
        End a procedure early that nobody waits for.

        Raises:
            CallCancelled: If the caller has cancelled.
            CallTimeout: If the caller's time is over.
        """
        service, name = self.service, self.procedure
        if self._is_cancelled:
            raise CallCancelled(
                f"{service}.{name} was cancelled by its caller", service=service, procedure=name
            )
        if mono_s() > self.deadline_mono_s:
            raise CallTimeout(
                f"the caller's time for {service}.{name} is over; nobody waits for it",
                service=service,
                procedure=name,
            )

    def sleep(self, duration_s: float) -> None:
        """
        Wait, but not longer than the caller does.

        Args:
            duration_s: How long, in seconds.

        Raises:
            CallCancelled: As soon as the caller cancels; `CallTimeout` when its time is over.
        """
        if self._event is None:
            self._event = threading.Event()
            if self._is_cancelled:
                self._event.set()
        self._event.wait(max(0.0, min(duration_s, self.left_s + 0.001)))
        self.check()

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """Tell the caller how far it is; raises as `check` does."""
        self.check()
        if self.say_progress is not None:
            self.say_progress(done, total, text)


_current: ContextVar[ServedCall | None] = ContextVar("labspine_served_call", default=None)


def current_call() -> ServedCall | None:
    """Return the call whose procedure runs here; None outside of one."""
    return _current.get()


def check_cancelled() -> None:
    """
    End the procedure that runs here if nobody waits for it; does nothing outside of one.

    Raises:
        CallCancelled: If the caller has cancelled.
        CallTimeout: If the caller's time is over.
    """
    call = _current.get()
    if call is not None:
        call.check()


def progress(done: float, total: float | None = None, text: str = "") -> None:
    """
    Tell the caller of the procedure that runs here how far it is; does nothing outside of one.

    Args:
        done: How much is done, in units of one's own choice.
        total: How much there is; None if that is not known.
        text: What is being done, for people.

    Raises:
        CallCancelled: If the caller has cancelled.
        CallTimeout: If the caller's time is over.
    """
    call = _current.get()
    if call is not None:
        call.progress(done, total, text)
