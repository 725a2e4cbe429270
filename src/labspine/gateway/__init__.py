"""Where people come in: the page, its server, and who may use it."""

from .app import Gateway

__all__ = ["Gateway"]
