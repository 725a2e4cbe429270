"""How each operation is done, without doing any of it: flows yield exchanges and receive replies."""

from . import checks, events, history, lists, server, sets, state, streams
from .events import LARGEST_RECORDED_BYTES, Recording
from .exchange import Argument, Command, Exchange, Flow
from .history import BEGINNING, EntryId
from .numbering import Numbering
from .place import located, located_pattern
from .server import ServerReport
from .streams import Cursors

__all__ = [
    "BEGINNING",
    "LARGEST_RECORDED_BYTES",
    "Argument",
    "Command",
    "Cursors",
    "EntryId",
    "Exchange",
    "Flow",
    "Numbering",
    "Recording",
    "ServerReport",
    "checks",
    "events",
    "history",
    "lists",
    "located",
    "located_pattern",
    "server",
    "sets",
    "state",
    "streams",
]
