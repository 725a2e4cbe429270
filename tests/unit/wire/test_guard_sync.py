"""The guard brings what the server wrote to the disk (ADR 0007)."""

from __future__ import annotations

from pathlib import Path

import pytest

from labspine.wire.embedded.guard import LOG_DIR, Guard


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guard:
    monkeypatch.chdir(tmp_path)
    return Guard(["3", "4", "5", "6", "7", str(tmp_path), str(tmp_path), "server"])


def written(name: str, size_bytes: int) -> str:
    path = Path(LOG_DIR, name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size_bytes)
    return str(path)


def test_each_file_that_has_grown_is_synced(guard: Guard) -> None:
    base, grown = written("a.1.base.aof", 10), written("a.1.incr.aof", 20)
    guard._sync_files()
    written("a.1.incr.aof", 30)
    guard._sync_files()

    assert guard.synced_bytes == {base: 10, grown: 30}


def test_a_server_that_has_written_nothing_is_no_error(guard: Guard) -> None:
    guard._sync_files()

    assert guard.synced_bytes == {}


def test_a_file_that_cannot_be_read_is_told_and_hinders_no_other(
    guard: Guard, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(LOG_DIR).mkdir()
    Path(LOG_DIR, "a.loop.aof").symlink_to("a.loop.aof")
    kept = written("b.incr.aof", 5)

    guard._sync_files()

    assert guard.synced_bytes == {kept: 5}
    assert "a.loop.aof" in capsys.readouterr().err
