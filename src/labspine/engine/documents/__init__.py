"""Documents: how readings become event-model documents, and who receives them."""

from __future__ import annotations

from .compose import Document
from .emitter import DOCUMENT_NAMES, Emitter
from .run import Run
from .stream import Bundle, Member, Stream

__all__ = ["DOCUMENT_NAMES", "Bundle", "Document", "Emitter", "Member", "Run", "Stream"]
