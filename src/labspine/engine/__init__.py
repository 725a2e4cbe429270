"""The engine: performs plans on devices, emits documents, survives faults. It knows no transport."""

from __future__ import annotations

from .doors import AsyncRunEngine, RunEngine, SigintHandler
from .durable import is_resumable, not_resumable
from .errors import (
    BadAsset,
    BadStep,
    BadTarget,
    BlockedStep,
    DeviceTimeout,
    EngineBusy,
    FailedPause,
    FailedStatus,
    IllegalMessageSequence,
    InvalidCommand,
    InvalidDocument,
    MismatchedReading,
    MismatchedValue,
    MissingAbility,
    NoReplayAllowed,
    NotAPlan,
    NotAStatus,
    NotAStep,
    NotOffered,
    PlanHalt,
    RequestAbort,
    RequestStop,
    RunEngineInterrupted,
    SubscriberOverrun,
    TransitionError,
    UndeclaredStream,
    WaitForTimeoutError,
)
from .journal import CannotResume, Journal, JournalError
from .msg import Msg, as_plan
from .observe import SubscriberReport
from .preflight import Preflight, Travel, preflight, present_position
from .session import RunEngineResult
from .state import EngineState
from .suspend import Suspender

__all__ = [
    "AsyncRunEngine",
    "BadAsset",
    "BadStep",
    "BadTarget",
    "BlockedStep",
    "CannotResume",
    "DeviceTimeout",
    "EngineBusy",
    "EngineState",
    "FailedPause",
    "FailedStatus",
    "IllegalMessageSequence",
    "InvalidCommand",
    "InvalidDocument",
    "Journal",
    "JournalError",
    "MismatchedReading",
    "MismatchedValue",
    "MissingAbility",
    "Msg",
    "NoReplayAllowed",
    "NotAPlan",
    "NotAStatus",
    "NotAStep",
    "NotOffered",
    "PlanHalt",
    "Preflight",
    "RequestAbort",
    "RequestStop",
    "RunEngine",
    "RunEngineInterrupted",
    "RunEngineResult",
    "SigintHandler",
    "SubscriberOverrun",
    "SubscriberReport",
    "Suspender",
    "TransitionError",
    "Travel",
    "UndeclaredStream",
    "WaitForTimeoutError",
    "as_plan",
    "is_resumable",
    "not_resumable",
    "preflight",
    "present_position",
]
