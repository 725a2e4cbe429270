"""The registry of plans, and what it tells about them."""

from __future__ import annotations

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
