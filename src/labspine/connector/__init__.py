"""The two doors for programmers: say and hear messages on a broker (seeds 000 and 001)."""

from ..flows import ServerReport
from ._async.connector import AsyncConnector
from ._async.pipeline import AsyncPipeline
from ._sync.connector import RedisConnector
from ._sync.pipeline import Pipeline
from .callbacks import Callback
from .counters import Counters
from .message_object import Gap, MessageObject
from .options import ConnectorOptions

__all__ = [
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
]
