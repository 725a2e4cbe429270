"""The options of a queue and of a put, checked before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InvalidArgument, InvalidOperation, did_you_mean, shown
from ..flows import checks
from .transport import ABILITIES, PRIORITIES, Ability, Priority

__all__ = ["MOST_AT_ONCE", "PutOptions", "QueueOptions", "checked_count", "checked_put", "checked_wait_s"]

MOST_AT_ONCE = 1000
"""Most items in one claim or one put."""

_SHORTEST_LEASE_S = 0.05


@dataclass(frozen=True)
class QueueOptions:
    """
    How a program uses a queue.

    Args:
        lease_s: An item that was claimed and neither touched nor acknowledged for so many seconds is given to
            others.
        max_deliveries: An item that was handed out so often without success is buried; None never does it.
        limit: Most items that this program lets the queue hold, dead ones apart; None for no limit.
    """

    lease_s: float = 30.0
    max_deliveries: int | None = 10
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if checks.seconds("lease_s", self.lease_s) < _SHORTEST_LEASE_S:
            raise InvalidArgument(f"lease_s={self.lease_s}: must be {_SHORTEST_LEASE_S} or more")
        if self.max_deliveries is not None:
            checks.count_above_zero("max_deliveries", self.max_deliveries)
        if self.limit is not None:
            checks.count_above_zero("limit", self.limit)


@dataclass(frozen=True)
class PutOptions:
    """
    How items are put.

    Args:
        priority: ``high``, ``normal`` or ``low``.
        delay_s: Seconds until they can be claimed; None for now.
        eta_utc_s: The same as a time, in seconds since 1970.
    """

    priority: Priority
    delay_s: float | None
    eta_utc_s: float | None


_PLAIN = PutOptions("normal", None, None)


def checked_put(
    abilities: frozenset[Ability], priority: object, delay_s: object, eta_utc_s: object
) -> PutOptions:
    """
    Check how items are to be put.

    Raises:
        InvalidArgument: If a value cannot work.
        InvalidOperation: If the broker cannot do it.
    """
    if priority == "normal" and delay_s is None and eta_utc_s is None:
        return _PLAIN
    found: dict[object, Priority] = {p: p for p in PRIORITIES}
    chosen = found.get(priority) if isinstance(priority, str) else None
    if chosen is None:
        hint = did_you_mean(str(priority), PRIORITIES)
        raise InvalidArgument(f"priority={shown(priority)}: use {', '.join(PRIORITIES)}{hint}")
    if chosen != "normal":
        require(abilities, "priority")
    if delay_s is not None and eta_utc_s is not None:
        raise InvalidArgument("give delay_s or eta_utc_s, not both")
    if delay_s is None and eta_utc_s is None:
        return PutOptions(chosen, None, None)
    require(abilities, "delay")
    delay = None if delay_s is None else checks.seconds("delay_s", delay_s)
    eta = None if eta_utc_s is None else checks.seconds("eta_utc_s", eta_utc_s)
    return PutOptions(chosen, delay, eta)


def require(abilities: frozenset[Ability], ability: Ability) -> None:
    """
    Insist that the broker can do something.

    Raises:
        InvalidOperation: If it cannot.
    """
    if ability not in abilities:
        raise InvalidOperation(f"this broker cannot {ABILITIES[ability]}; queues on Redis can")


def checked_count(count: Any) -> int:
    """Require 1 to `MOST_AT_ONCE`; raises `InvalidArgument` otherwise."""
    if type(count) is int and 0 < count <= MOST_AT_ONCE:
        return count
    number = checks.count_above_zero("count", count)
    if number > MOST_AT_ONCE:
        raise InvalidArgument(f"count={number}: at most {MOST_AT_ONCE} at once")
    return number


def checked_wait_s(wait_s: object) -> float | None:
    """Require seconds, 0 or more, or None; raises `InvalidArgument` otherwise."""
    return None if wait_s is None else checks.seconds("wait_s", wait_s)
