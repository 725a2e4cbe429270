"""
Generate the blocking doors from the asyncio ones.

Run it without arguments to write the files, with ``--check`` to fail when one is stale.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "labspine"
# Each floor that has two doors, and the files of its ``_async`` from which those of its ``_sync`` are made.
# What else stands there (threads on one side, tasks on the other) is written by hand on both sides.
DOORS: dict[str, tuple[str, ...]] = {
    "connector": (
        "amqp.py",
        "connector.py",
        "delivery.py",
        "operations.py",
        "pipeline.py",
    ),
    "service": ("amqp.py", "calls.py", "rpc.py"),
    "queues": ("amqp.py", "queue.py", "redis.py", "worker.py"),
}
HEADER = "# Generated from {floor}/_async/{name} by scripts/unasync.py: change the source and run it.\n"

WORDS = (
    (r"\basync def\b", "def"),
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\baclose\b", "close"),
    (r"\bAsyncConnector\b", "RedisConnector"),
    (r"\bconnect_async\b", "connect"),
    (r"\bAsyncioWire\b", "SyncWire"),
    (r"\bAsyncConnection\b", "SyncConnection"),
    (r"\bopen_connection\b", "SyncConnection"),
    (r"\basync_transport\b", "blocking_transport"),
    (r"\b(_?)Async(?=[A-Z])", r"\1"),
    (r"The asyncio door to (.+); the blocking one is generated from it\.", r"The blocking door to \1."),
)


def translated(source: str) -> str:
    """
    Translate one file.

    Args:
        source: Python source of the asyncio door.

    Returns:
        Python source of the blocking door, not yet formatted.
    """
    for pattern, replacement in WORDS:
        source = re.sub(pattern, replacement, source)
    return source.replace(
        "import SyncConnection, SyncWire, SyncConnection", "import SyncConnection, SyncWire"
    )


def tidied(source: str, target: Path) -> str:
    """Sort imports and format, as the check of the whole code does."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--fix", "--quiet", "--select", "I"], ["format", "--quiet"]):
        done = subprocess.run(
            [ruff, *command, "--stdin-filename", str(target), "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        source = done.stdout
    return source


def generated(floor: str, name: str) -> str:
    """Make the text of one file of a blocking door."""
    source = (PACKAGE / floor / "_async" / name).read_text(encoding="utf-8")
    header = HEADER.format(floor=floor, name=name)
    return tidied(header + translated(source), PACKAGE / floor / "_sync" / name)


def main(arguments: list[str]) -> int:
    """Write the files, or check that they are fresh."""
    stale = []
    for floor, names in DOORS.items():
        for name in names:
            target = PACKAGE / floor / "_sync" / name
            wanted = generated(floor, name)
            if "--check" not in arguments:
                target.write_text(wanted, encoding="utf-8")
            elif not target.exists() or target.read_text(encoding="utf-8") != wanted:
                stale.append(f"{floor}/{name}")
    if stale:
        print(f"stale: {', '.join(stale)}; run scripts/unasync.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
