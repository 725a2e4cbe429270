"""
Start the embedded server, watch its owner, and leave nothing behind.

This file is run as a script (``python -I -S guard.py ...``) by :mod:`labspine.wire.embedded.broker`, in a
session of its own, with the standard library only; nobody imports it. Its import list is short because each
millisecond here is a millisecond until the first PING is answered.

It brings what the server wrote to the disk once a second. The server does not do that itself: while it waits
for a busy disk it would hold new writes back in its memory, and lose them if it is killed.

It ends the server when the pipe from the owner closes (the kernel closes it however the owner dies), when the
owner writes ``X``, or on SIGTERM. It starts the server again when only that died, at most 3 times in 60 s.
When the guard itself is killed, the kernel kills the server (``PR_SET_PDEATHSIG``, Linux).
"""

from __future__ import annotations

import os
import select
import sys
import time

try:
    # The C half of ``signal``: the other half makes enums of the numbers and costs 9 ms.
    import _signal as signal  # type: ignore[import-not-found]
except ImportError:
    import signal

TYPE_CHECKING = False  # as in typing, which takes too long to import
if TYPE_CHECKING:
    import ctypes

KILL_AFTER_S = 0.7
RESTARTS = 3
RESTART_WINDOW_S = 60.0
TOUCH_EVERY_S = 3600.0
SYNC_EVERY_S = 1.0
LOG_DIR = "appendonlydir"
PR_SET_PDEATHSIG = 1


