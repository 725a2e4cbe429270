"""Which steps a plan consists of and which devices it uses, in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..msg import device_name, words_of

__all__ = ["StepList"]


class StepList:
    """
    Notes steps and devices on the way through a plan.

    Args:
        most_steps: How many steps to keep in words; all are counted.
    """

    def __init__(self, most_steps: int) -> None:
        self.most_steps = most_steps
        self.words: list[str] = []
        self.counts: Counter[str] = Counter()
        self.devices: dict[int, Any] = {}
        self.unfit: dict[str, tuple[str, ...]] = {}

    def note(self, msg: Any) -> None:
        """
        Note one step.

        Args:
            msg: The step.
        """
        self.counts[str(msg.command)] += 1
        if msg.obj is not None:
            self.devices.setdefault(id(msg.obj), msg.obj)
        if len(self.words) < self.most_steps:
            self.words.append(words_of(msg))

    def lacks(self, obj: Any, methods: list[str]) -> None:
        """
        Note a device that cannot do what a step asks for.

        Args:
            obj: The device.
            methods: What it lacks.
        """
        name = device_name(obj)
        self.unfit[name] = tuple(dict.fromkeys((*self.unfit.get(name, ()), *methods)))

    def names(self) -> tuple[str, ...]:
        """
        List the devices.

        Returns:
            Their names, each once, in order of appearance.
        """
        return tuple(dict.fromkeys(device_name(obj) for obj in self.devices.values()))
