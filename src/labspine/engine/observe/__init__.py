"""Watching an engine: subscribers with policies, a log of steps, spans, accounts of time, slow steps."""

from __future__ import annotations

from .door import Watched
from .slow import SlowSteps
from .steps import StepWatch, watch_of
from .subscribers import SubscriberReport

__all__ = ["SlowSteps", "StepWatch", "SubscriberReport", "Watched", "watch_of"]
