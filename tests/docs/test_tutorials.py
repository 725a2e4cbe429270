"""The README and the tutorials are run: each Python block is executed, each text block is what it printed."""

from __future__ import annotations

import ast
import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labspine import RedisConnector, RunEngine

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    DOCS.parent / "README.md",
    *sorted((DOCS / "tutorials").glob("*.md")),
    *sorted(page for page in (DOCS / "how-to").glob("*.md") if "```python" in page.read_text("utf-8")),
]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(page: Path) -> Iterator[tuple[str, str]]:
    for match in _BLOCK.finditer(page.read_text("utf-8")):
        yield match[1], match[2]


def _run(source: str, namespace: dict[str, object], where: str) -> str:
    """Run a block as an interactive shell would: the value of a last expression is shown."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(tree, where, "exec"), namespace)  # noqa: S102
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), namespace)  # noqa: S307
            if value is not None:
                print(repr(value))
    return out.getvalue()


def test_there_are_tutorials() -> None:
    assert len(PAGES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_tutorial_does_what_it_says(
    page: Path,
    tcp_broker: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__tutorial__"}
    printed = ""
    there = {"localhost:6379": tcp_broker}
    if "localhost:5672" in page.read_text("utf-8"):
        there["localhost:5672"] = request.getfixturevalue("rabbitmq_url").partition("@")[2].rstrip("/")
    try:
        for language, written in _blocks(page):
            text = written
            for name, place in there.items():
                text = text.replace(name, place)
            if language == "python":
                printed = _run(text, namespace, str(page))
            elif language == "text":
                assert printed == text
    finally:
        for value in namespace.values():
            if isinstance(value, RedisConnector | RunEngine):
                value.close()
