"""Suspenders: a plan waits while something in the lab is not as it should be."""

from __future__ import annotations

from .door import Suspendable
from .suspender import Source, Suspender

__all__ = ["Source", "Suspendable", "Suspender"]
