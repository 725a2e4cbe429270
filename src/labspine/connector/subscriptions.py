"""
What a subscription knows: whom to call, what waits for it, and how far it has come.

An event that can be read again (it is stamped and recorded) need not wait in memory. A subscription is

- LIVE: what the reader hears waits in its queue;
- BEHIND: it was away, or its queue was full, or it starts with a replay; what the reader hears is dropped,
  because the worker reads it from the history, page by page, at its own pace;
- SETTLING: the worker has come to the end of the history once; the reader's messages wait again, and the
  worker reads the last piece. What comes twice now is told by its number and delivered once.

This is bookkeeping only: no socket, no thread, no clock.
"""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..endpoints import EndpointInfo
from ..flows import BEGINNING, LARGEST_RECORDED_BYTES, EntryId
from ..messages import Message, read_stamp
from .message_object import Gap
from .tracking import Tracker

__all__ = ["CATCH_UP", "LAST_VALUE", "Item", "Subscription", "Work", "glob_expression"]

_BATCH = 256
_MOST_HELD_BYTES = 32 * 1024 * 1024

Item = tuple[bytes, Any, int]
"""Channel, payload (or entry of a stream, or `Gap`), and its size in bytes."""


class State(enum.Enum):
    """How a subscription gets its messages; see the module."""

    LIVE = "live"
    BEHIND = "behind"
    SETTLING = "settling"


class Work(enum.Enum):
    """Something to do that is not a message."""

    CATCH_UP = "catch up"
    LAST_VALUE = "last value"


_LIVE = State.LIVE
CATCH_UP = Work.CATCH_UP
LAST_VALUE = Work.LAST_VALUE


def glob_expression(pattern: bytes) -> re.Pattern[bytes]:
    """Turn a pattern of the server (``*``, ``?``, ``[a-c]``) into an equal regular expression."""
    parts: list[bytes] = []
    for token in re.findall(rb"\\.|\[\^?[^\]]*\]|.", pattern, re.DOTALL):
        if token == b"*":
            parts.append(b".*")
        elif token == b"?":
            parts.append(b".")
        elif token[:1] == b"[" and len(token) > 1:
            negated = token[1:2] == b"^"
            inside = token[2:-1] if negated else token[1:-1]
            parts.append(
                b"[" + (b"^" if negated else b"") + inside.replace(b"\\", b"\\\\") + b"]"
                if inside
                else b"(?!)"
            )
        else:
            parts.append(re.escape(token[-1:]))
    return re.compile(b"".join(parts), re.DOTALL)


