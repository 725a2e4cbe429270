"""docs/map.md and docs/promises.md speak of files and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| (.+?\?) \| (`.+`) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)\)")


def test_the_map_answers_twenty_questions_with_places_that_exist() -> None:
    rows = _ROW.findall((ROOT / "docs/map.md").read_text("utf-8"))

    assert len(rows) >= 20
    for question, places in rows:
        for place in re.findall(r"`(.+?)`", places):
            path, _, name = place.partition("::")
            assert (ROOT / path).exists(), question
            if name:
                assert re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")), question


def test_each_promise_names_a_test_that_exists() -> None:
    lines = (ROOT / "docs/promises.md").read_text("utf-8").splitlines()
    promises = [line for line in lines if line.startswith("| ") and "`tests/" in line]

    assert len(promises) >= 10
    for line in promises:
        for path, name in _TEST.findall(line):
            assert (ROOT / path).exists(), line
            if name:
                assert f"def {name}(" in (ROOT / path).read_text("utf-8"), line


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"
