"""What can go wrong with a journal."""

from __future__ import annotations

from ...errors import LabspineError, PlanError

__all__ = ["CannotResume", "JournalError"]


class JournalError(LabspineError, OSError):
    """A journal cannot be written, read or taken over; the text names the file and what to do."""

    code = "E-JOURNAL"


class CannotResume(PlanError):
    """A plan cannot go on where its journal ends; the run is closed instead, and the text says why."""

    code = "E-RESUME"
