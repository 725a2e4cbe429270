"""
The hot paths of the run engine beside bluesky's: messages, events, calls, import, memory.

Rounds are interleaved (ours, theirs, ours, ...), and process CPU time is compared, so that a busy machine
disturbs both alike. Run: ``python benchmarks/engine.py [rounds]``; results/engine.json keeps the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
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


def checkpoints(message: Any, count: int) -> Iterator[Any]:
    """Yield checkpoints."""
    for _ in range(count):
        yield message("checkpoint")


def moves(message: Any, motor: Motor, count: int) -> Iterator[Any]:
    """Yield pairs of set and wait."""
    for number in range(count // 2):
        yield message("set", motor, number, group="g")
        yield message("wait", None, group="g")
        if not number % 100:
            yield message("checkpoint")


def cases() -> dict[str, tuple[int, Callable[[Any], Any]]]:
    """Give each case the number of its units and a function of the Msg class that makes its plan."""
    det, ten, motor = Detector("d"), [Detector(f"d{i}") for i in range(10)], Motor("m")
    return {
        "null message": (100_000, lambda m: nulls(m, 100_000)),
        "checkpoint message": (100_000, lambda m: checkpoints(m, 100_000)),
        "set and wait message": (10_000, lambda m: moves(m, motor, 10_000)),
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


def watched(engine: Any, plan: Callable[[], Any], name: str, calls: int) -> float:
    """Measure the median wall time in ms from a call to the first document of a name."""
    took: list[float] = []
    seen: list[float] = []
    token = engine.subscribe(lambda *_: seen.append(time.perf_counter()), name)
    for _ in range(calls):
        seen.clear()
        began = time.perf_counter()
        engine(plan())
        took.append((seen[0] - began) * 1e3)
    engine.unsubscribe(token)
    return statistics.median(took)


def latencies(rounds: int) -> dict[str, Any]:
    """Measure calls in wall time: an empty plan, and a count up to its first documents."""
    ours, theirs = RunEngine(), bluesky.RunEngine({})
    det = Detector("d")
    found: dict[str, Any] = {}
    for what, name in (("RE(count) to start", "start"), ("RE(count) to first event", "event")):
        pairs = [
            (
                watched(ours, lambda: lp.count([det]), name, 10),
                watched(theirs, lambda: bp.count([det]), name, 10),
            )
            for _ in range(rounds)
        ]
        found[f"{what}, ms"] = medians(pairs)
    pairs = [(empty_ms(ours), empty_ms(theirs)) for _ in range(rounds)]
    found["RE(empty plan), ms"] = medians(pairs)
    ours.close()
    return found


def empty_ms(engine: Any, calls: int = 100) -> float:
    """Measure the wall time of a call with nothing to do."""
    began = time.perf_counter()
    for _ in range(calls):
        engine([])
    return (time.perf_counter() - began) * 1e3 / calls


def medians(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Give the medians of both sides, and of their ratio in each round."""
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"ours": mine, "bluesky": other, "ratio": statistics.median(o / m for m, o in pairs)}


def of_ophyd_async(rounds: int) -> dict[str, Any]:
    """Count one soft signal of ophyd-async: CPU microseconds an event, each engine with its own plan."""
    from ophyd_async.core import init_devices, soft_signal_rw

    async def make() -> Any:
        async with init_devices():
            found = soft_signal_rw(float, 1.0, name="soft")
        return found  # noqa: RET504 - connected only after the block

    sides = []
    for engine, plans in (
        (RunEngine(context_managers=[]), lp),
        (bluesky.RunEngine({}, context_managers=[]), bp),
    ):
        soft = asyncio.run_coroutine_threadsafe(make(), engine.loop).result(10)
        sides.append((engine, lambda plans=plans, soft=soft: plans.count([soft], 200)))
    pairs = [tuple(cost_us(engine, plan, 200) for engine, plan in sides) for _ in range(rounds + 1)]
    return medians(pairs[1:])  # type: ignore[arg-type]


IMPORTS = {
    "ours": "from labspine.engine import RunEngine; RunEngine()",
    "bluesky": "from bluesky import RunEngine; RunEngine({})",
}


def imports(rounds: int) -> dict[str, float]:
    """Measure user and system CPU seconds of a process that makes an engine, less those of an empty one."""
    pairs = [tuple(cpu_of(IMPORTS[side]) - cpu_of("pass") for side in IMPORTS) for _ in range(rounds)]
    return medians(pairs)  # type: ignore[arg-type]


def cpu_of(code: str) -> float:
    """Measure the CPU seconds of a process."""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
    return used.ru_utime + used.ru_stime


