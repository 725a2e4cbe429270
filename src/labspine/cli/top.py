"""``labspine top``: how much is said where."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .context import JsonOption, UrlOption, connected, console, say_json, warn
from .places import ProfileOption, chosen_places

if TYPE_CHECKING:
    from rich.table import Table

    from ..connector import MessageObject, RedisConnector
    from ..endpoints import EndpointInfo
    from ..lab import Lab

__all__ = ["Rates", "Row"]

_MOST_TOPICS = 10_000
_FIND_STREAMS_EVERY_S = 5.0


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("top")(top)


@dataclass(frozen=True)
class Row:
    """
    What was said on one channel or stream.

    Args:
        endpoint: Its name in the catalogue.
        topic: The channel or key.
        per_s: Messages a second in the last interval.
        total: Messages since the beginning.
        silent_s: Seconds since the last one.
    """

    endpoint: str
    topic: str
    per_s: float
    total: int
    silent_s: float


class Rates:
    """Count messages by topic; threads may count while another looks."""

    def __init__(self, *, now_mono_s: float) -> None:
        self._lock = threading.Lock()
        self._looked_mono_s = now_mono_s
        self._counts: dict[tuple[str, str], int] = {}
        self._last_mono_s: dict[tuple[str, str], float] = {}
        self._before: dict[tuple[str, str], int] = {}

    def count(self, endpoint: str, topic: str, *, now_mono_s: float, more: int = 1) -> None:
        """Note messages; topics above ten thousand are counted together."""
        key = (endpoint, topic)
        with self._lock:
            if key not in self._counts and len(self._counts) >= _MOST_TOPICS:
                key = ("", "(others)")
            self._counts[key] = self._counts.get(key, 0) + more
            self._last_mono_s[key] = now_mono_s

    def look(self, *, now_mono_s: float) -> list[Row]:
        """Give one row a topic, the quickest first, with the rates since the last look."""
        with self._lock:
            counts, last = dict(self._counts), dict(self._last_mono_s)
        passed_s = max(now_mono_s - self._looked_mono_s, 1e-9)
        rows = [
            Row(*key, (total - self._before.get(key, 0)) / passed_s, total, now_mono_s - last[key])
            for key, total in counts.items()
        ]
        self._looked_mono_s, self._before = now_mono_s, counts
        return sorted(rows, key=lambda row: (-row.per_s, -row.total, row.topic))


class _Streams:
    """Ask how many entries streams have had; what they gained since the first look is counted."""

    def __init__(self, connector: RedisConnector, wanted: list[EndpointInfo[Any]], rates: Rates) -> None:
        self._connector = connector
        self._wanted = wanted
        self._rates = rates
        self._known: dict[str, str] = {}
        self._added: dict[str, int] = {}
        self._found_mono_s = -_FIND_STREAMS_EVERY_S
        self._is_first = True

    def look(self) -> None:
        """Look once."""
        from ..flows import streams

        now_mono_s = time.monotonic()
        if now_mono_s - self._found_mono_s >= _FIND_STREAMS_EVERY_S:
            self._found_mono_s = now_mono_s
            self._find()
        with self._connector.pipeline() as pipe:
            for key in self._known:
                pipe.add(streams.place_of(key))
            answers = pipe.execute(return_errors=True)
        for (key, name), found in zip(self._known.items(), answers, strict=True):
            if isinstance(found, streams.StreamPlace):
                added = found.length if found.added is None else found.added
                before = self._added.get(key, added if self._is_first else 0)
                if added > before:
                    self._rates.count(name, key, now_mono_s=now_mono_s, more=added - before)
                self._added[key] = added
        self._is_first = False

    def _find(self) -> None:
        from ..errors import PermissionDenied
        from ..flows import located, located_pattern

        profile = self._connector.options.profile
        for info in self._wanted:
            if not info.is_pattern:
                self._known[located(info, profile).endpoint] = info.name
                continue
            try:
                keys = self._connector.keys(info)
            except PermissionDenied:
                continue  # ordinary users may not search for keys
            pattern = located_pattern(info, profile).endpoint
            self._known |= {key: info.name for key in keys if _is_of(key, pattern)}


def top(
    endpoint: Annotated[str | None, typer.Argument(help="Only this endpoint, as in: device_read")] = None,
    names: Annotated[list[str] | None, typer.Argument(help="The names in its channel; * is any.")] = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="End after the first look.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Show at most that many.")] = 30,
    profile: ProfileOption = "seed",
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how many messages a second are said on each endpoint, until Ctrl-C."""
    wanted = [chosen_places(endpoint, names)] if endpoint else _everything()
    for info in wanted:
        info.require("register")
    with connected(url, name="top", profile=profile) as lab:
        rates = Rates(now_mono_s=time.monotonic())
        looks = _looks(lab, wanted, rates, interval_s=interval, once=once)
        if as_json:
            for found in looks:
                for row in found[:rows]:
                    say_json(asdict(row))
        else:
            _draw(looks, rows)


