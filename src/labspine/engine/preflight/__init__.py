"""Preflight: look at what a plan would do, before any motor moves."""

from __future__ import annotations

from .answers import present_position
from .report import Preflight, Travel
from .walk import preflight

__all__ = ["Preflight", "Travel", "preflight", "present_position"]
