"""
What can go wrong in a plan, and the signals that end one.

::

    PlanError
    ├── NotAPlan (TypeError)                  what was given cannot be performed step by step
    ├── NotAStep (AttributeError)             the plan yielded something that is no Msg
    ├── BadStep (ValueError, TypeError)       a step has wrong arguments
    │   ├── UndeclaredStream (AssertionError) a flyer's stream was not declared, or not by a name
    │   └── NotOffered (RuntimeError)         what old versions of a command could do
    ├── IllegalMessageSequence                steps in an order that makes no sense
    ├── InvalidCommand (KeyError)             a command that nobody registered
    ├── EngineBusy (RuntimeError)             the engine runs a plan already
    ├── TransitionError (RuntimeError)        the engine's state does not allow this request
    ├── FailedStatus                          a device reported a failure
    │   └── DeviceTimeout (TimeoutError)      a device reported nothing within its limit
    ├── SubscriberOverrun                     a critical subscriber cannot follow
    ├── BlockedStep (TimeoutError)            a step kept the engine's thread longer than allowed
    ├── FailedPause                           a pause without a checkpoint to return to
    ├── WaitForTimeoutError (TimeoutError)    a wait took too long
    ├── NoReplayAllowed                       a device forbids replaying (raised by its pause())
    ├── RunEngineInterrupted                  the call ended before the plan did
    ├── RequestStop, RequestAbort             signals, thrown into the plan
    └── MismatchedReading (RuntimeError, KeyError)  an event that does not fit its stream
        └── MismatchedValue (DeviceError)     a device reads other things than it describes
    DeviceError
    ├── BadTarget (ValueError)                a value that a device must not be sent to
    ├── MissingAbility (AssertionError)       the object lacks methods that the command needs
    ├── NotAStatus (AttributeError)           a device returned no status object
    └── BadAsset (RuntimeError)               a detector announced files in a wrong way
    PlanHalt (GeneratorExit)                  a signal: no clean-up by the plan

Raise through :func:`kind`: it gives a class that also derives from bluesky's class of the same name when
bluesky is loaded, so that ``except bluesky.utils.FailedStatus`` works in existing plans.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from ..errors import DeviceError, InvalidMessage, PlanError
from .bluesky_link import foreign

__all__ = [
    "BadAsset",
    "BadStep",
    "BadTarget",
    "BlockedStep",
    "DeviceTimeout",
    "EngineBusy",
    "FailedPause",
    "FailedStatus",
    "IllegalMessageSequence",
    "InvalidCommand",
    "InvalidDocument",
    "MismatchedReading",
    "MismatchedValue",
    "MissingAbility",
    "NoReplayAllowed",
    "NotAPlan",
    "NotAStatus",
    "NotAStep",
    "NotOffered",
    "PlanHalt",
    "RequestAbort",
    "RequestStop",
    "RunEngineInterrupted",
    "SubscriberOverrun",
    "TransitionError",
    "UndeclaredStream",
    "WaitForTimeoutError",
    "kind",
    "kinds",
]

E = TypeVar("E", bound=BaseException)


class NotAPlan(PlanError, TypeError):
    """What was given cannot be performed step by step."""


class NotAStep(PlanError, AttributeError):
    """A plan yielded something without the five attributes of a Msg."""


class BadStep(PlanError, ValueError, TypeError):
    """A step has wrong arguments; the device was not touched."""


class UndeclaredStream(BadStep, AssertionError):
    """A stream for ``collect`` was not declared before, or has no name."""


class NotOffered(BadStep, RuntimeError):
    """A step asks for what only old versions of its command could do."""


class IllegalMessageSequence(PlanError):
    """Steps came in an order that makes no sense, such as ``save`` without ``create``."""


class InvalidCommand(PlanError, KeyError):
    """A step names a command that nobody registered."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class EngineBusy(PlanError, RuntimeError):
    """The engine runs a plan already, or must not be called from here."""


class TransitionError(PlanError, RuntimeError):
    """The present state of the engine does not allow this request."""


class FailedStatus(PlanError):
    """A device reported a failure; ``args[0]`` is its status, ``statuses`` are all that failed at once."""

    @property
    def statuses(self) -> tuple[Any, ...]:
        """Every status that failed before the plan could be told, the oldest first."""
        return tuple(self.args)

    def __str__(self) -> str:
        return "; ".join(repr(status) for status in self.args)


