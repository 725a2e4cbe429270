"""How an engine is watched: subscribers with policies, and what the engine tells about its own steps."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import InvalidArgument, LabspineWarning, shown
from ..documents.emitter import Emitter, check_subscriber
from .subscribers import Background, Guarded, SubscriberReport

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["Watched"]

logger = logging.getLogger("labspine.engine.subscribers")

Subscriber = Callable[[str, dict[str, Any]], object]
QUEUE_LIMIT = 10_000
SLOW_STEP_S = 60.0


class Watched:
    """What both doors of the engine offer to those who watch it."""

    emitter: Emitter
    _session: Session | None

    def __init__(self) -> None:
        super().__init__()
        # Put the times of moving, exposing, reading and waiting into the stop document.
        self.accounting = False
        # One record for each step in the log "labspine.engine.steps".
        self.step_log = False
        # Spans of OpenTelemetry for each run, step and wait; needs the package opentelemetry-api.
        self.tracing = False
        # Seconds after which a step that only waits is told in the log, with its devices. None: never.
        self.slow_step_s: float | None = SLOW_STEP_S
        self.slow_hook: Callable[[str], object] | None = None
        # Seconds that a step may keep the thread before its plan is told (BlockedStep). None: no limit.
        self.watchdog_s: float | None = None
        self.blocked_hook: Callable[[str], object] | None = None
        self._guards: dict[int, Guarded] = {}

    def subscribe(
        self,
        func: Subscriber,
        name: str = "all",
        *,
        critical: bool | None = None,
        background: bool = False,
        limit: int = QUEUE_LIMIT,
    ) -> int:
        """
        Have a function receive documents until it is unsubscribed.

        Args:
            func: Called as ``func(name, document)``, on the thread of the loop unless background is True.
            name: One document name or ``all``.
            critical: What happens when it raises: None, the plan is told (bluesky's way, and what
                ``ignore_callback_exceptions`` changes); True, the run ends always; False, it is counted and
                logged, and the run goes on.
            background: Call it in a thread of its own; the run never waits for it.
            limit: Most documents that wait for a background subscriber. Where it is that far behind, events
                are left out for it, or the run ends if it is critical.

        Returns:
            Token for :meth:`unsubscribe`.

        Raises:
            InvalidArgument: If func cannot be called that way, there is no such document, or limit is not a
                positive number.
        """
        func, name = in_order(func, name)
        if critical is None and not background:
            return self.emitter.subscribe(func, name)
        check_subscriber(func)
        if not isinstance(limit, int) or limit < 1:
            raise InvalidArgument(f"limit must be a number of documents from 1 on, got {shown(limit)}")
        on_error = self._end_for if critical else None
        guard = Background(func, on_error, limit=limit) if background else Guarded(func, on_error)
        token = self.emitter.subscribe(guard, name)
        self._guards[token] = guard
        return token

    def unsubscribe(self, token: int) -> None:
        """
        Remove a subscription; an unknown token is ignored.

        Args:
            token: What :meth:`subscribe` returned. A background subscriber still gets what waits for it.
        """
        self.emitter.unsubscribe(token)
        guard = self._guards.pop(token, None)
        if guard is not None:
            guard.end()

    def unsubscribe_all(self) -> None:
        """Remove every subscription; background subscribers still get what waits for them."""
        self.emitter.unsubscribe_all()
        guards, self._guards = self._guards, {}
        for guard in guards.values():
            guard.end()

    # Older plans and tools use these names.
    subscribe_lossless = _subscribe_lossless = subscribe
    unsubscribe_lossless = _unsubscribe_lossless = unsubscribe

    @property
    def subscribers(self) -> tuple[SubscriberReport, ...]:
        """How the subscribers with a policy are doing: delivered, failed, dropped, waiting."""
        return tuple(guard.report(token) for token, guard in list(self._guards.items()))

    def drain(self, timeout_s: float = 5.0) -> bool:
        """
        Wait until background subscribers have dealt with all documents.

        Args:
            timeout_s: Longest time.

        Returns:
            False when the time was over first.
        """
        deadline = time.monotonic() + timeout_s
        drained = True
        for guard in list(self._guards.values()):
            drained = guard.drain(max(0.0, deadline - time.monotonic())) and drained
        return drained

    def _end_for(self, error: Exception) -> None:
        # The plan is told at its next step; a plan that is at its end already has failed all the same.
        session = self._session
        if session is None or session.is_over:
            logger.error("a critical subscriber failed after the end of its run: %r", error)
        elif threading.get_ident() == session.thread_id:
            _fail(session, error)
        else:
            session.loop.call_soon_threadsafe(_fail, session, error)


def in_order(func: Any, name: Any) -> tuple[Subscriber, str]:
    """
    Take the arguments of ``subscribe`` in their old order too, with a warning.

    Args:
        func: The subscriber, or the name of a document.
        name: The name of a document, or the subscriber.

    Returns:
        The subscriber and the name.
    """
    if not (callable(name) and isinstance(func, str)):
        return func, name
    warnings.warn(
        "subscribe(name, func) is the old order of arguments; write subscribe(func, name)",
        LabspineWarning,
        stacklevel=3,
    )
    return name, func


def _fail(session: Session, error: Exception) -> None:
    if session.is_over:
        return
    session.errors.append(error)
    session.raise_attention()
