"""What happens when somebody kills the server or its guard (bad_inputs.md G13, G14; G35)."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from labspine.errors import NotConnected
from labspine.ids import new_sender
from labspine.testing import process_lives, wait_until
from labspine.wire import embedded
from labspine.wire.embedded import EmbeddedBroker
from labspine.wire.embedded.probe import ask

pytestmark = pytest.mark.fault


def socket_of(broker: EmbeddedBroker) -> Path:
    return Path(broker.url.removeprefix("unix://"))


def kill_server(broker: EmbeddedBroker) -> int:
    pid = broker.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not process_lives(pid), what="the end of the server")
    return pid


def test_a_killed_server_is_started_again_with_all_that_was_acknowledged(
    broker_process: EmbeddedBroker,
) -> None:
    for number in range(500):
        assert ask(socket_of(broker_process), b"RPUSH kept %d" % number) == b":%d" % (number + 1)

    old_pid = kill_server(broker_process)
    killed_mono_s = time.monotonic()
    wait_until(lambda: broker_process.is_running, timeout_s=2.0, what="the server's return")

    assert time.monotonic() - killed_mono_s < 1.0
    assert ask(socket_of(broker_process), b"LLEN kept") == b":500"
    assert broker_process.pid != old_pid
    assert broker_process.is_owner


def test_a_server_that_dies_again_and_again_is_given_up(broker_process: EmbeddedBroker) -> None:
    guard_pid = broker_process.guard_pid
    for _death in range(3):
        kill_server(broker_process)
        wait_until(lambda: broker_process.is_running, what="the server's return")

    kill_server(broker_process)
    wait_until(lambda: not process_lives(guard_pid), what="the end of the guard")

    assert not broker_process.is_running
    assert not socket_of(broker_process).parent.exists()
    with pytest.raises(NotConnected, match=r"gone; see .*server.log"):
        _ = broker_process.pid
    assert "giving up" in (broker_process.data_dir / "server.log").read_text()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_a_killed_guard_takes_the_server_along(broker_process: EmbeddedBroker) -> None:
    server_pid = broker_process.pid

    os.kill(broker_process.guard_pid, signal.SIGKILL)
    wait_until(lambda: not process_lives(server_pid), timeout_s=1.0, what="the end of the server")

    assert not broker_process.is_running


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_what_a_killed_guard_left_is_taken_over(tmp_path: Path) -> None:
    name = f"stale-{new_sender()[:8]}"
    with embedded.start(name, data_dir=tmp_path) as dead:
        assert ask(socket_of(dead), b"SET kept 1") == b"+OK"
        server_pid = dead.pid
        os.kill(dead.guard_pid, signal.SIGKILL)
        wait_until(lambda: not process_lives(server_pid), what="the end of the server")
        assert socket_of(dead).exists(), "the stale socket is the point of this test"
        assert embedded.find(name) is None

        with embedded.start(name, data_dir=tmp_path) as broker:
            assert broker.is_owner
            assert ask(socket_of(broker), b"GET kept") == b"1"


def test_a_guard_that_is_asked_to_end_removes_everything(broker_process: EmbeddedBroker) -> None:
    server_pid, guard_pid = broker_process.pid, broker_process.guard_pid

    os.kill(guard_pid, signal.SIGTERM)
    wait_until(lambda: not process_lives(guard_pid), timeout_s=1.5, what="the end of the guard")

    assert not process_lives(server_pid)
    assert not socket_of(broker_process).parent.exists()
    broker_process.close()


def test_the_broker_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    brokers: list[EmbeddedBroker] = []
    name = f"thread-{new_sender()[:8]}"
    thread = threading.Thread(target=lambda: brokers.append(embedded.start(name, data_dir=tmp_path)))
    thread.start()
    thread.join(timeout=10)
    (broker,) = brokers
    starts_before = broker.pid

    with broker:
        # PR_SET_PDEATHSIG of a plain child would have struck when the thread ended.
        deadline_mono_s = time.monotonic() + 0.3
        while time.monotonic() < deadline_mono_s:
            assert broker.is_running
            time.sleep(0.01)
        assert broker.pid == starts_before


def test_an_append_only_file_that_was_cut_short_is_loaded(broker_process: EmbeddedBroker) -> None:
    for number in range(50):
        ask(socket_of(broker_process), b"RPUSH kept %d" % number)
    (incremental,) = (broker_process.data_dir / "appendonlydir").glob("*.incr.aof")
    os.kill(broker_process.pid, signal.SIGSTOP)
    # A machine that loses power leaves half of the last command.
    os.truncate(incremental, incremental.stat().st_size - 5)

    kill_server(broker_process)
    wait_until(lambda: broker_process.is_running, what="the server's return")

    assert ask(socket_of(broker_process), b"LLEN kept") == b":49"
