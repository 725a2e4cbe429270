"""Damaged data of an embedded broker: told with file and repair command, never deleted (bad_inputs.md G10,
G11)."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from labspine.errors import ConfigError
from labspine.ids import new_sender
from labspine.testing import wait_until
from labspine.wire import embedded
from labspine.wire.embedded.data import network_file_system
from labspine.wire.embedded.probe import ask


def fresh_name() -> str:
    return f"data-{new_sender()[:8]}"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with 100 items in the base file and 100 in the incremental file."""
    data_dir = tmp_path_factory.mktemp("pristine")
    with embedded.start(fresh_name(), data_dir=data_dir) as broker:
        socket_path = Path(broker.url.removeprefix("unix://"))

        def push() -> None:
            for number in range(100):
                assert (ask(socket_path, b"RPUSH kept item-%d" % number) or b"").startswith(b":")

        def is_rewritten() -> bool:
            facts = ask(socket_path, b"INFO persistence") or b""
            return b"aof_rewrite_in_progress:0" in facts and b"aof_rewrite_scheduled:0" in facts

        push()
        ask(socket_path, b"BGREWRITEAOF")
        wait_until(is_rewritten, what="the rewriting of the append-only file")
        push()
    return data_dir


@pytest.fixture
def data_dir(pristine: Path, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    subprocess.run(["cp", "-a", pristine, target], check=True)
    return target


def only(folder: Path, pattern: str) -> Path:
    (found,) = (folder / "appendonlydir").glob(pattern)
    return found


def run_in_a_shell(command: str) -> None:
    """Do what the person who reads the error text does, and answer yes."""
    subprocess.run(["sh", "-c", command], input=b"y\n", capture_output=True, check=True, timeout=20)


def overwrite_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20] = b"\xff" * 20
    path.write_bytes(content)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (folder / "appendonlydir").iterdir()}


DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "incremental file overwritten": ("*.incr.aof", overwrite_the_middle),
    "base file overwritten": ("*.base.rdb", overwrite_the_middle),
    "base file empty": ("*.base.rdb", lambda path: path.write_bytes(b"")),
    "base file missing": ("*.base.rdb", Path.unlink),
    "incremental file missing": ("*.incr.aof", Path.unlink),
    "manifest overwritten": ("*.manifest", overwrite_the_middle),
    "manifest missing": ("*.manifest", Path.unlink),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_is_told_and_left_alone(data_dir: Path, damage: str) -> None:
    pattern, spoil = DAMAGES[damage]
    damaged = only(data_dir, pattern)
    spoil(damaged)
    before = digests(data_dir)

    with pytest.raises(ConfigError) as caught:
        embedded.start(fresh_name(), data_dir=data_dir)

    assert str(damaged) in str(caught.value)
    assert "Nothing was deleted" in str(caught.value)
    assert digests(data_dir) == before


@pytest.mark.parametrize(
    ("damage", "least"),
    [("incremental file overwritten", 101), ("manifest overwritten", 200), ("manifest missing", 200)],
)
def test_the_repair_command_repairs(data_dir: Path, damage: str, least: int) -> None:
    pattern, spoil = DAMAGES[damage]
    spoil(only(data_dir, pattern))
    with pytest.raises(ConfigError) as caught:
        embedded.start(fresh_name(), data_dir=data_dir)
    command = re.search(r"then [\w ]+: (.*)", str(caught.value))
    assert command is not None

    run_in_a_shell(command[1])

    with embedded.start(fresh_name(), data_dir=data_dir) as broker:
        answer = ask(Path(broker.url.removeprefix("unix://")), b"LLEN kept") or b":0"
        assert int(answer[1:]) >= least


def test_after_the_advice_for_a_lost_base_the_broker_begins_empty(data_dir: Path) -> None:
    only(data_dir, "*.base.rdb").unlink()
    with pytest.raises(ConfigError, match=r"To begin with empty data: (mv .*)") as caught:
        embedded.start(fresh_name(), data_dir=data_dir)

    run_in_a_shell(str(caught.value).rpartition("data: ")[2])

    with embedded.start(fresh_name(), data_dir=data_dir) as broker:
        assert ask(Path(broker.url.removeprefix("unix://")), b"LLEN kept") == b":0"
    assert (data_dir / "appendonlydir.damaged").is_dir()


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("")
    with pytest.raises(ConfigError, match="data directory"):
        embedded.start(fresh_name(), data_dir=target)


def test_a_data_directory_where_others_may_write_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "open"
    target.mkdir()
    target.chmod(0o777)
    with pytest.raises(ConfigError, match=r"mode 0777.*chmod 700"):
        embedded.start(fresh_name(), data_dir=target)


def test_a_file_system_that_cannot_be_written_is_told() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs Linux")
    with pytest.raises(ConfigError, match=r"cannot (create|write)"):
        embedded.start(fresh_name(), data_dir="/proc/self/labspine")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    # RLIMIT_FSIZE reaches the server through the guard and stops it from writing, as a full disk does.
    code = (
        "import resource, sys; from labspine.wire import embedded\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try:\n    embedded.start(sys.argv[1], data_dir=sys.argv[2], timeout_s=5)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, fresh_name(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.startswith("ConfigError"), answer
    assert "server.log" in answer.stdout


def test_local_directories_are_not_taken_for_network_ones(tmp_path: Path) -> None:
    assert network_file_system(tmp_path) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedded.start(fresh_name(), data_dir=tmp_path).close()
