"""What a callback receives."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Gap", "MessageObject"]


class MessageObject(msgspec.Struct):
    """
    One message as a callback gets it.

    Args:
        topic: The channel (or key of the stream) on which it was said.
        value: The message; a list of messages for a bundle; a `Gap` when some were missed.
    """

    topic: str
    value: Any


class Gap(msgspec.Struct, frozen=True):
    """
    A notice that messages were missed and cannot be read again.

    Args:
        missed: How many; None if that cannot be known.
    """

    missed: int | None

    @property
    def content(self) -> dict[str, int | None]:
        """The same as a dict, as messages have it."""
        return {"missed": self.missed}

    @property
    def metadata(self) -> dict[str, object]:
        """Empty; a notice carries nothing else."""
        return {}
