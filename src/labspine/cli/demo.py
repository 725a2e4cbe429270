"""``labspine demo``: the main job from start to end, with a second process that watches."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from .context import say, warn
from .up import DATA_DIR, BrokerPlace, DataOption, Keeping, PortOption, SpeedOption, StopRequest, running_lab

if TYPE_CHECKING:
    from ..lab import DeviceRegistry

_OWNER_FD = "LABSPINE_OWNER_FD"
_REQUESTS = (("scan", "det x -5 5 101"), ("grid_scan", "det y -2 2 5 x -4 4 17"))


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("demo")(demo)


def demo(data: DataOption = DATA_DIR, speed: SpeedOption = 1.0, port: PortOption = 8600) -> None:
    """
    Run two scans on the simulated beamline and watch them from a second process.

    The second process is this command's own ``watch``: all that it knows, it hears on the bus.
    """
    from ..lab import connect
    from ..lab.client.words import words_to_request

    def simulated() -> DeviceRegistry:
        from ..lab.simulation import simulated_beamline

        return simulated_beamline(speed=speed)

    with StopRequest() as stop, TemporaryDirectory(prefix="labspine-demo-") as memory:
        place = BrokerPlace(f"demo-{os.getpid()}", data_dir=Path(memory))
        # The demo's broker forgets everything, so its journal is forgotten as well.
        keeping = Keeping(Path(memory) / "journal", recovery="close")
        with running_lab(simulated, url=None, place=place, data=data, port=port, keeping=keeping) as running:
            say(running.banner(is_demo=True) + "\n")
            with _watcher(running.url, scans=len(_REQUESTS)) as watcher:
                with connect(running.url, name="labspine-demo") as lab:
                    for plan, words in _REQUESTS:
                        lab.send_request(words_to_request(plan, words.split(), metadata={"sample": "demo"}))
                code = _wait(watcher, stop)
            if stop.is_set:
                warn(" stopping …")
            elif code == 0:
                say(
                    "\n Both scans are done. The lab of the demo ends now; keep one with:  labspine up --demo"
                )
    if stop.is_set:
        raise typer.Exit(130)
    if code != 0:
        raise typer.Exit(1)


@contextmanager
def _watcher(url: str, *, scans: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start ``labspine watch`` as a second process that cannot outlive this one."""
    read_end, write_end = os.pipe()
    environment = {**os.environ, "LABSPINE_URL": url, _OWNER_FD: str(read_end)}
    command = [sys.executable, "-m", "labspine", "watch", "--from-start", "--scans", str(scans)]
    process = subprocess.Popen(command, env=environment, pass_fds=(read_end,))
    os.close(read_end)
    try:
        yield process
    finally:
        os.close(write_end)
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(watcher: subprocess.Popen[bytes], stop: StopRequest) -> int:
    while not stop.is_set:
        try:
            return watcher.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    return 130


def end_with_owner() -> None:
    """End this process when the process that started it is gone; does nothing if nobody asked for it."""
    owner_fd = os.environ.pop(_OWNER_FD, None)
    if owner_fd is None:
        return

    def watch_owner() -> None:
        os.read(int(owner_fd), 1)  # returns at the end of the pipe: the owner has closed it or died
        os._exit(0)

    threading.Thread(target=watch_owner, name="labspine-owner", daemon=True).start()
