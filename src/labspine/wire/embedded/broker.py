"""
The embedded broker: a real Valkey server as a private child of this process.

It listens on a unix socket that only this user can open, writes each change into an append-only file, and is
gone within a second of its owner, however that one ends. Any number of processes may call :func:`start` at
the same time: one becomes the owner, the others use its server.
"""

from __future__ import annotations

import atexit
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from ...errors import ConfigError, DeadlinePassed, InvalidArgument, NotConnected
from .launch import end_guard, launch
from .place import Place, default_data_dir, locate, private_dir, try_lock
from .probe import is_answering, version_of

__all__ = ["EmbeddedBroker", "find", "start"]

_owned: list[EmbeddedBroker] = []


class EmbeddedBroker:
    """
    A handle on a running embedded broker; made by :func:`start`, also a context manager.

    The server lives until its owner calls :meth:`close` or ends; dropping the handle does not end it. Handles
    that are not the owner may be closed at any time, which does nothing to the server.
    """

    def __init__(
        self, place: Place, *, guard: subprocess.Popen[bytes] | None = None, owner_fd: int = -1
    ) -> None:
        state = place.state()
        self._place = place
        self._guard = guard
        self._owner_fd = owner_fd
        self._process_id = os.getpid()
        self._closing = threading.Lock()
        self._version = version_of(place.socket_path)
        self._data_dir = Path(state.get("data_dir", "."))

    @property
    def name(self) -> str:
        """The name under which other processes of this user find it."""
        return self._place.name

    @property
    def url(self) -> str:
        """The address for connectors, ``unix:///.../broker.sock``."""
        return self._place.url

    @property
    def is_owner(self) -> bool:
        """Whether the server ends with this process (not in its forked children)."""
        return self._guard is not None and self._process_id == os.getpid()

    @property
    def version(self) -> str:
        """Program and version, for example ``valkey 9.1.2``."""
        return self._version

    @property
    def data_dir(self) -> Path:
        """Where the append-only file and ``server.log`` are."""
        return self._data_dir

    @property
    def pid(self) -> int:
        """
        Process id of the server at this moment; another one after the guard had to start it again.

        Raises:
            NotConnected: If the broker is gone.
        """
        return self._state_number("server_pid")

    @property
    def guard_pid(self) -> int:
        """
        Process id of the guard that watches server and owner.

        Raises:
            NotConnected: If the broker is gone.
        """
        return self._state_number("guard_pid")

    @property
    def is_running(self) -> bool:
        """Whether the server answers."""
        return is_answering(self._place.socket_path)

    def close(self) -> None:
        """End the server if this process owns it and wait until it is gone; a second call does nothing."""
        if not self.is_owner:
            return
        with self._closing:
            guard, self._guard = self._guard, None
            if guard is None:
                return
            if self in _owned:
                _owned.remove(self)
            end_guard(guard, self._owner_fd)

    def _state_number(self, key: str) -> int:
        try:
            return int(self._place.state()[key])
        except (KeyError, ValueError):
            raise NotConnected(
                f'the embedded broker "{self.name}" is gone; see {self.data_dir / "server.log"}, then start '
                "it again"
            ) from None

    def __enter__(self) -> EmbeddedBroker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        role = "owner" if self.is_owner else "guest"
        return f"<EmbeddedBroker {self.name} {self.url} {self.version} {role}>"


def start(
    name: str = "default",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    binary: str | os.PathLike[str] | None = None,
    timeout_s: float = 10.0,
) -> EmbeddedBroker:
    """
    Start the embedded broker of this name, or attach to it when it runs already.

    Call it from any thread. Start it after turning into a daemon: the server ends with the process that
    started it.

    Args:
        name: Which broker of this user, 1 to 40 letters, digits, ``_``, ``-``, ``.``.
        data_dir: Where data and log are kept; default ``~/.local/state/labspine/<name>``. Created with mode
            0700.
        binary: Server program; default: see :func:`labspine.wire.embedded.binary.find_binary`.
        timeout_s: Limit until the first PING is answered, in seconds; loading much data takes time.

    Returns:
        The broker; its ``is_owner`` says whether it ends with this process.

    Raises:
        InvalidName: If the name is not allowed.
        InvalidArgument: If the time limit is not a positive number.
        ConfigError: If there is no usable server program or directory, if another broker uses the data
            directory, or if the data cannot be read; nothing is deleted.
        DeadlinePassed: If the server does not answer in time.
    """
    if sys.platform == "win32":
        raise ConfigError(
            "the embedded broker needs Linux or macOS; start a server elsewhere and give its redis:// url"
        )
    if not (isinstance(timeout_s, int | float) and math.isfinite(timeout_s) and timeout_s > 0):
        raise InvalidArgument(f"timeout_s is {timeout_s!r}; allowed is a positive number of seconds")
    place = locate(name)
    deadline_mono_s = time.monotonic() + timeout_s
    wanted_data_dir = None if data_dir is None else Path(data_dir).expanduser().absolute()
    while True:
        lock_fd = _try_own(place)
        if lock_fd is not None:
            target = wanted_data_dir or default_data_dir(name)
            guard, owner_fd = launch(
                place, lock_fd, data_dir=target, binary=binary, deadline_mono_s=deadline_mono_s
            )
            broker = EmbeddedBroker(place, guard=guard, owner_fd=owner_fd)
            _owned.append(broker)
            return broker
        if is_answering(place.socket_path, timeout_s=min(1.0, timeout_s)):
            return _attach(place, wanted_data_dir)
        if time.monotonic() >= deadline_mono_s:
            raise DeadlinePassed(
                f'another process is starting the embedded broker "{name}", but it does not answer after '
                f"{timeout_s:g} s; see server.log in {place.state().get('data_dir', 'its data directory')}"
            )
        time.sleep(0.002)


def find(name: str = "default") -> str | None:
    """
    Find a running embedded broker of this user without starting one.

    Args:
        name: Which broker.

    Returns:
        Its address, or None when none answers.

    Raises:
        InvalidName: If the name is not allowed.
        ConfigError: If somebody else could have put a server there.
    """
    place = locate(name)
    for path in (place.runtime_dir.parent, place.runtime_dir):
        if not os.path.lexists(path):
            return None
        private_dir(path, purpose="runtime directory")
    return place.url if is_answering(place.socket_path) else None


def _try_own(place: Place) -> int | None:
    private_dir(place.runtime_dir.parent, purpose="runtime directory")
    try:
        private_dir(place.runtime_dir, purpose="runtime directory")
        return try_lock(place.lock_path)
    except FileNotFoundError:  # a guard that ends has just removed the directory
        return None


def _attach(place: Place, wanted_data_dir: Path | None) -> EmbeddedBroker:
    broker = EmbeddedBroker(place)
    if wanted_data_dir is not None and not _same_dir(wanted_data_dir, broker.data_dir):
        raise ConfigError(
            f'the embedded broker "{place.name}" already runs with its data in {broker.data_dir}, not in '
            f"{wanted_data_dir}; use another name or leave data_dir out"
        )
    return broker


def _same_dir(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


@atexit.register
def _close_all() -> None:
    for broker in tuple(_owned):  # in a forked child they are not ours, and close() does nothing
        broker.close()
