"""The keys of a service on Redis, and the shapes of what lies there."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ...errors import ServerError

__all__ = [
    "GROUP",
    "MOST_AT_ONCE",
    "REPLIES",
    "REPLY_KEPT_MS",
    "SERVICES",
    "SILENCE_MS",
    "InboxItem",
    "Keys",
    "is_no_group",
    "keys_of",
    "reply_item",
    "reply_key",
    "split_reply",
]

GROUP = "labspine"
REPLIES = "labspine/replies"
SERVICES = "labspine/services"
SILENCE_MS = 1500
"""An instance that gave no sign of life for so long counts as dead."""
REPLY_KEPT_MS = 60_000
MOST_AT_ONCE = 64


class Keys(NamedTuple):
    """The keys of one service."""

    stream: str
    alive: str
    beats: str
    facts: str

    def inbox(self, instance: str) -> str:
        """Name the list of what one instance is told."""
        return f"{self.stream}/inbox/{instance}"


def keys_of(service: str) -> Keys:
    """Name the keys of a service whose name has been checked."""
    base = f"labspine/calls/{{{service}}}"
    return Keys(base, f"{base}/alive", f"{base}/beats", f"{base}/facts")


def reply_key(call_id: str) -> str:
    """Name the reply list of a call: that of its caller."""
    return f"{REPLIES}/{call_id.rpartition('-')[0]}"


class InboxItem(msgspec.Struct, frozen=True, array_like=True):
    """A request that is put into the inbox of an instance, or published to it."""

    call_id: str
    limit_ms: int
    body: bytes


def split_reply(item: bytes) -> tuple[bytes, bytes]:
    """Split an item of a reply list into the call's identifier and the body."""
    call_id, _, body = item.partition(b" ")
    return call_id, body


def reply_item(call_id: str, body: bytes) -> bytes:
    """Make an item of a reply list."""
    return b"%b %b" % (call_id.encode(), body)


def is_no_group(error: BaseException) -> bool:
    """Tell whether the server has no consumer group: its data was lost."""
    return isinstance(error, ServerError) and "NOGROUP" in str(error)
