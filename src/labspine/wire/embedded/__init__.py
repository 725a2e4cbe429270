"""The embedded broker: ``start()`` it, ``find()`` a running one."""

from .broker import EmbeddedBroker, find, start

__all__ = ["EmbeddedBroker", "find", "start"]
