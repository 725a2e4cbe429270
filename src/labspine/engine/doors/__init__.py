"""Doors: the blocking one with bluesky's names, and the asynchronous one."""

from __future__ import annotations

from .aio import AsyncRunEngine
from .facade import RunEngine
from .sigint import SigintHandler

__all__ = ["AsyncRunEngine", "RunEngine", "SigintHandler"]
