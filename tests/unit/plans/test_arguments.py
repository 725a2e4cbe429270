"""Plans with arguments that cannot work are refused when they are made, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import labspine.plan_stubs as lps
import labspine.plans as lp
from labspine.errors import PlanError


class Device:
    """A device that may be described, and fails the test when it is used."""

    parent = None
    position = 0.0

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self) -> Any:
        raise AssertionError(f"{self.name} was read")

    set = trigger = describe = read


DET, OTHER, X, Y = Device("det"), Device("other"), Device("x"), Device("y")
NAN, INF = float("nan"), float("inf")

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no list": (lambda: lp.count(DET), r"detectors must be a list of devices, got .*; write \[det\]"),
    "text": (lambda: lp.count("det"), "detectors must be a list"),
    "a name among the devices": (lambda: lp.count(["det"]), "detector 1 is det, which is no device"),
    "one name twice": (lambda: lp.count([DET, Device("det")]), 'two different devices have the name "det"'),
    "motor named like detector": (lambda: lp.scan([DET], Device("det"), 0, 1, 3), "two different devices"),
    "no points": (lambda: lp.count([DET], 0), "whole number from 1 to 10,000,000; got 0"),
    "negative": (lambda: lp.scan([DET], X, 0, 1, -3), "got -3"),
    "half a point": (lambda: lp.scan([DET], X, 0, 1, num=2.5), "got 2.5"),
    "a thousand million": (lambda: lp.scan([DET], X, 0, 1, 10**9), "got 1000000000"),
    "truth value": (lambda: lp.count([DET], True), "got True"),
    "text as number": (lambda: lp.count([DET], "3"), "got 3"),
    "no number of points": (lambda: lp.scan([DET], X, 0, 1), "then the number of points"),
    "one position too many": (lambda: lp.scan([DET], X, 0, 1, 2, num=3), "groups of 3"),
    "motor missing": (lambda: lp.scan([DET], 0, 1, X, 3), "0 stands where a motor should"),
    "no motor": (lambda: lp.scan([DET], num=3), "got 0 arguments"),
    "same motor twice": (lambda: lp.scan([DET], X, 0, 1, X, 0, 1, 3), "motor x is named twice"),
    "same motor twice in a grid": (lambda: lp.grid_scan([DET], X, 0, 1, 3, X, 0, 1, 3), "x is named twice"),
    "not a number": (lambda: lp.scan([DET], X, NAN, 1, 3), "the start of x must be a finite number, got nan"),
    "infinite": (lambda: lp.rel_scan([DET], X, 0, INF, 3), "the stop of x must be a finite number"),
    "text position": (lambda: lp.grid_scan([DET], X, "0", 1, 3), "the start of x must be a finite number"),
    "lists of two lengths": (lambda: lp.list_scan([DET], X, [1], Y, [1, 2]), "got x 1, y 2"),
    "empty list": (lambda: lp.list_scan([DET], X, []), "list of positions for x is empty"),
    "no list of positions": (lambda: lp.list_scan([DET], X, 3), "x needs a list of positions"),
    "NaN in a list": (lambda: lp.list_grid_scan([DET], X, [1.0, NAN]), "position 2 of x is nan"),
    "huge grid": (
        lambda: lp.grid_scan([DET], X, 0, 1, 10_000, Y, 0, 1, 10_000),
        "10000 x 10000 is 100,000,000 points",
    ),
    "grid in wrong groups": (lambda: lp.grid_scan([DET], X, 0, 1, 3, Y), "groups of 4"),
    "snake of a stranger": (
        lambda: lp.grid_scan([DET], X, 0, 1, 3, Y, 0, 1, 3, snake_axes=[OTHER]),
        "names other, which is not a motor of this scan",
    ),
    "snake of the slowest": (
        lambda: lp.grid_scan([DET], X, 0, 1, 3, Y, 0, 1, 3, snake_axes=[X]),
        "x, the slowest motor",
    ),
    "snake of a word": (lambda: lp.grid_scan([DET], X, 0, 1, 3, snake_axes="x"), "True, False or a list"),
    "two ways to snake": (
        lambda: lp.grid_scan([DET], X, 0, 1, 3, Y, 0, 1, 3, True, snake_axes=True),
        "not both",
    ),
    "log of too much": (lambda: lp.log_scan([DET], X, 0, 400, 3), "exponent of ten; 400"),
    "spiral without width": (
        lambda: lp.spiral([DET], X, Y, 0, 0, 0, 1, 1, 1),
        "x_range must be greater than 0",
    ),
    "spiral too fine": (lambda: lp.spiral([DET], X, Y, 0, 0, 1, 1, 1e-9, 1), "too fine"),
    "spiral of one motor": (lambda: lp.spiral_fermat([DET], X, X, 0, 0, 1, 1, 0.1, 1), "x is named twice"),
    "adaptive steps": (
        lambda: lp.adaptive_scan([DET], "det", X, 0, 1, 1, 0.1, 1, False),
        "0 < min_step < max_step",
    ),
    "tuning for ever": (
        lambda: lp.tune_centroid([DET], "det", X, 0, 1, 0),
        "min_step > 0 and step_factor > 1",
    ),
    "delays": (lambda: lp.count([DET], 5, delay=[1, 2]), "num=5 needs 4 delays"),
    "negative delay": (lambda: lp.count([DET], 5, delay=-1), "seconds from 0 on"),
    "delay in words": (lambda: lp.count([DET], 5, delay="long"), "seconds from 0 on"),
    "wrong per_step": (
        lambda: lp.scan([DET], X, 0, 1, 3, per_step=lambda a, b: []),
        "per_step must take",
    ),
    "per_step of one motor": (
        lambda: lp.scan([DET], X, 0, 1, Y, 0, 1, 3, per_step=lps.one_1d_step),
        "takes one motor, but the scan has 2",
    ),
    "no flyer": (lambda: lp.fly([DET]), "det is no flyer"),
    "mv of three": (lambda: lps.mv(X, 1, Y), "device, value, device, value"),
    "mv of a name": (lambda: lps.mv("x", 1), "argument 1 must be a device"),
    "mv twice": (lambda: lps.mv(X, 1, X, 2), "x is named twice"),
    "mvr of nothing": (lps.mvr, "got 0 arguments"),
    "points of nobody": (lambda: lp.scan_nd([DET], []), "at least one point"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_when_the_plan_is_made(case: str) -> None:
    make, words = REFUSED[case]
    with pytest.raises(lp.BadPlan, match=words) as refused:
        make()
    assert isinstance(refused.value, PlanError)
    assert isinstance(refused.value, ValueError)


def test_the_signal_that_does_not_exist_is_told_with_the_nearest_name() -> None:
    from labspine.engine import RunEngine

    from .devices import Counter, Motor

    with RunEngine(context_managers=[]) as engine, pytest.raises(lp.BadPlan, match='did you mean "det"'):
        engine(lp.adaptive_scan([Counter("det")], "dett", Motor("x"), 0, 1, 0.1, 0.5, 1, False))
