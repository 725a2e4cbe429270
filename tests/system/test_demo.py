"""``labspine demo``: the main job, and that nothing of it stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import COMMAND, start_up, stop_up

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: looks at /proc")


def descendants(marker: str) -> list[str]:
    """List the processes that carry a text in their environment: all that a demo has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"LABSPINE_TEST_MARK={marker}".encode() in (entry / "environ").read_bytes():
                found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def start_demo(runtime: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    marker = f"{os.getpid()}-{time.monotonic_ns()}"
    env = {
        **os.environ,
        "LABSPINE_TEST_MARK": marker,
        "XDG_RUNTIME_DIR": str(runtime),
        "TMPDIR": str(runtime),  # what a killed demo could not remove goes with the test
    }
    command = [*COMMAND, "demo", "--port", "0", "--data", str(runtime / "data"), *arguments]
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    return process, marker


def wait_until_gone(marker: str, within_s: float) -> float:
    begun = time.monotonic()
    while left := descendants(marker):
        assert time.monotonic() - begun < within_s, left
        time.sleep(0.01)
    return time.monotonic() - begun


def sockets_below(runtime: Path) -> list[Path]:
    return [path for path in runtime.rglob("*") if path.is_socket()]


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(os.environ["XDG_RUNTIME_DIR"]) / f"d{time.monotonic_ns() % 10**9}"
    path.mkdir(mode=0o700)
    return path


def test_the_demo_runs_two_scans_and_shows_them_from_a_second_process(runtime: Path) -> None:
    process, marker = start_demo(runtime, "--speed", "50")
    output, _ = process.communicate(timeout=90)

    assert process.returncode == 0, output
    assert "101 of 101 points" in output
    assert "85 of 85 points" in output
    assert "FWHM" in output
    for path in re.findall(r"file (\S+\.h5)", output):
        assert Path(path).exists()
        assert Path(path).with_suffix(".csv").exists()
    assert len(re.findall(r"file (\S+\.h5)", output)) == 2
    assert "Traceback" not in output
    wait_until_gone(marker, 1.0)
    assert sockets_below(runtime) == []


@pytest.mark.parametrize("after_s", [0.3, 1.5, 4.0])
def test_ctrl_c_at_any_time_stops_everything_within_3_s(runtime: Path, after_s: float) -> None:
    process, marker = start_demo(runtime)
    time.sleep(after_s)

    pressed = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    wait_until_gone(marker, 3.0)

    assert time.monotonic() - pressed < 3.0
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in output
    assert sockets_below(runtime) == []


def kill_a_demo(runtime: Path, after_s: float) -> None:
    runtime.mkdir(mode=0o700)
    process, marker = start_demo(runtime, "--speed", "20")
    assert process.stdout is not None
    for line in process.stdout:
        if "started in" in line:
            break
    time.sleep(after_s)
    process.kill()
    process.wait(10)
    process.stdout.close()

    wait_until_gone(marker, 3.0)
    assert sockets_below(runtime) == []


@pytest.mark.slow
def test_a_killed_owner_leaves_nothing_behind_20_times(runtime: Path) -> None:
    with ThreadPoolExecutor(3) as pool:  # from before the first point to the second scan
        rounds = [pool.submit(kill_a_demo, runtime / str(n), 0.1 * n) for n in range(20)]
        for one in rounds:
            one.result(timeout=100)


def test_up_stops_within_3_s_during_a_scan(tmp_path: Path) -> None:
    up = start_up(tmp_path, "--speed", "1", name=f"stop-{os.getpid()}")
    request = [*COMMAND, "run", "--detach", "scan", "det", "x", "-5", "5", "1001"]
    env = {**os.environ, "LABSPINE_URL": up.url}
    subprocess.run(request, env=env, check=True, capture_output=True, timeout=30)
    tail = [*COMMAND, "tail", "scan_segment", "-n", "2"]
    subprocess.run(tail, env=env, check=True, capture_output=True, timeout=30)

    pressed = time.monotonic()
    code, err = stop_up(up)

    assert time.monotonic() - pressed < 3.0
    assert code == 0
    assert "Traceback" not in err
