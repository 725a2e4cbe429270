"""The times of the reader's connection, in seconds (a half-open link is noticed within six)."""

from __future__ import annotations

import random

__all__ = [
    "FIRST_PAUSE_S",
    "MOST_HURRIES",
    "PING_EVERY_S",
    "SILENCE_S",
    "STREAM_WAIT_S",
    "TICK_S",
    "next_pause_s",
    "with_jitter",
]

TICK_S = 1.0
"""How often the reader looks at the clock while nothing comes."""

PING_EVERY_S = 2.0
"""How often a sign of life is asked for."""

SILENCE_S = 3.5
"""After so long without any byte the link is given up."""

STREAM_WAIT_S = 0.25
"""How long the server is asked to wait for entries of streams."""

MOST_HURRIES = 50
"""How often such a wait is broken off, within its own length, until a new stream is part of it."""

FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


def next_pause_s(pause_s: float) -> float:
    """Return the pause after the next failed attempt to connect."""
    return min(pause_s * 2, _LONGEST_PAUSE_S)


def with_jitter(pause_s: float) -> float:
    """Spread a pause, so that many clients do not come back in the same instant."""
    return pause_s * random.uniform(0.6, 1.4)  # noqa: S311 - jitter, not a secret
