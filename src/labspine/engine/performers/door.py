"""The commands that an engine knows, and how it is taught others."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from ...errors import InvalidArgument, InvalidOperation, did_you_mean, shown
from ..errors import InvalidCommand, kind
from .command import Command, custom_command, listing
from .table import BUILT_IN

__all__ = ["Commanded"]


class Commanded:
    """What both doors of the engine offer for commands."""

    def __init__(self) -> None:
        super().__init__()
        self.table: dict[Any, Command] = dict(BUILT_IN)

    @property
    def commands(self) -> list[str]:
        """Names of the commands that a Msg can have."""
        return list(self.table)

    def register_command(self, name: str, func: Callable[[Any], Any], *, replace: bool = False) -> None:
        """
        Teach the engine a command.

        Args:
            name: What ``Msg.command`` will be.
            func: A plain or coroutine function of the Msg; its value is the answer to the plan.
            replace: Take the place of a command that exists.

        Raises:
            InvalidOperation: If the name is taken and replace is False.
            InvalidArgument: If func is not callable.
        """
        if not callable(func):
            raise InvalidArgument(f"a command must be a function of the Msg; got {shown(func)}")
        if name in self.table and not replace:
            raise InvalidOperation(f'command "{shown(name)}" exists already; pass replace=True to replace it')
        self.table[name] = custom_command(func)

    def unregister_command(self, name: str, *, replace: bool = False) -> None:
        """
        Make the engine forget a command; a replaced built-in one comes back.

        Args:
            name: Its name.
            replace: Also remove a built-in command.

        Raises:
            InvalidCommand: If there is none of that name.
            InvalidOperation: If it is built in and replace is False.
        """
        entry = self.table.get(name)
        if entry is None:
            raise kind(InvalidCommand)(f"no command {shown(name)!r}{did_you_mean(str(name), self.table)}")
        if entry is BUILT_IN.get(name) and not replace:
            raise InvalidOperation(
                f'command "{name}" is built in; pass replace=True to remove it all the same'
            )
        if entry is not BUILT_IN.get(name) and name in BUILT_IN:
            self.table[name] = BUILT_IN[name]
        else:
            del self.table[name]

    def print_command_registry(self, verbose: bool = False) -> str:
        """
        Describe the commands.

        Args:
            verbose: Give the whole description of each, not only its first line.

        Returns:
            One line, or one paragraph, for each command.
        """
        return listing(self.table, verbose=verbose)

    def patience_of(self, command: Hashable) -> float:
        """
        Tell how long a step that is under way may go on when somebody wants a pause or an end.

        Args:
            command: Its name.

        Returns:
            Seconds.
        """
        entry = self.table.get(command)
        return 0.0 if entry is None else entry.patience_s
