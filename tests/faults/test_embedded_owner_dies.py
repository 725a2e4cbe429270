"""The embedded broker is gone within a second, however its owner dies (reliability.md, section 2.10; G20)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labspine.ids import new_sender
from labspine.testing import process_lives, wait_until
from labspine.wire import embedded

pytestmark = pytest.mark.fault

GONE_WITHIN_S = 1.0

OWNER = """
import ctypes, os, signal, subprocess, sys, threading, time
from labspine.wire import embedded

name, data_dir, way = sys.argv[1:]
if way == "signals blocked":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGINT])
broker = embedded.start(name, data_dir=data_dir)
child = 0
if way == "with a forked child":
    child = os.fork()
if way == "with a child forked by foreign code":
    child = -1 if (pid := ctypes.CDLL(None).fork()) == 0 else pid
    if child == -1:
        time.sleep(30)
        os._exit(0)
if way == "with a forked child" and child == 0:
    time.sleep(30)
    os._exit(0)
if way == "with a subprocess":
    child = subprocess.Popen(["sleep", "30"], close_fds=False, stdout=subprocess.DEVNULL).pid
print(broker.pid, broker.guard_pid, child, flush=True)
if way == "exit":
    sys.exit(0)
if way == "exception":
    raise RuntimeError("on purpose")
if way == "os._exit":
    os._exit(3)
time.sleep(60)
"""


@dataclass
class Owner:
    """A process that owns a broker, and what it told about it."""

    process: subprocess.Popen[str]
    server_pid: int
    guard_pid: int
    child_pid: int
    socket_path: Path

    def leftovers(self) -> list[str]:
        left = [str(pid) for pid in (self.server_pid, self.guard_pid) if process_lives(pid)]
        return left + [str(p) for p in (self.socket_path, self.socket_path.parent) if p.exists()]


@contextlib.contextmanager
def owner_of_a_broker(data_dir: Path, way: str) -> Iterator[Owner]:
    name = f"owner-{new_sender()[:8]}"
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, name, str(data_dir), way],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline().split()
    assert len(said) == 3, f"the owner said {said}"
    socket_path = Path(os.environ["XDG_RUNTIME_DIR"]) / "labspine" / name / "broker.sock"
    server_pid, guard_pid, child_pid = map(int, said)
    try:
        yield Owner(process, server_pid, guard_pid, child_pid, socket_path)
    finally:
        for pid in (process.pid, child_pid):
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()


def assert_gone(owner: Owner, died_mono_s: float) -> None:
    while owner.leftovers():
        assert time.monotonic() - died_mono_s < GONE_WITHIN_S, f"still there: {owner.leftovers()}"
        time.sleep(0.002)


WAYS_BY_ITSELF = ["exit", "exception", "os._exit"]
SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGINT to the group": signal.SIGINT, "SIGKILL": signal.SIGKILL}


@pytest.mark.parametrize("way", WAYS_BY_ITSELF)
def test_nothing_is_left_when_the_owner_ends_by_itself(tmp_path: Path, way: str) -> None:
    with owner_of_a_broker(tmp_path, way) as owner:
        owner.process.wait(timeout=10)

        assert_gone(owner, time.monotonic())


@pytest.mark.parametrize("way", SIGNALS)
def test_nothing_is_left_when_a_signal_ends_the_owner(tmp_path: Path, way: str) -> None:
    with owner_of_a_broker(tmp_path, "wait") as owner:
        assert process_lives(owner.server_pid)

        if way.endswith("group"):
            os.killpg(owner.process.pid, SIGNALS[way])
        else:
            owner.process.send_signal(SIGNALS[way])
        died_mono_s = time.monotonic()
        owner.process.wait(timeout=10)

        assert_gone(owner, died_mono_s)


def test_twenty_killed_owners_leave_nothing(tmp_path: Path) -> None:
    for _round in range(20):
        with owner_of_a_broker(tmp_path, "wait") as owner:
            owner.process.kill()

            assert_gone(owner, time.monotonic())


@pytest.mark.parametrize(
    "way",
    ["with a forked child", "with a subprocess", "with a child forked by foreign code", "signals blocked"],
)
def test_surviving_children_of_a_killed_owner_do_not_keep_the_broker(tmp_path: Path, way: str) -> None:
    if way == "with a child forked by foreign code" and not hasattr(os, "pidfd_open"):
        pytest.skip("needs Linux")
    with owner_of_a_broker(tmp_path, way) as owner:
        owner.process.kill()

        assert_gone(owner, time.monotonic())
        assert not owner.child_pid or process_lives(owner.child_pid)


def test_ctrl_c_reaches_the_program_and_not_the_broker(tmp_path: Path) -> None:
    with owner_of_a_broker(tmp_path, "wait") as owner:
        assert os.getsid(owner.server_pid) == os.getsid(owner.guard_pid) == owner.guard_pid
        assert os.getsid(owner.process.pid) != owner.guard_pid


def test_a_frozen_server_is_gone_as_well(tmp_path: Path) -> None:
    with owner_of_a_broker(tmp_path, "wait") as owner:
        os.kill(owner.server_pid, signal.SIGSTOP)
        owner.process.kill()

        assert_gone(owner, time.monotonic())


def test_data_written_before_the_owner_was_killed_is_there_afterwards(tmp_path: Path) -> None:
    from labspine.wire.embedded.probe import ask

    with owner_of_a_broker(tmp_path, "wait") as owner:
        for number in range(200):
            assert ask(owner.socket_path, b"RPUSH kept %d" % number) == b":%d" % (number + 1)
        owner.process.kill()
        wait_until(lambda: not owner.leftovers(), what="the end of the broker")

    with embedded.start(f"again-{new_sender()[:8]}", data_dir=tmp_path) as broker:
        assert ask(Path(broker.url.removeprefix("unix://")), b"LLEN kept") == b":200"
