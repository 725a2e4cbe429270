"""
A program that scans with one fault; what it did stands on its standard output, one JSON document a line.

Run: ``python engine_program.py FAULT``; the faults are the functions of :class:`Faults` below.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from labspine.engine import Msg, RunEngine, RunEngineInterrupted

POINTS, AT = 12, 5


def say(**facts: Any) -> None:
    """Write one line."""
    # In one piece: devices may be stopped by several threads at once.
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Status:
    """Finishes in a thread of its own, or never."""

    def __init__(self, *, error: Exception | None = None, never: bool = False) -> None:
        self.done, self.success, self.error = False, False, error
        self._callbacks: list[Any] = []
        if not never:
            threading.Timer(0.005, self._finish).start()

    def add_callback(self, callback: Any) -> None:
        """Call back when it is done."""
        self._callbacks.append(callback)
        if self.done:
            callback(self)

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Why it failed."""
        return self.error

    def _finish(self) -> None:
        self.done, self.success = True, self.error is None
        for callback in self._callbacks:
            callback(self)


class Device:
    """A motor and a detector in one; tells when it is stopped, staged and unstaged."""

    parent = None
    position = 0.0

    def __init__(self, name: str, fault: str) -> None:
        self.name, self.fault, self.sets = name, fault, 0

    def set(self, value: float) -> Status:
        """Move."""
        self.sets += 1
        self.position = value
        if self.name == "x" and self.sets == AT:
            if self.fault == "set_raises":
                raise ValueError("the motor refuses")
            if self.fault == "set_fails_later":
                return Status(error=ValueError("the motor got stuck"))
            if self.fault == "status_never_finishes":
                return Status(never=True)
            if self.fault.startswith("signal_"):
                say(ready=True)
                return Status(never=True)
        return Status()

    def trigger(self) -> Status:
        """Measure."""
        return Status()

    def read(self) -> dict[str, Any]:
        """One number."""
        if self.name == "x" and self.sets == AT and self.fault == "read_raises":
            raise OSError("no answer from the detector")
        if self.name == "x" and self.sets == AT and self.fault == "read_blocks":
            time.sleep(0.6)
        if self.name == "x" and self.sets == AT - 1 and self.fault == "signal_read_blocks":
            say(ready=True)
            time.sleep(120)
        return {self.name: {"value": self.position, "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        """A number."""
        return {self.name: {"dtype": "number", "shape": [], "source": "program"}}

    def stage(self) -> list[Any]:
        """Get ready."""
        say(staged=self.name)
        return [self]

    def unstage(self) -> list[Any]:
        """Undo it."""
        if self.fault == "unstage_raises" and self.name == "x":
            raise OSError("cannot unstage")
        if "unstage_blocks" in self.fault and self.name == "x":
            time.sleep(120)
        say(unstaged=self.name)
        return [self]

    def stop(self, *, success: bool = False) -> Any:
        """Stop."""
        if self.fault == "stop_blocks" and self.name == "x":
            time.sleep(8)
        if self.fault == "signal_stop_blocks" and self.name == "x":
            time.sleep(120)
        if self.fault == "stop_raises" and self.name == "x":
            raise OSError("cannot stop")
        say(stopped=self.name)
        return None


class HangingStop(Device):
    """Its stop is a coroutine that never ends."""

    async def stop(self, *, success: bool = False) -> None:  # type: ignore[override]
        """Hang."""
        import asyncio

        await asyncio.Event().wait()


def plan(fault: str, devices: list[Device]) -> Any:
    """A scan by hand."""
    for device in devices:
        yield Msg("stage", device)
    yield Msg("open_run")
    for number in range(POINTS):
        yield Msg("checkpoint")
        if fault == "plan_raises" and number == AT:
            raise LookupError("a mistake in the plan")
        for device in devices:
            yield Msg("set", device, float(number), group="g")
        yield Msg("wait", None, group="g")
        yield Msg("create", name="primary")
        for device in devices:
            yield Msg("read", device)
        yield Msg("save")
    if fault == "plan_forgets":
        return
    yield Msg("close_run")
    for device in reversed(devices):
        yield Msg("unstage", device)


def watch(engine: RunEngine, fault: str) -> None:
    """Subscribe what goes wrong with documents, and what writes them down."""

    def bad(name: str, doc: dict[str, Any]) -> None:
        if name == ("stop" if fault.endswith("on_stop") else "event"):
            raise OSError("disk full")

    if fault in {"callback_raises", "callback_raises_on_stop"}:
        engine.subscribe(bad, critical=False)
    elif fault == "critical_callback_raises":
        engine.subscribe(bad, critical=True)
    elif fault == "callback_slow":
        engine.subscribe(lambda name, doc: time.sleep(0.1), background=True)
    elif fault == "callback_blocks":
        never = threading.Event()
        engine.subscribe(lambda name, doc: never.wait(20), background=True, limit=4)

    def written(name: str, doc: dict[str, Any]) -> None:
        if name in {"start", "event", "stop"}:
            say(document=name, exit_status=doc.get("exit_status"), reason=doc.get("reason"))

    engine.subscribe(written)


def main(fault: str) -> None:
    """Scan, then scan again to see that the engine is in order."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    engine = RunEngine(journal=os.environ.get("ENGINE_PROGRAM_JOURNAL"))
    engine.exit_limit_s = float(os.environ.get("ENGINE_PROGRAM_LIMIT_S", "5"))
    watch(engine, fault)
    if fault == "status_never_finishes":
        engine.device_timeout_s = 0.2
    if fault == "read_blocks":
        engine.watchdog_s = 0.1
    make = HangingStop if fault == "stop_hangs" else Device
    devices = [make("x", fault), Device("y", fault)]
    began = time.monotonic()
    try:
        engine(plan(fault, devices))
        say(result="success")
    except RunEngineInterrupted:
        say(result="interrupted", state=engine.state)
    except Exception as error:
        say(result=type(error).__name__, words=str(error))
    say(took_s=time.monotonic() - began, state=engine.state, problems=len(engine.cleanup_problems))
    if engine.state == "idle" and fault != "callback_blocks":
        say(next=len(engine([Msg("open_run"), Msg("close_run")])))
    if fault == "stop_blocks":
        while engine.state != "idle":
            time.sleep(0.05)
        say(next=len(engine([Msg("open_run"), Msg("close_run")])))
    for report in engine.subscribers:
        say(failed=report.failed, dropped=report.dropped, waiting=report.waiting)
    if fault in {"callback_blocks", "stop_hangs"}:
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
