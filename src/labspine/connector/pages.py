"""Pages of histories that were read just now, shared by the subscriptions that are behind together."""

from __future__ import annotations

from ..flows import EntryId
from ..flows.history import Page

__all__ = ["PageKey", "SharedPages"]

PageKey = tuple[str, EntryId, EntryId, int]
"""The history, where it ended when the link began, the position, and how many entries were asked for."""

_MOST_PAGES = 16


class SharedPages:
    """
    Keep the newest pages while somebody reads.

    Only a page with more behind it is kept: what it holds never changes, because a history only grows at its
    end. The last page is always read afresh, or an event could be missed. The end at the beginning of the
    link belongs to the key, so that nothing is taken over from another master.
    """

    def __init__(self) -> None:
        self._pages: dict[PageKey, Page] = {}
        self._readers: set[int] = set()

    def begin(self, reader: object) -> None:
        """Note that a subscription starts reading."""
        self._readers.add(id(reader))

    def end(self, reader: object) -> None:
        """Note that it has read all; when nobody reads any more, nothing is kept."""
        self._readers.discard(id(reader))
        if not self._readers:
            self._pages.clear()

    def get(self, key: PageKey) -> Page | None:
        """Return a page that was read by another; None if it must be read."""
        return self._pages.get(key)

    def put(self, key: PageKey, page: Page) -> None:
        """Keep a page, if it can be kept; the oldest goes."""
        if page.is_last:
            return
        if len(self._pages) >= _MOST_PAGES:
            del self._pages[next(iter(self._pages))]
        self._pages[key] = page
