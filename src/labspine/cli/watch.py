"""``labspine watch``: the running scan as a live table, from its first point."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Annotated, Any

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
_KEPT_SCANS = 50


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("watch")(watch)


def watch(
    scans: Annotated[
        int | None, typer.Option(min=1, help="End after that many scans; default: Ctrl-C ends.")
    ] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Recorded scans first.")] = False,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the running scan from its first point, then the following ones, until Ctrl-C."""
    with connected(url, name="watch") as lab:
        watch_scans(lab.connector, scans=scans, from_start=from_start, as_json=as_json)


def watch_scans(
    connector: RedisConnector, *, scans: int | None = 1, from_start: bool = False, as_json: bool = False
) -> None:
    """
    Follow the running scan and those after it on the bus, and draw them.

    Args:
        connector: Where to listen.
        scans: End after that many scans; None goes on for ever.
        from_start: Begin with the first scan in the history.
        as_json: Print the messages instead of a table.
    """
    follower = _Follower(connector, from_start=from_start)
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


class _Follower:
    """Sort what the bus says about scans into one view a scan; the reader of the connector never waits."""

    def __init__(
        self, connector: RedisConnector, report: ScanReport | None = None, *, from_start: bool = False
    ) -> None:
        from ..endpoints import MessageEndpoints

        self._report = report
        self._arrived: queue.SimpleQueue[tuple[str, MessageObject]] = queue.SimpleQueue()
        self._views: dict[str, LiveView] = {}
        self._next_check_mono_s = 0.0
        running = connector.get(MessageEndpoints.scan_status())
        is_running = running is not None and running.status not in _ENDED
        replay = is_running or from_start or report is not None
        # What is over before we look is in the replay as well, and passed over by its number.
        is_passed_over = running is not None and is_running and not from_start
        self._first_number = (running.scan_number or 0) if running is not None and is_passed_over else 0
        connector.register(
            MessageEndpoints.file_event("master"), cb=self._take, kind="file", from_start=replay
        )
        connector.register(MessageEndpoints.scan_status(), cb=self._take, kind="status", from_start=replay)
        connector.register(MessageEndpoints.scan_segment(), cb=self._take, kind="point", from_start=replay)

    def _take(self, item: MessageObject, kind: str = "") -> None:
        self._arrived.put((kind, item))

    def pump(self, timeout_s: float) -> None:
        """
        Take the next message, if one comes in time.

        Raises:
            NoScanServer: If the server of the followed request has vanished.
        """
        try:
            kind, item = self._arrived.get(timeout=timeout_s)
        except queue.Empty:
            self._check_server()
            return
        for message in item.value if isinstance(item.value, list) else [item.value]:
            self._sort(kind, message)

    def _sort(self, kind: str, message: Any) -> None:
        if not hasattr(message, "content"):
            for view in self._views.values():
                view.add_gap(str(message))
            return
        scan_id = message.metadata.get("scan_id") if kind == "file" else message.scan_id
        view = self._view_of(scan_id)
        if kind == "status":
            view.set_status(message)
        elif kind == "point":
            view.add_point(message)
        else:
            view.set_file(message)

    def _view_of(self, scan_id: str) -> LiveView:
        if scan_id not in self._views:
            self._views[scan_id] = LiveView()
            while len(self._views) > _KEPT_SCANS:
                del self._views[next(iter(self._views))]
        return self._views[scan_id]

    def next_view(self) -> LiveView | None:
        """Wait for the next scan that is to be shown; None if none will come."""
        while True:
            for view in list(self._views.values()):
                if view.status is not None and not view.is_shown and self._is_wanted(view.status):
                    view.is_shown = True
                    return view
            if self._report is not None and self._report.done and self._arrived.empty():
                return None
            self.pump(0.5)

    def _is_wanted(self, status: ScanStatusMessage) -> bool:
        if self._report is not None:
            return bool(status.info.get("RID") == self._report.rid)
        return (status.scan_number or 0) >= self._first_number

    def _check_server(self) -> None:
        if self._report is not None and time.monotonic() > self._next_check_mono_s:
            self._next_check_mono_s = time.monotonic() + 1.0
            self._report.check_server()


def _show_scan(follower: _Follower, *, as_json: bool) -> bool:
    """Show the next scan until its end; False if none will come."""
    view = follower.next_view()
    if view is None:
        return False
    if as_json:
        _print_scan(follower, view)
    else:
        _draw_scan(follower, view)
    return True


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
            follower.pump(_DRAW_EVERY_S)
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
        follower.pump(_DRAW_EVERY_S)
    if view.file is None:
        warn("no file was announced")
    else:
        say_json(view.file)
