"""The two doors for programmers: say and hear messages on a broker (seeds 000 and 001)."""

from ..flows import ServerReport
from ._async.amqp import AsyncAmqpConnector
from ._async.connector import AsyncConnector
from ._async.pipeline import AsyncPipeline
from ._sync.amqp import AmqpConnector
from ._sync.connector import RedisConnector
from ._sync.pipeline import Pipeline
from .callbacks import Callback
from .connecting import connect, connect_async
from .counters import Counters
from .message_object import Gap, MessageObject
from .options import ConnectorOptions

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