class Subscription:
    """
    One callback on one channel, pattern or stream.

    Args:
        endpoint: Where, as the broker knows it.
        callback: Whom to call.
        kwargs: Keyword arguments of each call.
        source: Key of the stream that messages can be read again from; None for plain delivery.
        lock: Guards the queue against the reader; a null context where there is one thread.
    """

    def __init__(
        self,
        endpoint: EndpointInfo[Message],
        callback: Callable[..., Any],
        kwargs: Mapping[str, Any],
        *,
        source: str | None,
        lock: AbstractContextManager[Any],
    ) -> None:
        self.endpoint = endpoint
        self.callback = callback
        self.kwargs = dict(kwargs)
        self.source = source
        self.key = endpoint.endpoint.encode()
        self.is_stream = endpoint.message_op.name == "STREAM"
        self.is_value = endpoint.message_op.name == "SET_PUBLISH"
        self.message_type = endpoint.message_type
        self.newest_only = False
        self.most_entries = 10_000
        self.most_bytes = 8 * 1024 * 1024
        self.state = State.BEHIND if source is not None else State.LIVE
        self.position: EntryId = BEGINNING
        self.heard_since: EntryId = BEGINNING
        self.tells_trimmed = True
        self.is_replay = False
        self.is_polled = False
        self.is_ready = False
        self._began: EntryId | None = None
        self.is_closed = False
        self.tracker = Tracker()
        self.last_plain: dict[bytes, int] = {}
        self.run: Callable[[], Any] = lambda: None
        self._glob = glob_expression(self.key)
        self._lock = lock
        self._queue: deque[Item] = deque()
        self._queued_bytes = 0
        self._dropped = 0
        self._wants_last_value = False
        self._is_scheduled = False
        self._held: dict[bytes, bytes] = {}
        self._held_bytes = 0

    # --- the reader's side; each returns whether a worker must be woken ---

    def offer(self, channel: bytes, item: Any, size_bytes: int) -> bool:
        """
        Take what the reader heard.

        Args:
            channel: Where it was said.
            item: The payload; for a stream the id and fields of an entry.
            size_bytes: How much memory it holds.

        Returns:
            Whether a worker must be woken.
        """
        with self._lock:
            if self.is_closed:
                return False
            if self.state is not _LIVE and self._can_be_read_again(item):
                if size_bytes > LARGEST_RECORDED_BYTES and not self.is_stream:
                    self._hold(item)
                if self.state is State.BEHIND:
                    return False
            queue = self._queue
            queued_bytes = self._queued_bytes + size_bytes
            if self.newest_only:
                queue.clear()
            elif queue and (queued_bytes > self.most_bytes or len(queue) >= self.most_entries):
                return self._overflow(item)
            if self._dropped:
                queue.append((channel, Gap(self._dropped), 0))
                self._dropped = 0
            queue.append((channel, item, size_bytes))
            self._queued_bytes = queued_bytes
            if self._is_scheduled:
                return False
            self._is_scheduled = True
            return True

    def _overflow(self, item: Any) -> bool:
        if self._can_be_read_again(item):
            self.state = State.BEHIND
            return self._wake()
        self._dropped += 1
        return False

    def _can_be_read_again(self, item: Any) -> bool:
        return self.source is not None and (self.is_stream or read_stamp(item) is not None)

    def _hold(self, payload: bytes) -> None:
        """Keep a payload that the history does not keep, until the worker comes to its place."""
        if self._held_bytes + len(payload) <= _MOST_HELD_BYTES:
            self._held[payload[-40:]] = payload
            self._held_bytes += len(payload)

    def _wake(self) -> bool:
        if self._is_scheduled:
            return False
        self._is_scheduled = True
        return True

    def link_lost(self) -> None:
        """Note that the reader's connection broke: from now on messages may be missed."""
        with self._lock:
            self.is_ready = False
            if self.source is not None:
                self.state = State.BEHIND

    def link_ready(self, ended: EntryId | None, *, is_again: bool) -> bool:
        """
        Note that the server confirmed: from now on everything is heard.

        Args:
            ended: Where the history ended when this link began; None if that was not asked.
            is_again: Whether this is not the first time.

        Returns:
            Whether a worker must be woken.
        """
        with self._lock:
            if self._began is None:
                self._began = self.position
                self.heard_since = max(ended or BEGINNING, self.heard_since)
            elif ended is not None:
                self.heard_since = ended
                if ended < self.position:
                    # After a failover the history may end before our position, and hold what we missed before
                    # its end: read all of our time again. What was delivered is known by its number.
                    self.position = min(self._began, ended)
            self.is_ready = True
            if self.source is not None:
                return self.state is State.BEHIND and self._wake()
            self._wants_last_value = is_again and self.is_value
            return self._wants_last_value and self._wake()

    def rewind(self, position: EntryId) -> None:
        """Note that the history ends there now: the server has lost what came after."""
        with self._lock:
            self.position = min(self.position, position)

    def doubt(self, ended: EntryId) -> bool:
        """
        Note where the history ends: what came since the position may not have been heard, so it is read.

        Args:
            ended: On a Redis Cluster no answer tells that everything was heard: nodes hand events on unasked.

        Returns:
            Whether a worker must be woken.
        """
        with self._lock:
            if self.state is not State.LIVE or self.is_closed or ended == self.position:
                return False
            self.position = min(self.position, ended)
            self.state = State.BEHIND
            return self._wake()

    def reached(self, position: EntryId) -> None:
        """Note that everything up to a position of the history was heard."""
        with self._lock:
            if self.state is State.LIVE:
                self.position = max(self.position, position)

    # --- the worker's side ---

    def take(self) -> list[Item] | Work | None:
        """
        Fetch the next work.

        Returns:
            Some messages in order, something else to do, or None when there is nothing more; after None the
            worker must leave, and the next `offer` asks for a new one.
        """
        with self._lock:
            if self._queue and not self.is_closed:
                return self._take_some()
            if self.is_closed:
                self._queue.clear()
                self._held.clear()
            elif self.state is State.BEHIND and self.is_ready:
                return CATCH_UP
            elif self._wants_last_value:
                self._wants_last_value = False
                return LAST_VALUE
            elif self._dropped:
                missed, self._dropped = self._dropped, 0
                return [(self.key, Gap(missed), 0)]
            self._is_scheduled = False
            return None

    def _take_some(self) -> list[Item]:
        queue = self._queue
        if len(queue) <= _BATCH:
            items = list(queue)
            queue.clear()
            self._queued_bytes = 0
            return items
        items = [queue.popleft() for _ in range(_BATCH)]
        self._queued_bytes -= sum(item[2] for item in items)
        return items

    def fall_behind(self) -> None:
        """Note a hole: the next thing to do is to read the history."""
        with self._lock:
            if self.state is State.LIVE:
                self.state = State.BEHIND

    def may_read(self) -> bool:
        """Tell whether the worker shall read the history now."""
        return self.state is State.BEHIND and self.is_ready and not self.is_closed

    def settling(self) -> None:
        """Note that the end of the history was reached: the queue fills while the last piece is read."""
        with self._lock:
            if self.is_ready and self.state is State.BEHIND:
                self.state = State.SETTLING

    def unsettled(self) -> None:
        """Note that reading broke off: begin again from the position that was reached."""
        with self._lock:
            if self.state is State.SETTLING:
                self.state = State.BEHIND

    def settled(self) -> None:
        """Note that the last piece was read; does nothing if the subscription fell behind again meanwhile."""
        with self._lock:
            if self.state is State.SETTLING:
                self.state = State.LIVE
                self._held.clear()
                self._held_bytes = 0

    def take_held(self, stamp: bytes) -> bytes | None:
        """Fetch a large payload that the reader heard meanwhile, by the last 40 bytes of it."""
        with self._lock:
            payload = self._held.pop(stamp, None)
            if payload is not None:
                self._held_bytes -= len(payload)
            return payload

    def listens_to(self, channel: bytes) -> bool:
        """Tell whether an event of the history is one of this subscription."""
        if self.endpoint.is_pattern:
            return self._glob.fullmatch(channel) is not None
        return channel == self.key

    def close(self) -> None:
        """Stop delivery: a message that waits is not delivered any more."""
        with self._lock:
            self.is_closed = True
            self._queue.clear()
            self._held.clear()
