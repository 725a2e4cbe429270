"""What stands in a journal comes to a real broker: in order, once, whoever dies meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import labspine.plans as lp
from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.engine import Journal, RunEngine
from labspine.engine.journal.book import ENDED
from labspine.engine.journal.reader import is_read
from labspine.engine.journal.story import read_story
from labspine.errors import NotConnected
from labspine.lab import Announcer, DeviceRegistry, ScanServer, default_plans, simulated_beamline
from labspine.lab.scans.announcer import Order
from labspine.lab.scans.publisher import Publisher, journal_for_bus
from labspine.lab.scans.sender import Sender
from labspine.messages import BundleMessage, ScanMessage, ScanStatusMessage
from labspine.testing.waiting import wait_until

WAIT_S = 10.0


class Station:
    """One life of a process that has a journal, an engine and a publisher."""

    def __init__(self, url: str, place: Path, *, profile: Any = "seed", tag_url: str | None = None) -> None:
        self.connector = RedisConnector(url, name="station", profile=profile)
        self.registry: DeviceRegistry = simulated_beamline(speed=2000.0, seed=1)
        self.sender = Sender(self.connector)
        self.book = journal_for_bus(place, tag_url or url)
        self.publisher = Publisher(
            self.book,
            self.connector,
            self.sender,
            make_announcer=lambda gate: Announcer(gate, self.registry, bundled=profile == "bec4"),
        )
        self.engine = RunEngine(journal=self.book, context_managers=[])
        self.is_gone = False

    def scan(self, points: int = 5) -> str:
        self.publisher.begin(Order(rid="r", queue_id="q", plan_name="scan", user_metadata={"sample": "s"}))
        (uid,) = self.engine(lp.scan([self.registry["det"]], self.registry["x"], -1, 1, points))
        return str(uid)

    def told(self) -> None:
        """Wait until the broker has everything, and the publisher has noted that."""
        wait_until(
            lambda: all(is_read(path) for path in self.book.paths()), timeout_s=WAIT_S, what="the bus has all"
        )

    def leave(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            self.engine.close()
            self.sender.stop(2.0)
            self.publisher.stop()
            self.connector.shutdown()


@pytest.fixture
def new_station(fresh_broker_url: str, tmp_path: Path) -> Iterator[Callable[..., Station]]:
    made: list[Station] = []

    def make(**options: Any) -> Station:
        made.append(Station(fresh_broker_url, tmp_path / "journal", **options))
        return made[-1]

    yield make
    for station in made:
        station.leave()


class Ear:
    """Hears all points and states from the beginning."""

    def __init__(self, url: str, profile: Any = "seed") -> None:
        self.points: list[tuple[str, int]] = []
        self.states: list[tuple[str, str]] = []
        self.connector = RedisConnector(url, name="ear", profile=profile)
        for endpoint in (MessageEndpoints.scan_segment(), MessageEndpoints.scan_status()):
            self.connector.register(endpoint, self._take, from_start=True)

    def _take(self, message: MessageObject) -> None:
        value = message.value
        items = value.messages if isinstance(value, BundleMessage) else value
        for item in items if isinstance(items, list) else [items]:
            if isinstance(item, ScanMessage):
                self.points.append((item.scan_id, item.point_id))
            elif isinstance(item, ScanStatusMessage):
                self.states.append((item.scan_id or "", item.status))


@pytest.fixture
def ear(fresh_broker_url: str) -> Iterator[Ear]:
    listener = Ear(fresh_broker_url)
    yield listener
    listener.connector.shutdown()


def points(uid: str, count: int = 5) -> list[tuple[str, int]]:
    return [(uid, number) for number in range(count)]


def test_a_scan_is_announced_from_the_journal(new_station: Callable[..., Station], ear: Ear) -> None:
    station = new_station()
    station.publisher.start()

    uid = station.scan()
    station.told()

    wait_until(lambda: len(ear.points) >= 5 and len(ear.states) >= 2, timeout_s=WAIT_S, what="all is heard")
    assert ear.points == points(uid)
    assert ear.states == [(uid, "open"), (uid, "closed")]
    status = station.connector.get(MessageEndpoints.public_scan_info(uid))
    assert status.metadata["RID"] == "r"
    assert status.user_metadata == {"sample": "s"}
    assert [begun.scan_id for begun in station.publisher.begun] == [uid]
    assert station.publisher.open_scan_ids == []


def test_what_a_process_did_not_get_to_tell_is_told_by_the_next_one(
    new_station: Callable[..., Station], ear: Ear
) -> None:
    first = new_station()  # its publisher never runs
    uid = first.scan()
    first.leave()
    assert ear.points == []

    second = new_station()
    second.publisher.start()
    later = second.scan()
    second.told()

    wait_until(lambda: len(ear.points) >= 10, timeout_s=WAIT_S, what="both scans are heard")
    assert ear.points == points(uid) + points(later)
    assert [state for each, state in ear.states if each == uid] == ["open", "closed"]


@pytest.mark.parametrize("is_position_lost", [False, True])
def test_nothing_is_told_twice_by_the_next_process(
    new_station: Callable[..., Station], ear: Ear, tmp_path: Path, is_position_lost: bool
) -> None:
    first = new_station()
    first.publisher.start()
    uid = first.scan()
    first.told()
    first.leave()
    if is_position_lost:
        for path in (tmp_path / "journal").glob("*.position"):
            path.unlink()

    second = new_station()
    second.publisher.start()
    later = second.scan()
    second.told()

    wait_until(lambda: (later, "closed") in ear.states, timeout_s=WAIT_S, what="the later scan is heard")
    assert ear.points == points(uid) + points(later)
    assert len(ear.states) == 4


def test_pauses_and_who_ended_it_come_in_their_place(new_station: Callable[..., Station], ear: Ear) -> None:
    station = new_station()
    station.publisher.start()
    station.publisher.begin(Order(rid="r", queue_id="q", plan_name="scan"))

    def note(name: str, doc: dict[str, Any]) -> None:
        if name == "event" and doc["seq_num"] == 2:
            station.publisher.show_state("paused")
            station.publisher.show_state("open")
        if name == "event" and doc["seq_num"] == 4:
            station.publisher.end_as("user_completed", "user")

    station.engine(lp.scan([station.registry["det"]], station.registry["x"], -1, 1, 5), note)
    station.told()

    wait_until(lambda: len(ear.states) >= 4, timeout_s=WAIT_S, what="all states are heard")
    assert [state for _, state in ear.states] == ["open", "paused", "open", "user_completed"]


def test_journals_of_a_lab_on_another_broker_are_left_alone(
    new_station: Callable[..., Station], ear: Ear
) -> None:
    other = new_station(tag_url="redis://elsewhere:6379")
    other.scan()
    (foreign,) = other.book.paths()
    other.leave()

    station = new_station()
    station.publisher.start()
    uid = station.scan()

    wait_until(lambda: (uid, "closed") in ear.states, timeout_s=WAIT_S, what="our own scan is heard")
    assert ear.points == points(uid)
    assert not is_read(foreign)


def test_bundles_for_bec_clients_are_noted_as_told(
    fresh_broker_url: str, new_station: Callable[..., Station]
) -> None:
    listener = Ear(fresh_broker_url, profile="bec4")
    station = new_station(profile="bec4")
    station.publisher.start()

    uid = station.scan(30)
    station.told()

    wait_until(lambda: len(listener.points) >= 30, timeout_s=WAIT_S, what="all points are heard")
    assert listener.points == points(uid, 30)
    listener.connector.shutdown()


def test_a_password_in_the_address_does_not_change_whose_journal_it_is(tmp_path: Path) -> None:
    tags = {journal_for_bus(tmp_path, f"redis://{who}host:6379").tag for who in ("", "a:b@", "a:c@")}

    assert len(tags) == 1
    assert Journal(tmp_path).tag == ""


def test_devices_of_the_dead_come_to_rest_even_when_there_is_no_broker(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal", fsync="never")
    registry = simulated_beamline(speed=1.0)
    motor: Any = registry["x"]
    call = book.begin({"plan": "scan"})
    call.touch("set", motor)
    call.document("start", {"uid": "s", "time": 1.0, "scan_id": 4})
    call.give_back()
    motor.set(40.0)
    connector = RedisConnector(f"unix://{tmp_path}/nobody", timeout_s=0.2, patience_s=0.1)
    server = ScanServer(connector, registry, default_plans(), journal=book)
    try:
        with pytest.raises(NotConnected):
            server.start()

        assert not motor.is_moving
        (path,) = book.paths(ENDED)
        (run,) = read_story(path).runs.values()
        assert run.stop is not None
        assert "process died at" in run.stop["reason"]
    finally:
        server.stop(0.5)
        connector.shutdown()
