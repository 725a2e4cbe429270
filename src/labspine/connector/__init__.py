"""The two doors for programmers: say and hear messages on a broker (seeds 000 and 001)."""

from importlib import import_module
from typing import TYPE_CHECKING

from ..flows import ServerReport
from ._async.connector import AsyncConnector
from ._async.pipeline import AsyncPipeline
from ._sync.connector import RedisConnector
from ._sync.pipeline import Pipeline
from .callbacks import Callback
from .connecting import connect, connect_async
from .counters import Counters
from .message_object import Gap, MessageObject
from .options import ConnectorOptions

if TYPE_CHECKING:
    from ._async.amqp import AsyncAmqpConnector
    from ._sync.amqp import AmqpConnector

__all__ = [
    "AmqpConnector",
    "AsyncAmqpConnector",
    "AsyncConnector",
    "AsyncPipeline",
    "Callback",
    "ConnectorOptions",
    "Counters",
    "Gap",
    "MessageObject",
    "Pipeline",
    "RedisConnector",
    "ServerReport",
    "connect",
    "connect_async",
]

_ON_DEMAND = {"AmqpConnector": "._sync.amqp", "AsyncAmqpConnector": "._async.amqp"}


def __getattr__(name: str) -> object:
    """Load what needs the library of RabbitMQ when it is first used."""
    home = _ON_DEMAND.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home, __name__), name)
    return value
