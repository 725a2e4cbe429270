"""Durable runs: what an engine does is on disk before anybody is told, so that a crash loses nothing."""

from __future__ import annotations

from .book import Journal, default_place, journal_of
from .errors import CannotResume, JournalError
from .reader import Position, Tail, read_records
from .writer import CallJournal

__all__ = [
    "CallJournal",
    "CannotResume",
    "Journal",
    "JournalError",
    "Position",
    "Tail",
    "default_place",
    "journal_of",
    "read_records",
]
