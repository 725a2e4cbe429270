"""Devices and engines for the tests of the engine; small, real, and driven by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from labspine.engine import RunEngine

DEADLINE_S = 5.0


class HandStatus:
    """A status that the test finishes by hand, from any thread."""

    def __init__(self) -> None:
        self.done = False
        self.success = False
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Any], object]] = []

    def add_callback(self, callback: Callable[[Any], object]) -> None:
        if self.done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def exception(self, timeout: float | None = None) -> Exception | None:
        return self._error

    def finish(self, error: Exception | None = None) -> None:
        self.done, self.success, self._error = True, error is None, error
        for callback in self._callbacks:
            callback(self)


def done_status() -> HandStatus:
    status = HandStatus()
    status.finish()
    return status


class Detector:
    """Gives rising numbers."""

    parent = None

    def __init__(self, name: str = "det") -> None:
        self.name = name
        self.count = 0
        self.log: list[str] = []

    def trigger(self) -> HandStatus:
        self.count += 1
        return done_status()

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.count, "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"dtype": "integer", "shape": [], "source": "test"}}

    def stage(self) -> list[Any]:
        self.log.append("stage")
        return [self]

    def unstage(self) -> list[Any]:
        self.log.append("unstage")
        return [self]


class Motor(Detector):
    """Arrives at once, or, with ``hold``, when the test says so."""

    def __init__(self, name: str = "x", *, limits: tuple[float, float] = (0.0, 0.0)) -> None:
        super().__init__(name)
        self.position: float = 0.0
        self.limits = limits
        self.hold = False
        self.moves: list[tuple[Any, HandStatus]] = []
        self.stops: list[bool] = []

    def set(self, value: Any) -> HandStatus:
        status = HandStatus()
        self.moves.append((value, status))
        if not self.hold:
            self.position = value
            status.finish()
        return status

    def stop(self, *, success: bool = False) -> None:
        self.stops.append(success)

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.position, "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"dtype": "number", "shape": [], "source": "test"}}


class Signal(Detector):
    """Can be monitored; ``put`` calls back on the caller's thread."""

    def __init__(self, name: str = "sig") -> None:
        super().__init__(name)
        self.subscribers: list[Callable[..., object]] = []

    def subscribe(self, function: Callable[..., object]) -> None:
        self.subscribers.append(function)
        function(self.read())

    def clear_sub(self, function: Callable[..., object]) -> None:
        self.subscribers.remove(function)

    def put(self, value: int) -> None:
        self.count = value
        for subscriber in list(self.subscribers):
            subscriber(self.read())


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Wait for something, but not for ever."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {DEADLINE_S} s")
        time.sleep(0.002)


class Caller(threading.Thread):
    """Calls something in a thread and keeps what came of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.value: Any = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self._call()
        except BaseException as error:
            self.error = error

    def finished(self) -> Caller:
        self.join(DEADLINE_S)
        assert not self.is_alive(), "the call did not return"
        return self


def commands_of(engine: RunEngine) -> list[str]:
    """Keep the commands of all steps from now on; a command is in the list when its step begins."""
    seen: list[str] = []
    engine.msg_hook = lambda msg: seen.append(msg.command)
    return seen


class Docs(list[tuple[str, dict[str, Any]]]):
    """Receives documents."""

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        self.append((name, doc))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self]

    def of(self, wanted: str) -> list[dict[str, Any]]:
        return [doc for name, doc in self if name == wanted]


@pytest.fixture
def engine() -> Iterator[RunEngine]:
    with RunEngine(context_managers=[]) as made:
        yield made


@pytest.fixture
def docs(engine: RunEngine) -> Docs:
    kept = Docs()
    engine.subscribe(kept)
    return kept


@pytest.fixture
def kit() -> SimpleNamespace:
    return SimpleNamespace(
        Detector=Detector,
        Motor=Motor,
        Signal=Signal,
        HandStatus=HandStatus,
        Caller=Caller,
        Docs=Docs,
        until=until,
        commands_of=commands_of,
        done_status=done_status,
    )
