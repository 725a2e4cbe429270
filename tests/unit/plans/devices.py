"""Small real devices for the tests of plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Done:
    """A status that is done already."""

    done = success = True

    def add_callback(self, callback: Callable[[Any], object]) -> None:
        callback(self)

    def exception(self, timeout: float | None = None) -> None:
        return None


class Counter:
    """Counts its triggers."""

    parent: Any = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.hints = {"fields": [name]}
        self.triggers = 0
        self.staged = 0

    def stage(self) -> list[Any]:
        self.staged += 1
        return [self]

    def unstage(self) -> list[Any]:
        self.staged -= 1
        return [self]

    def trigger(self) -> Done:
        self.triggers += 1
        return Done()

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.triggers, "timestamp": 1.0}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"dtype": "number", "shape": [], "source": "test"}}


class Motor:
    """Jumps, and remembers where it was sent."""

    parent: Any = None

    def __init__(self, name: str, position: float = 0.0) -> None:
        self.name = name
        self.hints = {"fields": [name]}
        self.position = position
        self.sent: list[Any] = []

    def set(self, value: float) -> Done:
        self.sent.append(value)
        self.position = value
        return Done()

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.position, "timestamp": 1.0}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"dtype": "number", "shape": [], "source": "test"}}
