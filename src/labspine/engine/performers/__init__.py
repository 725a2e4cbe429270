"""Performers: one plain function a command, by family, in one table."""

from __future__ import annotations

from .command import Command, custom_command, listing
from .door import Commanded
from .table import BUILT_IN

__all__ = ["BUILT_IN", "Command", "Commanded", "custom_command", "listing"]
