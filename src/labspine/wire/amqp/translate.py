"""Turn what RabbitMQ refuses into errors of this package; the only place that knows its codes."""

from __future__ import annotations

from ...errors import (
    InvalidOperation,
    LabspineError,
    NotConnected,
    PermissionDenied,
    ServerError,
    TooLarge,
)
from ..protocol import ConnectionLost
from .channel import ChannelRefused, Nacked

__all__ = ["translated"]

_KINDS: dict[int, tuple[type[LabspineError], str]] = {
    311: (TooLarge, "the message is too large"),
    403: (PermissionDenied, "the access rules of the broker refuse this"),
    404: (ServerError, "there is no such exchange or queue"),
    405: (InvalidOperation, "the queue belongs to another connection"),
    406: (InvalidOperation, "it exists already with other settings, or the message breaks a rule"),
}


def translated(error: Exception, where: object) -> LabspineError:
    """
    Make the error that the caller shall see.

    Args:
        error: A refusal or loss, as the wire noticed it.
        where: The broker, for the text.

    Returns:
        An error of `labspine.errors` with the broker's own words in its text.
    """
    if isinstance(error, ChannelRefused):
        kind, meaning = _KINDS.get(error.code, (ServerError, "the broker refused"))
        return kind(f'{where}: {meaning}; it said "{error}"')
    if isinstance(error, ConnectionLost):
        return NotConnected(f"the connection to {where} broke: {error}")
    if isinstance(error, Nacked):
        return ServerError(f"{where}: {error}; it may be out of memory or disk, or a queue is full")
    return ServerError(f"{where}: {error}")
