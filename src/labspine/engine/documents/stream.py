"""Streams: members that were read together, their descriptor and the running number of their events."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from ...errors import shown
from ...ids import new_uid
from ..errors import MismatchedReading, MismatchedValue
from .compose import Document

__all__ = ["Bundle", "Member", "Stream", "settle"]


async def settle(value: Any) -> Any:
    """
    Give the value of something that may have to be awaited.

    Args:
        value: A value or an awaitable.

    Returns:
        The value.
    """
    return await value if inspect.isawaitable(value) else value


class Member:
    """One object in one stream: how it described itself and its configuration."""

    __slots__ = ("asset_source", "configuration", "data_keys", "name", "obj", "writes_streams")

    def __init__(self, obj: Any) -> None:
        self.obj = obj
        self.name: str = obj.name
        self.data_keys: Document = {}
        self.configuration: Document = {"data": {}, "timestamps": {}, "data_keys": {}}
        self.asset_source = getattr(obj, "collect_asset_docs", None)
        self.writes_streams = self.asset_source is not None and hasattr(obj, "get_index")

    def describe_with(self, data_keys: Mapping[str, Any]) -> None:
        """
        Keep a description; the device's own dict is left as it is.

        Args:
            data_keys: What ``describe`` returned.
        """
        self.data_keys = {key: {**value, "object_name": self.name} for key, value in data_keys.items()}

    def ask(self, *, describe: bool) -> Awaitable[None] | None:
        """
        Ask the object about itself.

        Args:
            describe: Also ask for the description, not for the configuration alone.

        Returns:
            None when everything is known already, else something to await.
        """
        obj = self.obj
        described = obj.describe() if describe else None
        config_keys: Any = {}
        config: Any = {}
        if hasattr(obj, "read_configuration") and hasattr(obj, "describe_configuration"):
            config_keys, config = obj.describe_configuration(), obj.read_configuration()
        if any(inspect.isawaitable(answer) for answer in (described, config_keys, config)):
            return self._learn_later(described, config_keys, config)
        self._learn(described, config_keys, config)
        return None

    async def _learn_later(self, *answers: Any) -> None:
        self._learn(*await asyncio.gather(*(settle(answer) for answer in answers)))

    def _learn(self, described: Any, config_keys: Any, config: Any) -> None:
        if described is not None:
            self.describe_with(described)
        self.configuration = {
            "data": {key: reading["value"] for key, reading in config.items()},
            "timestamps": {key: reading["timestamp"] for key, reading in config.items()},
            "data_keys": dict(config_keys),
        }


class Stream:
    """One stream of one run; exists from its first ``create`` on and is described at its first event."""

    __slots__ = (
        "descriptor",
        "external",
        "filled",
        "inherited",
        "keys",
        "known",
        "mark",
        "members",
        "name",
        "next_number",
        "rolls_back",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: dict[int, Member] = {}
        self.members: dict[int, Member] = {}
        self.descriptor: Document | None = None
        self.keys: frozenset[str] = frozenset()
        self.filled: dict[str, bool] = {}
        self.external: frozenset[str] = frozenset()
        self.next_number = 1
        self.mark = 1
        # Monitors and interruptions are not replayed after a pause, so their numbers must go on.
        self.rolls_back = True
        # Names of members that another process described; who they are, the first event tells.
        self.inherited: frozenset[str] | None = None

    def settle_keys(self, descriptor: Document) -> None:
        """
        Take over a descriptor that was emitted.

        Args:
            descriptor: The document.
        """
        data_keys = descriptor["data_keys"]
        self.descriptor = descriptor
        self.external = frozenset(k for k, v in data_keys.items() if v.get("external") == "STREAM:")
        self.keys = frozenset(data_keys) - self.external
        self.filled = {k: False for k, v in data_keys.items() if "external" in v and k not in self.external}

    def recognises(self, members: Mapping[int, Member]) -> bool:
        """
        Find out whether members of an event are those that another process described, and take them over.

        Args:
            members: Members that were read together.

        Returns:
            False when this stream was described here, or for other members.
        """
        if self.inherited is None or {member.name for member in members.values()} != self.inherited:
            return False
        self.members, self.inherited = dict(members), None
        return True

    def event(
        self, data: Document, timestamps: Document, filled: Mapping[str, Any] | None = None
    ) -> Document:
        """
        Compose the next event.

        Args:
            data: Value by key.
            timestamps: Seconds since 1970 UTC by key.
            filled: Whether externally stored values are filled in; by default none is.

        Returns:
            The document; it takes the next number.

        Raises:
            MismatchedReading: If the keys differ from the description.
        """
        if self.descriptor is None:
            raise MismatchedReading(f'stream "{self.name}" is not described yet')
        if data.keys() != self.keys or timestamps.keys() != self.keys:
            self._check_keys(data, timestamps)
        number = self.next_number
        self.next_number = number + 1
        return {
            "uid": new_uid(),
            "time": time.time(),
            "data": data,
            "timestamps": timestamps,
            "seq_num": number,
            "filled": dict(self.filled if filled is None else filled),
            "descriptor": self.descriptor["uid"],
        }

    def _check_keys(self, data: Document, timestamps: Document) -> None:
        # Keys that live in files may be given as well; they are described but not needed.
        for what, keys in (("data", data.keys()), ("timestamps", timestamps.keys())):
            if keys - self.external != self.keys:
                missing, extra = sorted(self.keys - keys), sorted(keys - self.keys - self.external)
                raise MismatchedValue(
                    f'the {what} of an event in stream "{self.name}" do not match its description: '
                    f"missing {shown(missing)}, not described {shown(extra)}"
                )

    def page(self, columns: Document, timestamps: Document) -> Document | None:
        """
        Compose an event page.

        Args:
            columns: List of values by key, all of one length.
            timestamps: List of seconds since 1970 UTC by key.

        Returns:
            The document, which takes as many numbers as it has rows; None when there is no row.

        Raises:
            MismatchedReading: If the keys differ from the description or lengths differ.
        """
        if self.descriptor is None:
            raise MismatchedReading(f'stream "{self.name}" is not described yet')
        self._check_keys(columns, timestamps)
        lengths = {len(column) for column in (*columns.values(), *timestamps.values())}
        if len(lengths) != 1:
            raise MismatchedReading(
                f'columns of a page in stream "{self.name}" have lengths {sorted(lengths)}'
            )
        rows = lengths.pop()
        if not rows:
            return None
        first = self.next_number
        self.next_number = first + rows
        return {
            "uid": [new_uid() for _ in range(rows)],
            "time": [time.time()] * rows,
            "data": columns,
            "timestamps": timestamps,
            "seq_num": list(range(first, first + rows)),
            "filled": {},
            "descriptor": self.descriptor["uid"],
        }


class Bundle:
    """Readings between ``create`` and ``save``."""

    __slots__ = ("assets", "keys", "members", "readings", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.members: dict[int, Member] = {}
        self.readings: list[Mapping[str, Any]] = []
        self.assets: list[tuple[str, Document]] = []
        self.keys: set[str] = set()

    def columns(self) -> tuple[Document, Document]:
        """
        Split the readings.

        Returns:
            Values by key, and timestamps by key.
        """
        data: Document = {}
        timestamps: Document = {}
        for reading in self.readings:
            for key, value in reading.items():
                data[key] = value["value"]
                timestamps[key] = value["timestamp"]
        return data, timestamps
