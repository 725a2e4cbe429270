"""
Run the test-suite that bluesky ships against this engine.

A pytest plugin: it rebinds ``RunEngine`` in every loaded module of bluesky before bluesky's own ``conftest``
is imported. It needs matplotlib, and takes a quarter of an hour for the whole suite; one file at a time::

    PYTHONPATH=tests/conformance MPLBACKEND=agg python -m pytest -p bluesky_plugin -p no:cacheprovider \\
        --timeout 30 $(python -c "import bluesky.tests as t; print(t.__path__[0])")/test_plans.py

Known differences: tests of private names (``_state``, ``_run_bundlers``, ``_subscribe_lossless``,
``_require_stream_declaration``, ``dispatcher.cb_registry``, ``_seen_wait_and_move_on_keys``), and tests that
insist on ``AssertionError`` or on bluesky's words for a misused ``collect`` or ``declare_stream``.
"""

from __future__ import annotations

import importlib
import signal
import sys

import bluesky.run_engine
import bluesky.utils

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

theirs = bluesky.run_engine.RunEngine
for module_name, module in list(sys.modules.items()):
    if module_name.split(".")[0] == "bluesky":
        for attribute in [key for key, value in vars(module).items() if value is theirs]:
            setattr(module, attribute, labspine.engine.RunEngine)

# The suite patches the clock of bluesky's own handler for Ctrl-C.
labspine.engine.doors.facade.SigintHandler = bluesky.utils.SigintHandler  # type: ignore[misc]
