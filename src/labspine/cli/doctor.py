"""``labspine doctor``: is everything as it should be, and if not, what to do."""

from __future__ import annotations

import platform
import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from .._version import __version__
from ..errors import LabspineError
from .context import JsonOption, UrlOption, connected, say, say_json

if TYPE_CHECKING:
    from ..lab import Lab

_MARKS = {"ok": "✔", "warning": "⚠", "problem": "✘"}
_OPTIONAL = {
    "bluesky": "plans",
    "h5py": "files",
    "starlette": "page",
    "socketio": "page",
    "pandas": "data",
    "xarray": "data",
}
_FREE_DISK_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor looked at."""

    topic: str
    level: Literal["ok", "warning", "problem"]
    text: str


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("doctor")(doctor)


def doctor(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Look at the installation, the broker and the services; exit code 1 if there is a problem."""
    findings = [*_installation(), *_lab(url)]
    for finding in findings:
        if as_json:
            say_json({"topic": finding.topic, "level": finding.level, "text": finding.text})
        else:
            say(f" {_MARKS[finding.level]} {finding.topic:<12} {finding.text}")
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def _installation() -> list[Finding]:
    python = platform.python_version()
    level: Literal["ok", "problem"] = "ok" if sys.version_info >= (3, 11) else "problem"
    findings = [
        Finding("labspine", "ok", __version__),
        Finding("python", level, f"{python} on {platform.system()}"),
    ]
    missing = [name for name in _OPTIONAL if not _is_installed(name)]
    if missing:
        needed = ", ".join(sorted({_OPTIONAL[name] for name in missing}))
        findings.append(
            Finding(
                "packages", "warning", f"without {', '.join(missing)} ({needed}): pip install 'labspine[all]'"
            )
        )
    else:
        findings.append(Finding("packages", "ok", "all optional packages are installed"))
    free = shutil.disk_usage(".").free
    findings.append(
        Finding("disk", "ok" if free > _FREE_DISK_BYTES else "warning", f"{free / 1e9:.1f} GB free here")
    )
    return findings


def _is_installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _lab(url: str | None) -> list[Finding]:
    try:
        with connected(url, name="doctor") as lab:
            return [*_broker(lab), *_services(lab)]
    except LabspineError as error:
        return [Finding("broker", "problem", str(error))]


def _broker(lab: Lab) -> list[Finding]:
    begun_s = time.perf_counter()
    report = lab.connector.server_report()
    round_trip_ms = 1000 * (time.perf_counter() - begun_s)
    skew_s = abs(report.utc_s - time.time())
    findings = [
        Finding(
            "broker",
            "ok",
            f"{report.name} {report.version} at {lab.url}, round trip {round_trip_ms:.2f} ms",
        )
    ]
    if report.eviction_policy != "noeviction":
        text = f"maxmemory-policy {report.eviction_policy} may drop queued scans: set noeviction"
        findings.append(Finding("memory", "problem", text))
    if report.append_only:
        findings.append(Finding("persistence", "ok", "append-only file is on"))
    else:
        findings.append(
            Finding("persistence", "warning", "append-only file is off: a broker restart loses the queue")
        )
    findings.append(
        Finding(
            "clock", "ok" if skew_s < 1 else "warning", f"differs from the broker's by {1000 * skew_s:.0f} ms"
        )
    )
    return findings


def _services(lab: Lab) -> list[Finding]:
    from ..endpoints import MessageEndpoints

    keys = lab.connector.keys(MessageEndpoints.pattern("service_status"))
    findings = []
    for name in sorted(key.rsplit("/", 1)[-1] for key in keys):
        message = lab.connector.get(MessageEndpoints.service_status(name))
        if message is None:
            continue
        age_s = time.time() - float(
            message.info.get("timestamp", message.metadata.get("timestamp", time.time()))
        )
        state = message.info.get("state", message.status.name.lower())
        level: Literal["ok", "warning", "problem"] = "problem" if message.status.name == "ERROR" else "ok"
        findings.append(Finding("service", level, f"{name}: {state}, seen {max(0.0, age_s):.0f} s ago"))
    if not findings:
        findings.append(
            Finding("service", "warning", "no service is running on this broker: labspine up --demo")
        )
    return findings
