"""
A process that makes scans and is killed in the middle, for the tests of the journal.

Started as a program, it forks for every order, so that two hundred deaths do not pay for two hundred starts:
``{"what": "run" | "recover" | "close", "place": ..., "plan": ..., "kill_after_s": ... | "kill_at_write": n}``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import labspine.plans as lp
from labspine.engine import Msg, RunEngine
from labspine.engine.journal import Journal
from labspine.engine.journal.recovery import close_call
from labspine.preprocessors import SupplementalData


class Status:
    """A status that is done after a moment."""

    def __init__(self, delay_s: float) -> None:
        self.done, self.success = False, True
        self._lock = threading.Lock()
        self._callbacks: list[Any] = []
        if delay_s > 0:
            timer = threading.Timer(delay_s, self._finish)
            timer.daemon = True
            timer.start()
        else:
            self._finish()

    def _finish(self) -> None:
        with self._lock:
            self.done = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def add_callback(self, callback: Any) -> None:
        with self._lock:
            if not self.done:
                self._callbacks.append(callback)
                return
        callback(self)

    def exception(self, timeout: float | None = None) -> None:
        return None


class Device:
    """What motors and detectors share; every call of stage, stop and unstage leaves a line."""

    parent = None

    def __init__(self, name: str, place: Path) -> None:
        self.name = name
        self.hints = {"fields": [name]}
        self._trace = os.open(place / "devices", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __repr__(self) -> str:
        return self.name

    def told(self, what: str) -> None:
        os.write(self._trace, f"{self.name} {what}\n".encode())

    def stage(self) -> list[Any]:
        self.told("stage")
        return [self]

    def unstage(self) -> list[Any]:
        self.told("unstage")
        return [self]

    def describe(self) -> dict[str, Any]:
        return {self.name: {"dtype": "number", "shape": [], "source": "test"}}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        return {}


class Motor(Device):
    """Arrives a millisecond later; begins at 0 in each process, as a simulated one does."""

    position = 0.0

    def set(self, value: float) -> Status:
        self.told(f"set {value:g}")
        self.position = float(value)
        return Status(0.001)

    def stop(self, *, success: bool = False) -> None:
        self.told("stop")

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.position, "timestamp": time.time()}}

    def locate(self) -> dict[str, float]:
        return {"setpoint": self.position, "readback": self.position}


class Detector(Device):
    """Counts what only the positions of the motors decide, so that equal scans give equal data."""

    def __init__(self, name: str, place: Path, motors: list[Motor]) -> None:
        super().__init__(name, place)
        self._motors = motors
        self._value = 0.0

    def trigger(self) -> Status:
        self._value = math.exp(-sum((m.position - 1.0) ** 2 for m in self._motors))
        return Status(0.0005)

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self._value, "timestamp": time.time()}}


def alternating(det: Detector, x: Motor) -> Iterator[Any]:
    """Two runs in one call, a device that stays moved between checkpoints, and no help from finalizers."""
    for number in range(2):
        yield Msg("open_run", plan_name="alternating", number=number)
        yield Msg("checkpoint")
        yield Msg("set", x, number + 0.5, group="a")
        yield Msg("wait", None, "a")
        for _ in range(5):
            yield Msg("checkpoint")
            yield Msg("trigger", det, group="b")
            yield Msg("wait", None, "b")
            yield Msg("create", name="primary")
            yield Msg("read", det)
            yield Msg("read", x)
            yield Msg("save")
        yield Msg("close_run")


def without_checkpoints(det: Detector, x: Motor) -> Iterator[Any]:
    """A plan that cannot go on after a crash."""
    yield Msg("stage", det)
    yield Msg("open_run", plan_name="without_checkpoints")
    for number in range(30):
        yield Msg("set", x, float(number), group="a")
        yield Msg("wait", None, "a")
        yield Msg("create", name="primary")
        yield Msg("read", x)
        yield Msg("save")
    yield Msg("close_run")
    yield Msg("unstage", det)


def plan_of(name: str, place: Path) -> Any:
    x, y = Motor("x", place), Motor("y", place)
    det = Detector("det", place, [x, y])
    base = SupplementalData(baseline=[Motor("z", place)])
    plans = {
        "grid": lambda: base(lp.grid_scan([det], y, 0, 2, 4, x, 0, 2, 5)),
        "adaptive": lambda: lp.adaptive_scan(
            [det], "det", x, start=-2, stop=4, min_step=0.05, max_step=0.8, target_delta=0.2, backstep=True
        ),
        "alternating": lambda: alternating(det, x),
        "without_checkpoints": lambda: without_checkpoints(det, x),
        "other": lambda: lp.scan([det], x, 0, 1, 7),
    }
    return plans[name]()


def die_at_write(number: int) -> None:
    """Have the process killed in the middle of a write to its journal: half of it is on disk."""
    write, left = os.pwrite, [number]

    def torn(fd: int, data: Any, offset: int) -> int:
        left[0] -= 1
        if left[0] == 0:
            write(fd, bytes(data)[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        return write(fd, data, offset)

    os.pwrite = torn


def engine_at(place: Path, seen: str) -> RunEngine:
    engine = RunEngine(journal=Journal(place / "journal", keep_days=1000), context_managers=[])
    out = os.open(place / seen, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    engine.subscribe(lambda name, doc: os.write(out, msgspec.json.encode([name, doc]) + b"\n"))
    return engine


def perform(order: dict[str, Any]) -> str:
    place = Path(order["place"])
    if order.get("kill_at_write"):
        die_at_write(order["kill_at_write"])
    if order["what"] == "run":
        engine, plan = engine_at(place, "seen"), plan_of(order["plan"], place)
        os.write(1, b"begun\n")
        engine(plan)
        return "done"
    book = Journal(place / "journal", keep_days=1000)
    orphans = book.orphans()
    if not orphans:
        return "nothing to do"
    if order["what"] == "close":
        for path in orphans:
            close_call(book, path)
        return "closed"
    assert len(orphans) == 1
    try:
        engine_at(place, "seen-again").recover(orphans[0], plan_of(order["plan"], place), catch_up=False)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "resumed"


def child(order: dict[str, Any], answer: int) -> None:
    try:
        said = perform(order)
    except BaseException:
        said = traceback.format_exc()
    os.write(answer, said.encode())
    os._exit(0)


def carry_out(order: dict[str, Any]) -> str:
    read_end, write_end = os.pipe()
    begun_read, begun_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(begun_write, 1)
        child(order, write_end)
    os.close(write_end)
    os.close(begun_write)
    if "kill_after_s" in order:
        os.read(begun_read, 1)
        time.sleep(order["kill_after_s"])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read().decode()
    os.close(begun_read)
    os.waitpid(pid, 0)
    return said or "killed"


def main() -> None:
    for line in sys.stdin:
        began = time.monotonic()
        said = carry_out(json.loads(line))
        print(json.dumps({"said": said, "took_s": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
