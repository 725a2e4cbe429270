"""Who answers: named, discoverable services, and the calls to them (seed 004)."""

from ._async.rpc import AsyncCall, AsyncRpc
from ._sync.rpc import Call, Rpc
from .context import ServedCall, check_cancelled, current_call, progress
from .outcomes import CallProgress
from .procedures import ProcedureOptions, procedure
from .service import Service
from .transport import Instance

__all__ = [
    "AsyncCall",
    "AsyncRpc",
    "Call",
    "CallProgress",
    "Instance",
    "ProcedureOptions",
    "Rpc",
    "ServedCall",
    "Service",
    "check_cancelled",
    "current_call",
    "procedure",
    "progress",
]
