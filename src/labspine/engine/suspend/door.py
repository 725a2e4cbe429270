"""How an engine is told of its suspenders."""

from __future__ import annotations

from typing import Any

__all__ = ["Suspendable"]


class Suspendable:
    """What both doors of the engine offer for suspenders."""

    def __init__(self) -> None:
        super().__init__()
        self._suspenders: dict[int, Any] = {}

    @property
    def suspenders(self) -> tuple[Any, ...]:
        """The suspenders that are installed."""
        return tuple(self._suspenders.values())

    def install_suspender(self, suspender: Any) -> None:
        """
        Let something suspend plans.

        Args:
            suspender: A :class:`Suspender`, or any object with ``install(engine)``, ``remove()`` and
                ``get_futures()``, such as those of ``bluesky.suspenders``.
        """
        self._suspenders[id(suspender)] = suspender
        suspender.install(self)

    def remove_suspender(self, suspender: Any) -> None:
        """
        Take a suspender away; one that is not installed is ignored.

        Args:
            suspender: The suspender.
        """
        if self._suspenders.pop(id(suspender), None) is not None:
            suspender.remove()

    def clear_suspenders(self) -> None:
        """Take all suspenders away."""
        for suspender in self.suspenders:
            self.remove_suspender(suspender)
