"""Faults while a plan runs, in a real process: devices stop, the run is closed, and control comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labspine.engine import Journal
from labspine.engine.journal.recovery import close_call
from labspine.engine.journal.story import read_story

PROGRAM = Path(__file__).with_name("engine_program.py")
LIMIT_S = 30.0

# Fault: what the caller got, exit_status and words of the first stop document.
ENDS: dict[str, tuple[str, str, str]] = {
    "none": ("success", "success", ""),
    "set_raises": ("ValueError", "fail", "the motor refuses"),
    "set_fails_later": ("FailedStatus", "fail", ""),
    "read_raises": ("OSError", "fail", "no answer from the detector"),
    "status_never_finishes": ("DeviceTimeout", "fail", "x.set() was not done after 0.2 s"),
    "read_blocks": ("BlockedStep", "fail", "in read"),
    "stop_hangs": ("success", "success", ""),
    "stop_raises": ("success", "success", ""),
    "unstage_raises": ("OSError", "success", ""),
    "plan_raises": ("LookupError", "fail", "a mistake in the plan"),
    "plan_forgets": ("success", "success", ""),
    "callback_raises": ("success", "success", ""),
    "callback_raises_on_stop": ("success", "success", ""),
    "critical_callback_raises": ("OSError", "fail", "disk full"),
    "callback_slow": ("success", "success", ""),
    "callback_blocks": ("success", "success", ""),
}


class Said(list[dict[str, Any]]):
    """The lines of one program."""

    def of(self, key: str) -> list[Any]:
        return [line[key] for line in self if key in line]

    @property
    def first_run(self) -> list[dict[str, Any]]:
        documents = [line for line in self if "document" in line]
        ends = [i for i, line in enumerate(documents) if line["document"] == "stop"]
        return documents[: ends[0] + 1] if ends else documents


def run(
    fault: str, meddle: Callable[[subprocess.Popen[str]], None] | None = None, **settings: str
) -> tuple[int, Said]:
    command = [sys.executable, str(PROGRAM), fault]
    env = {**os.environ, **{f"ENGINE_PROGRAM_{name.upper()}": value for name, value in settings.items()}}
    with (
        Path(settings.get("stderr", os.devnull)).open("w") as words,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True, env=env) as process,
    ):
        assert process.stdout is not None
        late = threading.Timer(LIMIT_S, process.kill)
        late.start()
        said = Said()
        for line in process.stdout:
            said.append(json.loads(line))
            if "ready" in said[-1] and meddle is not None:
                meddle(process)
        code = process.wait(LIMIT_S)
        late.cancel()
    return code, said


def press_twice(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    timer = threading.Timer(0.3, process.send_signal, (signal.SIGINT,))
    timer.start()


@pytest.mark.parametrize("fault", ENDS)
def test_a_fault_ends_in_a_closed_run_and_an_engine_in_order(fault: str) -> None:
    result, exit_status, words = ENDS[fault]
    code, said = run(fault)
    assert code == 0
    assert said.of("result") == [result]
    stop = said.first_run[-1]
    assert (stop["document"], stop["exit_status"]) == ("stop", exit_status)
    assert words in stop["reason"]
    assert said.of("state")[-1] == "idle"
    hanging = {"stop_hangs", "stop_raises"}
    assert set(said.of("stopped")) == ({"y"} if fault in hanging else {"x", "y"})
    staged_after_all = {"y"} if fault == "unstage_raises" else {"x", "y"}
    assert set(said.of("unstaged")) == staged_after_all
    if fault != "callback_blocks":
        assert said.of("next") == [1]
    # A hanging stop costs its limit of 5 s, everything else is quick.
    assert said.of("took_s")[0] < (9 if fault == "stop_hangs" else 4)


def test_a_stop_that_blocks_keeps_neither_the_others_moving_nor_the_caller_waiting() -> None:
    code, said = run("stop_blocks")
    assert code == 0
    assert said.of("result") == ["EngineBusy"]
    assert "x.stop() does not return" in said.of("words")[0]
    # The other device was stopped from the caller's thread, long before the blocking one was done.
    assert said.of("stopped") == ["y", "x"]
    assert 5 < said.of("took_s")[0] < 7.5
    assert said.of("state") == ["panicked"]
    # When it came back after all, the run was closed and the engine was of use again.
    assert said.first_run[-1]["document"] == "stop"
    assert said.of("next") == [1]


@pytest.mark.parametrize(
    ("fault", "failed", "dropped"),
    [("callback_raises", 12, 0), ("callback_raises_on_stop", 2, 0), ("callback_blocks", 0, 8)],
)
def test_what_a_subscriber_missed_is_counted_and_the_others_get_all(
    fault: str, failed: int, dropped: int
) -> None:
    _, said = run(fault)
    assert [line["document"] for line in said.first_run] == ["start", *["event"] * 12, "stop"]
    counts = next(line for line in said if "dropped" in line)
    assert counts["failed"] == failed
    # One document is in its hands, four wait; start, descriptor and stop are never left out.
    assert counts["dropped"] >= dropped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_the_program_stops_devices_and_closes_the_run(number: signal.Signals) -> None:
    code, said = run("signal_term", lambda process: process.send_signal(number))
    assert code == -number
    assert set(said.of("stopped")) == {"x", "y"}
    assert set(said.of("unstaged")) == {"x", "y"}
    stop = said.first_run[-1]
    assert (stop["document"], stop["exit_status"]) == ("stop", "abort")
    assert stop["reason"] == f"the program was told to end: {number.name}"


@pytest.mark.parametrize(
    ("fault", "is_script_over"),
    [
        ("signal_unstage_blocks", False),
        ("signal_stop_blocks", False),
        ("signal_read_blocks", False),
        ("signal_unstage_blocks", True),
    ],
)
def test_a_device_that_blocks_does_not_keep_a_program_that_is_to_end(
    fault: str, is_script_over: bool, tmp_path: Path
) -> None:
    def tell(process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGTERM)

    book, words = tmp_path / "journal", tmp_path / "words"
    began_mono_s = time.monotonic()
    meddle = press_twice if is_script_over else tell
    code, said = run(fault, meddle, journal=str(book), limit_s="0.5", stderr=str(words))
    assert time.monotonic() - began_mono_s < 20
    # It ended as its parent expects, and told who kept it.
    assert code == (0 if is_script_over else -signal.SIGTERM)
    _, verb, _ = fault.split("_")
    assert f"{verb} ({PROGRAM}" in words.read_text()
    assert "keeps the engine's thread" in words.read_text()
    assert said.of("stopped").count("y") >= 1
    stop = said.first_run[-1]
    assert (stop["document"], stop["exit_status"]) == ("stop", "abort")
    why = "its script is over" if is_script_over else "SIGTERM"
    assert stop["reason"].startswith(f"the program was told to end: {why}; {verb} (")
    # The journal has that end too. It is left for the next start, which unstages, and does not go on.
    (path,) = book.glob("*.journal")
    story = read_story(path)
    (one,) = story.runs.values()
    assert one.stop is not None
    assert one.stop["num_events"] == {"primary": one.numbers["primary"]}
    assert [name for name, _ in story.documents].count("stop") == 1
    assert {name for name, _ in story.staged} == {"x", "y"}
    assert story.why_not_resumable() == "it was told to end, but a device did not let go"
    closed = close_call(Journal(book), path)
    assert closed.open_runs == []
    assert Journal(book).orphans() == []


def test_a_script_that_ends_while_it_is_paused_leaves_no_run_open() -> None:
    code, said = run("signal_int", press_twice)
    assert code == 0
    assert said.of("result") == ["interrupted"]
    assert "paused" in said.of("state")
    stop = said.first_run[-1]
    assert (stop["document"], stop["exit_status"]) == ("stop", "abort")
    assert stop["reason"] == "the program was told to end: its script is over"
    assert set(said.of("unstaged")) == {"x", "y"}


FORKING = """
import multiprocessing, time
from labspine.engine import Msg, RunEngine

def work(alive):
    alive.set()
    time.sleep(20)

def fork(msg):
    context = multiprocessing.get_context("fork")
    alive = context.Event()
    child = context.Process(target=work, args=(alive,))
    child.start()
    alive.wait(10)
    child.terminate()
    child.join(10)
    print(child.exitcode)

with RunEngine() as engine:
    engine.register_command("fork", fork)
    engine([Msg("open_run"), Msg("fork"), Msg("close_run")])
"""


def test_a_child_that_a_device_forks_ends_on_its_own_signal() -> None:
    command = [sys.executable, "-c", FORKING]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stdout.split() == ["-15"]
