"""How each operation is done, without doing any of it: flows yield exchanges and receive replies."""

from . import checks, events, history, lists, server, sets, state, streams
from .events import LARGEST_RECORDED_BYTES, Recording
from .exchange import Argument, Command, Exchange, Fixed, Flow
from .history import BEGINNING, EntryId
from .numbering import Numbering
from .place import located, located_pattern
from .server import ServerFinding, ServerReport, check_server, refuse_unsafe
from .streams import Cursors

__all__ = [
    "BEGINNING",
    "LARGEST_RECORDED_BYTES",
    "Argument",
    "Command",
    "Cursors",
    "EntryId",
    "Exchange",
    "Fixed",
    "Flow",
    "Numbering",
    "Recording",
    "ServerFinding",
    "ServerReport",
    "check_server",
    "checks",
    "events",
    "history",
    "lists",
    "located",
    "located_pattern",
    "refuse_unsafe",
    "server",
    "sets",
    "state",
    "streams",
]
