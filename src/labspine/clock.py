"""
Time as an argument.

Everything that waits or stamps takes a clock, so that tests can move time by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["mono_s", "utc_s"]

utc_s: Callable[[], float] = time.time
"""Wall time in seconds since 1970-01-01 UTC. For stamps that people read."""

mono_s: Callable[[], float] = time.monotonic
"""Monotonic time in seconds. For deadlines and durations; never jumps."""
