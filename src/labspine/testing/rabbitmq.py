"""A real RabbitMQ for tests: on loopback, on free ports, with everything that it writes in one directory."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .waiting import wait_until

__all__ = ["RabbitProcess", "find_rabbitmq"]

# Debian's /usr/sbin/rabbitmq-server changes the user and goes to /var/lib: the scripts behind it do not.
_PLACES = ("/usr/lib/rabbitmq/bin", "/usr/local/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin")
_START_S = 60.0
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def find_rabbitmq() -> Path | None:
    """Find the directory with the scripts of RabbitMQ; None if it is not installed."""
    for place in _PLACES:
        if (Path(place) / "rabbitmq-server").exists():
            return Path(place)
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found and "/sbin/" not in found else None


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class RabbitProcess:
    """
    One node of RabbitMQ with its own name server (epmd), cookie and data.

    Args:
        directory: An empty directory; data, logs and cookie go there.
        scripts: Where RabbitMQ's own scripts are; see `find_rabbitmq`.
        settings: More lines for ``rabbitmq.conf``; ``{second_port}`` stands for one more free port.
    """

    def __init__(self, directory: Path, scripts: Path, *, settings: Sequence[str] = ()) -> None:
        self.directory = directory
        self._scripts = scripts
        self._epmd_port, self.port, self.second_port, dist_port = _free_ports(4)
        self.process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._environment = self._written(dist_port, settings)

    def _written(self, dist_port: int, settings: Sequence[str]) -> dict[str, str]:
        """Write the configuration, and make the environment that points to it."""
        for name in ("home", "data", "log"):
            (self.directory / name).mkdir()
        lines = (
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            "disk_free_limit.absolute = 10MB",
            "raft.wal_max_size_bytes = 16777216",
            *(line.format(second_port=self.second_port) for line in settings),
        )
        (self.directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.directory / "plugins").write_text("[].\n")
        (self.directory / "advanced.config").write_text(
            "[{kernel, [{inet_dist_use_interface, {127,0,0,1}}]}].\n"
        )
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")}
        return kept | {
            "HOME": str(self.directory / "home"),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"labspine{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.directory / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ALLOW_INPUT": "1",  # the server itself and not a shell that waits for it
        }

    @property
    def url(self) -> str:
        """The address, with the login that every new node has."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """
        Start it, and wait until it accepts connections (about 5 s).

        Raises:
            AssertionError: If it ends or does not answer; the text has the end of its log.
        """
        if self._epmd is None:
            self._epmd = self._child(["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"])
        self.process = self._child([str(self._scripts / "rabbitmq-server"), "-noinput"])
        wait_until(self._answers, timeout_s=_START_S, what=f"RabbitMQ on port {self.port}", pause_s=0.02)

    def _child(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.directory / "output").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C for the tests is none for the server
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"RabbitMQ ended: {(self.directory / 'output').read_text()[-3000:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the server; for SIGKILL wait until it has ended. `start` brings it back."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            if number == signal.SIGKILL:
                self.process.wait(10)

    def control(self, *words: str) -> str:
        """
        Run ``rabbitmqctl`` on this node.

        Args:
            words: Its arguments, such as ``"close_all_connections", "test"``.

        Returns:
            What it printed.

        Raises:
            AssertionError: If it failed.
        """
        done = subprocess.run(
            [str(self._scripts / "rabbitmqctl"), "-q", "-n", self._environment["RABBITMQ_NODENAME"], *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"rabbitmqctl {words}: {done.stdout[-1000:]} {done.stderr[-1000:]}"
        return done.stdout

    def end(self) -> None:
        """Kill the server and its name server; ending twice does nothing."""
        for process in (self.process, self._epmd):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(10)


def _die_with_parent() -> None:
    """Let the kernel kill this child when whoever runs the tests dies."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
