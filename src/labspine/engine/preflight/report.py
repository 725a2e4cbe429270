"""What a preflight found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding", "Preflight", "Travel"]


@dataclass(frozen=True)
class Travel:
    """
    Where a plan sends one motor.

    Args:
        first: First target, in the motor's unit.
        last: Last target.
        lowest: Smallest target.
        highest: Largest target.
        num_moves: Number of targets.
    """

    first: Any
    last: Any
    lowest: Any
    highest: Any
    num_moves: int


@dataclass
class Finding:
    """A problem, and the point of the plan where it was found (None when that means nothing)."""

    text: str
    point: int | None


@dataclass(frozen=True)
class Preflight:
    """
    What a plan would do, and what is wrong with it.

    Args:
        num_messages: Steps that were walked through.
        num_runs: Runs that would be made.
        points: Events by stream name.
        positions: Travel by motor name.
        problems: What would fail or damage something, in words, the first first.
        notes: What limits the certainty of this answer.
        is_complete: False when the walk ended before the plan did.
        duration_s: Estimate from velocities and exposures; a lower limit, notes name devices that tell none.
        size_bytes: Estimate of the size of all readings, from what devices describe without being asked
            over a network; notes name those that tell nothing.
        commands: Number of steps by command.
        devices: Names of the devices that the plan uses, in order of appearance.
        unfit: Devices that lack what a step needs: the missing methods by name.
        steps: The first steps in words, as many as were asked for.
    """

    num_messages: int = 0
    num_runs: int = 0
    points: dict[str, int] = field(default_factory=dict)
    positions: dict[str, Travel] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_complete: bool = True
    duration_s: float = 0.0
    size_bytes: int = 0
    commands: dict[str, int] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    unfit: dict[str, tuple[str, ...]] = field(default_factory=dict)
    steps: tuple[str, ...] = ()

    @property
    def is_ok(self) -> bool:
        """No problem was found."""
        return not self.problems

    @property
    def num_points(self) -> int:
        """Events of the main stream: ``primary``, or the longest one."""
        return self.points.get("primary", max(self.points.values(), default=0))
