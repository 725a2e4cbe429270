"""
The hot paths of the run engine beside bluesky's: messages, events, calls.

Rounds are interleaved (ours, theirs, ours, ...), and process CPU time is compared, so that a busy machine
disturbs both alike. Run: ``python benchmarks/engine.py [rounds]``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import bluesky
import bluesky.plans as bp
from bluesky import Msg as TheirMsg

import labspine.plans as lp
from labspine.compat.bluesky import cheap_plans
from labspine.engine import Msg, RunEngine


class Done:
    """A status that is done already."""

    done = True
    success = True

    def add_callback(self, callback: Callable[[Any], object]) -> None:
        """Call back at once."""
        callback(self)

    def exception(self, timeout: float | None = None) -> None:
        """Nothing failed."""


class Detector:
    """The smallest detector there is."""

    parent = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.hints = {"fields": [name]}

    def trigger(self) -> Done:
        """Measure."""
        return Done()

    def read(self) -> dict[str, Any]:
        """One value."""
        return {self.name: {"value": 1.0, "timestamp": 1.0}}

    def describe(self) -> dict[str, Any]:
        """One number."""
        return {self.name: {"dtype": "number", "shape": [], "source": "bench"}}


class Motor(Detector):
    """The smallest motor there is."""

    position = 0.0

    def set(self, value: float) -> Done:
        """Jump."""
        self.position = value
        return Done()

    def read(self) -> dict[str, Any]:
        """Where it is."""
        return {self.name: {"value": self.position, "timestamp": 1.0}}


def nulls(message: Any, count: int) -> Iterator[Any]:
    """Yield steps that do nothing."""
    for _ in range(count):
        yield message("null")


def events(message: Any, detector: Detector, count: int) -> Iterator[Any]:
    """Yield events by hand."""
    yield message("open_run")
    for _ in range(count):
        yield message("checkpoint")
        yield message("create", None, name="primary")
        yield message("read", detector)
        yield message("save")
    yield message("close_run")


def cases() -> dict[str, tuple[int, Callable[[Any], Any]]]:
    """Give each case the number of its units and a function of the Msg class that makes its plan."""
    det, ten, motor = Detector("d"), [Detector(f"d{i}") for i in range(10)], Motor("m")
    return {
        "null message": (100_000, lambda m: nulls(m, 100_000)),
        "create/read/save": (1_000, lambda m: events(m, det, 1_000)),
        "count, 1 detector": (300, lambda m: bp.count([det], 300)),
        "count, 10 detectors": (60, lambda m: bp.count(ten, 60)),
        "scan, 1 detector": (200, lambda m: bp.scan([det], motor, 0, 1, 200)),
        "empty plan (a call)": (1, lambda m: []),
    }


def own_cases() -> dict[str, tuple[int, Callable[[Any], Any]]]:
    """Give the cases in which each engine performs the plans of its own package."""
    det, ten, motor, other = Detector("d"), [Detector(f"d{i}") for i in range(10)], Motor("m"), Motor("n")

    def of(message: Any) -> Any:
        return lp if message is Msg else bp

    return {
        "count, 1 detector": (300, lambda m: of(m).count([det], 300)),
        "count, 10 detectors": (60, lambda m: of(m).count(ten, 60)),
        "scan, 1 detector": (200, lambda m: of(m).scan([det], motor, 0, 1, 200)),
        "scan, 10 detectors": (60, lambda m: of(m).scan(ten, motor, 0, 1, 60)),
        "rel_scan, 1 detector": (200, lambda m: of(m).rel_scan([det], motor, 0, 1, 200)),
        "grid_scan, 2 motors": (200, lambda m: of(m).grid_scan([det], motor, 0, 1, 20, other, 0, 1, 10)),
        "count, 1 point (a call)": (1, lambda m: of(m).count([det])),
    }


def first_document_ms(engine: Any, plans: Any, calls: int = 30) -> float:
    """Measure the median wall time from the call to the start document."""
    det, took = Detector("d"), []
    seen: list[float] = []
    token = engine.subscribe(lambda name, doc: seen.append(time.perf_counter()), "start")
    for _ in range(calls):
        seen.clear()
        began = time.perf_counter()
        engine(plans.count([det]))
        took.append((seen[0] - began) * 1e3)
    engine.unsubscribe(token)
    return statistics.median(took)


def cost_us(engine: Any, make: Callable[[], Any], units: int) -> float:
    """Measure one round: CPU microseconds a unit."""
    repeats = 50 if units == 1 else 1
    plans = [make() for _ in range(repeats)]
    began = time.process_time()
    for plan in plans:
        engine(plan)
    return (time.process_time() - began) * 1e6 / (units * repeats)


def compare(rounds: int, table: dict[str, tuple[int, Callable[[Any], Any]]]) -> None:
    """Print one line a case."""
    ours, theirs = RunEngine(context_managers=[]), bluesky.RunEngine({}, context_managers=[])
    print(f"{'CPU us, median of ' + str(rounds):28}{'ours':>9}{'bluesky':>10}{'ratio':>8}{'ours/s':>11}")
    for name, (units, make) in table.items():
        pairs: list[tuple[float, float]] = []
        for _ in range(rounds + 1):
            mine = cost_us(ours, lambda make=make: make(Msg), units)  # type: ignore[misc]
            other = cost_us(theirs, lambda make=make: make(TheirMsg), units)  # type: ignore[misc]
            pairs.append((mine, other))
        mine, other = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
        ratio = statistics.median(o / m for m, o in pairs[1:])
        print(f"{name:28}{mine:9.1f}{other:10.1f}{ratio:7.1f}x{1e6 / mine:11,.0f}")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print("-- bluesky's plans as they are")
    compare(count, cases())
    print("-- with cheap_plans() for both")
    with cheap_plans():
        compare(count, cases())
    print("-- our plans on our engine, bluesky's plans on bluesky's engine")
    compare(count, own_cases())
    mine, other = RunEngine(context_managers=[]), bluesky.RunEngine({}, context_managers=[])
    print("-- wall milliseconds from RE(count) to the start document: ", end="")
    print(f"ours {first_document_ms(mine, lp):.2f}, bluesky {first_document_ms(other, bp):.2f}")
