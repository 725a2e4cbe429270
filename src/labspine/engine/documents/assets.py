"""Documents about files that detectors write: complete them, check them, pass them on in order."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from ...errors import shown
from ..errors import BadAsset, kind
from .compose import Document
from .stream import Stream

__all__ = ["AssetBook", "drain", "survivors"]

NO_RANGE = {"start": 0, "stop": 0}


async def drain(source: Any) -> list[Any]:
    """
    Read an iterator to its end, be it plain or asynchronous.

    Args:
        source: What a device returned from ``collect_asset_docs``, ``collect`` or ``collect_pages``.

    Returns:
        Its items.
    """
    if hasattr(source, "__aiter__"):
        return [item async for item in source]
    if inspect.isawaitable(source):
        source = await source
    return list(source)


def survivors(assets: Iterable[tuple[str, Document]]) -> list[tuple[str, Document]]:
    """
    Choose what must outlive a dropped event: a device announces each file only once.

    Args:
        assets: Documents that belong to the event.

    Returns:
        Announcements of files; what pointed into them for this event is left out.
    """
    return [(name, doc) for name, doc in assets if name in {"resource", "stream_resource"}]


class AssetBook:
    """What one run knows about files; completes documents with what only the run knows."""

    def __init__(self, run_uid: str) -> None:
        self._run_uid = run_uid
        self._key_of: dict[str, str] = {}

    def complete(
        self, assets: Iterable[tuple[str, Document]], stream: Stream | None
    ) -> tuple[list[tuple[str, Document]], int]:
        """
        Fill in what the device cannot know, and check the rest.

        Args:
            assets: Pairs of document name and document, in the device's order.
            stream: The stream that they belong to; None for flyers that describe nested streams.

        Returns:
            The documents to emit, and how many rows they cover (0 when there is no stream_datum).

        Raises:
            BadAsset: If one does not fit the run, the stream or the others; nothing is emitted then.
        """
        ready: list[tuple[str, Document]] = []
        width = 0
        received: set[str] = set()
        for name, doc in assets:
            if name == "resource":
                doc["run_start"] = self._run_uid
            elif name == "stream_resource":
                self._take_resource(doc, stream)
            elif name == "stream_datum":
                received.add(self._take_datum(doc, stream))
                width = self._same_width(doc, width)
            elif name != "datum":
                raise kind(BadAsset)(
                    f'a device announced a "{shown(name)}"; '
                    "allowed: resource, datum, stream_resource, stream_datum"
                )
            ready.append((name, doc))
        if received and stream is not None and received != stream.external:
            raise kind(BadAsset)(
                f'stream "{stream.name}" got stream_datum for {sorted(received)} but is described with '
                f"{sorted(stream.external)}; every file-backed key needs one"
            )
        return ready, width

    def _take_resource(self, doc: Document, stream: Stream | None) -> None:
        key = doc["data_key"]
        if stream is None or key not in stream.external:
            known = sorted(stream.external) if stream is not None else []
            raise kind(BadAsset)(
                f'stream_resource for key "{shown(key)}", but the descriptor has the STREAM: keys {known}'
            )
        if doc["uid"] in self._key_of:
            raise kind(BadAsset)(f"stream_resource {doc['uid']} was announced twice")
        doc["run_start"] = self._run_uid
        self._key_of[doc["uid"]] = key

    def _take_datum(self, doc: Document, stream: Stream | None) -> str:
        if doc["descriptor"]:
            raise kind(BadAsset)(f"stream_datum {doc['uid']} names a descriptor already; leave it empty")
        if stream is None or stream.descriptor is None:
            raise kind(BadAsset)(f"stream_datum {doc['uid']} came before its stream was declared")
        key = self._key_of.get(doc["stream_resource"])
        if key is None:
            raise kind(BadAsset)(
                f"stream_datum {doc['uid']} refers to an unknown stream_resource {doc['stream_resource']}"
            )
        if dict(doc["seq_nums"]) != NO_RANGE:
            raise kind(BadAsset)(f"stream_datum {doc['uid']} has seq_nums {doc['seq_nums']}; leave them 0..0")
        rows = doc["indices"]["stop"] - doc["indices"]["start"]
        doc["descriptor"] = stream.descriptor["uid"]
        doc["seq_nums"] = {"start": stream.next_number, "stop": stream.next_number + rows}
        return key

    @staticmethod
    def _same_width(doc: Document, width: int) -> int:
        rows: int = doc["indices"]["stop"] - doc["indices"]["start"]
        if width and rows != width:
            raise kind(BadAsset)(
                f"stream_datum {doc['uid']} covers {rows} rows, others in the same event {width}"
            )
        return rows
