"""
What durable runs cost: the engine with and without a journal, other ways to keep documents, and the way back.

Rounds are interleaved and medians are shown, so that a busy machine disturbs all alike.
Run: ``python benchmarks/journal.py [rounds]``.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky
import bluesky.plans as bp

import labspine.plans as lp
from engine import Detector, Motor
from labspine.engine import Journal, RunEngine
from labspine.engine.journal.frames import encode_frame
from labspine.engine.journal.story import read_story

EVENTS = 1000
SLOW_EVENTS = 100
"""For the ways that wait for the disk at each document."""


def engines(place: Path) -> dict[str, tuple[Callable[[int], object], int]]:
    """Give each setting a function that measures so many points, and how many."""
    det, motor = Detector("d"), Motor("m")

    def ours(journal: Journal | None) -> Callable[[int], object]:
        engine = RunEngine(journal=journal, context_managers=[])
        return lambda count: engine(lp.scan([det], motor, 0, 1, count))

    theirs = bluesky.RunEngine(context_managers=[])
    return {
        "no journal": (ours(None), EVENTS),
        "journal, fsync never": (ours(Journal(place / "never", fsync="never")), EVENTS),
        "journal, fsync interval (default)": (ours(Journal(place / "interval")), EVENTS),
        "journal, fsync always": (ours(Journal(place / "always", fsync="always")), SLOW_EVENTS),
        "bluesky's engine and plan, no journal": (
            lambda count: theirs(bp.scan([det], motor, 0, 1, count)),
            SLOW_EVENTS,
        ),
    }


def documents(count: int) -> list[dict[str, Any]]:
    """Make events as an engine emits them."""
    return [
        {
            "uid": f"00000000-0000-4000-8000-{number:012d}",
            "time": 1.0 + number,
            "data": {"d": 1.0, "m": 0.1 * number},
            "timestamps": {"d": 1.0, "m": 1.0},
            "seq_num": number,
            "filled": {},
            "descriptor": "00000000-0000-4000-8000-000000000000",
        }
        for number in range(count)
    ]


def sinks(place: Path) -> dict[str, tuple[Callable[[list[dict[str, Any]]], None], int]]:
    """Give each way to keep documents a function that keeps some, and how many."""

    def framed(docs: list[dict[str, Any]]) -> None:
        fd = os.open(place / "framed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        at = 0
        for doc in docs:
            at += os.pwrite(fd, encode_frame(["D", "event", doc]), at)
        os.close(fd)

    def lines(docs: list[dict[str, Any]]) -> None:
        with (place / "lines").open("w") as file:
            for doc in docs:
                file.write(json.dumps(["event", doc]) + "\n")
                file.flush()

    def synced(docs: list[dict[str, Any]]) -> None:
        with (place / "synced").open("w") as file:
            for doc in docs:
                file.write(json.dumps(["event", doc]) + "\n")
                file.flush()
                os.fdatasync(file.fileno())

    def sqlite(docs: list[dict[str, Any]]) -> None:
        base = sqlite3.connect(place / "base", isolation_level=None)
        base.execute("pragma journal_mode=wal")
        base.execute("pragma synchronous=normal")
        base.execute("create table if not exists d (name text, doc text)")
        for doc in docs:
            base.execute("insert into d values (?, ?)", ("event", json.dumps(doc)))
        base.close()

    return {
        "frames of MessagePack (ours)": (framed, EVENTS),
        "JSON lines, flushed": (lines, EVENTS),
        "sqlite WAL, synchronous normal": (sqlite, EVENTS),
        "JSON lines, fdatasync each": (synced, SLOW_EVENTS),
    }


def interleaved(cases: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, list[float]]:
    """Measure each case once a round; microseconds of wall time for each unit."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, (act, count) in cases.items():
            began = time.perf_counter()
            act()
            if number:  # the first round warms up
                found[name].append((time.perf_counter() - began) / count * 1e6)
    return found


def table(title: str, found: dict[str, list[float]]) -> None:
    """Print medians with their spread, and the ratio to the first row."""
    print(f"\n{title}")
    base = statistics.median(next(iter(found.values())))
    for name, values in found.items():
        middle = statistics.median(values)
        print(
            f"  {name:40} {middle:9.1f} us  ({min(values):.1f} to {max(values):.1f})  x {middle / base:.2f}"
        )


def way_back(place: Path) -> None:
    """Print size and speed of reading a journal, and of feeding a plan with it."""
    (path, *_) = Journal(place / "never").paths()
    began = time.perf_counter()
    story = read_story(path)
    took_s = time.perf_counter() - began
    print(f"\nA journal of {story.num_events} points and {len(story.steps)} steps")
    print(f"  size           {path.stat().st_size / story.num_events:8.0f} bytes a point")
    print(f"  reading it     {took_s / story.num_events * 1e6:8.1f} us a point")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        place = Path(temporary).resolve()
        runs = {
            name: ((lambda act=act, count=count: act(count)), count)
            for name, (act, count) in engines(place).items()
        }
        table("scan, 1 detector, a point (wall time)", interleaved(runs, rounds))
        kept = {}
        for name, (act, count) in sinks(place).items():
            docs = documents(count)
            kept[name] = ((lambda act=act, docs=docs: act(docs)), count)
        table("one document", interleaved(kept, rounds))
        way_back(place)


if __name__ == "__main__":
    main()
