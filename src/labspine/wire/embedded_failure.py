"""Say in one sentence why an embedded server did not start, from its own log."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from ..errors import ConfigError, shown

__all__ = ["explain_failure", "network_file_system"]

_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre", "gpfs", "beegfs"}
    | {"fuse.sshfs", "fuse.glusterfs"}
)
_DAMAGED = re.compile(
    r"(?:Bad file format reading the append only file|Unexpected end of file reading the append only file) "
    r"(?P<file>\S+?):? "
)
_LOG_LINE = re.compile(r"\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ (?P<level>[#*.-]) (?P<text>.*)")


def explain_failure(data_dir: Path, program: Path, *, log_start_bytes: int) -> ConfigError:
    """
    Read what a server that ended at its start wrote into its log.

    Args:
        data_dir: Its data directory, with ``server.log``.
        program: The program that was started.
        log_start_bytes: Where this start begins in the log, in bytes.

    Returns:
        The error to raise; for damaged data it names the file and the command that repairs it.
    """
    log = data_dir / "server.log"
    try:
        with log.open("rb") as file:
            file.seek(log_start_bytes)
            text = file.read(200_000).decode("utf-8", "replace")
    except OSError as error:
        return ConfigError(
            f"the server {program} ended at its start; its log {log} cannot be read: {error.strerror}"
        )
    damaged = _damaged_file(text, data_dir)
    if damaged is not None:
        return ConfigError(
            f"the data of the embedded broker is damaged: {damaged}. Nothing was deleted. Copy {data_dir} to "
            f"a safe place, then repair it with: {_repair_command(program, damaged)}"
        )
    last = _last_complaint(text)
    return ConfigError(f"the server {program} ended at its start: {shown(last, 300)}; the whole log is {log}")


def _damaged_file(text: str, data_dir: Path) -> Path | None:
    folder = data_dir / "appendonlydir"
    match = _DAMAGED.search(text)
    if match:
        return folder / Path(match["file"]).name
    if "FATAL AOF MANIFEST FILE ERROR" in text:
        return folder / "appendonly.aof.manifest"
    if "check-aof" in text or "check-rdb" in text or "Error reading the RDB preamble" in text:
        return folder
    return None


def _repair_command(program: Path, damaged: Path) -> str:
    # One program under two names: as "...-check-aof" the server program checks and repairs files.
    kind = "redis" if "redis" in program.name else "valkey"
    manifest = damaged if damaged.suffix == ".manifest" else damaged.with_name("appendonly.aof.manifest")
    target = manifest if damaged.name != "appendonlydir" else damaged / "appendonly.aof.manifest"
    inner = f"exec -a {kind}-check-aof {shlex.quote(str(program))} --fix {shlex.quote(str(target))}"
    return f"bash -c {shlex.quote(inner)}"


def _last_complaint(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    complaints = [m["text"] for line in lines if (m := _LOG_LINE.match(line)) and m["level"] == "#"]
    plain = [line for line in lines if not _LOG_LINE.match(line)]
    return (complaints or plain or lines or ["it wrote nothing into its log"])[-1]


def network_file_system(path: Path) -> str | None:
    """
    Tell whether a directory is on a file system of another machine.

    Args:
        path: An existing directory.

    Returns:
        The kind, for example ``nfs4``, or None for a local one and where the system does not say (macOS).
    """
    if sys.platform != "linux":
        return None
    try:
        device = os.stat(path).st_dev
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        mount, _dash, source = line.partition(" - ")
        fields = mount.split()
        if len(fields) > 2 and fields[2] == wanted:
            kind = source.split()[0]
            return kind if kind in _NETWORK_FILE_SYSTEMS else None
    return None
