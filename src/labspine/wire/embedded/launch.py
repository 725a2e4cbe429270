"""Start the guard and its server, and end them: the work behind :mod:`labspine.wire.embedded.broker`."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
import warnings
from pathlib import Path

from ...errors import ConfigError, DeadlinePassed, LabspineWarning
from .binary import find_binary
from .data import check_data, explain_failure, network_file_system
from .fds import close_private, opening
from .place import Place, lock_data_dir, private_dir
from .probe import is_answering

__all__ = ["end_guard", "launch"]

_GUARD_SCRIPT = Path(__file__).with_name("guard.py")
_LARGEST_LOG_BYTES = 1_000_000
_SERVER_OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "protected-mode": "yes",
    "daemonize": "no",
    "dir": ".",
    "logfile": "",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "no",  # the guard does it each second; see there
    "maxmemory-policy": "noeviction",
    "client-output-buffer-limit": "pubsub 256mb 64mb 60",
}


def launch(
    place: Place,
    lock_fd: int,
    *,
    data_dir: Path,
    binary: str | os.PathLike[str] | None,
    deadline_mono_s: float,
) -> tuple[subprocess.Popen[bytes], int]:
    """
    Start a guard with its server and wait for the first answer.

    Args:
        place: Where it will live; its directory exists.
        lock_fd: The lock of that place; it passes to the guard and is closed here in any case.
        data_dir: Where data and log are kept.
        binary: A configured server program, or None.
        deadline_mono_s: Limit for the first answer, on the monotonic clock.

    Returns:
        The guard and the descriptor whose closing ends it; see :func:`end_guard`.

    Raises:
        ConfigError: If there is no usable server program or directory, or the data cannot be read.
        DeadlinePassed: If the server does not answer in time.
    """
    with contextlib.ExitStack() as passed_on:  # what only the guard needs; closed here in any case
        passed_on.callback(close_private, lock_fd)
        program = find_binary(binary)
        log_fd, log_start_bytes = _prepare_data_dir(data_dir)
        passed_on.callback(os.close, log_fd)
        # A dying server may keep its files for a moment; another broker keeps them for good.
        patience_mono_s = min(deadline_mono_s, time.monotonic() + 1.0)
        data_lock_fd = lock_data_dir(data_dir, deadline_mono_s=patience_mono_s)
        passed_on.callback(close_private, data_lock_fd)
        check_data(data_dir, program)
        with opening() as held:
            (pipe_fd, owner_fd), (status_fd, status_write_fd) = os.pipe(), os.pipe()
            held.update((pipe_fd, owner_fd, status_fd, status_write_fd))
        passed_on.callback(close_private, pipe_fd)
        passed_on.callback(close_private, status_write_fd)
        numbers = (pipe_fd, status_write_fd, lock_fd, data_lock_fd)
        options = {**_SERVER_OPTIONS, "unixsocket": str(place.socket_path)}
        server = [str(program), *(word for key, value in options.items() for word in (f"--{key}", value))]
        guard = subprocess.Popen(
            [
                *(sys.executable or "python3", "-I", "-S", str(_GUARD_SCRIPT)),
                *map(str, (*numbers, os.getpid(), place.runtime_dir, data_dir)),
                *server,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            pass_fds=numbers,
            start_new_session=True,
        )
    try:
        _wait_until_ready(place, status_fd, deadline_mono_s=deadline_mono_s)
        os.write(owner_fd, b"R")
    except BaseException as error:
        end_guard(guard, owner_fd)
        if isinstance(error, _ServerEnded):
            raise explain_failure(data_dir, program, log_start_bytes=log_start_bytes) from None
        raise
    finally:
        close_private(status_fd)
    return guard, owner_fd


def _prepare_data_dir(data_dir: Path) -> tuple[int, int]:
    if "\n" in str(data_dir):
        raise ConfigError("the data directory has a line end in its name; choose another with data_dir=...")
    private_dir(data_dir, purpose="data directory", chosen=True)
    file_system = network_file_system(data_dir)
    if file_system:
        warnings.warn(
            f"the data directory {data_dir} is on a network file system ({file_system}): writing is slow "
            "there and locks may not hold; choose a local one with data_dir=...",
            LabspineWarning,
            stacklevel=4,
        )
    log = data_dir / "server.log"
    try:
        with contextlib.suppress(FileNotFoundError):
            if log.stat().st_size > _LARGEST_LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"cannot write in the data directory {data_dir}: {error.strerror}; choose another with "
            "data_dir=..."
        ) from error
    return fd, os.fstat(fd).st_size


class _ServerEnded(Exception):
    """The server ended before it was ready."""


def _wait_until_ready(place: Place, status_fd: int, *, deadline_mono_s: float) -> None:
    poll = select.poll()  # not select(): a laboratory process may well have more than 1024 files open
    poll.register(status_fd, select.POLLIN)
    pause_ms = 1.0
    while not is_answering(place.socket_path):
        if poll.poll(pause_ms):
            raise _ServerEnded
        if time.monotonic() >= deadline_mono_s:
            raise DeadlinePassed(
                f'the embedded broker "{place.name}" did not answer in time; it may still be loading its '
                "data: "
                "give it a longer timeout_s"
            )
        pause_ms = min(pause_ms * 1.05, 20.0)


def end_guard(guard: subprocess.Popen[bytes], owner_fd: int) -> None:
    """
    End a guard and its server, and wait until both are gone.

    Args:
        guard: The guard.
        owner_fd: The descriptor that came with it.
    """
    with contextlib.suppress(OSError):  # the guard may be gone already
        os.write(owner_fd, b"X")
    close_private(owner_fd)
    try:
        guard.wait(timeout=3.0)
    except subprocess.TimeoutExpired:
        guard.kill()  # the kernel kills the server with it
        guard.wait()
