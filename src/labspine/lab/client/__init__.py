"""The lab as a person at a prompt or in a notebook sees it."""

from .lab import Lab, connect
from .report import ScanReport
from .words import words_to_request

__all__ = ["Lab", "ScanReport", "connect", "words_to_request"]
