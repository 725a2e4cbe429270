"""Status objects of devices: groups of them, waiting for them, and failures that the plan must hear of."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from ..errors import shown
from .errors import FailedStatus, NotAStatus, kind

__all__ = ["Statuses", "Tracked", "is_status"]

logger = logging.getLogger("labspine.engine.status")

PRUNE_AT = 256
"""A group that nobody waits for forgets its finished statuses at this size."""


def is_status(thing: object) -> bool:
    """
    Tell whether a device returned a status object.

    Args:
        thing: What it returned.

    Returns:
        True when it can be waited for.
    """
    return hasattr(thing, "add_callback")


KNOWN_LIMIT = 10_000
"""Plans that use a new group for every move are not accused of waiting for unknown ones after this many."""


class Tracked:
    """One status that the engine keeps an eye on."""

    __slots__ = ("gate", "is_disowned", "is_settled", "status")

    def __init__(self, status: Any) -> None:
        self.status = status
        self.is_settled = False
        self.is_disowned = False
        self.gate: _Gate | None = None


class _Gate:
    """Opens when a number of statuses have settled."""

    __slots__ = ("future", "left")

    def __init__(self, left: int, future: asyncio.Future[None]) -> None:
        self.left = left
        self.future = future

    def one_settled(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.open()

    def open(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Statuses:
    """
    The statuses of one session.

    Args:
        loop: Where settling happens.
        on_failure: Called on the loop when a status failed that the plan must hear of.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_failure: Callable[[], None]) -> None:
        self.groups: dict[Hashable, list[Tracked]] = {}
        self.known_groups: set[Hashable] = set()
        self.announced: set[Hashable] = set()
        self.is_pardoning = False
        self._loop = loop
        self._thread = threading.get_ident()
        self._on_failure = on_failure
        self._failed: list[Tracked] = []
        self._fresh: list[Tracked] = []

    def track(self, status: Any, group: Hashable, what: str) -> Any:
        """
        Keep an eye on a status.

        Args:
            status: What a device returned.
            group: Key for ``wait``.
            what: For the error text, for example ``x.set``.

        Returns:
            The status.

        Raises:
            NotAStatus: If it is no status object.
        """
        if not is_status(status):
            raise NotAStatus(
                f"{what} must return a status object (done, success, add_callback); got {shown(status)}"
            )
        tracked = Tracked(status)
        members = self.groups.get(group)
        if members is None:
            members = self.groups[group] = []
            if len(self.known_groups) < KNOWN_LIMIT:
                self.known_groups.add(group)
        elif len(members) >= PRUNE_AT:
            members[:] = [t for t in members if not t.is_settled]
        members.append(tracked)
        if getattr(status, "done", False):
            self._settle(tracked)
        else:
            self._fresh.append(tracked)
            status.add_callback(lambda *_: self._settle_from_anywhere(tracked))
        return status

    def _settle_from_anywhere(self, tracked: Tracked) -> None:
        if threading.get_ident() == self._thread:
            self._settle(tracked)
            return
        try:
            self._loop.call_soon_threadsafe(self._settle, tracked)
        except RuntimeError:  # the loop is closed: the engine is gone
            logger.debug("a status finished after its engine was closed: %r", tracked.status)

    def _settle(self, tracked: Tracked) -> None:
        if tracked.is_settled:
            logger.warning("a status reported twice that it is done: %r", tracked.status)
            return
        tracked.is_settled = True
        if not (tracked.is_disowned or self.is_pardoning or getattr(tracked.status, "success", True)):
            self._failed.append(tracked)
            self._on_failure()
        if tracked.gate is not None:
            tracked.gate.one_settled()

    @property
    def has_failure(self) -> bool:
        """Whether a failure waits to be told to the plan."""
        return bool(self._failed)

    def take_failure(self) -> FailedStatus | None:
        """
        Collect every failure since the last call in one exception.

        Returns:
            The exception for the plan, or None.
        """
        failed = [t for t in self._failed if not t.is_disowned]
        self._failed.clear()
        if not failed:
            return None
        error = kind(FailedStatus)(*(t.status for t in failed))
        error.__cause__ = _reason(failed[0].status)
        for other in failed[1:]:
            error.add_note(f"also failed: {other.status!r}: {_reason(other.status)!r}")
        return error

    def mark(self) -> None:
        """Remember a checkpoint: statuses from before it belong to steps that will not be replayed."""
        self._fresh.clear()

    def is_known(self, group: Hashable) -> bool:
        """
        Tell whether a step has used a group.

        Args:
            group: Its key.

        Returns:
            True also when there were too many to remember.
        """
        return group is None or group in self.known_groups or len(self.known_groups) >= KNOWN_LIMIT

    def disown_fresh(self) -> None:
        """Forget statuses since the checkpoint: their steps are about to be replayed."""
        for tracked in self._fresh:
            tracked.is_disowned = True
        self._fresh.clear()
        for members in self.groups.values():
            members[:] = [t for t in members if not t.is_disowned]

    async def settled(self, waited: Iterable[Tracked], timeout_s: float | None) -> bool:
        """
        Wait for statuses.

        Args:
            waited: Which.
            timeout_s: Longest time, or None.

        Returns:
            False when the time was over first.
        """
        pending = [t for t in waited if not t.is_settled]
        if not pending:
            return True
        gate = _Gate(len(pending), self._loop.create_future())
        for tracked in pending:
            tracked.gate = gate
        timer = self._loop.call_later(timeout_s, gate.open) if timeout_s is not None else None
        try:
            await gate.future
        finally:
            if timer is not None:
                timer.cancel()
            for tracked in pending:
                tracked.gate = None
        return gate.left <= 0


def _reason(status: Any) -> BaseException | None:
    try:
        error = status.exception(timeout=0)
    except Exception as raised:
        return raised
    return error if isinstance(error, BaseException) else None
