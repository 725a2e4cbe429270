"""Commands of which most words never change: packed once, filled in for each use."""

from __future__ import annotations

from collections.abc import Sequence

from ..flows import Argument

__all__ = ["HOLE", "Template"]

HOLE = None
"""Stands in a command for what is filled in later."""


class Template:
    """
    Pack commands as `pack` does, but for what changes.

    Args:
        commands: The commands; `HOLE` where something is filled in.
    """

    __slots__ = ("_layout", "due")

    def __init__(self, commands: Sequence[Sequence[Argument | None]]) -> None:
        parts: list[bytes] = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            for word in command:
                if word is HOLE:
                    parts.append(b"$%d\r\n%b\r\n")
                else:
                    raw = word if isinstance(word, bytes) else str(word).encode()
                    parts.append((b"$%d\r\n%b\r\n" % (len(raw), raw)).replace(b"%", b"%%"))
        self._layout = b"".join(parts)
        self.due = len(commands)

    def fill(self, *values: bytes) -> bytes:
        """
        Fill in.

        Args:
            values: As many as there are holes, in order; small ones, for they are copied.

        Returns:
            What is written to the socket; `due` says how many replies come.
        """
        pairs: list[object] = []
        for value in values:
            pairs.append(len(value))
            pairs.append(value)
        return self._layout % tuple(pairs)
