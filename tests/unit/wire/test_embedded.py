"""The embedded broker: what it promises while nobody kills anybody."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from labspine.errors import ConfigError, DeadlinePassed, InvalidArgument, InvalidName
from labspine.ids import new_sender
from labspine.testing import process_lives, wait_until
from labspine.wire import embedded
from labspine.wire.embedded import EmbeddedBroker
from labspine.wire.embedded.probe import ask


def fresh_name() -> str:
    return f"unit-{new_sender()[:8]}"


def socket_of(broker: EmbeddedBroker) -> Path:
    return Path(broker.url.removeprefix("unix://"))


def setting(broker: EmbeddedBroker, name: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2)
        connection.connect(str(socket_of(broker)))
        connection.sendall(f"CONFIG GET {name}\r\n".encode())
        return connection.recv(65536).decode().split("\r\n")[4]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> object:
    with embedded.start(fresh_name(), data_dir=tmp_path_factory.mktemp("data")) as found:
        yield found


def test_a_started_broker_answers_and_says_who_it_is(broker: EmbeddedBroker) -> None:
    assert ask(socket_of(broker), b"PING") == b"+PONG"
    assert broker.is_owner
    assert broker.is_running
    assert broker.version.split()[0] in {"valkey", "redis"}
    assert process_lives(broker.pid)
    assert embedded.find(broker.name) == broker.url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "0"),
        ("appendonly", "yes"),
        ("appendfsync", "no"),
        ("maxmemory-policy", "noeviction"),
        ("save", ""),
        ("protected-mode", "yes"),
    ],
)
def test_the_server_is_set_up_as_promised(broker: EmbeddedBroker, name: str, value: str) -> None:
    assert setting(broker, name) == value


def test_slow_subscribers_get_a_large_buffer(broker: EmbeddedBroker) -> None:
    assert f"pubsub {256 << 20} {64 << 20} 60" in setting(broker, "client-output-buffer-limit")


def test_only_this_user_can_reach_it(broker: EmbeddedBroker) -> None:
    assert stat.S_IMODE(socket_of(broker).stat().st_mode) == 0o700
    assert stat.S_IMODE(socket_of(broker).parent.stat().st_mode) == 0o700
    for path in (*broker.data_dir.rglob("*"), *socket_of(broker).parent.iterdir()):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_no_tcp_port_is_open(broker: EmbeddedBroker) -> None:
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    sockets = {os.readlink(fd) for fd in Path(f"/proc/{broker.pid}/fd").iterdir()}
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert not any(f"socket:[{fields[9]}]" in sockets for fields in listening)


def test_the_data_is_in_the_data_directory(broker: EmbeddedBroker) -> None:
    assert ask(socket_of(broker), b"SET there 1") == b"+OK"
    names = {path.name for path in (broker.data_dir / "appendonlydir").iterdir()}
    assert {"appendonly.aof.manifest", "appendonly.aof.1.incr.aof"} <= names
    assert "Ready to accept connections" in (broker.data_dir / "server.log").read_text()


def test_a_second_start_attaches(broker: EmbeddedBroker) -> None:
    guest = embedded.start(broker.name)

    assert not guest.is_owner
    assert guest.pid == broker.pid
    assert guest.data_dir == broker.data_dir
    assert guest.version == broker.version
    assert "guest" in repr(guest)
    guest.close()
    assert broker.is_running


def test_a_guest_that_wants_other_data_is_refused(broker: EmbeddedBroker, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="already runs with its data in"):
        embedded.start(broker.name, data_dir=tmp_path)


def test_a_forked_child_is_no_owner(broker: EmbeddedBroker) -> None:
    pid = os.fork()
    if pid == 0:
        broker.close()
        os._exit(0 if not broker.is_owner and broker.is_running else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert broker.is_running


def test_closing_twice_and_from_two_threads_is_fine(tmp_path: Path) -> None:
    found = embedded.start(fresh_name(), data_dir=tmp_path)
    server_pid, guard_pid = found.pid, found.guard_pid
    threads = [threading.Thread(target=found.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=5)
    found.close()

    assert not process_lives(server_pid)
    assert not process_lives(guard_pid)
    assert not found.is_owner
    assert embedded.find(found.name) is None


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("needs Linux")
    before = set(os.listdir("/proc/self/fd"))
    for number in range(3):
        embedded.start(fresh_name(), data_dir=tmp_path / str(number)).close()
    with pytest.raises(ConfigError):
        embedded.start(fresh_name(), data_dir=tmp_path / "x", binary="/bin/true")
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_it_starts_from_a_thread_with_blocked_signals(tmp_path: Path) -> None:
    brokers: list[EmbeddedBroker] = []

    def start_with_blocked_signals() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
        brokers.append(embedded.start(fresh_name(), data_dir=tmp_path))

    thread = threading.Thread(target=start_with_blocked_signals)
    thread.start()
    thread.join(timeout=10)

    with brokers[0] as found:
        # A guard that does not hear SIGCHLD would not notice this death.
        os.kill(found.pid, signal.SIGKILL)
        wait_until(lambda: not found.is_running, what="the end of the server")
        wait_until(lambda: found.is_running, what="its return")


def test_a_directory_with_a_difficult_name_works(tmp_path: Path) -> None:
    target = tmp_path / "a b'c\"d$e é"
    with embedded.start(fresh_name(), data_dir=target) as found:
        assert ask(socket_of(found), b"SET k v") == b"+OK"
        assert found.data_dir == target
    assert (target / "appendonlydir").is_dir()


def test_without_a_data_dir_the_state_directory_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    name = fresh_name()
    with embedded.start(name) as found:
        assert found.data_dir == tmp_path / "labspine" / name


def test_a_server_that_somebody_else_could_have_put_there_is_not_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="lab", dir="/tmp") as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", short)
        assert embedded.find("x") is None
        (Path(short) / "labspine").mkdir(mode=0o700)
        assert embedded.find("x") is None
        (Path(short) / "labspine").chmod(0o777)
        for call in (embedded.find, embedded.start):
            with pytest.raises(ConfigError, match="mode 0777"):
                call("x")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", "a" * 41, "a b", "a\n", "ä", None, 7])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="allowed are 1 to 40 letters"):
        embedded.start(name)
    with pytest.raises(InvalidName):
        embedded.find(name)


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "5"])
def test_other_time_limits_are_refused(timeout_s: float) -> None:
    with pytest.raises(InvalidArgument, match="positive number of seconds"):
        embedded.start(fresh_name(), timeout_s=timeout_s)


def test_a_server_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    slow = tmp_path / "slow-server"
    says_version = '[ "$1" = --version ] && echo "Valkey server v=9.1.2 sha=0" && exit 0'
    slow.write_text(f"#!/bin/sh\n{says_version}\nexec sleep 30\n")
    slow.chmod(0o755)
    name = fresh_name()

    with pytest.raises(DeadlinePassed, match="longer timeout_s"):
        embedded.start(name, data_dir=tmp_path / "data", binary=slow, timeout_s=0.3)

    left = subprocess.run(["pgrep", "-f", f"{name}/broker.sock"], capture_output=True, check=False).stdout
    assert left == b""


def test_a_guest_does_not_wait_for_ever_for_a_server_that_is_being_started(tmp_path: Path) -> None:
    with embedded.start(fresh_name(), data_dir=tmp_path) as found:
        os.kill(found.pid, signal.SIGSTOP)
        started_mono_s = time.monotonic()
        try:
            with pytest.raises(DeadlinePassed, match="does not answer after"):
                embedded.start(found.name, timeout_s=0.2)
            assert time.monotonic() - started_mono_s < 1.0
        finally:
            os.kill(found.pid, signal.SIGCONT)


def test_the_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("old\n" * 300_000)
    with embedded.start(fresh_name(), data_dir=tmp_path):
        assert (tmp_path / "server.log").stat().st_size < 100_000
    assert (tmp_path / "server.log.1").read_text().startswith("old\n")
