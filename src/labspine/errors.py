"""
Every error that leaves the public interface of Labspine.

::

    LabspineError
    ├── ConfigError (ValueError)         an address, option, file or program that cannot work
    ├── InvalidArgument (ValueError)     an argument of a call is wrong
    │   └── InvalidName                  a name of a device, channel or service is not allowed
    ├── InvalidMessage (ValueError)      a message does not follow its schema
    ├── InvalidOperation (TypeError)     the endpoint, key or state does not allow this
    ├── TooLarge (ValueError)            above a limit that is known before sending
    ├── DecodeError (ValueError)         bytes from elsewhere that are not a message
    ├── NotConnected (ConnectionError)   nothing was done: no connection
    │   └── AuthenticationError          the server does not accept the user or password
    ├── DeliveryUnknown (ConnectionError)  the connection broke: done or not done is unknown
    ├── DeadlinePassed (TimeoutError)    the time limit of the call ended first
    ├── PermissionDenied (PermissionError)  the server's access rules refuse this
    ├── ServerError                      the server refused; its own words are in the text
    ├── RequestRefused (ValueError)      a scan request that the scan server does not accept
    ├── NoScanServer (ConnectionError)   nobody listens for scan requests
    ├── QueueFull (BufferError)          a queue holds as many items as it may; nothing was put
    ├── WorkRefused                      a handler says: this item will never work, bury it
    ├── CallError                        a call of a service failed; has service, procedure, retryable
    │   ├── NoSuchService (ConnectionError)  nobody serves it; nothing was executed
    │   ├── NoSuchProcedure (LookupError)    the service has no such procedure
    │   ├── RemoteError (RuntimeError)       the procedure raised; has remote_type, remote_traceback
    │   ├── ServiceDied (ConnectionError)    who executed it died or froze; done or not done is unknown
    │   ├── ServiceBusy                      it has more calls than it accepts; nothing was executed
    │   ├── CallCancelled                    the call was cancelled
    │   └── CallTimeout (DeadlinePassed)     its time limit ended first
    ├── PlanError                        a plan or Msg cannot be performed
    └── DeviceError                      a device lacks an ability or answered wrongly

``LabspineWarning`` is the root of the warnings.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AuthenticationError",
    "CallCancelled",
    "CallError",
    "CallTimeout",
    "ConfigError",
    "DeadlinePassed",
    "DecodeError",
    "DeliveryUnknown",
    "DeviceError",
    "InvalidArgument",
    "InvalidMessage",
    "InvalidName",
    "InvalidOperation",
    "LabspineError",
    "LabspineWarning",
    "NoScanServer",
    "NoSuchProcedure",
    "NoSuchService",
    "NotConnected",
    "PermissionDenied",
    "PlanError",
    "QueueFull",
    "RemoteError",
    "RequestRefused",
    "ServerError",
    "ServiceBusy",
    "ServiceDied",
    "TooLarge",
    "WorkRefused",
    "did_you_mean",
    "shown",
]


class LabspineError(Exception):
    """Root of all errors of Labspine; ``code`` is stable and can be passed on by gateway and command."""

    code = "E-LAB"


class ConfigError(LabspineError, ValueError):
    """An address, option, file or program that cannot work."""

    code = "E-CONFIG"


class InvalidArgument(LabspineError, ValueError):
    """An argument of a call is wrong; nothing was sent."""

    code = "E-ARG"


class InvalidName(InvalidArgument):
    """A name is not allowed; nothing was sent."""

    code = "E-NAME"


class InvalidMessage(LabspineError, ValueError):
    """A message does not follow its schema; the text names the path of the field."""

    code = "E-MSG"


class InvalidOperation(LabspineError, TypeError):
    """The endpoint, the key on the server or the present state does not allow this operation."""

    code = "E-OP"


class TooLarge(LabspineError, ValueError):
    """Something exceeds a limit that is checked before sending or before building."""

    code = "E-SIZE"


class DecodeError(LabspineError, ValueError):
    """Bytes that are not a message of a known type."""

    code = "E-DECODE"


class NotConnected(LabspineError, ConnectionError):
    """There is no connection, and nothing was done."""

    code = "E-CONN"


class AuthenticationError(NotConnected):
    """The server does not accept the user name or the password."""

    code = "E-AUTH"


class DeliveryUnknown(LabspineError, ConnectionError):
    """
    The connection broke after the command was sent: it may or may not have been done.

    For a durable event ``unsettled`` is set, and ``connector.repeat(error)`` says it again, heard once.
    """

    code = "E-UNKNOWN"
    unsettled: object = None


class DeadlinePassed(LabspineError, TimeoutError):
    """
    The time limit of the call ended before the answer came.

    For a durable event ``unsettled`` is set, and ``connector.repeat(error)`` says it again, heard once.
    """

    code = "E-TIME"
    unsettled: object = None


class PermissionDenied(LabspineError, PermissionError):
    """The access rules of the server refuse this."""

    code = "E-PERM"


class ServerError(LabspineError):
    """The server refused the command; its own words are part of the text, and ``said`` holds them alone."""

    code = "E-SERVER"
    said = ""


class RequestRefused(LabspineError, ValueError):
    """The scan server does not accept a request; nothing was queued and nothing moved."""

    code = "E-REQUEST"


class NoScanServer(LabspineError, ConnectionError):
    """Nobody listens for scan requests on this broker."""

    code = "E-NOSERVER"


class CallError(LabspineError):
    """
    A call of a service failed.

    Args:
        text: The sentence.
        service: Name of the service.
        procedure: Name of the procedure.
        retryable: Whether calling again can help and does no harm; None leaves it as the class says.
    """

    code = "E-CALL"
    retryable = False

    def __init__(
        self, text: str = "", *, service: str = "", procedure: str = "", retryable: bool | None = None
    ) -> None:
        super().__init__(text)
        self.service = service
        self.procedure = procedure
        if retryable is not None:
            self.retryable = retryable


class NoSuchService(CallError, ConnectionError):
    """Nobody serves it now; nothing was executed."""

    code = "E-NOSERVICE"
    retryable = True


class NoSuchProcedure(CallError, LookupError):
    """The service has no procedure of this name; the text names the nearest."""

    code = "E-NOPROCEDURE"


class RemoteError(CallError, RuntimeError):
    """The procedure raised, or gave a result that cannot be sent; see ``remote_traceback``."""

    code = "E-REMOTE"
    remote_type = ""
    remote_message = ""
    remote_traceback = ""
    remote_code = ""


class ServiceDied(CallError, ConnectionError):
    """Who executed the call died or froze: done or not done is unknown."""

    code = "E-DIED"


class ServiceBusy(CallError):
    """The service has more calls than it accepts; nothing was executed."""

    code = "E-BUSY"
    retryable = True


class CallCancelled(CallError):
    """The call was cancelled by its caller."""

    code = "E-CANCELLED"


class CallTimeout(CallError, DeadlinePassed):
    """The time limit of the call ended first; the service was told to stop."""

    code = "E-TIME"


class QueueFull(LabspineError, BufferError):
    """
    A queue holds as many items as it may; nothing was put.

    Args:
        queue: Its name.
        held: How many items it holds.
        limit: How many it may hold.
        more: How many were to be put.
    """

    code = "E-FULL"

    def __init__(self, queue: str, *, held: int, limit: int, more: int = 1) -> None:
        super().__init__(queue, held, limit, more)
        self.queue = queue
        self.held = held
        self.limit = limit
        self.more = more

    def __str__(self) -> str:
        return (
            f'the queue "{self.queue}" holds {self.held} items and may hold {self.limit}: {self.more} more '
            "do not fit. Start more workers, put later, or wait with put(..., timeout_s=...)"
        )


class WorkRefused(LabspineError):
    """Raised by the handler of a worker: this item will never work, so bury it and do not try again."""

    code = "E-WORK"


class PlanError(LabspineError):
    """A plan or one of its messages cannot be performed."""

    code = "E-PLAN"


class DeviceError(LabspineError):
    """A device lacks an ability or answered wrongly."""

    code = "E-DEVICE"


class LabspineWarning(UserWarning):
    """Root of all warnings of Labspine."""


def shown(value: object, limit: int = 80) -> str:
    """
    Make a value safe and short enough for an error text.

    Args:
        value: Anything; text from elsewhere is data and is escaped.
        limit: Largest number of characters kept.

    Returns:
        Its repr with control characters escaped, cut with an ellipsis.
    """
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: limit + 1])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """
    Suggest the nearest known name.

    Args:
        wrong: What was written.
        known: The names that exist.

    Returns:
        `` — did you mean "det"?`` or an empty text when nothing is near.
    """
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.5)
    return f' — did you mean "{near[0]}"?' if near else ""