def _everything() -> list[EndpointInfo[Any]]:
    """List all places where messages are said, each endpoint as one pattern."""
    from ..endpoints import MessageEndpoints

    return [
        definition.pattern() if definition.parameters else definition()
        for definition in MessageEndpoints.definitions()
        if "register" in definition.message_op
    ]


def _looks(
    lab: Lab, wanted: list[EndpointInfo[Any]], rates: Rates, *, interval_s: float, once: bool
) -> Iterator[list[Row]]:
    from ..connector import RedisConnector

    own = lab.connector
    options = {"name": own.options.name, "profile": own.options.profile, "history": False}
    with RedisConnector(lab.url, **options) as listener:
        _listen(listener, [info for info in wanted if info.message_op.name != "STREAM"], rates)
        streams = _Streams(own, [info for info in wanted if info.message_op.name == "STREAM"], rates)
        streams.look()
        rates.look(now_mono_s=time.monotonic())
        while True:
            time.sleep(interval_s)
            streams.look()
            yield rates.look(now_mono_s=time.monotonic())
            if once:
                return


def _listen(listener: RedisConnector, wanted: list[EndpointInfo[Any]], rates: Rates) -> None:
    from ..errors import PermissionDenied
    from ..flows import located_pattern

    refused = []
    for info in wanted:
        # A star of the server crosses slashes, so a channel may fit several patterns: it counts for its own.
        pattern = located_pattern(info, listener.options.profile).endpoint

        def heard(message: MessageObject, *, name: str = info.name, pattern: str = pattern) -> None:
            if _is_of(message.topic, pattern):
                rates.count(name, message.topic, now_mono_s=time.monotonic())

        try:
            if info.is_pattern:
                listener.register(patterns=info, cb=heard)
            else:
                listener.register(info, cb=heard)
        except PermissionDenied:
            refused.append(info.name)
    if refused:
        warn(f"not shown, because this login may not listen there: {', '.join(refused)}")


def _is_of(topic: str, pattern: str) -> bool:
    """Tell whether a channel is one of a pattern, segment by segment."""
    from fnmatch import fnmatchcase

    parts, wanted = topic.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _draw(looks: Iterator[list[Row]], most: int) -> None:
    from rich.live import Live

    out = console()
    if not out.is_terminal:
        for found in looks:
            out.print(_table(found, most))
        return
    with Live(console=out, auto_refresh=False) as live:
        for found in looks:
            live.update(_table(found, most), refresh=True)


def _table(found: list[Row], most: int) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    total = sum(row.per_s for row in found)
    left_out = f", {len(found) - most} more not shown" if len(found) > most else ""
    table.caption = f"{total:.1f} messages a second on {len(found)} topics{left_out}"
    for column, justify in (("endpoint", "left"), ("topic", "left"), ("per s", "right"), ("total", "right")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]  # two words
    table.add_column("last", justify="right")
    for row in found[:most]:
        table.add_row(
            row.endpoint, row.topic, f"{row.per_s:.1f}", str(row.total), f"{row.silent_s:.1f} s ago"
        )
    return table
