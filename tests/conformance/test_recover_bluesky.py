"""Unmodified plans and devices of bluesky go on after a death at any document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from ophyd import sim

from labspine.engine import Journal, RunEngine
from labspine.engine.journal.book import ENDED, OPEN
from labspine.engine.journal.story import read_story

OF_ONE_PROCESS = ("uid", "time", "timestamps", "descriptor", "run_start")
Make = Callable[[], Any]


def scan() -> Any:
    return bp.scan([sim.det], sim.motor, -1, 1, 4)


def grid() -> Any:
    return bp.grid_scan([sim.det4], sim.motor1, 0, 1, 2, sim.motor2, 0, 1, 3, snake_axes=True)


def with_baseline() -> Any:
    return bpp.SupplementalData(baseline=[sim.motor3])(bp.rel_scan([sim.det], sim.motor, -1, 1, 3))


def adaptive() -> Any:
    return bp.adaptive_scan(
        [sim.det],
        "det",
        sim.motor,
        start=-3,
        stop=3,
        min_step=0.1,
        max_step=2,
        target_delta=0.3,
        backstep=True,
    )


def set_to_zero() -> None:
    for motor in (sim.motor, sim.motor1, sim.motor2, sim.motor3):
        motor.set(0.0)
        motor.read_configuration()
        motor.setpoint.put(0.0)


def comparable(documents: list[Any]) -> list[Any]:
    kept = []
    for name, doc in documents:
        part = {k: v for k, v in doc.items() if k not in OF_ONE_PROCESS}
        part.pop("configuration", None)  # holds times
        kept.append((name, part))
    return json.loads(json.dumps(kept, default=str))


@pytest.mark.parametrize("make", [scan, grid, with_baseline, adaptive])
def test_it_goes_on_as_if_nothing_had_happened(tmp_path: Path, make: Make) -> None:
    set_to_zero()
    images: list[bytes] = []
    with RunEngine(journal=Journal(tmp_path / "first", fsync="never"), context_managers=[]) as engine:
        journal = engine.journal
        assert journal is not None

        def take(name: str, doc: dict[str, Any]) -> None:
            call = journal.current
            assert call is not None
            images.append(Path(call.path).read_bytes()[: call.position])

        engine.subscribe(take)
        engine(make())
        reference = comparable(read_story(journal.paths()[0]).documents)
    for number, image in enumerate(images[:-1]):
        place = tmp_path / str(number)
        place.mkdir()
        path = place / f"20260101-000000-000-00000000{OPEN}"
        path.write_bytes(image)
        set_to_zero()
        with RunEngine(journal=Journal(place, fsync="never"), context_managers=[]) as engine:
            engine.recover(path, make())
        assert comparable(read_story(path.with_suffix(ENDED)).documents) == reference, number
