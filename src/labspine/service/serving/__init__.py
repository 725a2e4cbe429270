"""Serving: from a request to its reply, and the threads that do it."""

from .crew import Crew
from .handling import Handler
from .stats import Stats

__all__ = ["Crew", "Handler", "Stats"]
