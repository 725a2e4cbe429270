"""Counts of what went wrong on the receiving side, so that nothing is silent."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters"]


@dataclass
class Counters:
    """
    What a connector has counted since it was made.

    Args:
        delivered: Calls of callbacks.
        callback_errors: Calls of callbacks that raised.
        undecodable: Payloads that were not a message of the endpoint's type.
        dropped: Messages that found the queue full and cannot be read again.
        gaps: Notices of missed messages that were delivered.
        repeats: Messages that arrived twice and were delivered once.
        reconnects: Times the reader's connection was renewed.
    """

    delivered: int = 0
    callback_errors: int = 0
    undecodable: int = 0
    dropped: int = 0
    gaps: int = 0
    repeats: int = 0
    reconnects: int = 0
