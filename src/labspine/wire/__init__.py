"""The only sockets: lean RESP connections, blocking and asyncio, and the embedded server."""

from .address import Address, parse_address
from .asyncio import AsyncConnection, open_connection
from .asyncio_wire import AsyncioWire
from .protocol import AsyncWire, ConnectionLost, Wire, WireOptions
from .resp import NOTHING_YET, pack, settle
from .sync import SyncConnection
from .sync_wire import SyncWire
from .template import HOLE, Template
from .translate import ErrorReply, is_elsewhere, translated

__all__ = [
    "HOLE",
    "NOTHING_YET",
    "Address",
    "AsyncConnection",
    "AsyncWire",
    "AsyncioWire",
    "ConnectionLost",
    "ErrorReply",
    "SyncConnection",
    "SyncWire",
    "Template",
    "Wire",
    "WireOptions",
    "is_elsewhere",
    "open_connection",
    "pack",
    "parse_address",
    "settle",
    "translated",
]
