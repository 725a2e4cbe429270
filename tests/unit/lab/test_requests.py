"""Requests are checked completely before anything moves."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest

from labspine.engine import Msg
from labspine.errors import RequestRefused
from labspine.lab import DeviceRegistry, PlanRegistry, default_plans, prepare, simulated_beamline
from labspine.lab.simulation import SimMotor
from labspine.messages import ScanQueueMessage


@pytest.fixture
def registry() -> DeviceRegistry:
    return simulated_beamline(speed=1000.0)


def note(detectors: list[object], text: str, *others: str, motor: object = None) -> Iterator[Msg]:
    """Use text that looks like a device name."""
    assert isinstance(text, str)
    assert all(isinstance(word, str) for word in others)
    assert motor is None or isinstance(motor, SimMotor)
    yield Msg("null", None, detectors, text)


def careless(detectors: list[object], value: float) -> Iterator[Msg]:
    """Divide by what the person gives."""
    yield Msg("sleep", None, 1 / value)


@pytest.fixture
def plans() -> PlanRegistry:
    plans = default_plans()
    plans.add(note)
    plans.add(careless)
    return plans


def request(plan: str, *args: object, metadata: object = None, **kwargs: object) -> ScanQueueMessage:
    said = {} if metadata is None else {"user_metadata": metadata}
    return ScanQueueMessage(scan_type=plan, parameter={"args": list(args), "kwargs": kwargs}, metadata=said)


def test_names_become_devices_and_points_are_counted(registry: DeviceRegistry, plans: PlanRegistry) -> None:
    ready = prepare(request("scan", ["det", "i0"], "x", -5, 5, 101), registry=registry, plans=plans)
    assert ready.num_points == 101
    assert ready.forecast.positions["x"].lowest == -5
    used = {msg.obj for msg in ready.build() if msg.obj is not None}
    assert used == {registry["det"], registry["i0"], registry["x"]}
    assert ready.args == [["det", "i0"], "x", -5, 5, 101]
    assert not registry["x"].is_moving  # type: ignore[attr-defined]


def test_one_detector_may_be_given_as_text(registry: DeviceRegistry, plans: PlanRegistry) -> None:
    assert prepare(request("count", "det"), registry=registry, plans=plans).num_points == 1


def test_annotations_decide_what_stays_text(registry: DeviceRegistry, plans: PlanRegistry) -> None:
    ready = prepare(request("note", ["det"], "x", "y", motor="th"), registry=registry, plans=plans)
    assert next(iter(ready.build())).args == ([registry["det"]], "x")


def test_large_scan_is_answered_in_time_and_counted_whole(
    registry: DeviceRegistry, plans: PlanRegistry
) -> None:
    began = time.monotonic()
    ready = prepare(request("scan", ["det"], "x", -5, 5, 150_000), registry=registry, plans=plans)
    assert ready.num_points == 150_000
    assert time.monotonic() - began < 2.0, "the walk is limited; building the positions takes the rest"


@pytest.mark.parametrize(
    "args",
    [
        ("scan", ["det"], "x", -5, 51, 100_000),
        ("rel_scan", ["det"], "x", 0, 49, 100_000),
        ("log_scan", ["det"], "x", 0, 1.8, 100_000),
        ("grid_scan", ["det"], "x", 0, 1, 500, "y", 0, 60, 500),
        ("list_scan", ["det"], "x", [*range(50), *[0] * 50_000, 60]),
    ],
)
def test_limits_are_checked_to_the_end_of_a_large_scan(
    registry: DeviceRegistry, plans: PlanRegistry, args: tuple[Any, ...]
) -> None:
    registry["x"].set(2.0).wait(5.0)  # type: ignore[attr-defined]
    with pytest.raises(RequestRefused, match=r"is outside limits \[-50, 50\]"):
        prepare(request(*args), registry=registry, plans=plans)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (request("scan", [], "x", 0, 1, 5), "detectors must be a list of device names"),
        (request("scan", [["det"]], "x", 0, 1, 5), "by its name"),
        (request("scan", ["det"], "x", math.nan, 1, 5), "start of x must be a finite number"),
        (request("scan", ["det"], "x", 0, math.inf, 5), "stop of x must be a finite number"),
        (request("scan", ["det"], "x", 0, 1, True), "num must be a whole number"),
        (request("scan", ["det"], 5, 0, 1, 5), "expected the name of a motor where 5 stands"),
        (request("scan", ["det"], "x", 0, 1, 5, per_step="x"), "per_step cannot be sent"),
        (request("scan", ["det"], "x", 0, 1, 5, md={"a": 1}), "md cannot be sent"),
        (request("log_scan", ["det"], "x", 0, 1, 5, "y", 0, 1, 5), "exactly one motor|write"),
        (request("list_scan", ["det"], "x", [0, 1], "y", [0, 1, 2]), "equally long, but have 2, 3 items"),
        (request("list_scan", ["det"], "x", [0, "a"]), "position 2 of x must be a finite number"),
        (request("list_scan", ["det"], "x", []), "list of positions"),
        (request("grid_scan", ["det"], "x", 0, 1, 0), "number of points of x must be"),
        (request("count", ["det"], delay=math.nan), "not a finite number"),
        (request("count", ["det"], 3, 4, 5, 6), "too many positional arguments"),
        (request("mv", "x"), "it needs groups of motor position"),
        (request("careless", ["det"], 0), "division by zero"),
        (request("note", ["det"], "a", motor=[[[[[[[[[[1]]]]]]]]]]), "nested deeper"),
        (request("count", ["det"], metadata=[1]), "user_metadata must be a map"),
        (request("count", ["det"], metadata={"a/b": 1}), "dot or slash"),
        (ScanQueueMessage(scan_type="count", parameter={"args": "det"}), "must be a list"),
        (ScanQueueMessage(scan_type="count", parameter={"kwargs": [1]}), "must be a map"),
        (ScanQueueMessage(scan_type="count", parameter={}), "missing a required argument: 'detectors'"),
        (ScanQueueMessage(scan_type="__class__", parameter={}), "no plan"),
    ],
)
def test_wrong_requests_are_refused(
    registry: DeviceRegistry, plans: PlanRegistry, wrong: ScanQueueMessage, sentence: str
) -> None:
    with pytest.raises(RequestRefused, match=sentence) as refused:
        prepare(wrong, registry=registry, plans=plans)
    assert refused.value.code != "E-LAB"


def test_limits_count_for_relative_plans_from_where_the_motor_is(
    registry: DeviceRegistry, plans: PlanRegistry
) -> None:
    prepare(request("rel_scan", ["det"], "x", -4, 4, 5), registry=registry, plans=plans)
    registry["x"].set(48.0).wait(5.0)  # type: ignore[attr-defined]
    with pytest.raises(RequestRefused, match=r"x: 52 is outside limits \[-50, 50\]"):
        prepare(request("rel_scan", ["det"], "x", -4, 4, 5), registry=registry, plans=plans)
