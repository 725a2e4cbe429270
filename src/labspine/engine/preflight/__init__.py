"""Preflight: look at what a plan would do, before any motor moves."""

from __future__ import annotations

from .answers import present_position
from .door import LooksAhead
from .report import Preflight, Travel
from .walk import preflight

__all__ = ["LooksAhead", "Preflight", "Travel", "preflight", "present_position"]
