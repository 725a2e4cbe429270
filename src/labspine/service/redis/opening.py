"""The first words of a call, as commands or packed: the hottest place of the caller's side."""

from __future__ import annotations

from ...flows import Exchange
from ...flows.calls import Keys, calling
from ...wire import HOLE, Template

__all__ = ["OPENED", "Opener", "Opening"]

OPENED = Exchange((("EXISTS",), ("XADD",)))
"""Names of the commands with which a call is opened, for errors."""
_SMALL_BYTES = 16 * 1024


class Opener:
    """
    Open calls of one service.

    Args:
        keys: Of the service.
        is_patient: Let requests wait for a service that is not there.
    """

    __slots__ = ("_is_patient", "_template", "keys")

    def __init__(self, keys: Keys, *, is_patient: bool) -> None:
        self.keys = keys
        self._is_patient = is_patient
        self._template = Template(
            calling.open_commands(keys, HOLE, HOLE, limit_ms=HOLE, is_patient=is_patient)
        )

    def opening(self, body: bytes, limit_ms: int) -> Opening:
        """Make the opening of one call."""
        return Opening(self, body, limit_ms)

    def packed(self, call_id: bytes, limit_ms: int, body: bytes) -> bytes:
        """Pack the commands."""
        return self._template.fill(call_id, b"%d" % limit_ms, body)

    def ask(self, call_id: bytes, limit_ms: int, body: bytes) -> Exchange:
        """Return the commands."""
        return Exchange(
            calling.open_commands(self.keys, call_id, body, limit_ms=limit_ms, is_patient=self._is_patient)
        )


class Opening:
    """The first words of one call."""

    __slots__ = ("_body", "_limit_ms", "_opener")

    def __init__(self, opener: Opener, body: bytes, limit_ms: int) -> None:
        self._opener = opener
        self._body = body
        self._limit_ms = limit_ms

    def packed(self, call_id: bytes, poll: bytes) -> bytes | list[bytes]:
        """Pack them for one write with what waits for the reply; a large body is not copied."""
        if len(self._body) <= _SMALL_BYTES:
            return self._opener.packed(call_id, self._limit_ms, self._body) + poll
        return [self._opener.packed(call_id, self._limit_ms, self._body), poll]

    def ask(self, call_id: bytes) -> Exchange:
        """Return them as commands."""
        return self._opener.ask(call_id, self._limit_ms, self._body)
