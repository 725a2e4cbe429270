"""Status objects of devices: groups of them, waiting for them, and failures that the plan must hear of."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from ..errors import shown
from .errors import DeviceTimeout, FailedStatus, NotAStatus, kind

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

    __slots__ = ("gate", "is_disowned", "is_settled", "late", "obj", "status", "timer", "what")

    def __init__(self, status: Any, obj: Any, what: str) -> None:
        self.status = status
        self.obj = obj
        self.what = what
        self.is_settled = False
        self.is_disowned = False
        self.gate: _Gate | None = None
        # What to say when it took longer than its limit, and the timer that watches that.
        self.late = ""
        self.timer: asyncio.TimerHandle | None = None


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
        limit_s: Seconds that a status may take unless its device has its own ``device_timeout_s``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_failure: Callable[[], None],
        limit_s: float | None = None,
    ) -> None:
        self._limit_s = limit_s
        self.groups: dict[Hashable, list[Tracked]] = {}
        self.known_groups: set[Hashable] = set()
        self.announced: set[Hashable] = set()
        self.is_pardoning = False
        self._loop = loop
        self._thread = threading.get_ident()
        self._on_failure = on_failure
        self._failed: list[Tracked] = []
        self._fresh: list[Tracked] = []
        self._waited: list[Tracked] = []

    def track(self, status: Any, group: Hashable, what: str, obj: Any = None) -> Any:
        """
        Keep an eye on a status.

        Args:
            status: What a device returned.
            group: Key for ``wait``.
            what: For the error text, for example ``x.set``.
            obj: The device, which may have its own time limit.

        Returns:
            The status.

        Raises:
            NotAStatus: If it is no status object.
        """
        if not is_status(status):
            raise NotAStatus(
                f"{what} must return a status object (done, success, add_callback); got {shown(status)}"
            )
        tracked = Tracked(status, obj, what)
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
            limit_s = getattr(obj, "device_timeout_s", self._limit_s)
            if limit_s is not None:
                tracked.late = f"{getattr(obj, 'name', obj)}.{what} was not done after {limit_s:g} s"
                tracked.timer = self._loop.call_later(limit_s, self._expire, tracked)
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

    def _expire(self, tracked: Tracked) -> None:
        tracked.timer = None
        if tracked.is_settled or tracked.is_disowned or self.is_pardoning:
            return
        tracked.is_settled = True
        self._failed.append(tracked)
        self._on_failure()
        if tracked.gate is not None:
            tracked.gate.one_settled()

    def _settle(self, tracked: Tracked) -> None:
        if tracked.is_settled:
            if tracked.late and tracked.timer is None:
                logger.warning("%s; it is done now: %r", tracked.late, tracked.status)
                return
            logger.warning("a status reported twice that it is done: %r", tracked.status)
            return
        tracked.is_settled = True
        if tracked.timer is not None:
            tracked.timer.cancel()
        if not (tracked.is_disowned or self.is_pardoning or getattr(tracked.status, "success", True)):
            self._failed.append(tracked)
            self._on_failure()
        if tracked.gate is not None:
            tracked.gate.one_settled()

    def pending(self) -> list[Tracked]:
        """
        List what the engine is waiting for right now.

        Returns:
            The statuses of the present wait that have not settled.
        """
        return [t for t in self._waited if not t.is_settled]

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
        first = failed[0]
        error: FailedStatus
        if _is_late(first):
            error = kind(DeviceTimeout)(*(t.status for t in failed))
            error.words = f"{first.late}: it may be stuck, or its limit (device_timeout_s) too short"
        else:
            error = kind(FailedStatus)(*(t.status for t in failed))
            error.__cause__ = _reason(first.status)
        for other in failed[1:]:
            why = other.late if _is_late(other) else repr(_reason(other.status))
            error.add_note(f"also failed: {other.status!r}: {why}")
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
        self._waited = pending
        try:
            await gate.future
        finally:
            if timer is not None:
                timer.cancel()
            self._waited = []
            for tracked in pending:
                tracked.gate = None
        return gate.left <= 0


def _is_late(tracked: Tracked) -> bool:
    return bool(tracked.late) and not getattr(tracked.status, "done", False)


def _reason(status: Any) -> BaseException | None:
    try:
        error = status.exception(timeout=0)
    except Exception as raised:
        return raised
    return error if isinstance(error, BaseException) else None
