"""
Where an embedded broker lives: its names, its private directories, its locks and the note about who runs it.

The runtime directory holds the socket and vanishes with the broker; the data directory holds the append-only
file and the log and stays.
"""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from ...errors import ConfigError, InvalidName, shown
from .fds import close_private, opening

__all__ = [
    "MAX_SOCKET_PATH_BYTES",
    "Place",
    "default_data_dir",
    "locate",
    "lock_data_dir",
    "private_dir",
    "try_lock",
]

MAX_SOCKET_PATH_BYTES = 100
"""The kernel's limit is 107 (Linux) or 103 (macOS)."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,39}")
# Such paths need no escaping in a URL, a shell or an option of the server.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_.+@/-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """The files of one broker that vanish with it."""

    name: str
    runtime_dir: Path

    @property
    def socket_path(self) -> Path:
        """Where the server listens."""
        return self.runtime_dir / "broker.sock"

    @property
    def lock_path(self) -> Path:
        """Locked by the guard as long as it lives."""
        return self.runtime_dir / "lock"

    @property
    def url(self) -> str:
        """The address for connectors."""
        return f"unix://{self.socket_path}"

    def state(self) -> dict[str, str]:
        """
        Read what the guard wrote about its server.

        Returns:
            ``owner_pid``, ``guard_pid``, ``server_pid``, ``starts``, ``program`` and ``data_dir``; empty when
            nobody runs a broker here.
        """
        try:
            text = (self.runtime_dir / "state").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return {}
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def locate(name: str) -> Place:
    """
    Say where the broker of that name lives; nothing is created.

    Args:
        name: 1 to 40 letters, digits, ``_``, ``-``, ``.``; not beginning with ``.`` or ``-``.

    Returns:
        The place below ``$XDG_RUNTIME_DIR/labspine``, or below ``/tmp/labspine-<uid>`` when there is no such
        directory, when it is not ours, or when its path is too long or too special for a socket.

    Raises:
        InvalidName: If the name is not allowed.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(
            f"the name of an embedded broker is {shown(name)!r}; allowed are 1 to 40 letters, digits, '_', "
            "'-', '.', not beginning with '.' or '-'"
        )
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if _PLAIN_PATH.fullmatch(runtime) and _is_ours(Path(runtime)):
        place = Place(name, Path(runtime) / "labspine" / name)
        if len(os.fsencode(place.socket_path)) <= MAX_SOCKET_PATH_BYTES:
            return place
    return Place(name, Path(f"/tmp/labspine-{os.getuid()}") / name)  # noqa: S108 - checked by private_dir


def default_data_dir(name: str) -> Path:
    """
    Say where the broker of that name keeps its data if nobody says otherwise.

    Args:
        name: Name of the broker.

    Returns:
        ``$XDG_STATE_HOME/labspine/<name>``, by default ``~/.local/state/labspine/<name>``.
    """
    state_home = os.environ.get("XDG_STATE_HOME", "")
    root = Path(state_home) if os.path.isabs(state_home) else Path.home() / ".local" / "state"
    return root / "labspine" / name


def private_dir(path: Path, *, purpose: str, chosen: bool = False) -> None:
    """
    Make sure that a directory exists and belongs to this user alone.

    Args:
        path: The directory; it is created with mode 0700 when missing, with its parents.
        purpose: What it is for, for the error text.
        chosen: The caller chose it: links and readers are accepted (the files in it are 0600), writers are
            not.

    Raises:
        ConfigError: If it is a symbolic link, no directory, owned by somebody else, open to others, or cannot
            be created.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = os.stat(path) if chosen else os.lstat(path)
    except OSError as error:
        raise ConfigError(
            f"cannot create {path} ({purpose}): {error.strerror}; choose another directory"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no directory"
        raise ConfigError(
            f"{path} ({purpose}) is {kind}; remove it, somebody may have put it there on purpose"
        )
    if found.st_uid != os.getuid():
        raise ConfigError(
            f"{path} ({purpose}) belongs to user {found.st_uid}, not to {os.getuid()}; remove it"
        )
    mode = stat.S_IMODE(found.st_mode)
    if mode & (0o022 if chosen else 0o077):
        raise ConfigError(
            f"{path} ({purpose}) has mode {mode:04o}, so others could enter; run: chmod 700 {path}"
        )


def try_lock(path: Path) -> int | None:
    """
    Lock a file without waiting.

    Args:
        path: The lock file; created when missing. Its directory must exist.

    Returns:
        A file descriptor that holds the lock until :func:`close_private` (and copies in other programs are
        closed), or None when somebody else holds it.

    Raises:
        OSError: If the file cannot be opened, for example because its directory vanished at this moment.
    """
    import fcntl

    with opening() as held:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held.add(fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A guard that ends removes its lock file; a lock on a removed file would protect nothing.
        if os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except OSError:
        pass
    close_private(fd)
    return None


def lock_data_dir(data_dir: Path, *, deadline_mono_s: float) -> int:
    """
    Make this broker the only user of its data.

    Args:
        data_dir: An existing directory.
        deadline_mono_s: How long to wait for a dying server that still has its files open, on the monotonic
            clock.

    Returns:
        A file descriptor that holds the lock.

    Raises:
        ConfigError: If another broker uses this directory, or it cannot be written.
    """
    path = data_dir / "labspine.lock"
    while True:
        try:
            fd = try_lock(path)
            if fd is not None:
                os.truncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
            holder = path.read_text(errors="replace").strip()
        except OSError as error:
            raise ConfigError(
                f"cannot write in the data directory {data_dir}: {error.strerror}; choose another with "
                "data_dir=..."
            ) from error
        if time.monotonic() >= deadline_mono_s:
            raise ConfigError(
                f"the data directory {data_dir} is used by another embedded broker (started by process "
                f"{shown(holder)}); stop that one or choose another data_dir"
            )
        time.sleep(0.005)


def _is_ours(path: Path) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