def memory(events_wanted: int = 1_000_000) -> dict[str, float]:
    """Measure the resident memory in MB after a tenth of the events and after all of them."""
    det, sizes = Detector("d"), []
    engine = RunEngine(context_managers=[])

    def plan() -> Iterator[Any]:
        yield Msg("open_run")
        for number in range(events_wanted):
            if number in {events_wanted // 10, events_wanted // 2}:
                sizes.append(resident_mb())
            yield Msg("checkpoint")
            yield Msg("create", None, name="primary")
            yield Msg("read", det)
            yield Msg("save")
        yield Msg("close_run")

    began = time.perf_counter()
    engine(plan())
    took_s = time.perf_counter() - began
    sizes.append(resident_mb())
    engine.close()
    return {
        "MB after a tenth": sizes[0],
        "MB after a half": sizes[1],
        "MB after all": sizes[2],
        "events/s": events_wanted / took_s,
    }


def resident_mb() -> float:
    """Read the resident memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def watching(rounds: int) -> dict[str, float]:
    """Measure what watching costs: CPU microseconds an event of a scan, plain and with ways of watching."""
    det, motor = Detector("d"), Motor("m")
    engine = RunEngine(context_managers=[])
    found: dict[str, list[float]] = {"plain": [], "accounting": [], "background subscriber": []}
    for _ in range(rounds + 1):
        for name, costs in found.items():
            engine.accounting = name == "accounting"
            if name == "background subscriber":
                engine.subscribe(lambda name, doc: None, background=True)
            costs.append(cost_us(engine, lambda: lp.scan([det], motor, 0, 1, 200), 200))
            engine.drain()
            engine.unsubscribe_all()
    engine.close()
    return {name: statistics.median(costs[1:]) for name, costs in found.items()}


def cost_us(engine: Any, make: Callable[[], Any], units: int) -> float:
    """Measure one round: CPU microseconds a unit."""
    repeats = 50 if units == 1 else 1
    plans = [make() for _ in range(repeats)]
    began = time.process_time()
    for plan in plans:
        engine(plan)
    return (time.process_time() - began) * 1e6 / (units * repeats)


def compare(rounds: int, table: dict[str, tuple[int, Callable[[Any], Any]]]) -> dict[str, dict[str, float]]:
    """Print one line a case, and give the figures."""
    ours, theirs = RunEngine(context_managers=[]), bluesky.RunEngine({}, context_managers=[])
    print(f"{'CPU us, median of ' + str(rounds):28}{'ours':>9}{'bluesky':>10}{'ratio':>8}{'ours/s':>11}")
    figures: dict[str, dict[str, float]] = {}
    for name, (units, make) in table.items():
        pairs: list[tuple[float, float]] = []
        for _ in range(rounds + 1):
            mine = cost_us(ours, lambda make=make: make(Msg), units)  # type: ignore[misc]
            other = cost_us(theirs, lambda make=make: make(TheirMsg), units)  # type: ignore[misc]
            pairs.append((mine, other))
        found = figures[name] = medians(pairs[1:])
        print(
            f"{name:28}{found['ours']:9.1f}{found['bluesky']:10.1f}{found['ratio']:7.1f}x"
            f"{1e6 / found['ours']:11,.0f}"
        )
    ours.close()
    return figures


def main(rounds: int) -> None:
    """Measure everything, print it and keep it."""
    record: dict[str, Any] = {"rounds": rounds, "load": os.getloadavg()[0]}
    print("-- bluesky's plans as they are")
    record["bluesky's plans"] = compare(rounds, cases())
    print("-- with cheap_plans() for both")
    stock = {name: figures["bluesky"] for name, figures in record["bluesky's plans"].items()}
    with cheap_plans():
        record["with cheap_plans for both"] = compare(rounds, cases())
    for name, figures in record["with cheap_plans for both"].items():
        figures["ratio to bluesky without it"] = stock[name] / figures["ours"]
    print("-- our plans on our engine, bluesky's plans on bluesky's engine")
    record["each with its own plans"] = compare(rounds, own_cases())
    record["ophyd-async count, CPU us an event"] = of_ophyd_async(rounds)
    record["calls"] = latencies(rounds)
    record["import and construct, CPU s"] = imports(rounds)
    record["memory over 1,000,000 events"] = memory()
    record["watching, CPU us an event of a scan"] = watching(rounds)
    for title in list(record)[5:]:
        print(f"-- {title}: {json.dumps(record[title], indent=1)}")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "engine.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
