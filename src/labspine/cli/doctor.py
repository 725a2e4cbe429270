"""``labspine doctor``: is everything as it should be, and if not, what to do."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from .._version import __version__
from ..errors import ConfigError, LabspineError, NotConnected, PermissionDenied
from .context import JsonOption, UrlOption, connected, say, say_json

if TYPE_CHECKING:
    from ..connector import ServerReport
    from ..lab import Lab

Level = Literal["ok", "warning", "problem"]

_MARKS: dict[Level, str] = {"ok": "✔", "warning": "⚠", "problem": "✘"}
_OPTIONAL = {
    "bluesky": "plans",
    "h5py": "files",
    "starlette": "page",
    "socketio": "page",
    "pandas": "data",
    "xarray": "data",
}
_FREE_DISK_BYTES = 1_000_000_000
_LARGEST_SKEW_S = 1.0
_QUIET_S = 3.0
_SLOW_MS = 5.0
_ROUNDS = 5


@dataclass(frozen=True)
class Finding:
    """
    One thing that the doctor looked at.

    Args:
        topic: One word.
        level: How bad it is.
        text: What is so.
        fix: What to do; empty when all is well.
    """

    topic: str
    level: Level
    text: str
    fix: str = ""

    def __str__(self) -> str:
        advice = f" → {self.fix}" if self.fix else ""
        return f"{_MARKS[self.level]} {self.topic:<11} {self.text}{advice}"


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("doctor")(doctor)


def doctor(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Look at the installation, the broker and the services; exit code 1 if there is a problem."""
    findings = [*_installation(), *_lab(url)]
    for finding in findings:
        if as_json:
            say_json(asdict(finding))
        else:
            say(str(finding))
    problems = sum(finding.level == "problem" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    if not as_json:
        say(f"{_counted(problems, 'problem')}, {_counted(warnings, 'warning')}")
    if problems:
        raise typer.Exit(1)


def _counted(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


# --- this computer ---


def _installation() -> list[Finding]:
    return [
        Finding(
            "labspine", "ok", f"{__version__}, Python {platform.python_version()} on {platform.system()}"
        ),
        _packages(),
        _disk(Path.cwd()),
    ]


def _packages() -> Finding:
    from importlib.util import find_spec

    missing = [name for name in _OPTIONAL if find_spec(name) is None]
    if not missing:
        return Finding("packages", "ok", "all optional packages are installed")
    parts = ", ".join(sorted({_OPTIONAL[name] for name in missing}))
    return Finding(
        "packages", "warning", f"no {parts} without {', '.join(missing)}", "pip install 'labspine[all]'"
    )


def _disk(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free here"
    if not os.access(place, os.W_OK):
        return Finding("disk", "warning", f"{text}, but this directory cannot be written", "go elsewhere")
    if free < _FREE_DISK_BYTES:
        return Finding("disk", "warning", text, "make room before data files are written")
    return Finding("disk", "ok", text)


# --- the broker ---


def _lab(url: str | None) -> list[Finding]:
    try:
        with connected(url, name="doctor") as lab:
            return [*_broker(lab), *_services(lab)]
    except ConfigError as error:
        return [Finding("broker", "problem", str(error), "start one: labspine up --demo; or give --url")]
    except NotConnected as error:
        return [Finding("broker", "problem", str(error), "start it, or correct the address or login")]
    except LabspineError as error:
        return [Finding("broker", "problem", str(error))]


def _broker(lab: Lab) -> list[Finding]:
    from ..flows import check_server

    lab.connector.connect()
    findings = [_link(lab)]
    try:
        report = lab.connector.server_report()
    except PermissionDenied:
        who = lab.connector.address.username or "default"
        text = f'user "{who}" may not look at the server'
        return [*findings, Finding("server", "warning", text, "look again as the administrator")]
    for found in check_server(report):
        findings.append(Finding(found.topic, found.level, found.text, found.fix))
    return [*findings, _protection(lab, report), _clock(report)]


def _link(lab: Lab) -> Finding:
    times_ms = sorted(_timed_ms(lab.connector.connect) for _ in range(_ROUNDS))
    middle_ms = times_ms[_ROUNDS // 2]
    text = f"{lab.connector.address}, round trip {middle_ms:.2f} ms"
    if middle_ms > _SLOW_MS:
        return Finding("broker", "warning", text, "is it far away, or is a machine busy?")
    return Finding("broker", "ok", text)


def _timed_ms(call: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begun_s)


def _protection(lab: Lab, report: ServerReport) -> Finding:
    address = lab.connector.address
    if address.path:
        return Finding("protection", "ok", "a unix socket: only this computer can reach it")
    hosts = {address.host} if address.cluster is None else {host for host, _ in address.cluster.places}
    is_local = address.sentinels is None and hosts <= {"localhost", "127.0.0.1", "::1"}
    has_login = address.password is not None
    if is_local and not has_login:
        text = "no password: every program on this computer may do everything"
        return Finding("protection", "warning", text, "labspine acl makes users with the least rights")
    if not has_login:
        text = "no password: everybody who reaches the port may do everything"
        return Finding("protection", "problem", text, "give each user and service its rights: labspine acl")
    if not address.tls and not is_local:
        text = "the link is not encrypted: who listens on the network reads the password"
        return Finding("protection", "warning", text, "set up TLS and use rediss://")
    return Finding(
        "protection", "ok", f"{'TLS and ' if address.tls else ''}login as {address.username or 'default'}"
    )


def _clock(report: ServerReport) -> Finding:
    skew_s = abs(report.utc_s - time.time())
    text = f"differs from the broker's by {1000 * skew_s:.0f} ms"
    if skew_s < _LARGEST_SKEW_S:
        return Finding("clock", "ok", text)
    return Finding("clock", "warning", text, "set both clocks with NTP: times in files come from here")


# --- the services ---


def _services(lab: Lab) -> list[Finding]:
    from ..endpoints import MessageEndpoints

    try:
        keys = lab.connector.keys(MessageEndpoints.pattern("service_status"))
    except PermissionDenied:
        text = "this user may not list the services"
        return [Finding("service", "warning", text, "look again as the administrator or a service")]
    findings = []
    for name in sorted(key.rsplit("/", 1)[-1] for key in keys):
        message = lab.connector.get(MessageEndpoints.service_status(name))
        if message is not None:
            findings.append(_service(name, message))
    if not findings:
        findings.append(Finding("service", "warning", "none is running on this broker", "labspine up --demo"))
    return findings


def _service(name: str, message: object) -> Finding:
    info: dict[str, object] = getattr(message, "info", {})
    status = getattr(getattr(message, "status", None), "name", "unknown")
    told = info.get("timestamp")
    age_s = max(0.0, time.time() - told) if isinstance(told, (int, float)) else 0.0
    where = f", process {info['pid']} on {info['hostname']}" if {"pid", "hostname"} <= info.keys() else ""
    text = f"{name}: {info.get('state', status.lower())}{where}, seen {age_s:.0f} s ago"
    if status == "ERROR":
        return Finding("service", "problem", text, "look into its log, then start it again")
    if age_s > _QUIET_S:
        return Finding("service", "warning", text, "it is silent: is it stuck, or is its clock wrong?")
    return Finding("service", "ok", text)