class DeviceTimeout(FailedStatus, TimeoutError):
    """A status was not done within the limit of its device or of the engine (``device_timeout_s``)."""

    words = ""

    def __str__(self) -> str:
        return self.words or super().__str__()


class BlockedStep(PlanError, TimeoutError):
    """A plan, device or callback kept the engine's thread to itself for longer than ``watchdog_s``."""


class SubscriberOverrun(PlanError):
    """A critical background subscriber is so far behind that it would miss documents."""


class FailedPause(PlanError):
    """A pause was asked for where the plan has no checkpoint to return to; the plan is aborted."""


class WaitForTimeoutError(PlanError, TimeoutError):
    """A ``wait`` or ``wait_for`` took longer than its limit."""


class NoReplayAllowed(PlanError):
    """Raised by a device's ``pause()``: the steps since the last checkpoint must not be repeated."""


class RunEngineInterrupted(PlanError):
    """The call ended before the plan did: it was paused, stopped, aborted or halted."""


class RequestStop(PlanError):
    """A signal, thrown into the plan: end now; the run counts as a success."""

    exit_status = "success"


class RequestAbort(PlanError):
    """A signal, thrown into the plan: end now; the run counts as aborted."""

    exit_status = "abort"


class PlanHalt(GeneratorExit):
    """A signal, thrown into the plan: end at once, without clean-up steps."""


class MismatchedReading(PlanError, RuntimeError, KeyError):
    """An event does not fit its stream: other objects or keys than described."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MismatchedValue(MismatchedReading, DeviceError):
    """A device reads other keys, types or shapes than it described."""


class BadTarget(DeviceError, ValueError):
    """A value that a device must not be sent to; it was not moved."""


class InvalidDocument(InvalidMessage):
    """A document would not follow the schema of event-model; it was not emitted."""


class MissingAbility(DeviceError, AssertionError):
    """The object lacks methods that the command needs."""


class NotAStatus(DeviceError, AttributeError):
    """A device returned something that is not a status object."""


class BadAsset(DeviceError, RuntimeError):
    """A detector announced its files in a way that cannot be right."""


_UTILS = "bluesky.utils"
_HOMES: dict[type[BaseException], tuple[str, str]] = {
    **{
        cls: (_UTILS, cls.__name__)
        for cls in (
            IllegalMessageSequence,
            InvalidCommand,
            FailedStatus,
            FailedPause,
            NoReplayAllowed,
            RunEngineInterrupted,
            RequestStop,
            RequestAbort,
            PlanHalt,
        )
    },
    DeviceTimeout: (_UTILS, "FailedStatus"),
    WaitForTimeoutError: ("bluesky.run_engine", "WaitForTimeoutError"),
    TransitionError: ("bluesky._vendor.super_state_machine.errors", "TransitionError"),
    BadAsset: ("event_model", "EventModelValueError"),
}
_married: dict[type[BaseException], type[BaseException]] = {}


def kind(cls: type[E]) -> type[E]:
    """
    Choose the class to raise for one of ours.

    Args:
        cls: A class of this file.

    Returns:
        The class itself, or one that derives from it and from its counterpart in bluesky or
        event-model when that is loaded.
    """
    married = _married.get(cls)
    if married is not None:
        return cast("type[E]", married)
    other = foreign(*_HOMES[cls]) if cls in _HOMES else None
    if other is None or issubclass(cls, other):
        return cls
    married = type(cls.__name__, (cls, other), {"__module__": cls.__module__, "__doc__": cls.__doc__})
    _married[cls] = married
    return cast("type[E]", married)


def kinds(*classes: type[E]) -> tuple[type[E], ...]:
    """
    List what to catch: the given classes and bluesky's classes of the same names.

    Args:
        classes: Classes of this file.

    Returns:
        A tuple for an ``except`` clause.
    """
    found: list[type[E]] = list(classes)
    for cls in classes:
        other = foreign(*_HOMES[cls]) if cls in _HOMES else None
        if other is not None:
            found.append(other)
    return tuple(found)
