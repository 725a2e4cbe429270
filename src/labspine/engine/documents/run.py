"""One run: its streams, its open bundle, its monitors, and the documents that it emits."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from ...errors import shown
from ..errors import BadAsset, BadStep, IllegalMessageSequence, MismatchedReading, kind
from . import compose
from .assets import AssetBook, survivors
from .compose import Document
from .stream import Bundle, Member, Stream

__all__ = ["Run"]

INTERRUPTIONS = "interruptions"


class Run:
    """
    The state of one open run.

    Args:
        start: The start document, emitted by the caller of :meth:`open`.
        emit: Receives name and document.
        record_interruptions: Keep a stream of pauses and resumes.
    """

    def __init__(
        self, start: Document, *, emit: Callable[[str, Document], None], record_interruptions: bool
    ) -> None:
        self.uid: str = start["uid"]
        self.start = start
        self.is_open = True
        self.bundle: Bundle | None = None
        self.streams: dict[str, Stream] = {}
        self.monitors: dict[int, Any] = {}
        self.uncollected: dict[int, Any] = {}
        self.kicked_off: dict[int, tuple[Any, Any]] = {}
        self.declared: dict[frozenset[int], list[str]] = {}
        self.nested: dict[int, dict[frozenset[str], Stream]] = {}
        self.assets = AssetBook(self.uid)
        # What it cost and who wants to know of its end; set by whoever watches the steps.
        self.statement: Callable[[], dict[str, float]] | None = None
        self.on_close: Callable[[str, str], object] | None = None
        self.kept_assets: list[tuple[str, Document]] = []
        self._emit = emit
        self._record = record_interruptions

    def open(self) -> None:
        """Emit the start document, and the description of interruptions if they are recorded."""
        self._emit("start", self.start)
        if self._record:
            stream = self.stream(INTERRUPTIONS)
            stream.rolls_back = False
            keys = {"interruption": {"dtype": "string", "shape": [], "source": "RunEngine"}}
            self._emit_descriptor(stream, keys, configuration={}, object_keys={}, hints={})

    def close(self, exit_status: str, reason: str) -> None:
        """
        Emit the stop document.

        Args:
            exit_status: ``success``, ``abort`` or ``fail``.
            reason: Why it ended.

        Raises:
            InvalidDocument: If the words are not allowed; the run stays open.
        """
        numbers = {s.name: s.next_number - 1 for s in self.streams.values() if s.descriptor is not None}
        more = None if self.statement is None else {"accounting": self.statement()}
        doc = compose.stop(self.uid, exit_status=exit_status, reason=reason, num_events=numbers, more=more)
        self.is_open = False
        self.bundle = None
        try:
            self._emit("stop", doc)
        finally:
            if self.on_close is not None:
                self.on_close(exit_status, reason)

    def stream(self, name: str) -> Stream:
        """
        Find a stream or begin one.

        Args:
            name: Its name.

        Returns:
            The stream, perhaps not described yet.
        """
        stream = self.streams.get(name)
        if stream is None:
            stream = self.streams[name] = Stream(name)
        return stream

    def describe(self, stream: Stream, members: Mapping[int, Member]) -> None:
        """
        Emit a descriptor for these members.

        Args:
            stream: The stream; its numbers go on when it was described before.
            members: Members in the order of their keys.

        Raises:
            MismatchedReading: If the stream had other keys before.
            InvalidDocument: If a device described itself wrongly.
        """
        if stream.recognises(members):
            return  # the process that died had told it
        data_keys: Document = {}
        for member in members.values():
            data_keys.update(member.data_keys)
        if stream.descriptor is not None and data_keys.keys() != stream.descriptor["data_keys"].keys():
            raise MismatchedReading(
                f'stream "{stream.name}" was described with {sorted(stream.descriptor["data_keys"])}; '
                f"it cannot change to {sorted(data_keys)}"
            )
        stream.members = dict(members)
        self._emit_descriptor(
            stream,
            data_keys,
            configuration={m.name: m.configuration for m in members.values()},
            object_keys={m.name: list(m.data_keys) for m in members.values()},
            hints={m.name: m.obj.hints for m in members.values() if hasattr(m.obj, "hints")},
        )

    def _emit_descriptor(self, stream: Stream, data_keys: Document, **parts: Document) -> None:
        doc = compose.descriptor(self.uid, stream.name, data_keys=data_keys, **parts)
        stream.settle_keys(doc)
        self._emit("descriptor", doc)

    def begin_bundle(self, name: str) -> None:
        """
        Begin an event.

        Args:
            name: Name of its stream.

        Raises:
            IllegalMessageSequence: If an event is open already.
        """
        if self.bundle is not None:
            raise kind(IllegalMessageSequence)(
                "a second 'create' is not allowed until the open event is closed with 'save' or 'drop'"
            )
        self.bundle = Bundle(self.stream(name))

    def add_reading(
        self, member: Member, reading: Mapping[str, Any], assets: list[tuple[str, Document]]
    ) -> None:
        """
        Put a reading into the open event.

        Args:
            member: Who was read.
            reading: Its reading.
            assets: Documents about files that belong to it.

        Raises:
            BadStep: If another object in the event has one of its keys.
        """
        bundle = self.bundle
        if bundle is None:
            return
        if not bundle.keys.isdisjoint(member.data_keys):
            both = sorted(bundle.keys & member.data_keys.keys())
            raise BadStep(
                f'"{member.name}" has keys that this event contains already: {shown(both)}; '
                "read each object once and give signals different names"
            )
        bundle.keys.update(member.data_keys)
        bundle.members[id(member.obj)] = member
        bundle.readings.append(reading)
        bundle.assets.extend(assets)

    def save(self) -> None:
        """
        Close the open event and emit it, with descriptor and file documents before it where needed.

        Raises:
            IllegalMessageSequence: If no event is open.
            MismatchedReading: If other objects or keys were read than before in this stream.
            BadAsset: If file documents do not fit.
        """
        bundle = self.bundle
        if bundle is None:
            raise kind(IllegalMessageSequence)(
                "'save' came without 'create'; begin an event with 'create' first"
            )
        self.bundle = None
        if not bundle.members:
            return
        stream = bundle.stream
        if stream.descriptor is None:
            self.describe(stream, bundle.members)
        elif bundle.members.keys() != stream.members.keys() and not stream.recognises(bundle.members):
            had = [m.name for m in stream.members.values()]
            got = [m.name for m in bundle.members.values()]
            raise MismatchedReading(
                f'Mismatched objects read in stream "{stream.name}": expected {had}, got {got}; '
                "give another stream name to 'create'"
            )
        if bundle.assets or self.kept_assets:
            self._emit_assets(stream, bundle)
        self._emit("event", stream.event(*bundle.columns()))

    def _emit_assets(self, stream: Stream, bundle: Bundle) -> None:
        mine = [a for a in self.kept_assets if a[0] == "resource" or a[1]["data_key"] in stream.external]
        self.kept_assets = [a for a in self.kept_assets if a not in mine]
        ready, width = self.assets.complete([*mine, *bundle.assets], stream)
        if width > 1:
            raise kind(BadAsset)(
                f'a stream_datum covers {width} rows for one event of stream "{stream.name}"; '
                "between 'create' and 'save' it must cover one"
            )
        for name, doc in ready:
            self._emit(name, doc)

    def drop(self) -> None:
        """
        Forget the open event; announcements of files are kept for the next one.

        Raises:
            IllegalMessageSequence: If no event is open.
        """
        if self.bundle is None:
            raise kind(IllegalMessageSequence)("'drop' came without 'create'; there is no open event to drop")
        self.kept_assets.extend(survivors(self.bundle.assets))
        self.bundle = None

    def mark(self) -> None:
        """Remember the numbers of all streams: a checkpoint."""
        for stream in self.streams.values():
            stream.mark = stream.next_number

    def rewind(self) -> None:
        """Go back to the checkpoint: replayed events get their old numbers, an open event is forgotten."""
        if self.bundle is not None:
            self.drop()
        for stream in self.streams.values():
            if stream.rolls_back:
                stream.next_number = stream.mark

    def record_interruption(self, words: str) -> None:
        """
        Emit an event about an interruption, if this run records them.

        Args:
            words: ``pause``, ``resume`` or the reason of a suspension.
        """
        if self._record and self.is_open:
            stream = self.streams[INTERRUPTIONS]
            self._emit("event", stream.event({"interruption": words}, {"interruption": time.time()}))


RunKey = Hashable
