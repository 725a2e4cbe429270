"""Running numbers of one sender, one row a channel, so that a receiver can tell repeats and holes."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Numbering"]

_MOST_CHANNELS = 10_000


class Numbering:
    """
    Count the events that one sender publishes on each channel, from 1.

    Args:
        new_sender: Makes an identity; called again when the table of channels is full.
    """

    __slots__ = ("_new_sender", "_numbers", "sender")

    def __init__(self, new_sender: Callable[[], str]) -> None:
        self._new_sender = new_sender
        self._numbers: dict[str, int] = {}
        self.sender = new_sender()

    def take(self, channel: str) -> int:
        """Return the next number for a channel."""
        numbers = self._numbers
        number = numbers.get(channel, 0) + 1
        if number == 1 and len(numbers) >= _MOST_CHANNELS:
            numbers.clear()
            self.sender = self._new_sender()
        numbers[channel] = number
        return number

    def give_back(self, channel: str, number: int) -> None:
        """Take a number back that was never sent; does nothing if later ones are in use."""
        if self._numbers.get(channel) == number:
            self._numbers[channel] = number - 1