class Guard:
    """One server, one owner, and the files that belong to both."""

    def __init__(self, argv: list[str]) -> None:
        numbers, places, self.server_argv = argv[:5], argv[5:7], argv[7:]
        self.owner_fd, self.status_fd, self.lock_fd, self.data_lock_fd, self.owner_pid = map(int, numbers)
        self.runtime_dir, self.data_dir = places
        self.state_path = os.path.join(self.runtime_dir, "state")
        self.socket_path = os.path.join(self.runtime_dir, "broker.sock")
        self.server_pid = 0
        self.confirmed = False
        self.exit_code = 0
        self.starts_mono_s: list[float] = []
        self.synced_bytes: dict[str, int] = {}
        self.touched_mono_s = time.monotonic()
        self.libc = _load_libc()

    def start_server(self) -> None:
        """Fork and execute the server; write down its pid."""
        guard_pid = os.getpid()
        # The server keeps the lock of its data directory: nobody else may use the files before it is really
        # gone. Everything else stays here; a server that held the status pipe would keep the owner waiting.
        for fd in (self.owner_fd, self.status_fd, self.lock_fd):
            os.set_inheritable(fd, False)
        self.server_pid = os.fork()
        if self.server_pid == 0:
            self._become_server(guard_pid)
        self.starts_mono_s.append(time.monotonic())
        self._write_state()

    def _become_server(self, guard_pid: int) -> None:
        try:
            if self.libc is not None:
                self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != guard_pid:  # the guard died before the kernel knew our wish
                os._exit(1)
            os.execv(self.server_argv[0], self.server_argv)  # noqa: S606 - no shell, a path that was checked
        except BaseException as error:
            os.write(2, f"cannot run {self.server_argv[0]}: {error}\n".encode())
        finally:
            os._exit(127)

    def _write_state(self) -> None:
        lines = {
            "owner_pid": self.owner_pid,
            "guard_pid": os.getpid(),
            "server_pid": self.server_pid,
            "starts": len(self.starts_mono_s),
            "program": self.server_argv[0],
            "data_dir": self.data_dir,
        }
        temporary = f"{self.state_path}.new"
        try:
            with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.writelines(f"{key}={value}\n" for key, value in lines.items())
            os.replace(temporary, self.state_path)
        except OSError as error:
            # Somebody removed the runtime directory; the server is still good for those who are connected.
            sys.stderr.write(f"guard: cannot write {self.state_path}: {error}\n")

    def watch(self) -> None:
        """Wait until there is a reason to end."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        asked_to_stop: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _frame: asked_to_stop.append(number))
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        poll = select.poll()
        for fd in (self.owner_fd, wake_read):
            poll.register(fd, select.POLLIN)
        owner_process_fd = _open_process(self.owner_pid)
        if owner_process_fd >= 0:
            poll.register(owner_process_fd, select.POLLIN)
        while not asked_to_stop:
            if self._server_has_ended() and not self._start_again():
                return
            ready = {fd for fd, _event in poll.poll(SYNC_EVERY_S * 1000)}
            if not ready:
                self._sync_files()
                self._touch_files()
            if wake_read in ready:
                os.read(wake_read, 512)
            if self.owner_fd in ready and not self._owner_lives():
                return
            if (
                owner_process_fd in ready
            ):  # a child of the owner, forked by foreign code, may still hold the pipe
                return

    def _sync_files(self) -> None:
        """Bring the append-only files that have grown to the disk."""
        try:
            names = os.listdir(LOG_DIR)
        except OSError:  # not written yet
            return
        for name in names:
            try:
                self._sync_file(os.path.join(LOG_DIR, name))
            except FileNotFoundError:  # the server wrote a shorter one meanwhile
                self.synced_bytes.pop(os.path.join(LOG_DIR, name), None)
            except OSError as error:
                sys.stderr.write(f"guard: cannot bring {name} to the disk: {error}\n")

    def _sync_file(self, path: str) -> None:
        size_bytes = os.stat(path).st_size
        if self.synced_bytes.get(path) == size_bytes:
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        self.synced_bytes[path] = size_bytes

    def _touch_files(self) -> None:
        # Cleaners of /tmp and of XDG_RUNTIME_DIR remove what looks unused for hours or days.
        if time.monotonic() - self.touched_mono_s < TOUCH_EVERY_S:
            return
        self.touched_mono_s = time.monotonic()
        try:
            os.utime(self.lock_fd)
            os.utime(self.state_path)
        except OSError as error:
            sys.stderr.write(f"guard: cannot touch the files in {self.runtime_dir}: {error}\n")

    def _owner_lives(self) -> bool:
        said = os.read(self.owner_fd, 64)
        self.confirmed = self.confirmed or b"R" in said
        return bool(said) and b"X" not in said

    def _server_has_ended(self) -> bool:
        if self.server_pid:
            pid, status = os.waitpid(self.server_pid, os.WNOHANG)
            if pid:
                self.server_pid = 0
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.server_pid == 0

    def _start_again(self) -> bool:
        now_mono_s = time.monotonic()
        recent = [s for s in self.starts_mono_s[1:] if now_mono_s - s < RESTART_WINDOW_S]
        if not self.confirmed:
            os.write(self.status_fd, f"ended {self.exit_code}\n".encode())
            return False
        if len(recent) >= RESTARTS:
            sys.stderr.write(
                f"guard: the server died {RESTARTS + 1} times in {RESTART_WINDOW_S:.0f} s; giving up\n"
            )
            return False
        sys.stderr.write(f"guard: the server ended with {self.exit_code}; starting it again\n")
        self.start_server()
        return True

    def end(self) -> None:
        """End the server, at first politely, and remove the files; then the locks vanish with this "
        "process."""
        _remove(self.socket_path)  # first, so that nobody attaches to a server that is about to go
        if self.server_pid:
            os.kill(self.server_pid, signal.SIGTERM)
            os.kill(self.server_pid, signal.SIGCONT)  # a stopped server could not obey
            deadline_mono_s = time.monotonic() + KILL_AFTER_S
            while not self._server_has_ended():
                if time.monotonic() > deadline_mono_s:
                    os.kill(self.server_pid, signal.SIGKILL)
                    os.waitpid(self.server_pid, 0)
                    break
                time.sleep(0.002)
        try:
            for name in os.listdir(self.runtime_dir):
                _remove(os.path.join(self.runtime_dir, name))
            os.rmdir(self.runtime_dir)
        except OSError as error:  # somebody put something there or took the directory away
            sys.stderr.write(f"guard: cannot remove {self.runtime_dir}: {error}\n")


def _load_libc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    try:
        import ctypes

        return ctypes.CDLL(None)
    except (ImportError, OSError):
        return None


def _open_process(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, an old kernel, or already gone: the pipe tells as well
        return -1


def _remove(path: str) -> None:
    try:  # noqa: SIM105 - contextlib takes time to import
        os.unlink(path)
    except OSError:
        pass


def main() -> None:
    """Run until the owner is gone."""
    # A thread of the owner may have blocked signals; a blocked SIGTERM would reach neither guard nor server.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    guard = Guard(sys.argv[1:])
    os.chdir(guard.data_dir)
    try:
        guard.start_server()
        guard.watch()
    finally:
        guard.end()


if __name__ == "__main__":
    main()
