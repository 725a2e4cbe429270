"""What all commands share: options, output, exit codes, and the way from an error to a sentence."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import (
    ConfigError,
    DeadlinePassed,
    LabspineError,
    NoScanServer,
    NoSuchService,
    NotConnected,
    PermissionDenied,
    RemoteError,
    RequestRefused,
    ServerError,
    ServiceBusy,
    ServiceDied,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..lab import Lab

__all__ = [
    "EXIT_CODES",
    "JsonOption",
    "UrlOption",
    "connected",
    "console",
    "exit_code",
    "say",
    "say_json",
    "warn",
]

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The broker; default: LABSPINE_URL, else the running embedded one."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print data as JSON, one value a line.")]

EXIT_CODES = {
    0: "done",
    1: "it ran and failed, or the doctor found a problem",
    2: "refused: a wrong device, plan, argument, position or option",
    3: "nobody there: no broker, no scan server, no such service",
    4: "the time limit passed",
    130: "stopped by Ctrl-C",
}


def exit_code(error: BaseException) -> int:
    """Choose the exit code of an error; the table is `EXIT_CODES`."""
    if isinstance(error, (NotConnected, NoScanServer, NoSuchService)):
        return 3
    if isinstance(error, DeadlinePassed):
        return 4
    if isinstance(error, (RemoteError, ServiceDied, ServiceBusy)):
        return 1
    if isinstance(error, (PermissionDenied, ServerError)) and not isinstance(error, RequestRefused):
        return 1
    if isinstance(error, LabspineError):
        return 2
    return 1


def console(*, stderr: bool = False) -> Console:
    """Make a rich console; NO_COLOR and pipes are respected."""
    from rich.console import Console

    target = sys.stderr if stderr else sys.stdout
    # A pipe has no width: rows stay whole there.
    return Console(stderr=stderr, highlight=False, width=None if target.isatty() else 200)


def say(text: str = "") -> None:
    """Print data for the person or the pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def warn(text: str) -> None:
    """Print a remark that is not data."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(value: object) -> None:
    """Print one value as one line of JSON; arrays become lists, what has no JSON form its text."""
    say(json.dumps(jsonable(value), allow_nan=False, ensure_ascii=False))


def jsonable(value: object) -> object:
    """Turn messages, arrays and numpy numbers into what JSON has; NaN and infinity become null."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if hasattr(value, "content") and hasattr(value, "metadata"):
        return jsonable({"type": type(value).__name__, **value.content, "metadata": value.metadata})
    if hasattr(value, "__struct_fields__"):
        return jsonable({name: getattr(value, name) for name in value.__struct_fields__})
    return str(getattr(value, "name", value))


def connected(url: str | None, *, name: str, profile: str = "seed") -> Lab:
    """
    Connect a command to the lab.

    Args:
        url: The address, or None to look for one.
        name: Name of the command, for the list of clients on the server.
        profile: The naming scheme of the channels: ``seed`` or ``bec4``.

    Returns:
        The client; a context manager.

    Raises:
        ConfigError: If there is no address and no running embedded broker.
        NotConnected: If nobody answers there.
    """
    from ..lab import connect

    if profile not in ("seed", "bec4"):
        raise ConfigError(f"profile {profile!r}: use seed or bec4")
    return connect(url, name=f"labspine-{name}-{os.getpid()}", profile=profile)  # type: ignore[arg-type]  # checked above
