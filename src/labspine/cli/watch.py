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
    from ..lab import ScanReport
    from ..messages import ScanStatusMessage

__all__ = ["watch_request", "watch_scans"]

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


def watch_scans(connector: RedisConnector, *, scans: int | None = 1, as_json: bool = False) -> None:
    """
    Follow the running scan and those after it on the bus, and draw them.

    Args:
        connector: Where to listen.
        scans: End after that many scans; None goes on for ever.
        as_json: Print the messages instead of a table.
    """
    follower = _Follower(connector)
    watched = 0
    while scans is None or watched < scans:
        _show_scan(follower, as_json=as_json)
        watched += 1


def watch_request(connector: RedisConnector, report: ScanReport, *, as_json: bool = False) -> None:
    """
    Follow the scans of one accepted request and draw them; returns when it has ended.

    Args:
        connector: Where to listen.
        report: The report of the request.
        as_json: Print the messages instead of a table.

    Raises:
        NoScanServer: If the scan server vanishes meanwhile.
    """
    follower = _Follower(connector, report)
    while _show_scan(follower, as_json=as_json) and not report.done:
        pass


@dataclass
class _Event:
    """One message with the kind of endpoint that it came from."""

    kind: str
    item: MessageObject


class _Follower:
    """Collect what the bus says about scans; the reader of the connector is never kept waiting."""

    def __init__(self, connector: RedisConnector, report: ScanReport | None = None) -> None:
        from ..endpoints import MessageEndpoints

        self.arrived: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._report = report
        self._shown: set[str | None] = set()
        self._next_check_mono_s = 0.0
        running = connector.get(MessageEndpoints.scan_status())
        is_running = running is not None and running.status not in _ENDED
        replay = is_running or report is not None
        connector.register(MessageEndpoints.file_event("master"), cb=self._take, kind="file")
        connector.register(MessageEndpoints.scan_status(), cb=self._take, kind="status", from_start=replay)
        connector.register(MessageEndpoints.scan_segment(), cb=self._take, kind="point", from_start=replay)
        self._only = running.scan_id if running is not None and is_running and report is None else None

    def _take(self, item: MessageObject, kind: str = "") -> None:
        self.arrived.put(_Event(kind, item))

    def wait(self, timeout_s: float) -> _Event | None:
        """Give the next event, or None when the time is over."""
        try:
            return self.arrived.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def is_wanted(self, status: ScanStatusMessage) -> bool:
        """Tell whether to watch the scan that this status announces; each scan is watched once."""
        if status.scan_id in self._shown:
            return False
        if self._report is not None:
            wanted = status.info.get("RID") == self._report.rid
        else:
            wanted = self._only is None or status.scan_id == self._only
        if wanted:
            self._only = None
            self._shown.add(status.scan_id)
        return wanted

    @property
    def has_ended(self) -> bool:
        """Whether the request that is followed has ended, so that no further scan will come."""
        return self._report is not None and self._report.done

    def check_server(self) -> None:
        """Raise `NoScanServer` if the server of the followed request has vanished; looks once a second."""
        if self._report is not None and time.monotonic() > self._next_check_mono_s:
            self._next_check_mono_s = time.monotonic() + 1.0
            self._report.check_server()


def _next_scan(follower: _Follower, view: LiveView) -> bool:
    """Wait for the announcement of the next scan; points that came before it are kept."""
    early: list[_Event] = []
    while view.scan_id is None:
        event = follower.wait(0.5)
        if event is None:
            follower.check_server()
            if follower.has_ended:
                return False
        elif event.kind == "status" and _is_message(event) and follower.is_wanted(event.item.value):
            view.open(event.item.value)
        elif event.kind == "point":
            early = [*early[-20_000:], event]
    for event in early:
        _feed(view, event)
    return True


def _show_scan(follower: _Follower, *, as_json: bool) -> bool:
    """Show the next scan until its end; False if none will come."""
    view = LiveView()
    if not _next_scan(follower, view):
        return False
    if as_json:
        _print_scan(follower, view)
    else:
        _draw_scan(follower, view)
    return True


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


class _End:
    """Decide when a scan is over: its last point and its file are there, or have not come for a while."""

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._ended_mono_s: float | None = None

    def has_come(self) -> bool:
        """Look at the view; call it again and again."""
        view = self._view
        if view.status is None or view.status.status not in _ENDED:
            return False
        if self._ended_mono_s is None:
            self._ended_mono_s = time.monotonic()
        return (view.is_complete and view.file_done) or time.monotonic() - self._ended_mono_s > _FILE_WAIT_S


def _draw_scan(follower: _Follower, view: LiveView) -> None:
    from rich.live import Live

    out = console()
    end = _End(view)
    drawn_mono_s = 0.0
    with Live(view, console=out, auto_refresh=False, transient=True) as live:
        while not end.has_come():
            _take_next(follower, view)
            if out.is_terminal and time.monotonic() - drawn_mono_s > _DRAW_EVERY_S:
                live.update(view, refresh=True)
                drawn_mono_s = time.monotonic()
    out.print(view.final())


def _print_scan(follower: _Follower, view: LiveView) -> None:
    end = _End(view)
    seen = view.status
    say_json(seen)
    printed = 0
    while True:
        is_over = end.has_come()
        for message in view.points_since(printed):
            say_json(message)
            printed += 1
        if view.status is not seen:
            seen = view.status
            say_json(seen)
        if is_over:
            break
        _take_next(follower, view)
    if view.file is None:
        warn("no file was announced")
    else:
        say_json(view.file)


def _take_next(follower: _Follower, view: LiveView) -> None:
    event = follower.wait(_DRAW_EVERY_S)
    if event is None:
        follower.check_server()
    else:
        _feed(view, event)
