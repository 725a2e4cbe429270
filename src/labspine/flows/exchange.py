"""What a flow asks for: commands that travel in one write, and what may be done when the link breaks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias, TypeVar

import msgspec

__all__ = ["Argument", "Command", "Exchange", "Fixed", "Flow", "read", "write"]

Argument: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Argument, ...]
Reply: TypeAlias = Any

Outcome = TypeVar("Outcome")


class Fixed(tuple[Argument, ...]):
    """A command that is sent again and again as it is: the wire keeps beside it what it made of it."""

    packed: bytes = b""


class Exchange(msgspec.Struct, frozen=True):
    """
    Commands that travel in one write and are answered together.

    Args:
        commands: Each a tuple of name and arguments.
        transaction: Wrap them in MULTI and EXEC, so that the server performs all of them in one step.
        readonly: They change nothing; after a broken link they may be sent again.
        block_s: The longest time in seconds that the server itself may wait; None if it does not wait.
        keep_order: They must not overtake, or be overtaken by, other commands of the same door.
    """

    commands: tuple[Command, ...]
    transaction: bool = False
    readonly: bool = False
    block_s: float | None = None
    keep_order: bool = False


Flow: TypeAlias = Generator[Exchange, list[Reply], Outcome]
"""A flow yields exchanges, receives one reply a command, and returns its outcome."""


def read(*command: Argument) -> Exchange:
    """Ask for one command that changes nothing."""
    return Exchange((command,), False, True)


def write(*command: Argument) -> Exchange:
    """Ask for one command that changes something."""
    return Exchange((command,))
