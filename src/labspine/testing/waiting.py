"""Wait for a condition instead of sleeping, and look at processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["process_lives", "wait_until"]


def wait_until(
    condition: Callable[[], object],
    *,
    timeout_s: float = 5.0,
    what: str = "the condition",
    pause_s: float = 0.005,
) -> None:
    """
    Wait until a condition holds.

    Args:
        condition: Called again and again; anything true ends the wait.
        timeout_s: Limit in seconds.
        what: What is waited for, for the text of the failure.
        pause_s: Time between two calls, in seconds.

    Raises:
        AssertionError: If it does not hold in time.
    """
    deadline_mono_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_mono_s:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s")
        time.sleep(pause_s)


def process_lives(pid: int) -> bool:
    """
    Tell whether a process still runs.

    Args:
        pid: Its process id.

    Returns:
        False when there is none, and for one that has ended and was only not yet collected by its parent.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if sys.platform != "linux":
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The name in parentheses may itself contain parentheses and spaces; the state follows the last one.
    return stat.rpartition(")")[2].split()[0] not in "ZX"
