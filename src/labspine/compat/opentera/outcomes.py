"""What both doors of the client share: making a request, and turning a reply into a value or an error."""

from __future__ import annotations

from typing import Any, Literal

from ...endpoints import EndpointInfo, MessageEndpoints, check_segment
from ...errors import (
    CallError,
    CallTimeout,
    InvalidArgument,
    NoSuchProcedure,
    NoSuchService,
    RemoteError,
    ServiceBusy,
    shown,
)
from ...flows import checks
from ...ids import new_token
from ...messages.opentera import RPCMessage, RPCReply

__all__ = [
    "Failures",
    "Place",
    "answered_place",
    "checked_failures",
    "nobody",
    "outcome",
    "place_of",
    "request",
    "too_late",
]

Failures = Literal["raise", "none"]
"""What a failed call does: raise the error that says why, or return None as OpenTera's own client does."""

Place = EndpointInfo[RPCMessage]
_REFUSALS: dict[str, type[CallError]] = {"NoSuchProcedure": NoSuchProcedure, "ServiceBusy": ServiceBusy}


def checked_failures(failures: object, timeout_s: object) -> Failures:
    """
    Check the options of a client.

    Raises:
        InvalidArgument: If one is out of range.
    """
    limit_of(timeout_s, None)
    if failures == "raise" or failures == "none":  # noqa: PLR1714  # mypy understands this form only
        return failures
    raise InvalidArgument(f'failures={shown(failures)}: use "raise" or "none"')


def limit_of(timeout_s: object, usual_s: float | None) -> float:
    """
    Check how long a call may take.

    Args:
        timeout_s: What was asked for; None for the usual.
        usual_s: The time limit of the client, if there is one yet.

    Raises:
        InvalidArgument: If it is not above 0, or None where there is no usual one.
    """
    if timeout_s is None and usual_s is not None:
        return usual_s
    limit_s = checks.seconds("timeout_s", timeout_s)
    if limit_s == 0:
        raise InvalidArgument("timeout_s=0: must be above 0")
    return limit_s


def answered_place() -> EndpointInfo[RPCReply]:
    """Make the channel of the replies to one client; nobody can guess it."""
    return MessageEndpoints.rpc_replies(new_token(16))


def request(procedure: object, args: tuple[Any, ...], *, reply_to: str, number: int) -> RPCMessage:
    """
    Make a request.

    Raises:
        InvalidArgument: If the procedure has no name.
        InvalidMessage: If an argument cannot travel; nothing was sent.
    """
    name = check_segment(procedure, where="procedure")
    return RPCMessage(method=name, reply_to=reply_to, id=number, args=list(args))


def place_of(kind: Literal["service", "module"], name: str) -> Place:
    """
    Name the topic on which a service or module is called.

    Raises:
        InvalidName: If the name cannot stand in a topic.
    """
    return MessageEndpoints.service_rpc(name) if kind == "service" else MessageEndpoints.module_rpc(name)


def outcome(reply: RPCReply, place: Place, procedure: str) -> Any:
    """
    Turn a reply into the value.

    Raises:
        NoSuchProcedure: If the service says that it has none of this name.
        InvalidArgument: If it says that the arguments do not fit.
        ServiceBusy: If it has too much to do.
        RemoteError: If the procedure failed.
    """
    if reply.status == "OK":
        return reply.return_value
    told = reply.error or {}
    kind, text = told.get("type", ""), told.get("message", "")
    if kind == "InvalidArgument":
        raise InvalidArgument(text)
    service = place.args[0]
    if kind in _REFUSALS:
        raise _REFUSALS[kind](text, service=service, procedure=procedure)
    reason = f"{kind}: {text}" if kind else "the service does not say why"
    error = RemoteError(f"{service}.{procedure} failed: {reason}", service=service, procedure=procedure)
    error.remote_type, error.remote_message = kind, text
    raise error


def nobody(place: Place, procedure: str) -> NoSuchService:
    """Say that nobody heard a request."""
    return NoSuchService(
        f'nobody serves "{place.endpoint}": start the service, or look for another name',
        service=place.args[0],
        procedure=procedure,
    )


def too_late(place: Place, procedure: str, timeout_s: float) -> CallTimeout:
    """Say that no reply came."""
    return CallTimeout(
        f"{place.args[0]}.{procedure} gave no reply within {timeout_s:g} s; it may have been executed. A "
        "service of OpenTera does not answer at all when it has no such procedure",
        service=place.args[0],
        procedure=procedure,
    )
