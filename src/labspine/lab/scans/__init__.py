"""The scan server: takes requests, runs them one after the other, and announces what happens."""

from .announcer import Announcer
from .server import ScanServer

__all__ = ["Announcer", "ScanServer"]
