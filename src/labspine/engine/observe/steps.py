"""
Watches each step of a call, on demand: a log, spans, accounts of time.

What is not asked for costs nothing: the commands are wrapped only where somebody wants to know.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..msg import device_name, words_of
from .accounting import Accounts
from .tracing import Spans

if TYPE_CHECKING:
    from ..base import EngineBase
    from ..documents import Run
    from ..performers import Command
    from ..session import Session

__all__ = ["StepWatch", "watch_of"]

logger = logging.getLogger("labspine.engine.steps")


def watch_of(engine: EngineBase) -> StepWatch | None:
    """
    Make what watches the steps of one call.

    Args:
        engine: Its settings ``accounting``, ``step_log`` and ``tracing`` count.

    Returns:
        The watch, or None when nobody wants to know.

    Raises:
        ConfigError: If tracing is on and OpenTelemetry is not installed.
    """
    if not (engine.accounting or engine.step_log or engine.tracing):
        return None
    return StepWatch(engine.table, engine)


class StepWatch:
    """
    The commands of an engine, each of which also tells how it went.

    Args:
        table: The commands.
        engine: Its settings say what is wanted.
    """

    def __init__(self, table: Mapping[Any, Command], engine: EngineBase) -> None:
        self._table = table
        self._wrapped: dict[Any, tuple[Command, Command]] = {}
        self._is_logging = engine.step_log
        self._spans = Spans() if engine.tracing else None
        self.accounts = Accounts() if engine.accounting else None

    def get(self, name: Any) -> Command | None:
        """
        Find a command.

        Args:
            name: Its name.

        Returns:
            The command that watches itself, or None.
        """
        entry = self._table.get(name)
        if entry is None:
            return None
        known = self._wrapped.get(name)
        if known is None or known[0] is not entry:
            known = self._wrapped[name] = (entry, self._watched(entry))
        return known[1]

    def _watched(self, entry: Command) -> Command:
        perform = entry.perform

        def watched(session: Session, msg: Any) -> Any:
            span = None if self._spans is None else self._spans.begin_step(msg, session.step)
            began, error, answer = perf_counter(), None, None
            try:
                answer = perform(session, msg)
            except BaseException as raised:
                error = raised
                raise
            finally:
                if type(answer) is not CoroutineType:
                    self._done(session, msg, began=began, answer=answer, error=error, span=span)
            if type(answer) is CoroutineType:
                return self._later(session, msg, waiting=answer, began=began, span=span)
            return answer

        return replace(entry, perform=watched)

    async def _later(self, session: Session, msg: Any, *, waiting: Any, began: float, span: Any) -> Any:
        error, answer = None, None
        number = session.step
        try:
            answer = await waiting
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._done(session, msg, began=began, answer=answer, error=error, span=span, number=number)
        return answer

    def _done(
        self,
        session: Session,
        msg: Any,
        *,
        began: float,
        answer: Any,
        error: BaseException | None,
        span: Any,
        number: int | None = None,
    ) -> None:
        took_s = perf_counter() - began
        if self.accounts is not None:
            self.accounts.add(msg, took_s, answer)
        if span is not None and self._spans is not None:
            self._spans.end_step(span, error)
        if self._is_logging:
            _log(msg, session.step if number is None else number, took_s, error)

    def begin_run(self, run: Run, key: Any) -> None:
        """
        Watch a run that has just begun.

        Args:
            run: The run; its stop document gets the account.
            key: Its key.
        """
        if self.accounts is not None:
            run.statement = self.accounts.begin_run().statement
        spans = self._spans
        if spans is not None:
            spans.begin_run(key, run.start)
            run.on_close = lambda exit_status, reason: spans.end_run(key, exit_status, reason)


def _log(msg: Any, number: int, took_s: float, error: BaseException | None) -> None:
    outcome = "done" if error is None else type(error).__name__
    facts = {
        "step": number,
        "command": msg.command,
        "device": None if msg.obj is None else device_name(msg.obj),
        "run_key": msg.run,
        "took_s": took_s,
        "outcome": outcome,
    }
    ending = "" if error is None else f": {error!r}"
    logger.info("step %d, %s: %s after %.6f s%s", number, words_of(msg), outcome, took_s, ending, extra=facts)
