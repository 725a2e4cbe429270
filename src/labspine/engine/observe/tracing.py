"""Spans of OpenTelemetry: the only file that knows it; its API is needed only when spans are asked for."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigError
from ..msg import device_name

__all__ = ["Spans"]

FAMILIES = {
    "motion": ("set", "trigger", "prepare", "stop", "stage", "unstage", "locate"),
    "flying": ("kickoff", "complete", "collect"),
    "reading": ("read", "monitor", "unmonitor", "configure", "declare_stream", "save"),
    "timing": ("wait", "wait_for", "sleep", "input"),
}
FAMILY_OF = {command: family for family, commands in FAMILIES.items() for command in commands}


class Spans:
    """Makes a span for each run, and below it one for each step that may take time."""

    def __init__(self) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise ConfigError(
                "engine.tracing needs OpenTelemetry: pip install opentelemetry-api, or set tracing = False"
            ) from error
        self._trace = trace
        self._tracer = trace.get_tracer("labspine.engine")
        self._runs: dict[Any, Any] = {}

    def begin_run(self, key: Any, start: dict[str, Any]) -> None:
        """
        Begin the span of a run.

        Args:
            key: Key of the run.
            start: Its start document.
        """
        facts = {"run.uid": start["uid"], "run.scan_id": str(start.get("scan_id", ""))}
        facts["run.plan"] = str(start.get("plan_name", ""))
        self._runs[key] = self._tracer.start_span("run", attributes=facts)

    def end_run(self, key: Any, exit_status: str, reason: str) -> None:
        """
        End the span of a run.

        Args:
            key: Key of the run.
            exit_status: How it ended.
            reason: Why.
        """
        span = self._runs.pop(key, None)
        if span is None:
            return
        span.set_attribute("run.exit_status", exit_status)
        if exit_status == "fail":
            span.set_status(self._trace.StatusCode.ERROR, reason)
        span.end()

    def begin_step(self, msg: Any, number: int) -> Any:
        """
        Begin the span of a step.

        Args:
            msg: The step.
            number: Which step of the plan it is.

        Returns:
            The span, or None for steps that take no time.
        """
        family = FAMILY_OF.get(msg.command)
        if family is None:
            return None
        run = self._runs.get(msg.run)
        context = None if run is None else self._trace.set_span_in_context(run)
        facts: dict[str, Any] = {"step.number": number, "step.family": family}
        if msg.obj is not None:
            facts["step.device"] = device_name(msg.obj)
        group = msg.kwargs.get("group", msg.args[0] if msg.command == "wait" and msg.args else None)
        if group is not None:
            facts["step.group"] = str(group)
        return self._tracer.start_span(f"{family}.{msg.command}", context=context, attributes=facts)

    def end_step(self, span: Any, error: BaseException | None) -> None:
        """
        End the span of a step.

        Args:
            span: What :meth:`begin_step` gave.
            error: What it raised.
        """
        if error is not None:
            span.record_exception(error)
            span.set_status(self._trace.StatusCode.ERROR, str(error))
        span.end()
