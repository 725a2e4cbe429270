"""The engine: performs plans on devices, emits documents, survives faults. It knows no transport."""

from __future__ import annotations

from .doors import AsyncRunEngine, RunEngine, SigintHandler
from .errors import (
    BadAsset,
    BadStep,
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
    PlanHalt,
    RequestAbort,
    RequestStop,
    RunEngineInterrupted,
    TransitionError,
    WaitForTimeoutError,
)
from .msg import Msg
from .preflight import Preflight, Travel, preflight
from .session import RunEngineResult
from .state import EngineState

__all__ = [
    "AsyncRunEngine",
    "BadAsset",
    "BadStep",
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
    "WaitForTimeoutError",
    "preflight",
]
