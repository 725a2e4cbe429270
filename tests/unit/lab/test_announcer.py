"""Documents of the real engine become messages on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from bluesky.plans import count, scan

from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.engine import Msg, RunEngine
from labspine.lab import Announcer, DeviceRegistry, simulated_beamline
from labspine.lab.scans.announcer import Order, plain
from labspine.lab.scans.sender import Sender
from labspine.messages import ScanMessage, ScanStatusMessage


class Bench:
    def __init__(self, connector: RedisConnector, registry: DeviceRegistry) -> None:
        self.registry = registry
        self.sender = Sender(connector)
        self.announcer = Announcer(self.sender, registry)
        self.loop = asyncio.new_event_loop()
        self.engine = RunEngine(context_managers=[], loop=self.loop)
        self.engine.subscribe(self.announcer)
        self.heard: list[Any] = []
        self.documents: list[tuple[str, Any]] = []
        for endpoint in (MessageEndpoints.scan_segment(), MessageEndpoints.scan_status()):
            connector.register(endpoint, self._take, from_start=True)
        self.connector = connector

    def _take(self, message: MessageObject) -> None:
        self.heard.append(message.value)

    def run(self, plan: Any) -> None:
        self.announcer.begin(Order(rid="r", queue_id="q", plan_name="p", user_metadata={"sample": "s"}))
        self.engine(plan, lambda name, doc: self.documents.append((name, doc)))
        assert self.sender.flush(5.0)

    def points(self, scan_id: str) -> list[ScanMessage]:
        found: list[ScanMessage] = []
        while True:
            place = MessageEndpoints.public_scan_segment(scan_id, len(found))
            message = self.connector.get(place)
            if message is None:
                return found
            found.append(message)

    def info(self, scan_id: str) -> ScanStatusMessage:
        status: ScanStatusMessage = self.connector.get(MessageEndpoints.public_scan_info(scan_id))
        return status


@pytest.fixture
def bench(fresh_broker_url: str) -> Iterator[Bench]:
    with RedisConnector(fresh_broker_url) as connector:
        bench = Bench(connector, simulated_beamline(speed=1000.0, seed=1))
        yield bench
        bench.sender.stop()
        bench.loop.call_soon_threadsafe(bench.loop.stop)
        wait_until(lambda: not bench.loop.is_running(), "end of the engine's loop")
        bench.loop.close()


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.002)


def uids(bench: Bench) -> list[str]:
    return [doc["uid"] for name, doc in bench.documents if name == "start"]


def test_points_carry_what_the_documents_say(bench: Bench) -> None:
    r = bench.registry
    bench.run(scan([r["det"]], r["x"], 0, 1, 3))
    (uid,) = uids(bench)
    events = [doc for name, doc in bench.documents if name == "event"]
    points = bench.points(uid)
    assert [p.point_id for p in points] == [0, 1, 2]
    for event, message in zip(events, points, strict=True):
        flat = {signal: part for parts in message.data.values() for signal, part in parts.items()}
        assert {signal: part["value"] for signal, part in flat.items()} == event["data"]
        assert {signal: part["timestamp"] for signal, part in flat.items()} == event["timestamps"]
    status = bench.info(uid)
    assert (status.status, status.num_monitored_readouts, status.info["exit_status"]) == (
        "closed",
        3,
        "success",
    )
    assert status.info["hints"]["fields"] == {"x": ["x"], "det": ["det"]}


def test_point_measured_again_after_a_pause_is_announced_once(bench: Bench) -> None:
    det = bench.registry["det"]
    pauses: list[int] = []

    def plan() -> Iterator[Msg]:
        yield Msg("open_run")
        for number in range(3):
            yield Msg("checkpoint")
            yield Msg("create", name="primary")
            yield Msg("read", det)
            yield Msg("save")
            if number == 1 and not pauses:
                pauses.append(number)
                yield Msg("pause")  # after save and before the next checkpoint: the point is taken again
        yield Msg("close_run")

    bench.announcer.begin(Order(rid="r", queue_id="q", plan_name="p"))
    take = lambda name, doc: bench.documents.append((name, doc))  # noqa: E731
    with pytest.raises(Exception, match="interrupted"):
        bench.engine(plan(), take)
    bench.announcer.show_state("paused")
    bench.announcer.show_state("open")
    bench.engine.resume()
    assert bench.sender.flush(5.0)
    (uid,) = uids(bench)
    seq_nums = [doc["seq_num"] for name, doc in bench.documents if name == "event"]
    assert seq_nums == [1, 2, 2, 3], "the engine takes the point again"
    status = bench.info(uid)
    assert (status.num_monitored_readouts, status.info["repeated_readouts"]) == (3, 1)
    ends = lambda: [m for m in bench.heard if getattr(m, "status", "") == "closed"]  # noqa: E731
    wait_until(lambda: ends() != [], "the last status")
    wait_until(lambda: sum(isinstance(m, ScanMessage) for m in bench.heard) >= 3, "three points")
    segments = [m.point_id for m in bench.heard if isinstance(m, ScanMessage)]
    assert segments == [0, 1, 2]


def test_units_of_devices_that_the_start_does_not_name_follow_with_the_first_point(bench: Bench) -> None:
    det = bench.registry["det"]
    bench.run(
        [Msg("open_run"), Msg("create", name="primary"), Msg("read", det), Msg("save"), Msg("close_run")]
    )
    (uid,) = uids(bench)
    assert bench.info(uid).info["data_keys"]["det"]["det"]["units"] == "counts"
    assert len(bench.points(uid)) == 1


def test_two_runs_at_once_are_kept_apart(bench: Bench) -> None:
    det, i0 = bench.registry["det"], bench.registry["i0"]

    def plan() -> Iterator[Msg]:
        for run in "ab":
            yield Msg("open_run", run=run)
        for run, device in (("a", det), ("b", i0), ("a", det)):
            yield Msg("create", name="primary", run=run)
            yield Msg("read", device, run=run)
            yield Msg("save", run=run)
        for run in "ab":
            yield Msg("close_run", run=run)

    bench.run(plan())
    first, second = uids(bench)
    assert [sorted(p.data) for p in bench.points(first)] == [["det"], ["det"]]
    assert [sorted(p.data) for p in bench.points(second)] == [["i0"]]
    assert [s.scan_id for s in bench.announcer.begun] == [first, second]
    assert bench.announcer.open_scan_ids == []


def test_event_pages_are_taken_apart(bench: Bench) -> None:
    bench.announcer.begin(Order(rid="r", queue_id="q", plan_name="fly"))
    bench.announcer("start", {"uid": "run", "time": 1.0, "plan_name": "fly"})
    bench.announcer("descriptor", {
        "uid": "d", "run_start": "run", "name": "primary", "object_keys": {"det": ["det"]},
        "data_keys": {"det": {"dtype": "number", "shape": []}},
    })  # fmt: skip
    page = {
        "descriptor": "d",
        "seq_num": [1, 2],
        "data": {"det": np.array([3, 4])},
        "timestamps": {"det": [1.0, 2.0]},
    }
    bench.announcer("event_page", page)
    bench.announcer("stop", {"run_start": "run", "exit_status": "success"})
    assert bench.sender.flush(5.0)
    values = [p.data["det"]["det"] for p in bench.points("run")]
    assert values == [{"value": 3, "timestamp": 1.0}, {"value": 4, "timestamp": 2.0}]
    assert bench.info("run").num_monitored_readouts == 2


def test_documents_of_unknown_runs_are_ignored(bench: Bench) -> None:
    bench.announcer("descriptor", {"uid": "d", "run_start": "nobody", "object_keys": {}})
    bench.announcer("event", {"descriptor": "d", "seq_num": 1, "data": {}, "timestamps": {}})
    bench.announcer("stop", {"run_start": "nobody", "exit_status": "success"})
    bench.announcer("resource", {})
    assert bench.sender.backlog == 0


def test_arrays_stay_arrays_and_numbers_become_plain(bench: Bench) -> None:
    bench.run(count([bench.registry["det"]]))
    made = plain({"a": np.float64(1.5), "b": (np.int32(2), [np.bool_(True)]), "c": np.arange(3)})
    assert made["a"] == 1.5  # type: ignore[index]
    assert type(made["a"]) is float  # type: ignore[index]
    assert made["b"] == [2, [True]]  # type: ignore[index]
    assert isinstance(made["c"], np.ndarray)  # type: ignore[index]
