"""Preflight: what a plan would do, without doing it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky.simulators import RunEngineSimulator, check_limits
from ophyd import SoftPositioner
from ophyd.sim import hw
from ophyd.utils import LimitError

import labspine.plans as lp
from labspine.engine import AsyncRunEngine, Msg, preflight


class Untouchable:
    """Fails the test when it is moved, triggered or staged."""

    parent = None
    position = 2.0

    def __init__(self, name: str, limits: tuple[float, float] = (-50, 50)) -> None:
        self.name = name
        self.limits = limits

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.position, "timestamp": 0.0}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"dtype": "number", "shape": [], "source": "test"}}

    def set(self, value: Any) -> Any:
        raise AssertionError(f"{self.name} was moved to {value}")

    trigger = stop = stage = unstage = kickoff = complete = set


def test_a_scan_is_counted_without_touching_anything() -> None:
    x, det = Untouchable("x"), Untouchable("det")
    report = preflight(bp.scan([det], x, -5, 5, 101))
    assert report.is_ok
    assert report.is_complete
    assert (report.num_points, report.num_runs) == (101, 1)
    travel = report.positions["x"]
    assert (travel.first, travel.last, travel.lowest, travel.highest, travel.num_moves) == (-5, 5, -5, 5, 101)


def test_a_position_outside_the_limits_is_told_with_its_point() -> None:
    x, det = Untouchable("x"), Untouchable("det")
    report = preflight(bp.list_scan([det], x, [*range(11), 500, *[0] * 89]))
    assert report.problems == ("x: 500 is outside limits [-50, 50] (point 12 of 101)",)
    assert preflight(bp.list_scan([det], x, [0, 500]), limits=False).is_ok


def test_relative_plans_are_judged_from_the_present_position() -> None:
    x, det = Untouchable("x", limits=(0, 10)), Untouchable("det")
    assert preflight(bp.rel_scan([det], x, -1, 1, 3)).positions["x"].first == 1.0
    report = preflight(bp.rel_scan([det], x, -3, 1, 5))
    assert report.problems == ("x: -1 is outside limits [0, 10] (point 1 of 5)",)


def test_steps_that_follow_each_other_add_up() -> None:
    class Located(Untouchable):
        position = None

        def locate(self) -> dict[str, float]:
            return {"setpoint": 2.0, "readback": 2.0}

    x = Located("x")

    def plan() -> Any:
        for _ in range(3):
            yield from bps.mvr(x, 10)

    assert preflight(plan()).positions["x"].last == 32.0


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (float("nan"), "x: nan is not a finite number"),
        (float("inf"), "x: inf is not a finite number"),
        (np.float32("nan"), "x: nan is not a finite number"),
        ("abc", r"x: abc (str) is not a number"),
        (1 + 2j, r"x: (1+2j) (complex) is not a number"),
        (None, r"x: None (NoneType) is not a number"),
    ],
)
def test_targets_that_are_no_numbers_are_told(target: Any, words: str) -> None:
    report = preflight([Msg("set", Untouchable("x"), target)])
    assert report.problems == (words,)


def test_limits_of_ophyd_are_respected() -> None:
    motor = SoftPositioner(name="m", limits=(-1, 1), init_pos=0)
    assert preflight([Msg("set", motor, 0.5)]).is_ok
    assert "outside limits [-1, 1]" in preflight([Msg("set", motor, 3)]).problems[0]


def test_a_device_with_its_own_check_is_asked() -> None:
    class Picky(Untouchable):
        def check_value(self, value: float) -> None:
            if value == 7:
                raise ValueError("seven is not for me")

    picky = Picky("p", limits=(0, 0))
    assert preflight([Msg("set", picky, 7)]).problems == ("p: 7 is refused: seven is not for me",)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ([Msg("frobnicate")], "no command"),
        ([Msg("set", object(), 1)], "it lacks set"),
        ([Msg("create", name="a")], "'create' needs an open run"),
        ([Msg("open_run"), Msg("open_run")], "while this run is open"),
        ([Msg("close_run")], "'close_run' needs an open run"),
        ([Msg("open_run"), Msg("save")], "'save' came without 'create'"),
        ([Msg("open_run"), Msg("create", name="a"), Msg("create", name="a")], "a second 'create'"),
        ([Msg("open_run"), Msg("create", name="a"), Msg("checkpoint")], "'checkpoint' came between"),
        ([Msg("open_run"), Msg("create", name="a"), Msg("close_run")], "that event would be lost"),
        ([Msg("sleep", None, -1)], "'sleep' needs seconds"),
        ([Msg("set", Untouchable("x"))], "has no target"),
        (["hello"], "which is no Msg"),
        ("hello", "not a plan"),
        (bp.scan, "did you forget the parentheses"),
    ],
)
def test_steps_that_cannot_work_are_told(plan: Any, words: str) -> None:
    report = preflight(plan)
    assert len(report.problems) == 1
    assert words in report.problems[0]


def test_a_plan_that_raises_is_told() -> None:
    report = preflight(bp.scan([Untouchable("det")], Untouchable("x"), 0, 1, 2.5))
    assert not report.is_complete
    assert report.problems[0].startswith("the plan raised ")


def test_an_endless_plan_is_cut_off() -> None:
    def endless() -> Any:
        while True:
            yield Msg("null")

    report = preflight(endless(), max_messages=1000)
    assert not report.is_complete
    assert report.num_messages == 1000
    assert "may be endless" in report.notes[0]


def test_one_problem_is_told_once_and_many_end_the_walk() -> None:
    x = Untouchable("x")
    assert len(preflight([Msg("set", x, 99)] * 20).problems) == 1
    report = preflight([Msg("set", x, 100 + n) for n in range(1000)])
    assert len(report.problems) == 50
    assert not report.is_complete


def test_the_devices_of_ophyd_stay_where_they_are() -> None:
    h = hw()
    report = preflight(bp.rel_grid_scan([h.det4], h.motor1, -1, 1, 3, h.motor2, -2, 2, 5))
    assert report.num_points == 15
    assert report.is_ok
    assert (h.motor1.position, h.motor2.position) == (0, 0)


def test_the_engine_knows_its_own_commands(engine: Any) -> None:
    engine.register_command("frobnicate", lambda msg: None)
    assert engine.preflight([Msg("frobnicate")]).is_ok


def test_simulate_lists_steps_devices_and_those_that_are_unfit(engine: Any) -> None:
    x, det = Untouchable("x"), Untouchable("det")
    engine.preprocessors.append(bpp.run_wrapper)
    report = engine.simulate([Msg("set", x, np.float64(1.5), group="g"), Msg("wait", None, "g")], steps=3)
    assert report.steps == ("open_run", "set x 1.5 group=g", "wait g")
    assert report.commands == {"open_run": 1, "set": 1, "wait": 1, "close_run": 1}
    assert (report.devices, report.unfit, report.num_runs) == (("x",), {}, 1)
    engine.preprocessors.clear()
    report = engine.simulate(
        [Msg("set", det, 1), Msg("kickoff", det), Msg("locate", det), Msg("set", "x", 1)]
    )
    assert report.unfit == {"det": ("locate",), "x": ("set",)}
    assert "give the device itself, not its name" in report.problems[-1]


def test_the_asynchronous_door_simulates_as_well() -> None:
    report = AsyncRunEngine().simulate(lp.scan([Untouchable("det")], Untouchable("x"), 0, 1, 5), steps=2)
    assert (report.num_points, report.is_ok, len(report.steps)) == (5, True, 2)


def test_while_a_plan_runs_another_one_is_simulated(engine: Any, kit: Any) -> None:
    motor, seen = kit.Motor(), kit.commands_of(engine)
    motor.hold = True
    call = kit.Caller(lambda: engine([Msg("set", motor, 1, group="g"), Msg("wait", None, group="g")]))
    kit.until(lambda: "wait" in seen)
    assert engine.simulate(lp.count([Untouchable("det")], 7)).num_points == 7
    assert engine.state == "running"
    motor.moves[0][1].finish()
    assert call.finished().error is None


def test_sizes_that_only_a_device_server_knows_are_told() -> None:
    class Remote(Untouchable):
        async def describe(self) -> dict[str, Any]:  # type: ignore[override]
            return {}

    report = preflight(lp.count([Remote("det")], 3))
    assert report.size_bytes == 0
    assert "the size of det is not known and not counted" in report.notes


@pytest.mark.parametrize("package", [bp, lp], ids=["bluesky's plans", "our plans"])
def test_the_simulators_of_bluesky_agree_with_our_preflight(package: Any) -> None:
    h = hw()

    def plan() -> Any:
        return package.scan([h.det1], h.motor1, -1, 1, 4)

    simulated = [msg.command for msg in RunEngineSimulator().simulate_plan(plan())]
    report = preflight(plan(), most_steps=1000)
    assert [words.split()[0] for words in report.steps] == simulated
    assert report.commands == dict(Counter(simulated))


def test_both_find_the_same_limits_violated(engine: Any) -> None:
    motor = SoftPositioner(name="m", limits=(-1, 1), init_pos=0)
    with pytest.raises(LimitError):
        check_limits([Msg("set", motor, 3)])
    assert not preflight([Msg("set", motor, 3)]).is_ok
    check_limits([Msg("set", motor, 0.5)])  # on the loop of the engine
    assert preflight([Msg("set", motor, 0.5)]).is_ok
