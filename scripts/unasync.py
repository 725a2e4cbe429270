"""
Generate the blocking door from the asyncio one.

Run it without arguments to write the files, with ``--check`` to fail when one is stale.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOORS = ROOT / "src" / "labspine" / "connector"
FILES = ("connector.py", "delivery.py", "operations.py", "pipeline.py")
HEADER = "# Generated from connector/_async/{name} by scripts/unasync.py: change the source and run it.\n"

WORDS = (
    (r"\basync def\b", "def"),
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\bAsyncConnector\b", "RedisConnector"),
    (r"\bAsyncioWire\b", "SyncWire"),
    (r"\bAsyncConnection\b", "SyncConnection"),
    (r"\bopen_connection\b", "SyncConnection"),
    (r"\bAsync(Delivery|Operations|Pipeline|Reader|StreamReader|Workers)\b", r"\1"),
    ("The asyncio door to the bus; the blocking one is generated from it.", "The blocking door to the bus."),
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


def tidied(source: str, name: str) -> str:
    """Sort imports and format, as the check of the whole code does."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--fix", "--quiet", "--select", "I"], ["format", "--quiet"]):
        done = subprocess.run(
            [ruff, *command, "--stdin-filename", str(DOORS / "_sync" / name), "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        source = done.stdout
    return source


def main(arguments: list[str]) -> int:
    """Write the files, or check that they are fresh."""
    stale = []
    for name in FILES:
        target = DOORS / "_sync" / name
        source = (DOORS / "_async" / name).read_text(encoding="utf-8")
        wanted = tidied(HEADER.format(name=name) + translated(source), name)
        if "--check" in arguments:
            if not target.exists() or target.read_text(encoding="utf-8") != wanted:
                stale.append(name)
        else:
            target.write_text(wanted, encoding="utf-8")
    if stale:
        print(f"stale: {', '.join(stale)}; run scripts/unasync.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
