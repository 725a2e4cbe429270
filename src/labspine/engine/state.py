"""
The states of an engine and the transitions between them, as data.

Each way out is stronger than the one before (stop, abort, halt), and a stronger one is always accepted.
"""

from __future__ import annotations

from .errors import TransitionError, kind

__all__ = ["STATES", "TRANSITIONS", "EngineState", "check_transition"]

TRANSITIONS: dict[str, tuple[str, ...]] = {
    "idle": ("running", "panicked"),
    "running": ("idle", "pausing", "suspending", "stopping", "aborting", "halting", "panicked"),
    "pausing": ("paused", "running", "idle", "stopping", "aborting", "halting", "panicked"),
    "suspending": ("running", "pausing", "idle", "stopping", "aborting", "halting", "panicked"),
    "paused": ("running", "idle", "stopping", "aborting", "halting", "panicked"),
    "stopping": ("idle", "stopping", "aborting", "halting", "panicked"),
    "aborting": ("idle", "aborting", "halting", "panicked"),
    "halting": ("idle", "halting", "panicked"),
    # The loop thread did not react in time; if it comes back to life, the engine is usable again.
    "panicked": ("idle", "panicked"),
}


class EngineState(str):
    """State of an engine: plain text that also answers ``is_<state>`` and ``can_pause``."""

    __slots__ = ()

    @property
    def is_idle(self) -> bool:
        """No plan is being performed."""
        return self == "idle"

    @property
    def is_running(self) -> bool:
        """A plan is being performed."""
        return self == "running"

    @property
    def is_pausing(self) -> bool:
        """Devices are being brought to rest for a pause."""
        return self == "pausing"

    @property
    def is_paused(self) -> bool:
        """The plan waits for resume, stop, abort or halt."""
        return self == "paused"

    @property
    def is_suspending(self) -> bool:
        """A suspender asked for a suspension that has not begun yet."""
        return self == "suspending"

    @property
    def is_stopping(self) -> bool:
        """The plan was told to end early as a success."""
        return self == "stopping"

    @property
    def is_aborting(self) -> bool:
        """The plan was told to end as aborted."""
        return self == "aborting"

    @property
    def is_halting(self) -> bool:
        """The plan is being ended without its own clean-up."""
        return self == "halting"

    @property
    def is_panicked(self) -> bool:
        """The loop thread does not react."""
        return self == "panicked"

    @property
    def can_pause(self) -> bool:
        """A pause may be requested now."""
        return "pausing" in TRANSITIONS[self]


STATES: dict[str, EngineState] = {name: EngineState(name) for name in TRANSITIONS}


def check_transition(old: str, new: str) -> EngineState:
    """
    Look up one transition.

    Args:
        old: The present state.
        new: The state that is wanted.

    Returns:
        The new state.

    Raises:
        TransitionError: If the table does not have it; the text lists what is allowed.
    """
    if new not in TRANSITIONS[old]:
        allowed = ", ".join(TRANSITIONS[old]) or "nothing"
        raise kind(TransitionError)(f"the engine is {old} and cannot become {new}; from here: {allowed}")
    return STATES[new]
