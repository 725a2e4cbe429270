"""The installed command, as a person runs it: real processes, a real broker, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "labspine"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class Up:
    """A running ``labspine up --demo``."""

    process: subprocess.Popen[str]
    facts: dict[str, Any]
    data: Path

    @property
    def url(self) -> str:
        """Address of its broker."""
        return str(self.facts["url"])


def start_up(data: Path, *arguments: str, name: str) -> Up:
    """Start a lab of its own and wait until it says that it is ready."""
    command = [
        *COMMAND,
        "up",
        "--demo",
        "--json",
        "--port",
        "0",
        "--name",
        name,
        "--data",
        str(data),
        *arguments,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(f"labspine up did not start: {process.communicate(timeout=10)[1]}")
    return Up(process, json.loads(line), data)


def stop_up(up: Up) -> tuple[int, str]:
    """Press Ctrl-C; give exit code and what was said."""
    up.process.send_signal(signal.SIGINT)
    _, err = up.process.communicate(timeout=20)
    return up.process.returncode, err


@pytest.fixture(scope="module")
def lab_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One fast demo lab for all tests of a module."""
    up = start_up(tmp_path_factory.mktemp("data"), "--speed", "200", name=f"cli-{os.getpid()}")
    yield up
    code, err = stop_up(up)
    assert code == 0
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def labspine(lab_up: Up) -> Run:
    """Run the command against that lab."""

    def run(*arguments: str, timeout_s: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "LABSPINE_URL": lab_up.url, **environment}
        return subprocess.run(
            [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    return run
