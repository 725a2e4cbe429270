"""One scan on the terminal: table, progress bar with the time left, and the statistics at its end."""

from __future__ import annotations

import time
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

    from ..messages import FileMessage, ScanMessage, ScanStatusMessage

__all__ = ["LiveView"]

_ROWS = 12
_BAR_WIDTH = 40
_MAX_COLUMNS = 7
_SPARKS = "▁▂▃▄▅▆▇█"
_MARKS = {"closed": "✔", "user_completed": "✔", "aborted": "■", "halted": "■", "paused": "‖", "open": "▸"}


class LiveView:
    """Collect the messages of one scan and draw them; a rich renderable."""

    def __init__(self) -> None:
        self.status: ScanStatusMessage | None = None
        self.file: FileMessage | None = None
        self._points: dict[int, ScanMessage] = {}
        self._order: list[ScanMessage] = []
        self._began_utc_s: float | None = None
        self.is_shown = False
        self._gaps: list[str] = []

    @property
    def scan_id(self) -> str | None:
        """The scan; None before its first status."""
        return self.status.scan_id if self.status else None

    @property
    def is_complete(self) -> bool:
        """Whether all points that the last status counts have come."""
        return self.status is not None and len(self._points) >= (self.status.num_monitored_readouts or 0)

    @property
    def file_done(self) -> bool:
        """Whether the file writer has finished the file."""
        return self.file is not None and self.file.done

    def set_status(self, status: ScanStatusMessage) -> None:
        """Take a status of the scan; an older one than the present changes nothing but the begin."""
        if self._began_utc_s is None or status.timestamp < self._began_utc_s:
            self._began_utc_s = status.timestamp
        if self.status is None or status.timestamp >= self.status.timestamp:
            self.status = status

    def set_file(self, message: FileMessage) -> None:
        """Take the news about the file."""
        self.file = message

    def add_gap(self, text: str) -> None:
        """Tell that messages are missing."""
        self._gaps.append(text)

    def add_point(self, message: ScanMessage) -> None:
        """Take a point; one that is taken again replaces the former."""
        if message.point_id not in self._points:
            self._order.append(message)
        self._points[message.point_id] = message

    def points_since(self, index: int) -> list[ScanMessage]:
        """Give the points in the order in which they came, from a number on."""
        return self._order[index:]

    @property
    def _columns(self) -> list[str]:
        """Name what is one number: the moving axes first, then the hinted signals, then the others."""
        if not self._order:
            return []
        numbers = [s for s, v in _values(self._order[0]).items() if isinstance(v, (int, float))]
        hinted = self._hinted()
        ranked = {name: (name not in self._axes(), name not in hinted) for name in numbers}
        return sorted(numbers, key=ranked.__getitem__)

    def _hinted(self) -> list[str]:
        hints = (self.status.info.get("hints") if self.status else None) or {}
        fields = hints.get("fields")
        return [str(name) for names in fields.values() for name in names] if isinstance(fields, dict) else []

    def _axes(self) -> list[str]:
        return list((self.status.scan_report_devices or []) if self.status else [])

    # --- drawing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the present state."""
        yield self._title()
        yield self._table(console.width)
        yield self._bar()
        for gap in self._gaps[-3:]:
            yield f"[yellow]⚠ {gap}[/yellow]"

    def final(self) -> Table:
        """Draw the result: how it ended, the statistics of the first detector, and the file."""
        from rich.table import Table

        grid = Table.grid(padding=(0, 1))
        grid.add_row(self._title())
        grid.add_row(self._table(100))
        grid.add_row(self._summary())
        if self.file is not None:
            grid.add_row(f"  file {self.file.file_path}  (also .csv)")
        for gap in self._gaps:
            grid.add_row(f"[yellow]⚠ {gap}[/yellow]")
        return grid

    def _title(self) -> Text:
        from rich.text import Text

        status = self.status
        if status is None:
            return Text("waiting for a scan …", style="dim")
        words = [f"#{status.scan_number}", str(status.scan_name)]
        if self._axes():
            words.append("vs " + ", ".join(self._axes()))
        if status.num_points:
            words.append(f"{status.num_points} points")
        sample = (status.user_metadata or {}).get("sample")
        if sample:
            words.append(f"sample {sample}")
        text = Text("  ".join(words), style="bold")
        text.append(f"   {_MARKS.get(status.status, '')} {status.status}", style="not bold cyan")
        text.append(f"   {str(status.scan_id)[:8]}", style="not bold dim")
        return text

    def _table(self, width: int) -> Table:
        from rich import box
        from rich.table import Table

        columns, hinted = self._columns, {*self._axes(), *self._hinted()}
        wanted = [name for name in columns if name in hinted] or columns
        shown = wanted[: max(1, min(_MAX_COLUMNS, (width - 22) // 12))]
        units = self._units()
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("#", justify="right", style="dim")
        table.add_column("time", style="dim")
        for name in shown:
            table.add_column(f"{name} ({units[name]})" if units.get(name) else name, justify="right")
        hidden = len(columns) - len(shown)
        if hidden:
            table.add_column(f"+{hidden} more", style="dim")
        for message in self._order[-_ROWS:]:
            values = _values(message)
            cells = [_cell(values.get(name)) for name in shown] + ([""] if hidden else [])
            table.add_row(str(message.point_id + 1), _clock(message), *cells)
        return table

    def _bar(self) -> Text:
        from rich.text import Text

        total = (self.status.num_points if self.status else None) or 0
        done = len(self._points)
        text = Text("  ")
        if total:
            filled = round(_BAR_WIDTH * min(done, total) / total)
            text.append("━" * filled, style="green")
            text.append("━" * (_BAR_WIDTH - filled), style="dim")
            text.append(f"  {done}/{total}  {100 * done // total} %  {self._time_left(done, total)}")
        else:
            text.append(f"{done} points")
        text.append("   " + _sparkline(self._series(self._signal())), style="cyan")
        return text

    def _time_left(self, done: int, total: int) -> str:
        if not done or self.status is None or self.status.status != "open":
            return ""
        first, last = _timestamp(self._order[0]), _timestamp(self._order[-1])
        if done < 2 or last <= first:
            return ""
        left_s = (last - first) / (done - 1) * (total - done)
        return f"{_minutes(left_s)} left"

    def _summary(self) -> str:
        status = self.status
        if status is None:
            return ""
        took_s = status.timestamp - (self._began_utc_s or status.timestamp)
        words = [
            f"{_MARKS.get(status.status, '')} #{status.scan_number} {status.status} after {took_s:.1f} s"
        ]
        words.append(f"{len(self._points)} of {status.num_points or len(self._points)} points")
        words.extend(self._statistics())
        return " · ".join(words)

    def _statistics(self) -> list[str]:
        from ..lab.peaks import peak_statistics

        axes, signal = self._axes(), self._signal()
        if not axes or signal is None or len(self._points) < 3:
            return []
        values = self._series(signal)
        if len(axes) > 1:
            best = max(range(len(values)), key=lambda i: values[i] if isfinite(values[i]) else float("-inf"))
            places = ", ".join(f"{axis} {self._series(axis)[best]:.4g}" for axis in axes)
            return [f"max {values[best]:.6g} @ {places}"]
        peak = peak_statistics(self._series(axes[0]), values)
        if peak.max_value is None:
            return []
        return [
            f"max {peak.max_value:.6g} @ {peak.max_position:.4g}",
            f"centre {peak.centre:.4g}" if peak.centre is not None else "no centre",
            f"FWHM {peak.fwhm:.4g}" if peak.fwhm is not None else "no FWHM",
        ]

    def _signal(self) -> str | None:
        return next((name for name in self._columns if name not in self._axes()), None)

    def _series(self, name: str | None) -> list[float]:
        if name is None:
            return []
        ordered = (self._points[point] for point in sorted(self._points))
        values = (_values(message).get(name) for message in ordered)
        return [float(v) if isinstance(v, (int, float)) else float("nan") for v in values]

    def _units(self) -> dict[str, str]:
        keys = (self.status.info.get("data_keys") if self.status else None) or {}
        return {
            signal: str(key.get("units") or "")
            for signals in keys.values()
            if isinstance(signals, dict)
            for signal, key in signals.items()
            if isinstance(key, dict)
        }


def _values(message: ScanMessage) -> dict[str, object]:
    return {
        signal: reading.get("value")
        for signals in message.data.values()
        for signal, reading in signals.items()
        if isinstance(reading, dict)
    }


def _timestamp(message: ScanMessage) -> float:
    stamps = [
        reading.get("timestamp", 0.0)
        for signals in message.data.values()
        for reading in signals.values()
        if isinstance(reading, dict)
    ]
    return max(stamps, default=0.0)


def _clock(message: ScanMessage) -> str:
    return time.strftime("%H:%M:%S", time.localtime(_timestamp(message)))


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)[:12] if value is not None else ""
    return str(value) if isinstance(value, int) else f"{value:.4f}" if abs(value) < 1000 else f"{value:.6g}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _sparkline(values: list[float]) -> str:
    finite = [v for v in values[-60:] if isfinite(v)]
    if len(finite) < 2 or max(finite) == min(finite):
        return ""
    step = max(1, len(finite) // 24)
    low, span = min(finite), max(finite) - min(finite)
    return "".join(_SPARKS[int((v - low) / span * 7)] for v in finite[::step])
