"""Calls on Redis: the serving side, and what the caller's side of both doors shares."""

from .line import Line
from .opening import OPENED, Opener, Opening
from .server import RedisCallServer
from .spread import SpreadCallServer

__all__ = ["OPENED", "Line", "Opener", "Opening", "RedisCallServer", "SpreadCallServer"]
