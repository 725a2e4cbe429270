"""A start-up file written for bluesky runs as it is on our engine, and its documents are those of bluesky's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
STARTUP = HERE.parent / "data" / "bluesky_startup" / "00-startup.py"
VOLATILE = {"uid", "time", "timestamps", "descriptor", "run_start", "versions"}


def start_up(engine: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "startup_program.py"), str(STARTUP), engine],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, "BLUESKY_MD": str(folder / "md"), "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    facts: dict[str, Any] = json.loads(lines[0].removeprefix("FACTS "))
    return {**facts, "printed": done.stdout}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {name: start_up(name, tmp_path_factory.mktemp(name)) for name in ("labspine", "bluesky")}


def steady(value: Any) -> Any:
    """Leave out what differs from run to run."""
    if isinstance(value, dict):
        return {key: steady(inner) for key, inner in value.items() if key not in VOLATILE}
    return [steady(inner) for inner in value] if isinstance(value, list) else value


def test_the_file_is_for_bluesky_and_runs_on_our_engine(both: dict[str, dict[str, Any]]) -> None:
    source = STARTUP.read_text(encoding="utf-8")
    assert "from bluesky import RunEngine" in source
    assert "import labspine" not in source
    assert both["labspine"]["class"].startswith("labspine.")
    assert both["bluesky"]["class"].startswith("bluesky.")


def test_the_documents_are_equal(both: dict[str, dict[str, Any]]) -> None:
    ours, theirs = (both[name]["documents"] for name in ("labspine", "bluesky"))
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    for (name, mine), (_, other) in zip(ours, theirs, strict=True):
        assert steady(mine) == steady(other), name


def test_metadata_failures_and_tables_are_as_before(both: dict[str, dict[str, Any]]) -> None:
    ours, theirs = both["labspine"], both["bluesky"]
    for key in ("scan_id", "state", "failure"):
        assert ours[key] == theirs[key], key
    assert (ours["scan_id"], ours["state"], ours["failure"]) == (5, "idle", "ValueError")
    assert len(ours["uids"]) == len(theirs["uids"]) == 5
    for words in ("| motor |", "generator scan ['", "Persistent Unique Scan ID"):
        assert words in ours["printed"] or words not in theirs["printed"], words


def test_metadata_survive_to_the_next_session(tmp_path: Path) -> None:
    assert start_up("labspine", tmp_path)["scan_id"] == 5
    assert start_up("labspine", tmp_path)["scan_id"] == 10
