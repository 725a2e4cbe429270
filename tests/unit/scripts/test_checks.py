"""The scripts that guard the house rules find what they should find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def run(script: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LABSPINE_ALLOW_SKIPS": "", **environment},
    )


def test_a_long_function_is_found(tmp_path: Path) -> None:
    body = "".join(f"    x{n} = {n}\n\n    # a comment\n" for n in range(61))
    (tmp_path / "long.py").write_text(f'class A:\n  def f(self):\n    """Say\n\n    much."""\n{body}')
    found = run("check-sizes", tmp_path)
    assert found.returncode == 1
    assert "long.py::A.f has 61 lines, allowed are 60" in found.stdout


def test_comments_docstrings_and_empty_lines_do_not_count(tmp_path: Path) -> None:
    body = "".join(f"    x{n} = {n}\n\n    # a comment\n" for n in range(60))
    (tmp_path / "fine.py").write_text(f'def f():\n    """Say\n\n    much."""\n{body}')
    found = run("check-sizes", tmp_path)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(("lines", "code"), [(600, 0), (601, 1)])
def test_a_long_file_is_found(tmp_path: Path, lines: int, code: int) -> None:
    (tmp_path / "page.js").write_text("//\n" * lines)
    assert run("check-sizes", tmp_path).returncode == code


def test_foreign_files_are_not_measured(tmp_path: Path) -> None:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "big.js").write_text("//\n" * 5000)
    assert run("check-sizes", tmp_path).returncode == 0


def test_a_path_that_does_not_exist_is_told(tmp_path: Path) -> None:
    found = run("check-sizes", tmp_path / "nothing")
    assert found.returncode == 2
    assert "no such file" in found.stdout


TESTS = """
import pytest

def test_good(): pass

@pytest.mark.skip(reason="needs chromium 120")
def test_decorated(): pass

def test_inside(): pytest.skip("forgotten")
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Let pytest itself write the report."""
    folder = tmp_path_factory.mktemp("skips")
    (folder / "test_some.py").write_text(TESTS)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junit-xml=report.xml"],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    return folder / "report.xml"


def test_a_skipped_test_is_found_with_its_reason(report: Path) -> None:
    found = run("check-skips", report)
    assert found.returncode == 1
    assert "test_inside was skipped: forgotten" in found.stdout
    assert "test_decorated was skipped: needs chromium 120" in found.stdout


def test_an_allowed_reason_is_enough_only_for_its_tests(report: Path) -> None:
    found = run("check-skips", report, LABSPINE_ALLOW_SKIPS="needs chromium")
    assert found.returncode == 1
    assert "forgotten" in found.stdout
    assert "test_decorated was" not in found.stdout

    found = run("check-skips", report, LABSPINE_ALLOW_SKIPS="needs chromium, forgotten")
    assert found.returncode == 0
    assert "3 tests, 2 skipped with a known reason" in found.stdout


@pytest.mark.parametrize(("text", "code"), [("<testsuites/>", 1), ("no xml", 2), (None, 2)])
def test_a_report_that_proves_nothing_fails(tmp_path: Path, text: str | None, code: int) -> None:
    path = tmp_path / "report.xml"
    if text is not None:
        path.write_text(text)
    assert run("check-skips", path).returncode == code


def test_packages_that_may_not_be_installed_are_named_and_nothing_fails() -> None:
    found = run("system-packages", "no-such-package-here", LABSPINE_NO_SYSTEM_PACKAGES="1")
    assert found.returncode == 0
    assert "no-such-package-here" in found.stdout


def test_packages_that_are_there_are_left_alone() -> None:
    if not Path("/usr/bin/dpkg-query").exists():
        pytest.skip("needs Debian")
    found = run("system-packages", "dpkg")
    assert found.returncode == 0
    assert "all present: dpkg" in found.stdout
