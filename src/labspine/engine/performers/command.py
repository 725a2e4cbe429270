"""What the engine knows about a command, and what a device must be able to do for it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import shown
from ..errors import MissingAbility

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["Command", "custom_command", "listing", "missing", "require"]

Performer = Callable[["Session", Any], Any]
"""Takes the session and the step; gives the answer, or a coroutine whose value is the answer."""


@dataclass(frozen=True, slots=True)
class Command:
    """
    One command.

    Args:
        perform: What to do.
        is_cacheable: Whether the step is repeated after a pause.
        patience_s: How long it may go on when somebody wants a pause; 0 for steps that only wait.
        needs: Methods that its object must have.
        in_run: Whether a run must be open.
    """

    perform: Performer
    is_cacheable: bool = True
    patience_s: float = 1.0
    needs: tuple[str, ...] = ()
    in_run: bool = False

    @property
    def about(self) -> str:
        """Its description."""
        return inspect.getdoc(self.perform) or "No description."


def custom_command(func: Callable[[Any], Any]) -> Command:
    """
    Make a command of a user's function.

    Args:
        func: Plain or coroutine function of the Msg.

    Returns:
        The command; it can be interrupted and is repeated after a pause.
    """

    def perform(session: Session, msg: Any) -> Any:
        answer = func(msg)
        # A status is an answer, although it may be awaitable; a future is something to wait for.
        return _outcome(answer) if isinstance(answer, asyncio.Future) else answer

    perform.__doc__ = inspect.getdoc(func)
    return Command(perform, patience_s=0.0)


async def _outcome(future: asyncio.Future[Any]) -> Any:
    return await future


def listing(table: Mapping[Any, Command], *, verbose: bool) -> str:
    """
    Describe commands.

    Args:
        table: Command by name.
        verbose: Whole descriptions instead of first lines.

    Returns:
        The text.
    """
    lines = ["List of available commands"]
    for name, command in table.items():
        about = command.about
        lines.append(f"{name} : {about if verbose else about.splitlines()[0]}")
    return "\n".join(lines) + "\n"


def missing(obj: object, needs: tuple[str, ...]) -> list[str]:
    """
    List what an object lacks.

    Args:
        obj: The object of a step.
        needs: Methods that the command needs.

    Returns:
        Those that it does not have.
    """
    return [name for name in needs if not hasattr(obj, name)]


def require(msg: Any, *needs: str) -> Any:
    """
    Insist that the object of a step can do what the command needs.

    Args:
        msg: The step.
        needs: Methods and properties.

    Returns:
        The object.

    Raises:
        MissingAbility: If it lacks one; the text names them.
    """
    obj = msg.obj
    for name in needs:
        if not hasattr(obj, name):
            raise lacking(obj, needs, msg.command)
    return obj


def lacking(obj: Any, needs: tuple[str, ...], command: str, *, protocol: str | None = None) -> MissingAbility:
    """
    Make the error for an object that lacks an ability.

    Args:
        obj: The object.
        needs: What the command needs.
        command: Its name.
        protocol: Name of these needs in bluesky's protocols.

    Returns:
        The error.
    """
    name = getattr(obj, "name", None) or shown(obj)
    lacks = ", ".join(missing(obj, needs))
    wanted = f"all {protocol} methods" if protocol else "all of what it needs"
    return MissingAbility(
        f"{name} ({type(obj).__name__}) cannot be used with '{command}': it does not implement {wanted}, "
        f"it lacks {lacks}"
    )
