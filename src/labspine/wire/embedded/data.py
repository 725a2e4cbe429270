"""
The data of an embedded broker: what can be wrong with it, in one sentence with a command that repairs it.

Nothing here changes or deletes a file. A server that finds no manifest begins with empty data and overwrites
old files of the same names without a word, so that is looked at before it starts.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

from ...errors import ConfigError, shown

__all__ = ["check_data", "explain_failure", "network_file_system"]

_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre", "gpfs", "beegfs"}
    | {"fuse.sshfs", "fuse.glusterfs"}
)
_MANIFEST = "appendonly.aof.manifest"
_DATA_FILE = re.compile(r"appendonly\.aof\.(?P<number>\d+)\.(?P<kind>base|incr)\.(?:rdb|aof)")
_MANIFEST_LINE = re.compile(r"file (?P<file>\S+) seq \d+ type (?P<kind>[bhi])")
_DAMAGED = re.compile(
    r"(?:Bad file format reading the append only file|Unexpected end of file reading the append only file"
    r"|Unable to obtain the AOF file|Checking RDB file) (?P<file>[\w.-]+?)(?:[: ]|$)",
    re.MULTILINE,
)
_LOG_LINE = re.compile(r"\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ (?P<level>[#*.-]) (?P<text>.*)")


def check_data(data_dir: Path, program: Path) -> None:
    """
    Make sure that a server would load all data files that are there.

    Args:
        data_dir: Data directory of a broker; may be empty.
        program: The server program, for the repair command.

    Raises:
        ConfigError: If the manifest is missing beside data files, or names a file that is missing or, for the
            base, empty.
    """
    folder = data_dir / "appendonlydir"
    files = _data_files(folder)
    manifest = folder / _MANIFEST
    if not manifest.exists():
        if files:
            raise _damage(data_dir, program, manifest)
        return
    try:
        text = manifest.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"cannot read {manifest}: {error.strerror}; choose another data_dir=... or repair its rights"
        ) from error
    for line in _MANIFEST_LINE.finditer(text):
        path = folder / line["file"]
        if line["kind"] != "h" and (not path.exists() or (line["kind"] == "b" and path.stat().st_size == 0)):
            raise _damage(data_dir, program, path)


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
    folder = data_dir / "appendonlydir"
    match = _DAMAGED.search(text)
    if match:
        return _damage(data_dir, program, folder / match["file"])
    if "FATAL AOF MANIFEST FILE ERROR" in text:
        return _damage(data_dir, program, folder / _MANIFEST)
    last = _last_complaint(text)
    return ConfigError(f"the server {program} ended at its start: {shown(last, 300)}; the whole log is {log}")


def _damage(data_dir: Path, program: Path, damaged: Path) -> ConfigError:
    if damaged.name == _MANIFEST:
        advice = f"write it anew: {_manifest_command(damaged)}"
    elif ".incr." in damaged.name and damaged.exists():
        # One program under two names: called "...-check-aof", the server checks a file and cuts off what is
        # wrong.
        name = "redis-check-aof" if "redis" in program.name else "valkey-check-aof"
        inner = f"exec -a {name} {shlex.quote(str(program))} --fix {shlex.quote(str(damaged))}"
        advice = f"cut off what cannot be read: bash -c {shlex.quote(inner)}"
    else:
        folder = shlex.quote(str(damaged.parent))
        advice = (
            "put that file back from a backup; the other files cannot be loaded without it. To begin with "
            f"empty data: mv {folder} {folder}.damaged"
        )
    return ConfigError(
        f"the data of the embedded broker is damaged: {damaged}. Nothing was deleted. "
        f"Copy {data_dir} to a safe place, then {advice}"
    )


def _data_files(folder: Path) -> list[tuple[int, str, str]]:
    """List number, kind and name of the data files in the order in which they are loaded."""
    found = []
    if folder.is_dir():
        for path in folder.iterdir():
            match = _DATA_FILE.fullmatch(path.name)
            if match:
                found.append((int(match["number"]), match["kind"], path.name))
    return sorted(found)


def _manifest_command(manifest: Path) -> str:
    files = _data_files(manifest.parent)
    newest_base = max((number for number, kind, _name in files if kind == "base"), default=0)
    lines = [
        rf"file {name} seq {number} type {kind[0]}\n"
        for number, kind, name in files
        if number >= newest_base and (kind == "incr" or number == newest_base)
    ]
    return f"printf {shlex.quote(''.join(lines))} > {shlex.quote(str(manifest))}"


def _last_complaint(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    complaints = [m["text"] for line in lines if (m := _LOG_LINE.match(line)) and m["level"] == "#"]
    plain = [line for line in lines if not _LOG_LINE.match(line)]
    complaints = [text for text in complaints if not text.startswith("WARNING Memory overcommit")]
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
