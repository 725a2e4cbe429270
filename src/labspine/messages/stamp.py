"""
The stamp (sender, number) that travels behind the codec map of a message.

It is a sibling key of ``__bec_codec__``, which bec_lib ignores, and always the last 40 bytes, so that a
receiver can read it without decoding anything.
"""

from __future__ import annotations

from ..errors import InvalidArgument

__all__ = ["STAMP_SIZE_BYTES", "read_stamp", "stamp", "without_stamp"]

STAMP_SIZE_BYTES = 40
_MARK = b"\xac__labspine__\x92\xb0"
_MARK_END = len(_MARK) - STAMP_SIZE_BYTES
_MOST_SENDERS = 1000
_known_senders: dict[str, bytes] = {}
_ENVELOPE = b"\x81\xad__bec_codec__"


def stamp(payload: bytes, sender: str, number: int) -> bytes:
    """
    Add the sender's identity and its running number to an encoded message.

    Args:
        payload: An encoded message without a stamp.
        sender: 16 characters, as `labspine.ids.new_sender` makes them.
        number: 0 or more; rises by one with each message of this sender.

    Returns:
        The stamped payload; a payload that is not an encoded message is returned as it is.

    Raises:
        InvalidArgument: If the sender is not 16 ASCII characters or the number is out of range.
    """
    if not payload.startswith(_ENVELOPE):
        return payload
    who = _known_senders.get(sender) or _learn_sender(sender)
    try:
        return b"\x82" + payload[1:] + who + number.to_bytes(8, "big")
    except OverflowError as error:
        raise InvalidArgument(f"cannot stamp with number {number}: {error}") from error


def _learn_sender(sender: str) -> bytes:
    """Make the part of a stamp that never changes."""
    if len(sender) != STAMP_SIZE_BYTES - len(_MARK) - 9 or not sender.isascii():
        raise InvalidArgument(f"a sender has 16 ASCII characters, got {sender!r}")
    if len(_known_senders) >= _MOST_SENDERS:
        _known_senders.clear()
    who = _known_senders[sender] = _MARK + sender.encode("ascii") + b"\xcf"
    return who


def read_stamp(payload: bytes) -> tuple[str, int] | None:
    """
    Read the stamp of a payload without decoding it.

    Args:
        payload: Any bytes.

    Returns:
        ``(sender, number)``, or None if there is no stamp (a foreign sender).
    """
    if payload[:1] != b"\x82" or payload[-STAMP_SIZE_BYTES:_MARK_END] != _MARK:
        return None
    return payload[_MARK_END:-9].decode("ascii", "replace"), int.from_bytes(payload[-8:], "big")


def without_stamp(payload: bytes) -> bytes:
    """Return the payload as its sender encoded it, before it was stamped."""
    return payload if read_stamp(payload) is None else b"\x81" + payload[1:-STAMP_SIZE_BYTES]
