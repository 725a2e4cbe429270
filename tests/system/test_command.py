"""The ``labspine`` command against a running demo lab."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from .conftest import COMMAND, Run, Up


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_scan_is_drawn_and_its_files_open(labspine: Run, lab_up: Up) -> None:
    pandas = pytest.importorskip("pandas")
    xarray = pytest.importorskip("xarray")

    done = labspine("run", "scan", "det", "x", "-5", "5", "101", "--sample", "LaB6 #3")

    assert done.returncode == 0, done.stderr
    assert "101 of 101 points" in done.stdout
    assert "FWHM" in done.stdout
    assert "LaB6 #3" in done.stdout
    path = Path(next(w for line in done.stdout.splitlines() for w in line.split() if w.endswith(".h5")))
    assert path.is_relative_to(lab_up.data)
    table = pandas.read_csv(path.with_suffix(".csv"))
    assert list(table["x"]) == pytest.approx(np.linspace(-5, 5, 101))
    with xarray.open_dataset(path, group="entry/data", engine="h5netcdf") as data:
        assert "x" in data.coords
        np.testing.assert_allclose(data["det"], table["det"])


def test_a_grid_scan_ends_well(labspine: Run) -> None:
    done = labspine("run", "grid_scan", "det", "y", "-1", "1", "3", "x", "-1", "1", "4")

    assert done.returncode == 0, done.stderr
    assert "12 of 12 points" in done.stdout


def test_json_has_every_point_once_and_in_order(labspine: Run) -> None:
    done = labspine("run", "scan", "det,i0", "x", "-1", "1", "21", "--json")

    messages = lines(done.stdout)
    assert done.returncode == 0, done.stderr
    assert [m["point_id"] for m in messages if m["type"] == "ScanMessage"] == list(range(21))
    assert messages[0]["type"] == "ScanStatusMessage"
    assert [m["status"] for m in messages if m["type"] == "ScanStatusMessage"][-1] == "closed"
    assert messages[-1]["type"] == "FileMessage"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("scan dett x -5 5 101", 'did you mean "det"'),
        ("scna det x -5 5 101", 'did you mean "scan"'),
        ("scan det xx -5 5 101", "xx"),
        ("scan det x -5 500 101", "outside limits [-50, 50]"),
        ("scan det x -5 5 0", "num"),
        ("scan det x -5 5 2.5", "num"),
        ("scan det x -5 nan 11", "nan"),
        ("scan det x -5", "write <detectors> <motor> <start> <stop>"),
        ("mv x 500", "outside limits"),
        ("count det nmu=3", "nmu"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_moves(labspine: Run, words: str, sentence: str) -> None:
    refused = labspine("run", *words.split())

    assert refused.returncode == 2
    assert refused.stderr.startswith("✘ ")
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""


def test_a_plan_without_a_run_ends_too(labspine: Run) -> None:
    moved = labspine("run", "mv", "x", "3")
    devices = labspine("devices", "--json")

    assert moved.returncode == 0, moved.stderr
    x = next(d for d in lines(devices.stdout) if d["name"] == "x")
    assert x["value"] == pytest.approx(3)
    assert x["limits"] == [-50, 50]


@pytest.mark.parametrize("verb", ["devices", "plans", "endpoints", "queue", "doctor"])
def test_lists_come_as_table_and_as_json(labspine: Run, verb: str) -> None:
    table, data = labspine(verb), labspine(verb, "--json")

    assert table.returncode == 0, table.stdout + table.stderr
    assert data.returncode == 0
    assert table.stdout
    for line in data.stdout.splitlines():
        json.loads(line)


def test_get_shows_the_last_message(labspine: Run) -> None:
    labspine("run", "count", "det")

    shown = labspine("get", "scan_status", "--json")

    assert lines(shown.stdout)[0]["status"] == "closed"
    assert labspine("get", "scan_segment").returncode == 2
    assert 'did you mean "scan_status"' in labspine("get", "scan_stauts").stderr


def test_tail_replays_and_ends(labspine: Run) -> None:
    labspine("run", "count", "det", "num=3")

    tailed = labspine("tail", "scan_segment", "--from-start", "-n", "3", "--json")
    silent = labspine("tail", "alarm", "--timeout", "0.2")

    assert tailed.returncode == 0, tailed.stderr
    assert [line["value"]["point_id"] for line in lines(tailed.stdout)]  # type: ignore[index]
    assert silent.returncode == 0


def test_a_pipe_that_closes_is_no_error(labspine: Run, lab_up: Up) -> None:
    shell = subprocess.run(
        ["sh", "-c", f"{' '.join(COMMAND)} endpoints | head -2"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert shell.returncode == 0
    assert "Traceback" not in shell.stderr


def test_watch_joins_in_the_middle_and_shows_every_point(labspine: Run, lab_up: Up) -> None:
    slow = threading.Thread(target=labspine, args=("run", "count", "det", "num=60", "delay=0.05"))
    slow.start()
    joined = labspine("tail", "scan_segment", "-n", "5", "--json")

    watched = labspine("watch", "--scans", "1", "--json")
    slow.join(30)

    assert joined.returncode == 0
    points = [m["point_id"] for m in lines(watched.stdout) if m["type"] == "ScanMessage"]
    assert points == list(range(60))


def test_pause_resume_and_abort(labspine: Run, lab_up: Up) -> None:
    results: list[subprocess.CompletedProcess[str]] = []
    run = threading.Thread(
        target=lambda: results.append(labspine("run", "count", "det", "num=2000", "delay=0.02"))
    )
    run.start()
    labspine("tail", "scan_segment", "-n", "2")

    def status_is(wanted: str) -> bool:
        statuses = labspine("tail", "scan_status", "--from-start", "--timeout", "0.3", "--json")
        return bool(lines(statuses.stdout)[-1]["value"]["status"] == wanted)  # type: ignore[index]

    assert labspine("pause").returncode == 0
    assert any(status_is("paused") for _ in range(10))
    assert labspine("resume").returncode == 0
    assert any(status_is("open") for _ in range(10))
    assert labspine("abort").returncode == 0
    run.join(30)

    assert results[0].returncode == 1
    assert "aborted" in results[0].stderr


def test_nobody_there_is_exit_code_3(tmp_path: Path) -> None:
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "LABSPINE_URL": f"unix://{tmp_path}/none.sock"}

    away = subprocess.run(
        [*COMMAND, "devices"], env=env, capture_output=True, text=True, timeout=30, check=False
    )

    assert away.returncode == 3
    assert "Traceback" not in away.stderr


def test_wrong_words_are_explained(labspine: Run) -> None:
    assert labspine("scna").returncode == 2
    assert labspine("run").returncode == 2
    unknown = labspine("run", "scan", "det", "x", "-5", "5", "11", "--sampel", "a")
    assert unknown.returncode == 2
    assert "--sample" in unknown.stderr
    assert labspine("--version").stdout.startswith("labspine 0.")
