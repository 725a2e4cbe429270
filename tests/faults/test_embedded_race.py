"""Many processes that start the same embedded broker get one server (performance.md, goal 11)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from labspine.errors import ConfigError
from labspine.ids import new_sender
from labspine.testing import process_lives, wait_until
from labspine.wire import embedded

pytestmark = pytest.mark.fault

RACER = """
import sys
from labspine.wire import embedded

name, data_dir = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
broker = embedded.start(name, data_dir=data_dir)
print(broker.pid, int(broker.is_owner), int(broker.is_running), flush=True)
sys.stdin.readline()
broker.close()
"""


def racers(name: str, data_dir: Path, count: int) -> list[subprocess.Popen[str]]:
    found = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, name, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in found:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return found


def say_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    say_go(process)
    process.communicate(timeout=10)


@pytest.mark.parametrize("round_number", range(5))
def test_eight_racing_processes_share_one_server(tmp_path: Path, round_number: int) -> None:
    name = f"race-{new_sender()[:8]}"
    processes = racers(name, tmp_path, 8)
    try:
        for process in processes:
            say_go(process)
        answers = [process.stdout.readline().split() for process in processes if process.stdout]
        pids = {int(pid) for pid, _owner, _running in answers}
        owners = [process for process, answer in zip(processes, answers, strict=True) if answer[1] == "1"]

        assert len(pids) == 1
        assert len(owners) == 1
        assert all(running == "1" for _pid, _owner, running in answers)

        # The guests go and the server stays; then the owner goes, and with it the server.
        for process in processes:
            if process not in owners:
                end(process)
        (server_pid,) = pids
        assert process_lives(server_pid)
        end(owners[0])
        wait_until(lambda: not process_lives(server_pid), timeout_s=1.0, what="the end of the server")
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_threads_of_one_process_share_one_server_too(tmp_path: Path) -> None:
    name = f"threads-{new_sender()[:8]}"
    brokers: list[embedded.EmbeddedBroker] = []
    threads = [
        threading.Thread(target=lambda: brokers.append(embedded.start(name, data_dir=tmp_path)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=15)

    assert len(brokers) == 8
    assert len({broker.pid for broker in brokers}) == 1
    assert [broker.is_owner for broker in brokers].count(True) == 1
    for broker in sorted(brokers, key=lambda b: b.is_owner):
        broker.close()
    assert embedded.find(name) is None


def test_a_broker_that_is_closed_and_started_again_and_again_is_always_one(tmp_path: Path) -> None:
    name = f"cycle-{new_sender()[:8]}"
    for _round in range(5):
        with embedded.start(name, data_dir=tmp_path) as broker:
            assert broker.is_owner
            server_pid = broker.pid
        assert not process_lives(server_pid)


def test_a_second_broker_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with embedded.start(f"one-{new_sender()[:8]}", data_dir=tmp_path) as one:
        with pytest.raises(ConfigError, match=rf"used by another embedded broker.*process {os.getpid()}\b"):
            embedded.start(f"two-{new_sender()[:8]}", data_dir=tmp_path)

        assert one.is_running
