"""
Remember which events of which sender a subscription has had, to tell repeats and holes.

Each sender numbers its events on each channel. What was seen is kept as a high mark with a set of holes
below it, which is a set of pairs (sender, number) in little space: a late event still fills its hole.
A sender is known by the part of its stamp that never changes, so that the usual event costs one slice.
"""

from __future__ import annotations

import enum

from ..messages import read_stamp

__all__ = ["Mark", "Tracker", "Verdict", "read_mark"]

Mark = tuple[bytes, int]
"""Who said an event (the part of the stamp that never changes), and its number."""

_MOST_SENDERS = 4096
_MOST_HOLES = 1000


class Verdict(enum.Enum):
    """What the number of an event says."""

    NEW = "new"
    SEEN = "seen"
    AFTER_HOLE = "after a hole"


def read_mark(stamped: bytes) -> Mark | None:
    """Read who said an event and its number; None if it is not stamped."""
    stamp = read_stamp(stamped)
    return None if stamp is None else (stamped[-40:-8], stamp[1])


class _Seen:
    __slots__ = ("high", "holes")

    def __init__(self, high: int) -> None:
        self.high = high
        self.holes: set[int] = set()


class Tracker:
    """Keep what was seen, for one subscription; the oldest senders are forgotten first."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, bytes], _Seen] = {}

    def follows(self, channel: bytes, payload: bytes) -> bool:
        """
        Remember an event if it is the next one of a sender that is known: the usual case, in one step.

        Args:
            channel: Where it was said.
            payload: Any payload.

        Returns:
            Whether it was remembered; if not, ask `judge`.
        """
        seen = self._seen.get((channel, payload[-40:-8]))
        if seen is None or int.from_bytes(payload[-8:], "big") != seen.high + 1:
            return False
        seen.high += 1
        return True

    def judge(self, channel: bytes, sender: bytes, number: int) -> Verdict:
        """
        Say what to do with an event, without remembering it.

        Args:
            channel: Where it was said.
            sender: Who said it.
            number: Its number among the events of that sender on that channel.

        Returns:
            NEW to deliver it, SEEN to drop it, AFTER_HOLE if earlier ones are missing.
        """
        seen = self._seen.get((channel, sender))
        if seen is None:
            return Verdict.NEW
        if number == seen.high + 1:
            return Verdict.NEW
        if number > seen.high:
            return Verdict.AFTER_HOLE
        return Verdict.NEW if number in seen.holes else Verdict.SEEN

    def knows(self, channel: bytes, sender: bytes) -> bool:
        """Tell whether anything of this sender was seen on this channel."""
        return (channel, sender) in self._seen

    def mark(self, channel: bytes, sender: bytes, number: int) -> None:
        """Remember an event as seen; numbers that it skips become holes."""
        seen = self._seen.get((channel, sender))
        if seen is None:
            if len(self._seen) >= _MOST_SENDERS:
                del self._seen[next(iter(self._seen))]
            self._seen[channel, sender] = _Seen(number)
        elif number > seen.high:
            first = max(seen.high + 1, number - _MOST_HOLES)
            seen.holes.update(range(first, number))
            seen.high = number
            while len(seen.holes) > _MOST_HOLES:
                seen.holes.discard(min(seen.holes))
        else:
            seen.holes.discard(number)

    def close_holes(self, channel: bytes, sender: bytes, number: int) -> int:
        """
        Give up what is missing before an event.

        Args:
            channel: Where it was said.
            sender: Who said it.
            number: The number of the event that comes next.

        Returns:
            How many events are given up.
        """
        seen = self._seen.get((channel, sender))
        if seen is None:
            return 0
        missed = max(0, number - seen.high - 1)
        seen.high = max(seen.high, number - 1)
        return missed
