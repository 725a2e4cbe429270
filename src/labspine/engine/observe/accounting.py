"""
Where the time of a run goes: moving, settling, exposing, reading, recording, waiting, pausing.

The numbers are times of the plan, not of devices: what goes on at the same time is counted once, for what the
plan was waiting for. They add up to the time of the run.
"""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Any

__all__ = ["CATEGORIES", "Accounts"]

CATEGORIES = ("move", "settle", "expose", "read", "record", "wait", "pause")

_STARTS = {"set": "move", "trigger": "expose", "kickoff": "expose", "complete": "expose"}
_DIRECT = {
    **_STARTS,
    **dict.fromkeys(("read", "locate", "collect"), "read"),
    **dict.fromkeys(
        ("create", "save", "drop", "open_run", "close_run", "declare_stream", "configure"), "record"
    ),
    **dict.fromkeys(("wait_for", "input", "prepare", "stage", "unstage", "stop"), "wait"),
}


class Accounts:
    """The times of one call, by category; a run takes the difference between its end and its beginning."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(CATEGORIES, 0.0)
        self._groups: dict[Hashable, set[str]] = {}
        self._settling: dict[Hashable, float] = {}
        self._last = ""

    def add(self, msg: Any, took_s: float, answer: Any) -> None:
        """
        Add one step.

        Args:
            msg: The step.
            took_s: How long it took.
            answer: What it gave.
        """
        command = msg.command
        if command == "wait":
            self._add_wait(msg, took_s)
            return
        if command == "sleep":
            # A pause right after a move lets the motor settle.
            self.spent["settle" if self._last == "move" else "wait"] += took_s
            return
        if command in _STARTS:
            self._begin(msg, answer)
        category = _DIRECT.get(command)
        if category is not None:
            self.spent[category] += took_s
            self._last = category

    def _begin(self, msg: Any, status: Any) -> None:
        group = msg.kwargs.get("group")
        self._groups.setdefault(group, set()).add(_STARTS[msg.command])
        settle_s = getattr(status, "settle_time", 0.0)
        if isinstance(settle_s, int | float) and settle_s > 0:
            self._settling[group] = max(self._settling.get(group, 0.0), float(settle_s))

    def _add_wait(self, msg: Any, took_s: float) -> None:
        group = msg.args[0] if msg.args else msg.kwargs.get("group")
        kinds = self._groups.pop(group, set())
        category = "move" if "move" in kinds else "expose" if kinds else "wait"
        settle_s = min(took_s, self._settling.pop(group, 0.0))
        self.spent["settle"] += settle_s
        self.spent[category] += took_s - settle_s
        self._last = category

    def pause(self, took_s: float) -> None:
        """
        Add a pause.

        Args:
            took_s: How long it was.
        """
        self.spent["pause"] += took_s

    def begin_run(self) -> RunAccount:
        """
        Open the account of a run.

        Returns:
            The account.
        """
        return RunAccount(self)


class RunAccount:
    """What has been spent since the beginning of one run."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._before = dict(accounts.spent)
        self._began = time.perf_counter()

    def statement(self) -> dict[str, float]:
        """
        Draw up the account.

        Returns:
            Seconds by category; ``other_s`` is the plan's own code and the engine, ``total_s`` is everything.
        """
        total_s = time.perf_counter() - self._began
        spent = self._accounts.spent
        parts = {f"{name}_s": max(0.0, spent[name] - self._before[name]) for name in CATEGORIES}
        parts["other_s"] = max(0.0, total_s - sum(parts.values()))
        parts["total_s"] = total_s
        return {name: round(seconds, 6) for name, seconds in parts.items()}
