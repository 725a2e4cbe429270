"""What the whole suite needs: its own directories, hypothesis settings, a look at what is left at the end."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

PATIENCE_S = 3.0

settings.register_profile("labspine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("labspine"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "labspine")

_private_dirs: list[Path] = []


def pytest_configure() -> None:
    """Keep the brokers of the tests apart from those of the person who runs them."""
    # Short: the path of a unix socket has at most 107 bytes, and pytest's own directories are long.
    root = Path(tempfile.mkdtemp(prefix="labspine-", dir="/tmp"))
    for variable, name in (("XDG_RUNTIME_DIR", "run"), ("XDG_STATE_HOME", "state")):
        (root / name).mkdir(mode=0o700)
        os.environ[variable] = str(root / name)
    _private_dirs.append(root)


def pytest_unconfigure() -> None:
    while _private_dirs:
        shutil.rmtree(_private_dirs.pop(), ignore_errors=True)


def _leftover_threads() -> list[str]:
    return [
        f"thread {thread.name!r}"
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and (not thread.daemon or thread.name.startswith("labspine"))
    ]


def _leftover_processes() -> list[str]:
    if sys.platform != "linux":
        return []
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text(errors="replace").rpartition(")")[2].split()[:2]
            command = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if int(parent) == os.getpid() and state not in "ZX":
            found.append(f"process {status.parent.name}: {command[:200]}")
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when tests leave threads or processes behind."""
    deadline_mono_s = time.monotonic() + PATIENCE_S
    while left := _leftover_threads() + _leftover_processes():
        if time.monotonic() > deadline_mono_s:
            lines = "\n  ".join(left)
            print(f"\nThe tests left something behind:\n  {lines}", file=sys.stderr)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            return
        time.sleep(0.02)
