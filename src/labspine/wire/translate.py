"""Turn the error replies of a server into errors of this package; the only place that knows its prefixes."""

from __future__ import annotations

from ..errors import (
    AuthenticationError,
    DeliveryUnknown,
    InvalidArgument,
    InvalidOperation,
    LabspineError,
    NotConnected,
    PermissionDenied,
    ServerError,
    shown,
)
from ..flows import Command

__all__ = ["ErrorReply", "is_elsewhere", "lost_after_sending", "lost_before_sending", "translated"]

_KINDS: dict[str, tuple[type[LabspineError], str]] = {
    "NOAUTH": (AuthenticationError, "the server wants a user name and password"),
    "WRONGPASS": (AuthenticationError, "the server does not accept the user name or the password"),
    "NOPERM": (PermissionDenied, "the access rules of the server refuse this"),
    "WRONGTYPE": (InvalidOperation, "the key holds another kind of value than this operation works on"),
    "OOM": (ServerError, "the server is out of memory"),
    "MISCONF": (ServerError, "the server cannot save to disk and accepts no changes"),
    "READONLY": (ServerError, "this server is a read-only replica"),
    "LOADING": (ServerError, "the server is still loading its data"),
    "BUSY": (ServerError, "the server is busy with a script"),
    "MASTERDOWN": (ServerError, "this replica has lost its master"),
    "NOREPLICAS": (ServerError, "the server has too few replicas to accept changes"),
    "CLUSTERDOWN": (ServerError, "the cluster is down, or nobody serves this slot"),
    "MOVED": (
        ServerError,
        "the server is a node of a Redis Cluster: use redis+cluster://host1:6379,host2:6379",
    ),
    "ASK": (
        ServerError,
        "the server is a node of a Redis Cluster: use redis+cluster://host1:6379,host2:6379",
    ),
    "TRYAGAIN": (ServerError, "the slot of these keys is just being moved to another node"),
    "CROSSSLOT": (InvalidOperation, "the keys lie on different slots of a Redis Cluster"),
    "EXECABORT": (ServerError, "the transaction was given up: one of its commands was refused"),
}


_ELSEWHERE = frozenset(
    ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "UNBLOCKED")
)


class ErrorReply(Exception):
    """An error reply as the parser found it; never leaves the wire."""


def translated(reply: ErrorReply, command: Command) -> LabspineError:
    """
    Make the error that the caller shall see.

    Args:
        reply: What the server said.
        command: What was asked, for the text; values and secrets are not shown.

    Returns:
        An error of `labspine.errors` with the server's own words in its text.
    """
    error = _understood(str(reply), _named(command))
    if isinstance(error, ServerError):
        error.said = str(reply)
    return error


def _understood(words: str, where: str) -> LabspineError:
    prefix = words.partition(" ")[0]
    if prefix in _KINDS:
        kind, meaning = _KINDS[prefix]
        return kind(f'{where}: {meaning}; it said "{shown(words, 200)}"')
    if "invalid password" in words or "without any password configured" in words:
        return AuthenticationError(
            f'{where}: the server does not accept the login; it said "{shown(words, 200)}"'
        )
    if "invalid stream ID" in words.lower() or "Invalid stream ID" in words:
        return InvalidArgument(
            f'{where}: the server does not accept the stream id; it said "{shown(words, 200)}"'
        )
    return ServerError(f'{where}: the server refused; it said "{shown(words, 200)}"')


def is_elsewhere(error: ServerError) -> bool:
    """Tell whether a node of a cluster refused because it has not got the slot, or has it not wholly, now."""
    return error.said.partition(" ")[0] in _ELSEWHERE or "non local key" in error.said


def lost_before_sending(where: object, reason: object) -> NotConnected:
    """Make the error for a link that was not there."""
    return NotConnected(f"no connection to {where}: {reason}; nothing was done. Is the broker running?")


def lost_after_sending(where: object, reason: object) -> DeliveryUnknown:
    """Make the error for a link that broke while the answer was due."""
    return DeliveryUnknown(
        f"the connection to {where} broke after the command was sent ({reason}): done or not done is unknown"
    )


def _named(command: Command) -> str:
    name = _text(command[0])
    if name == "AUTH" or len(command) < 2:
        return name
    return f"{name} {shown(_text(command[1]))}"


def _text(argument: bytes | str | int) -> str:
    return argument.decode("utf-8", "replace") if isinstance(argument, bytes) else str(argument)
