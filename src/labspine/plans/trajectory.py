"""The core of all scans: motors that visit points, and detectors that measure there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labspine.engine import Msg
from labspine.errors import shown
from labspine.plan_stubs.base import BadPlan, Plan, group_name
from labspine.plan_stubs.measuring import Shot
from labspine.plan_stubs.motion import hinted_fields
from labspine.preprocessors import (
    relative_set_wrapper,
    reset_positions_wrapper,
    run_wrapper,
    stage_wrapper,
)

from .arguments import check_detectors, check_motors, check_points

__all__ = ["PATTERNS", "Trajectory", "follow", "here_and_back", "motor_dimensions", "scan_nd"]

PATTERNS = "bluesky.plan_patterns"
"""Readers of documents rebuild trajectories with the functions of this module, so we go by its names."""

PerStep = Callable[..., Plan]


@dataclass(frozen=True)
class Trajectory:
    """
    Points that motors visit.

    Args:
        motors: In the order in which they are set and read.
        points: One tuple a point, with a target for each motor.
    """

    motors: list[Any]
    points: list[tuple[Any, ...]]

    @classmethod
    def of_columns(cls, motors: Sequence[Any], columns: Sequence[Any]) -> Trajectory:
        """
        Make one of columns.

        Args:
            motors: The motors.
            columns: The targets of each motor; all of one length.

        Returns:
            The trajectory.
        """
        plain = [c.tolist() if hasattr(c, "tolist") else c for c in columns]
        return cls(list(motors), list(zip(*plain, strict=True)))


def motor_dimensions(motors: Sequence[Any]) -> dict[str, Any]:
    """
    Make the default hints of a scan: one dimension a motor.

    Args:
        motors: The motors.

    Returns:
        Hints; empty when one of them does not say what its fields are.
    """
    try:
        return {"dimensions": [(motor.hints["fields"], "primary") for motor in motors]}
    except (AttributeError, KeyError):
        return {}


def joint_dimension(motors: Sequence[Any]) -> dict[str, Any]:
    """
    Make the default hints of a scan in which all motors move together along one line.

    Args:
        motors: The motors.

    Returns:
        Hints; empty when none of them has fields.
    """
    fields = [field for motor in motors for field in hinted_fields(motor)]
    return {"dimensions": [(fields, "primary")]} if fields else {}


def follow(
    detectors: list[Any],
    trajectory: Trajectory,
    *,
    what: str,
    about: dict[str, Any],
    per_step: PerStep | None,
    md: Mapping[str, Any] | None,
) -> Plan:
    """
    Visit all points and measure at each of them, in one run.

    Args:
        detectors: Checked detectors.
        trajectory: The points.
        what: Name of the plan, for error texts.
        about: Metadata of the plan, which ``md`` may replace; its hints stay where ``md`` has none.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata of the caller.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If a motor is none or is named twice, or per_step has another signature.
    """
    motors = trajectory.motors
    check_motors(motors, detectors, what=what)
    check_points(len(trajectory.points), what=what, name="the length of the trajectory")
    step = None if per_step is None else _as_nd_step(per_step, motors, what=what)
    metadata: dict[str, Any] = {
        "detectors": [detector.name for detector in detectors],
        "motors": [motor.name for motor in motors],
        "num_points": len(trajectory.points),
        "num_intervals": len(trajectory.points) - 1,
        **about,
        **(md or {}),
    }
    metadata["hints"] = {**motor_dimensions(motors), **about.get("hints", {}), **(md or {}).get("hints", {})}
    moved = _joined(trajectory, what=what)
    body = _walk(detectors, moved) if step is None else _custom_walk(step, detectors, moved)
    return stage_wrapper(run_wrapper(body, md=metadata), [*detectors, *motors])


def _walk(detectors: list[Any], trajectory: Trajectory) -> Plan:
    motors = trajectory.motors
    shot = Shot([*detectors, *motors])
    group = group_name("set")
    places: list[Any] = [object()] * len(motors)
    for point in trajectory.points:
        yield Msg("checkpoint")
        is_moving = False
        for index, target in enumerate(point):
            if not _is_same(target, places[index]):
                yield Msg("set", motors[index], target, group=group)
                places[index] = target
                is_moving = True
        if is_moving:
            yield Msg("wait", None, group=group)
        yield from shot.take()


def _is_same(target: Any, place: Any) -> bool:
    try:
        return bool(target == place)
    except ValueError:  # arrays, for devices that are set to several values at once
        return False


def _custom_walk(step: PerStep, detectors: list[Any], trajectory: Trajectory) -> Plan:
    cache: dict[Any, Any] = dict.fromkeys(trajectory.motors)
    for point in trajectory.points:
        yield from step(detectors, dict(zip(trajectory.motors, point, strict=True)), cache)


def _as_nd_step(per_step: PerStep, motors: Sequence[Any], *, what: str) -> PerStep:
    if not callable(per_step):
        raise BadPlan(f"{what}: per_step must be a function that makes a plan, got {shown(per_step)}")
    parameters = list(inspect.signature(per_step).parameters.values())
    names = tuple(p.name for p in parameters[:3])
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needs_more = any(p.default is p.empty and p.kind not in optional for p in parameters[3:])
    if names == ("detectors", "step", "pos_cache") and not needs_more:
        return per_step
    if names != ("detectors", "motor", "step") or needs_more:
        raise BadPlan(
            f"{what}: per_step must take (detectors, step, pos_cache), or (detectors, motor, step) with one "
            f"motor; this one takes {inspect.signature(per_step)}"
        )
    if len(motors) != 1:
        raise BadPlan(f"{what}: this per_step takes one motor, but the scan has {len(motors)}")

    def adapted(detectors: Sequence[Any], step: Mapping[Any, Any], pos_cache: dict[Any, Any]) -> Plan:
        return per_step(detectors, motors[0], step[motors[0]])

    return adapted


def _joined(trajectory: Trajectory, *, what: str) -> Trajectory:
    """Set axes that belong to one pseudo positioner together: one by one they would undo each other."""
    owners: list[Any] = [getattr(motor, "parent", None) for motor in trajectory.motors]
    joint = [o for o in owners if hasattr(o, "pseudo_positioners") and owners.count(o) > 1]
    if not joint:
        return trajectory
    parent = joint[0]
    axes = list(parent.pseudo_positioners)
    inside = [i for i, owner in enumerate(owners) if owner is parent]
    if any(not any(trajectory.motors[i] is axis for axis in axes) for i in inside):
        raise BadPlan(f"{what}: real and pseudo axes of {parent.name} cannot be scanned together")
    column = {id(trajectory.motors[i]): i for i in inside}
    others = [i for i in range(len(owners)) if i not in inside]
    points = []
    for point in trajectory.points:
        whole = tuple(point[column[id(a)]] if id(a) in column else a.position for a in axes)
        points.append((*(point[i] for i in others), whole))
    return _joined(Trajectory([*(trajectory.motors[i] for i in others), parent], points), what=what)


def here_and_back(plan: Plan, motors: Sequence[Any], *, what: str) -> Plan:
    """
    Make a plan relative: it begins where the motors stand and brings them back there.

    Args:
        plan: An absolute plan.
        motors: Its motors.
        what: Name of the plan, for the error text.

    Returns:
        The plan.

    Raises:
        BadPlan: If several motors are axes of one pseudo positioner.
    """
    owners: list[Any] = [getattr(motor, "parent", None) for motor in motors]
    for owner in owners:
        if hasattr(owner, "pseudo_positioners") and owners.count(owner) > 1:
            raise BadPlan(
                f"{what}: several axes of {owner.name} cannot be scanned relatively; give positions"
            )
    return reset_positions_wrapper(relative_set_wrapper(plan, motors), motors)


def scan_nd(
    detectors: Sequence[Any],
    cycler: Any,
    *,
    per_step: PerStep | None = None,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """
    Scan along any trajectory.

    Args:
        detectors: Devices to measure with.
        cycler: A ``cycler.Cycler`` of motors, or any list of dicts ``{motor: target}``.
        per_step: What to do at each point instead of moving, triggering and reading.
        md: Metadata.

    Returns:
        A plan whose value is the uid of the run.

    Raises:
        BadPlan: If the arguments cannot work.
    """
    checked = check_detectors(detectors, what="scan_nd")
    steps = _dicts(cycler)
    motors = list(steps[0])
    if any(step.keys() != steps[0].keys() for step in steps):
        raise BadPlan("scan_nd: all points must have the same motors")
    about = {
        "plan_name": "scan_nd",
        "plan_args": {
            "detectors": [repr(detector) for detector in checked],
            "cycler": repr(cycler),
            "per_step": repr(per_step),
        },
    }
    points = [tuple(step[motor] for motor in motors) for step in steps]
    trajectory = Trajectory(motors, points)
    return follow(checked, trajectory, what="scan_nd", about=about, per_step=per_step, md=md)


def _dicts(cycler: Iterable[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    try:
        steps = list(cycler)
    except TypeError:
        steps = []
    if not steps or not all(isinstance(step, Mapping) for step in steps):
        raise BadPlan(f"scan_nd needs at least one point, as {{motor: target}}; got {shown(cycler)}")
    return steps
