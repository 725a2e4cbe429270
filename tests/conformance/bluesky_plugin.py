"""
Put this engine in the place of bluesky's while bluesky's own tests run; ``scripts/conformance`` drives it.

A pytest plugin, loaded with ``-p`` so that it comes before bluesky's own ``conftest``: it rebinds
``RunEngine`` in every loaded module of bluesky. By hand, for one file::

    PYTHONPATH=tests/conformance MPLBACKEND=agg python -m pytest -p bluesky_plugin -p no:cacheprovider \\
        --timeout 30 $(python -c "import bluesky.tests as t; print(t.__path__[0])")/test_plans.py

Environment, for the script: ``CONFORMANCE_REPORT`` is a file that gets one line of JSON a result,
``CONFORMANCE_ONLY`` and ``CONFORMANCE_DONE`` are files with test ids to keep and to leave out, and
``CONFORMANCE_ENGINE=bluesky`` leaves bluesky's engine in its place, to see what fails without us as well.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import bluesky.run_engine
import bluesky.utils
import pytest

import labspine.engine
import labspine.engine.doors.facade

# A process started in the background ignores Ctrl-C, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

for name in (
    "plans",
    "plan_stubs",
    "preprocessors",
    "simulators",
    "suspenders",
    "callbacks.best_effort",
    "examples",
):
    importlib.import_module(f"bluesky.{name}")


def _rebind() -> None:
    theirs = bluesky.run_engine.RunEngine
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] == "bluesky":
            for attribute in [key for key, value in vars(module).items() if value is theirs]:
                setattr(module, attribute, labspine.engine.RunEngine)
    # The suite patches the clock of bluesky's own handler for Ctrl-C.
    labspine.engine.doors.facade.SigintHandler = bluesky.utils.SigintHandler  # type: ignore[misc]


if os.environ.get("CONFORMANCE_ENGINE") != "bluesky":
    _rebind()


def _ids(variable: str) -> set[str] | None:
    path = os.environ.get(variable)
    return set(Path(path).read_text(encoding="utf-8").splitlines()) if path else None


def short_id(node_id: str) -> str:
    """Cut the folders from a test id."""
    path, _, rest = node_id.partition("::")
    return f"{Path(path).name}::{rest}"


def _say(**line: Any) -> None:
    path = os.environ.get("CONFORMANCE_REPORT")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Keep the tests that the script asks for."""
    only, done = _ids("CONFORMANCE_ONLY"), _ids("CONFORMANCE_DONE") or set()
    kept = [i for i in items if (only is None or short_id(i.nodeid) in only)]
    kept = [i for i in kept if short_id(i.nodeid) not in done]
    config.hook.pytest_deselected(items=[i for i in items if i not in kept])
    items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> Any:
    """Make a Ctrl-C that escapes from a test its failure, and not the end of all."""
    outcome = yield
    if outcome.excinfo is not None and issubclass(outcome.excinfo[0], KeyboardInterrupt):
        outcome.force_exception(AssertionError("KeyboardInterrupt came out of the test"))


def pytest_runtest_logstart(nodeid: str, location: Any) -> None:
    """Note the beginning, so that a test that takes the whole process down is known."""
    _say(id=short_id(nodeid), outcome="begun")


def pytest_runtest_logreport(report: Any) -> None:
    """Note each outcome: one for the call, and one for a set-up or tear-down that did not pass."""
    if report.when != "call" and report.passed:
        return
    text = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        text = str(report.longrepr[2]).removeprefix("Skipped: ")
    elif report.failed:
        text = str(getattr(report.longrepr, "reprcrash", None) or report.longrepr)[-300:]
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome, text = "skipped", f"expected to fail {report.wasxfail}".strip()
    _say(id=short_id(report.nodeid), outcome=outcome, text=text)


def pytest_collectreport(report: Any) -> None:
    """Note files that cannot be imported here, with the reason."""
    if report.failed or report.skipped:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        lines = [line for line in text.splitlines() if line.strip()]
        _say(id=short_id(report.nodeid), outcome="uncollected", text=lines[-1] if lines else "")
