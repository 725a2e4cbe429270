"""How an engine offers its preflight: ``engine.simulate(plan)``."""

from __future__ import annotations

from typing import Any

from ..performers import Command
from .report import Preflight
from .walk import MOST_MESSAGES, preflight

__all__ = ["LooksAhead"]


class LooksAhead:
    """What both doors of the engine offer to look at a plan before it runs."""

    table: dict[Any, Command]

    def simulate(
        self,
        plan: object,
        *,
        limits: bool = True,
        steps: int = 1000,
        max_messages: int = MOST_MESSAGES,
    ) -> Preflight:
        """
        Tell what a plan would do, without touching hardware; see :func:`labspine.engine.preflight`.

        The engine's preprocessors are applied. It can be called while another plan runs.

        Args:
            plan: A fresh plan; it is used up.
            limits: Compare positions with the limits of the motors.
            steps: How many steps to give in words; all are counted.
            max_messages: Where to stop.

        Returns:
            Steps, points, trajectory, problems, devices that are unfit, and estimates of duration and size.
            A plan that raises, or that is no plan, is a problem too.
        """
        return preflight(
            plan,
            limits=limits,
            commands=self.table,
            max_messages=max_messages,
            most_steps=steps,
            wrappers=getattr(self, "preprocessors", ()),
        )

    def preflight(self, plan: object, *, limits: bool = True) -> Preflight:
        """
        Look for problems only: :meth:`simulate` without the steps in words and without preprocessors.

        Args:
            plan: A fresh plan; it is used up.
            limits: Compare positions with the limits of the motors.

        Returns:
            What the plan would do, and what is wrong with it.
        """
        return preflight(plan, limits=limits, commands=self.table)
