"""
Who hears a channel, on whatever node: PUBLISH counts only those whose subscriptions lead to its own.

Callers take 0 for "nobody listens", so it must be true. It is asked of all nodes only when the own node says
0, and remembered for a short while, because events come in rows.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ...flows import Exchange
from .routing import Router, Send

__all__ = ["Audience", "needs_count"]

_REMEMBER_S = 1.0
_REMEMBER_NOBODY_S = 0.2
_MOST_REMEMBERED = 10_000
_MOST_COMMANDS = 2


def needs_count(ask: Exchange, replies: list[Any]) -> bool:
    """Tell whether somebody asked how many heard an event, and the node that published it knows of none."""
    commands = ask.commands
    return len(commands) <= _MOST_COMMANDS and commands[0][0] == b"PUBLISH" and replies[0] == 0


class Audience:
    """
    Count the listeners of channels, without any I/O; those that listen by a pattern are not counted.

    Args:
        router: Knows the nodes and the time.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._known: dict[Any, tuple[float, int]] = {}

    def counted(self, ask: Exchange, replies: list[Any]) -> Generator[Any, Any, list[Any]]:
        """
        Put the number of listeners into the replies to an event.

        Args:
            ask: Begins with PUBLISH.
            replies: The first is 0.

        Asks:
            PUBSUB NUMSUB of every node, unless it was asked just before.

        Returns:
            The replies; the first is 0 still if nobody listens to the channel by its name.
        """
        channel = ask.commands[0][1]
        until_mono_s, count = self._known.get(channel, (0.0, 0))
        if self._router.clock() > until_mono_s:
            question = Exchange((("PUBSUB", "NUMSUB", channel),), readonly=True)
            topology = self._router.topology
            answers = yield [Send(place, (question,)) for place in (topology.nodes if topology else ())]
            # Who may not ask, or a node that is just gone, adds nothing.
            count = sum(int(result[0][1]) for (result,) in answers if isinstance(result, list))
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            until_mono_s = self._router.clock() + (_REMEMBER_S if count else _REMEMBER_NOBODY_S)
            self._known[channel] = (until_mono_s, count)
        return [count, *replies[1:]]
