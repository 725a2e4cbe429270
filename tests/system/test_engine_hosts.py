"""The engine inside of other programs: IPython, a notebook's kernel, Qt; each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

LIMIT_S = 60.0

QT_PROGRAM = """
import json, os, signal, sys, threading
from PyQt5.QtCore import QCoreApplication, QTimer
from labspine.engine import Msg, RunEngine, RunEngineInterrupted

app = QCoreApplication(sys.argv)
ticks, timer = [], QTimer()
timer.timeout.connect(lambda: ticks.append(1))
timer.start(10)
RE = RunEngine()
uids = RE([Msg("open_run"), Msg("sleep", None, 0.3), Msg("close_run")])
alive = len(ticks)

for wait_s in (0.2, 0.5):
    threading.Timer(wait_s, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    RE([Msg("open_run"), Msg("checkpoint"), Msg("sleep", None, 30), Msg("close_run")])
except RunEngineInterrupted:
    state = str(RE.state)
RE.abort()

timer.timeout.connect(lambda: 1 / 0)
sys.excepthook = lambda *args: ticks.append("error")
RE([Msg("sleep", None, 0.1)])
print(json.dumps({"runs": len(uids), "ticks": alive, "state": state, "errors": "error" in ticks}))
"""


def test_a_qt_program_stays_alive_while_a_plan_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", QT_PROGRAM],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["runs"], said["state"], said["errors"]) == (1, "paused", True)
    assert said["ticks"] >= 5


IPYTHON_PROGRAM = """
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.plans import scan
from ophyd.sim import det, motor
from labspine import RunEngine
from labspine.engine import AsyncRunEngine
RE = RunEngine({})
bec = BestEffortCallback()
bec.disable_plots()
_ = RE.subscribe(bec)
uids = RE(scan([det], motor, -1, 1, 3))
print("RUNS", len(uids), RE.md["scan_id"])
result = await AsyncRunEngine().run(scan([det], motor, -1, 1, 3))
print("AWAITED", result.exit_status)
"""


def test_ipython_runs_plans_and_awaits_them(tmp_path: Path) -> None:
    script = tmp_path / "session.ipy"
    script.write_text(IPYTHON_PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=nocolor", str(script)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RUNS 1 1" in done.stdout
    assert "generator scan" in done.stdout  # the table of BestEffortCallback
    assert "AWAITED success" in done.stdout


class Notebook:
    """Cells in a real kernel."""

    def __init__(self, manager: KernelManager, client: Any) -> None:
        self.manager = manager
        self.client = client

    def begin(self, code: str) -> str:
        return str(self.client.execute(code))

    def result(self, cell: str) -> tuple[str, str]:
        """Wait for a cell: what it printed and showed, and its error."""
        shown, error = "", ""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=LIMIT_S)
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                shown += content["text"]
            elif message["msg_type"] == "execute_result":
                shown += content["data"]["text/plain"]
            elif message["msg_type"] == "error":
                error = content["ename"]
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return shown, error
        raise AssertionError("the cell did not end")

    def cell(self, code: str) -> tuple[str, str]:
        return self.result(self.begin(code))


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    manager = KernelManager()
    manager.kernel_spec.argv[0] = sys.executable
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=LIMIT_S)
        yield Notebook(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_a_notebook_runs_pauses_resumes_and_awaits_without_tricks(notebook: Notebook) -> None:
    shown, error = notebook.cell(
        "import sys, threading, time\n"
        "from labspine import RunEngine\n"
        "from labspine.engine import AsyncRunEngine, Msg\n"
        "import labspine.plans as lp\n"
        "from ophyd.sim import det\n"
        "RE = RunEngine({})\n"
        "started = threading.Event()\n"
        "RE.subscribe(lambda name, doc: started.set(), 'event')\n"
        "len(RE(lp.count([det], 3)))"
    )
    assert (shown, error) == ("1", "")
    # Ctrl-C in a notebook is "interrupt the kernel"; the second one pauses at once.
    running = notebook.begin("print('BEGUN', flush=True)\nRE(lp.count([det], None, delay=30))")
    while "BEGUN" not in str(notebook.client.get_iopub_msg(timeout=LIMIT_S)["content"].get("text", "")):
        pass
    time.sleep(0.5)
    notebook.manager.interrupt_kernel()
    time.sleep(0.5)
    notebook.manager.interrupt_kernel()
    assert notebook.result(running)[1] == "RunEngineInterrupted"
    assert notebook.cell("str(RE.state)") == ("'paused'", "")
    assert notebook.cell("len(RE.stop())") == ("1", "")
    shown, error = notebook.cell("(await AsyncRunEngine().run(lp.count([det], 2))).exit_status")
    assert (shown, error) == ("'success'", "")
    assert notebook.cell("'nest_asyncio' in sys.modules") == ("False", "")
