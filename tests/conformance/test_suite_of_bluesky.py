"""A few files of bluesky's own test-suite on our engine; ``make conformance`` runs all of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("test_multi_runs.py", "test_generators.py")


@pytest.mark.slow
def test_files_of_bluesky_s_suite_pass_or_differ_as_listed() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "conformance"), *FILES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.search(r"(\d+) passed, (\d+) failed \((\d+) of them known\)", done.stdout)
    assert told is not None, done.stdout
    passed, failed, known = (int(number) for number in told.groups())
    assert passed >= 20
    assert failed == known


def test_each_known_difference_has_an_id_and_a_reason() -> None:
    lines = (ROOT / "scripts" / "conformance-known.tsv").read_text(encoding="utf-8").splitlines()
    entries = [line.split("\t") for line in lines if line and not line.startswith("#")]
    assert all(len(entry) == 2 and "::" in entry[0] and len(entry[1]) > 10 for entry in entries)
    assert len({entry[0] for entry in entries}) == len(entries)


def test_the_page_for_users_names_each_known_difference_and_no_other() -> None:
    lines = (ROOT / "scripts" / "conformance-known.tsv").read_text(encoding="utf-8").splitlines()
    known = {re.split(r"::|\[|\t", line)[1] for line in lines if line and not line.startswith("#")}
    page = (ROOT / "docs" / "reference" / "bluesky-conformance.md").read_text(encoding="utf-8")
    table = page.split("## Known differences")[1].split("## Left out")[0]
    assert set(re.findall(r"`(test_\w+)`", table)) == known


def test_a_file_that_does_not_exist_is_told() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "conformance"), "test_nothing.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no test file test_nothing.py" in done.stdout
