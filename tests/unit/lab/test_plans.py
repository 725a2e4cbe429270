"""The registry of plans, and what it tells about them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from labspine.engine import Msg
from labspine.errors import InvalidArgument, InvalidName, PermissionDenied, PlanError
from labspine.lab import PlanRegistry, default_plans, mv


def align(motor: object, sample: str, *, step: float = 0.1) -> Iterator[Msg]:
    """
    Align a sample.

    More text.
    """
    yield Msg("set", motor, step, group=sample)


def test_standard_plans_are_offered() -> None:
    plans = default_plans()
    for name in ("count", "scan", "rel_scan", "list_scan", "grid_scan", "rel_grid_scan", "spiral", "mv"):
        assert name in plans
    assert len(plans) == len(list(plans))


def test_unknown_plan_suggests_the_nearest() -> None:
    with pytest.raises(PlanError, match='no plan "grid_scn" — did you mean "grid_scan"') as error:
        _ = default_plans()["grid_scn"]
    assert isinstance(error.value, PermissionDenied)
    with pytest.raises(PlanError, match="not registered yet"):
        _ = PlanRegistry()["count"]


def test_own_plan_is_described() -> None:
    plans = PlanRegistry()
    plans.add(align)
    described = plans.describe()["align"]
    assert described["signature"] == "(motor, sample, step=0.1)"
    assert described["doc"] == "Align a sample."
    assert described["usage"] is None
    assert described["parameters"] == [
        {
            "name": "motor",
            "kind": "positional_or_keyword",
            "required": True,
            "default": None,
            "annotation": "object",
        },
        {
            "name": "sample",
            "kind": "positional_or_keyword",
            "required": True,
            "default": None,
            "annotation": "str",
        },
        {"name": "step", "kind": "keyword_only", "required": False, "default": 0.1, "annotation": "float"},
    ]


def test_names_are_checked() -> None:
    plans = PlanRegistry()
    plans.add(align)
    with pytest.raises(InvalidName, match="already"):
        plans.add(align)
    with pytest.raises(InvalidName, match="not allowed"):
        plans.add(align, name="a-b")
    with pytest.raises(InvalidArgument, match="function"):
        plans.add([Msg("null")])  # type: ignore[arg-type]
    plans.remove("align")
    with pytest.raises(PlanError):
        plans.remove("align")


def test_mv_moves_all_at_once() -> None:
    messages = list(mv("x", 1, "y", 2))
    assert [(m.command, m.obj) for m in messages] == [("set", "x"), ("set", "y"), ("wait", None)]
    with pytest.raises(ValueError, match="shorter"):
        list(mv("x"))


def test_without_bluesky_our_own_plans_are_offered() -> None:
    """In a process of its own, in which bluesky cannot be imported."""
    code = (
        "import sys; sys.modules['bluesky'] = None\n"
        "from labspine.lab import DeviceRegistry, default_plans, prepare, simulated_beamline\n"
        "from labspine.messages import ScanQueueMessage\n"
        "plans = default_plans()\n"
        "parameter = {'args': [['det'], 'x', -5, 5, 101], 'kwargs': {}}\n"
        "request = ScanQueueMessage(scan_type='scan', parameter=parameter)\n"
        "ready = prepare(request, registry=simulated_beamline(), plans=plans)\n"
        "print(plans['scan'].function.__module__, len(plans), ready.num_points)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    module, number, points = done.stdout.split()
    assert module.startswith("labspine.plans")
    assert int(number) == len(default_plans())
    assert points == "101"
