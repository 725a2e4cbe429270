"""The engine: performs plans on devices, emits documents, survives faults. It knows no transport."""

from __future__ import annotations

from .doors import AsyncRunEngine, RunEngine, SigintHandler
from .errors import (
    BadAsset,
    BadStep,
    BlockedStep,
    DeviceTimeout,
    EngineBusy,
    FailedPause,
    FailedStatus,
    IllegalMessageSequence,
    InvalidCommand,
    InvalidDocument,
    MismatchedReading,
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
    TransitionError,
    UndeclaredStream,
    WaitForTimeoutError,
)
from .msg import Msg, as_plan
from .preflight import Preflight, Travel, preflight, present_position
from .session import RunEngineResult
from .state import EngineState

__all__ = [
    "AsyncRunEngine",
    "BadAsset",
    "BadStep",
    "BlockedStep",
    "DeviceTimeout",
    "EngineBusy",
    "EngineState",
    "FailedPause",
    "FailedStatus",
    "IllegalMessageSequence",
    "InvalidCommand",
    "InvalidDocument",
    "MismatchedReading",
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
    "TransitionError",
    "Travel",
    "UndeclaredStream",
    "WaitForTimeoutError",
    "as_plan",
    "preflight",
    "present_position",
]
