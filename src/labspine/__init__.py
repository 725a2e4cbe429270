"""
Labspine: one bus, one engine and one page for a whole laboratory.

The names below are loaded when they are first used, so that ``import labspine`` costs nothing and a
program that only reads messages never loads the engine.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .connector import AsyncConnector, Gap, MessageObject, RedisConnector
    from .endpoints import EndpointInfo, MessageEndpoints, MessageOp
    from .engine import Msg, RunEngine
    from .errors import LabspineError
    from .lab import connect

__all__ = [
    "AsyncConnector",
    "EndpointInfo",
    "Gap",
    "LabspineError",
    "MessageEndpoints",
    "MessageObject",
    "MessageOp",
    "Msg",
    "RedisConnector",
    "RunEngine",
    "__version__",
    "connect",
]

_HOMES = {
    "AsyncConnector": "connector",
    "EndpointInfo": "endpoints",
    "Gap": "connector",
    "LabspineError": "errors",
    "MessageEndpoints": "endpoints",
    "MessageObject": "connector",
    "MessageOp": "endpoints",
    "Msg": "engine",
    "RedisConnector": "connector",
    "RunEngine": "engine",
    "connect": "lab",
}


def __getattr__(name: str) -> object:
    """Load a public name from its home on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'labspine' has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
