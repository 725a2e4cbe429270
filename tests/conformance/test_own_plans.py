"""Our plans beside bluesky's: the same arguments on equal devices give equal documents, on both engines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky
import bluesky.plan_stubs
import bluesky.plans
import bluesky.preprocessors
import bluesky.simulators
import event_model
import numpy as np
import pytest
from ophyd.sim import hw

import labspine.plan_stubs
import labspine.plans
import labspine.preprocessors
from labspine.engine import RunEngine

VOLATILE = {"uid", "time", "timestamps", "descriptor", "run_start", "resource", "datum_id", "versions"}
# Text with memory addresses, or how the devices are called inside of a cycler.
UNLIKE = {"plan_args", "plan_pattern_args"}


class Side:
    """The modules of one side, so that a case is written once."""

    def __init__(self, package: Any) -> None:
        self.bp, self.bps, self.bpp = package.plans, package.plan_stubs, package.preprocessors


OURS, THEIRS = Side(labspine), Side(bluesky)


class Docs(list[tuple[str, dict[str, Any]]]):
    __hash__ = object.__hash__  # type: ignore[assignment]  # bluesky puts subscribers into a set

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
        self.append((name, doc))


@pytest.fixture(scope="module")
def ours() -> Iterator[RunEngine]:
    with RunEngine(context_managers=[]) as engine:
        yield engine


@pytest.fixture(scope="module")
def theirs() -> Iterator[Any]:
    engine = bluesky.RunEngine({}, context_managers=[])
    yield engine
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join(5)
    engine.loop.close()


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in VOLATILE | UNLIKE}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 9)
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def settled(doc: dict[str, Any]) -> Any:
    made = plain(doc)
    if "motors" in made:
        made["motors"] = sorted(made["motors"])  # bluesky takes some of them from a set
    for configuration in made.get("configuration", {}).values():
        configuration["data"] = {k: v for k, v in configuration["data"].items() if not isinstance(v, str)}
    return made


def adaptive(s: Side, h: Any, name: str = "adaptive_scan") -> Any:
    return getattr(s.bp, name)([h.det], "det", h.motor, -3, 3, 0.1, 1, target_delta=0.2, backstep=True)


def ramp(s: Side, h: Any) -> Any:
    def measure() -> Any:
        return (yield from s.bps.trigger_and_read([h.det]))

    def go() -> Any:
        return (yield from s.bps.abs_set(h.motor, 1))

    return s.bp.ramp_plan(go(), h.motor1.readback, measure)


def wrapped(s: Side, h: Any) -> Any:
    plan = s.bp.count([h.det], 2)
    plan = s.bpp.inject_md_wrapper(plan, {"sample": "dirt"})
    plan = s.bpp.finalize_wrapper(plan, lambda: s.bps.mv(h.motor, 3))
    extra = s.bpp.SupplementalData(baseline=[h.motor1], monitors=[h.motor2.readback], flyers=[h.flyer1])
    return extra(plan)


def keyed(s: Side, h: Any) -> Any:
    @s.bpp.set_run_key_decorator("inside")
    @s.bpp.run_decorator(md={"role": "inside"})
    def inside() -> Any:
        yield from s.bps.trigger_and_read([h.det1])

    @s.bpp.run_decorator(md={"role": "outside"})
    def outside() -> Any:
        yield from s.bps.trigger_and_read([h.det2])
        yield from inside()
        yield from s.bps.mvr(h.motor, 1, h.motor1, -1)
        yield from s.bps.trigger_and_read([h.motor, h.motor1], name="moved")

    return outside()


def by_hand(s: Side, h: Any) -> Any:
    def step(detectors: Any, motor: Any, step: Any) -> Any:
        yield from s.bps.one_1d_step(detectors, motor, step)
        yield from s.bps.trigger_and_read([h.det1], name="second")

    return s.bp.scan([h.det], h.motor, 0, 1, 2, per_step=step)


def read_out(s: Side, h: Any) -> Any:
    @s.bpp.stage_decorator([h.det])
    @s.bpp.run_decorator()
    def plan() -> Any:
        position = yield from s.bps.rd(h.motor)
        yield from s.bps.repeat(lambda: s.bps.one_shot([h.det]), num=2)
        yield from s.bps.rel_set(h.motor, position + 2, wait=True)
        yield from s.bps.configure(h.det, {"sigma": 2})
        yield from s.bps.trigger_and_read([h.det, h.motor], name="other")

    return plan()


Case = Callable[[Side, Any], Any]
CASES: dict[str, Case] = {
    "count": lambda s, h: s.bp.count([h.det], 3, md={"sample": "dirt", "hints": {"note": "n"}}),
    "count with delays": lambda s, h: s.bp.count([h.det1, h.det2], 3, delay=[0.001, 0]),
    "scan": lambda s, h: s.bp.scan([h.det], h.motor, -1, 1, 5),
    "scan, num by name": lambda s, h: s.bp.scan([h.det], h.motor, -1, 1, num=2, md={"plan_name": "mine"}),
    "scan, two motors": lambda s, h: s.bp.scan([h.det4], h.motor1, -1, 1, h.motor2, 0, 2, 4),
    "scan, own steps": by_hand,
    "rel_scan": lambda s, h: s.bp.rel_scan([h.det], h.motor, -1, 1, 3),
    "list_scan": lambda s, h: s.bp.list_scan([h.det], h.motor, [3, 1, 2, 2]),
    "rel_list_scan": lambda s, h: s.bp.rel_list_scan([h.det4], h.motor1, [3, 1], h.motor2, [1, 2]),
    "log_scan": lambda s, h: s.bp.log_scan([h.det], h.motor, 0.1, 1, 3),
    "rel_log_scan": lambda s, h: s.bp.rel_log_scan([h.det], h.motor, 0.1, 1, 3),
    "grid_scan": lambda s, h: s.bp.grid_scan([h.det4], h.motor1, 0, 1, 3, h.motor2, 0, 1, 2),
    "grid_scan, all snake": lambda s, h: s.bp.grid_scan(
        [h.det4], h.motor, 0, 1, 2, h.motor1, 0, 1, 3, h.motor2, 0, 1, 2, snake_axes=True
    ),
    "grid_scan, one snakes": lambda s, h: s.bp.grid_scan(
        [h.det4], h.motor, 0, 1, 2, h.motor1, 0, 1, 3, h.motor2, 0, 1, 2, snake_axes=[h.motor2]
    ),
    "grid_scan, old way": lambda s, h: s.bp.grid_scan([h.det4], h.motor1, 0, 1, 3, h.motor2, 0, 1, 2, True),
    "rel_grid_scan": lambda s, h: s.bp.rel_grid_scan([h.det4], h.motor1, 0, 1, 2, h.motor2, 0, 1, 2),
    "list_grid_scan": lambda s, h: s.bp.list_grid_scan(
        [h.det4], h.motor1, [0, 5], h.motor2, [1, 2, 4], snake_axes=True
    ),
    "rel_list_grid_scan": lambda s, h: s.bp.rel_list_grid_scan([h.det4], h.motor1, [0, 5], h.motor2, [1, 2]),
    "spiral": lambda s, h: s.bp.spiral(
        [h.det4], h.motor1, h.motor2, 0.5, 0, 1, 2, 0.3, 4, dr_y=0.4, tilt=0.1
    ),
    "rel_spiral": lambda s, h: s.bp.rel_spiral([h.det4], h.motor1, h.motor2, 1, 1, 0.3, 3),
    "spiral_fermat": lambda s, h: s.bp.spiral_fermat(
        [h.det4], h.motor1, h.motor2, 0, 0.2, 2, 2, 0.3, 1.1, dr_y=0.5, tilt=0.2
    ),
    "rel_spiral_fermat": lambda s, h: s.bp.rel_spiral_fermat([h.det4], h.motor1, h.motor2, 2, 2, 0.4, 1),
    "spiral_square": lambda s, h: s.bp.spiral_square([h.det4], h.motor1, h.motor2, 0, 1, 4, 3, 5, 4),
    "rel_spiral_square": lambda s, h: s.bp.rel_spiral_square([h.det4], h.motor1, h.motor2, 3, 4, 4, 5),
    "adaptive_scan": adaptive,
    "rel_adaptive_scan": lambda s, h: adaptive(s, h, "rel_adaptive_scan"),
    "tune_centroid": lambda s, h: s.bp.tune_centroid([h.det], "det", h.motor, -2, 3, 0.2, 6, snake=True),
    "x2x_scan": lambda s, h: s.bp.x2x_scan([h.det4], h.motor1, h.motor2, -1, 1, 3),
    "fly": lambda s, h: s.bp.fly([h.flyer1]),
    "ramp_plan": ramp,
    "preprocessors": wrapped,
    "run keys": keyed,
    "stubs": read_out,
}


@pytest.mark.parametrize("name", CASES)
def test_our_plan_makes_the_documents_of_bluesky_s_plan(name: str, ours: RunEngine, theirs: Any) -> None:
    mine, other = Docs(), Docs()
    ours(CASES[name](OURS, hw()), mine)
    theirs(CASES[name](THEIRS, hw()), other)
    for docs in (mine, other):
        # The order of what comes from another thread is anybody's guess.
        docs.sort(key=lambda pair: (pair[0] == "stop", pair[0] != "start")) if name == "ramp_plan" else None
    assert [kind for kind, _ in mine] == [kind for kind, _ in other]
    assert mine
    for (kind, left), (_, right) in zip(mine, other, strict=True):
        left["scan_id"] = right["scan_id"] = 1
        assert settled(left) == settled(right), kind


@pytest.mark.parametrize("name", ["count", "rel_scan", "grid_scan, all snake", "preprocessors"])
def test_our_plans_run_on_bluesky_s_engine(name: str, theirs: Any) -> None:
    mine, other = Docs(), Docs()
    theirs(CASES[name](OURS, hw()), mine)
    theirs(CASES[name](THEIRS, hw()), other)
    assert [kind for kind, _ in mine] == [kind for kind, _ in other]


def test_the_simulators_of_bluesky_read_our_plans(capsys: pytest.CaptureFixture[str]) -> None:
    h = hw()
    bluesky.simulators.summarize_plan(labspine.plans.scan([h.det], h.motor, 0, 1, 3))
    assert capsys.readouterr().out.count("Read") == 3
    bluesky.simulators.check_limits(labspine.plans.rel_scan([h.det], h.motor, 0, 1, 3))


def test_bluesky_s_preprocessors_work_on_our_plans(ours: RunEngine) -> None:
    h, docs = hw(), Docs()
    extra = bluesky.preprocessors.SupplementalData(baseline=[h.motor1])
    ours(extra(labspine.plans.scan([h.det], h.motor, 0, 1, 3)), docs)
    assert [kind for kind, _ in docs].count("event") == 5


@pytest.mark.parametrize("part", ["plans", "plan_stubs", "preprocessors"])
def test_nothing_that_bluesky_offers_is_missing(part: str) -> None:
    mine, other = getattr(labspine, part), getattr(bluesky, part)
    # print_summary_wrapper prints, and is bluesky's; tools of documents are not plans.
    absent = {"print_summary_wrapper", "derive_default_hints"}
    for name, thing in vars(other).items():
        is_own = getattr(thing, "__module__", "") == other.__name__ and not name.startswith("_")
        is_plan = inspect.isfunction(thing) and is_own and name not in absent
        if not is_plan and name != "SupplementalData":
            continue
        assert name in mine.__all__, name
        left, right = (inspect.signature(getattr(side, name)).parameters.values() for side in (mine, other))
        kinds = [[(p.name, p.kind, p.default) for p in side] for side in (left, right)]
        assert kinds[0] == kinds[1], name


def test_all_names_exist() -> None:
    for part in (labspine.plans, labspine.plan_stubs, labspine.preprocessors):
        assert all(hasattr(part, name) for name in part.__all__)
        assert sorted(part.__all__, key=lambda n: (not n[0].isupper(), n)) == part.__all__
    assert not list(Path(labspine.plans.__file__).parent.glob("utils*"))
