"""The tools that we ship for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labspine.errors import InvalidArgument
from labspine.testing import FakeClock, process_lives, wait_until
from labspine.wire.embedded import EmbeddedBroker
from labspine.wire.embedded.probe import ask


def test_time_passes_only_when_the_test_says_so() -> None:
    clock = FakeClock(start_utc_s=100.0, start_mono_s=5.0)
    clock.advance(2.5)
    assert (clock.utc_s(), clock.mono_s()) == (102.5, 7.5)


def test_setting_the_wall_clock_leaves_the_monotonic_clock_alone() -> None:
    clock = FakeClock(start_utc_s=10_000.0, start_mono_s=5.0)
    clock.jump_utc(-3600)
    assert (clock.utc_s(), clock.mono_s()) == (6400.0, 5.0)


@pytest.mark.parametrize("duration_s", [-1, float("nan"), float("inf")])
def test_time_never_runs_backwards(duration_s: float) -> None:
    with pytest.raises(InvalidArgument, match="cannot advance a clock"):
        FakeClock().advance(duration_s)


def test_waiting_ends_when_the_condition_holds_and_says_what_did_not() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers), pause_s=0)
    with pytest.raises(AssertionError, match=r"the moon did not come true within 0\.05 s"):
        wait_until(lambda: False, timeout_s=0.05, what="the moon")


def test_a_process_that_only_waits_to_be_collected_does_not_live() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert process_lives(process.pid)
    process.kill()
    wait_until(lambda: not process_lives(process.pid), what="the end of the process")
    process.communicate()
    assert not process_lives(process.pid)
    assert process_lives(1)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_fresh_broker_is_empty_each_time(fresh_broker_url: str, broker_url: str, number: int) -> None:
    path = Path(fresh_broker_url.removeprefix("unix://"))
    assert ask(path, b"DBSIZE") == b":0"
    assert ask(path, b"SET left-behind %d" % number) == b"+OK"
    assert fresh_broker_url != broker_url


def test_all_tests_share_one_broker(broker_url: str) -> None:
    assert ask(Path(broker_url.removeprefix("unix://")), b"PING") == b"+PONG"


def test_a_broker_process_may_be_killed(broker_process: EmbeddedBroker) -> None:
    path = Path(broker_process.url.removeprefix("unix://"))
    os.kill(broker_process.pid, signal.SIGKILL)
    wait_until(lambda: ask(path, b"PING") == b"+PONG", what="the return of the server")


def test_the_plugin_imports_nothing_of_labspine_before_it_is_needed() -> None:
    code = "import sys, labspine.testing.plugin; print(*(m for m in sys.modules if m.startswith('labspine')))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "labspine.testing.plugin" in answer.stdout
    assert "labspine.wire" not in answer.stdout
    assert "labspine.connector" not in answer.stdout
