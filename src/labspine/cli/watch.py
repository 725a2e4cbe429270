"""``labspine watch``: the running scan as a live table, from its first point."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from .context import JsonOption, UrlOption, connected, console, say_json, warn
from .live_view import LiveView

if TYPE_CHECKING:
    from ..connector import MessageObject, RedisConnector
    from ..messages import ScanStatusMessage

__all__ = ["watch_scans"]

_ENDED = ("closed", "aborted", "halted", "user_completed")
_FILE_WAIT_S = 5.0
_DRAW_EVERY_S = 0.1


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("watch")(watch)


def watch(
    scans: Annotated[
        int | None, typer.Option(min=1, help="End after that many scans; default: Ctrl-C ends.")
    ] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the running scan from its first point, then the following ones, until Ctrl-C."""
    with connected(url, name="watch") as lab:
        watch_scans(lab.connector, scans=scans, as_json=as_json)


def watch_scans(
    connector: RedisConnector, *, scans: int | None = 1, request_id: str | None = None, as_json: bool = False
) -> ScanStatusMessage | None:
    """
    Follow scans on the bus and draw them.

    Args:
        connector: Where to listen.
        scans: End after that many scans; None goes on for ever.
        request_id: Only the scan of this request; others are passed over.
        as_json: Print the messages instead of a table.

    Returns:
        The last status of the last scan that was watched.
    """
    follower = _Follower(connector, request_id=request_id)
    last: ScanStatusMessage | None = None
    watched = 0
    while scans is None or watched < scans:
        last = _print_scan(follower) if as_json else _draw_scan(follower)
        watched += 1
    return last


@dataclass
class _Event:
    """One message with the kind of endpoint that it came from."""

    kind: str
    item: MessageObject


class _Follower:
    """Collect what the bus says about scans; the reader of the connector is never kept waiting."""

    def __init__(self, connector: RedisConnector, *, request_id: str | None) -> None:
        from ..endpoints import MessageEndpoints

        self.arrived: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._request_id = request_id
        running = connector.get(MessageEndpoints.scan_status())
        is_running = running is not None and running.status not in _ENDED
        replay = is_running or request_id is not None
        connector.register(MessageEndpoints.file_event("master"), cb=self._take, kind="file")
        connector.register(MessageEndpoints.scan_status(), cb=self._take, kind="status", from_start=replay)
        connector.register(MessageEndpoints.scan_segment(), cb=self._take, kind="point", from_start=replay)
        self._only = running.scan_id if running is not None and is_running and request_id is None else None
        self._early: list[_Event] = []

    def _take(self, item: MessageObject, kind: str = "") -> None:
        self.arrived.put(_Event(kind, item))

    def wait(self, timeout_s: float) -> _Event | None:
        """Give the next event, or None when the time is over."""
        try:
            return self.arrived.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def is_wanted(self, status: ScanStatusMessage) -> bool:
        """Tell whether to watch the scan that this status announces."""
        if self._request_id is not None:
            return status.info.get("RID") == self._request_id
        if self._only is not None and status.scan_id != self._only:
            return False
        self._only = None
        return True


def _next_scan(follower: _Follower, view: LiveView) -> None:
    """Wait for the announcement of the next scan; points that came before it are kept."""
    early: list[_Event] = []
    while view.scan_id is None:
        event = follower.wait(1.0)
        if event is None:
            continue
        if event.kind == "status" and _is_message(event) and follower.is_wanted(event.item.value):
            view.open(event.item.value)
        elif event.kind == "point":
            early = [*early[-20_000:], event]
    for event in early:
        _feed(view, event)


def _is_message(event: _Event) -> bool:
    return hasattr(event.item.value, "content")


def _feed(view: LiveView, event: _Event) -> None:
    value = event.item.value
    if not _is_message(event) and not isinstance(value, list):
        view.add_gap(str(value))
        return
    for message in value if isinstance(value, list) else [value]:
        if event.kind == "point" and message.scan_id == view.scan_id:
            view.add_point(message)
        elif event.kind == "status" and message.scan_id == view.scan_id:
            view.set_status(message)
        elif event.kind == "file" and message.metadata.get("scan_id") == view.scan_id:
            view.set_file(message)


def _is_over(view: LiveView, ended_mono_s: float | None) -> bool:
    """A scan is over when its last point and its file are there, or have not come for a while."""
    if ended_mono_s is None:
        return False
    if view.is_complete and view.file_done:
        return True
    return time.monotonic() - ended_mono_s > _FILE_WAIT_S


def _draw_scan(follower: _Follower) -> ScanStatusMessage | None:
    from rich.live import Live

    out = console()
    view = LiveView()
    _next_scan(follower, view)
    ended_mono_s: float | None = None
    with Live(view, console=out, auto_refresh=False, transient=True) as live:
        drawn_mono_s = 0.0
        while not _is_over(view, ended_mono_s):
            event = follower.wait(_DRAW_EVERY_S)
            if event is not None:
                _feed(view, event)
            if view.status and view.status.status in _ENDED and ended_mono_s is None:
                ended_mono_s = time.monotonic()
            if out.is_terminal and time.monotonic() - drawn_mono_s > _DRAW_EVERY_S:
                live.update(view, refresh=True)
                drawn_mono_s = time.monotonic()
    out.print(view.final())
    return view.status


def _print_scan(follower: _Follower) -> ScanStatusMessage | None:
    view = LiveView()
    _next_scan(follower, view)
    say_json(view.status)
    printed, seen = 0, view.status
    ended_mono_s: float | None = None
    while not _is_over(view, ended_mono_s):
        for message in view.points_since(printed):
            say_json(message)
            printed += 1
        event = follower.wait(_DRAW_EVERY_S)
        if event is not None:
            _feed(view, event)
        if view.status is not seen:
            seen = view.status
            say_json(seen)
        if view.status and view.status.status in _ENDED and ended_mono_s is None:
            ended_mono_s = time.monotonic()
    for message in view.points_since(printed):
        say_json(message)
    if view.file is None:
        warn("no file was announced")
    else:
        say_json(view.file)
    return view.status
