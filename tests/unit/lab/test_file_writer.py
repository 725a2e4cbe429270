"""The file writer on a real broker: every point of every scan, whatever happens on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
import xarray

from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import ConfigError, InvalidArgument
from labspine.ids import new_uid
from labspine.lab.files.writer import FileWriter
from labspine.messages import (
    AlarmMessage,
    BundleMessage,
    FileMessage,
    Message,
    ScanBaselineMessage,
    ScanMessage,
    ScanStatusMessage,
)
from labspine.testing import wait_until

START_UTC_S = 1_750_000_000.0


class Scan:
    """Says on the bus what a scan server says, step by step."""

    def __init__(self, connector: RedisConnector, *, number: int = 1, baseline: bool = False) -> None:
        self.connector = connector
        self.scan_id = new_uid()
        self.number = number
        self.baseline = ["temp"] if baseline else []

    def status(self, status: str, **fields: object) -> None:
        message = ScanStatusMessage(
            scan_id=self.scan_id,
            status=status,
            scan_number=self.number,
            scan_name="scan",
            readout_priority={"monitored": ["samx", "det"], "baseline": self.baseline},
            info={
                "plan_name": "scan",
                "motors": ["samx"],
                "detectors": ["det"],
                "data_keys": {"samx": {"samx": {"units": "mm"}}},
                "start_utc_s": START_UTC_S,
            },
            **fields,
        )
        self.connector.set_and_publish(MessageEndpoints.scan_status(), message)

    def point(self, number: int, value: float | None = None) -> ScanMessage:
        data = {
            "samx": {"samx": {"value": number * 0.1, "timestamp": START_UTC_S}},
            "det": {"det": {"value": number * 10 if value is None else value, "timestamp": START_UTC_S}},
        }
        return ScanMessage(point_id=number, scan_id=self.scan_id, data=data)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.connector.send(MessageEndpoints.scan_segment(), message)

    def keep(self, message: ScanMessage) -> None:
        endpoint = MessageEndpoints.public_scan_segment(self.scan_id, message.point_id)
        self.connector.set(endpoint, message, expire_s=60)

    def run(self, count: int) -> None:
        self.status("open", num_points=count)
        for number in range(count):
            self.say(self.point(number))
        self.status("closed", num_points=count, num_monitored_readouts=count)


@pytest.fixture
def connector(fresh_broker_url: str) -> Iterator[RedisConnector]:
    with RedisConnector(fresh_broker_url) as found:
        yield found


@pytest.fixture
def make_writer(fresh_broker_url: str, tmp_path: Path) -> Iterator[Callable[..., FileWriter]]:
    made: list[tuple[FileWriter, RedisConnector]] = []

    def make(**options: object) -> FileWriter:
        own = RedisConnector(fresh_broker_url)
        options.setdefault("directory", tmp_path / "data")
        options.setdefault("settle_s", 0.3)
        writer = FileWriter(own, **options)  # type: ignore[arg-type]
        made.append((writer, own))
        writer.start()
        return writer

    yield make
    for writer, own in made:
        writer.stop()
        own.shutdown()


def announced(connector: RedisConnector, scan: Scan) -> FileMessage | None:
    found = connector.get(MessageEndpoints.public_file(scan.scan_id, "master"))
    return found if isinstance(found, FileMessage) and found.done else None


def finished(connector: RedisConnector, scan: Scan, timeout_s: float = 5.0) -> FileMessage:
    wait_until(lambda: announced(connector, scan), timeout_s=timeout_s, what="the announcement of the file")
    found = announced(connector, scan)
    assert found is not None
    return found


def test_a_scan_becomes_two_files_that_are_announced(
    connector: RedisConnector, make_writer: Callable[..., FileWriter], tmp_path: Path
) -> None:
    told: list[FileMessage] = []

    def listen(message_object: MessageObject) -> None:
        told.append(message_object.value)

    connector.register(MessageEndpoints.file_event("master"), cb=listen)
    make_writer()
    scan = Scan(connector)
    scan.run(20)

    message = finished(connector, scan)
    wait_until(lambda: len(told) == 2, what="both announcements")

    assert [m.done for m in told] == [False, True]
    assert message == told[1]
    assert message.successful
    assert message.is_master_file
    assert message.file_path == str(tmp_path / "data/2025/06/15/00001_scan.h5")
    assert message.hinted_h5_entries == {"data": "/entry/data"}
    assert message.metadata["scan_id"] == scan.scan_id
    assert message.metadata["missing_points"] == []
    with xarray.open_dataset(message.file_path) as found:
        np.testing.assert_allclose(found.det.sel(samx=0.5, method="nearest"), 50)
        assert found.sizes == {"samx": 20}
        assert found.samx.attrs["units"] == "mm"
    table = pandas.read_csv(message.metadata["csv_path"])
    assert list(table.det) == [10 * n for n in range(20)]


def test_the_end_is_not_waited_for_when_all_points_are_there(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    make_writer(settle_s=60)
    scan = Scan(connector)
    scan.run(5)
    assert finished(connector, scan, timeout_s=3.0).successful


def test_points_that_come_after_the_end_are_waited_for(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    writer = make_writer(settle_s=10)
    scan = Scan(connector, baseline=True)
    scan.status("open")
    scan.status("closed", num_monitored_readouts=3)
    scan.say(*(scan.point(n) for n in range(3)))
    wait_until(lambda: writer._book.open_files, what="the file")
    assert announced(connector, scan) is None, "the baseline has not come yet"
    baseline = {"temp": {"temp": {"value": 295.0, "timestamp": START_UTC_S}}}
    connector.set_and_publish(
        MessageEndpoints.scan_baseline(), ScanBaselineMessage(scan_id=scan.scan_id, data=baseline)
    )

    message = finished(connector, scan)

    assert message.successful
    with h5py.File(message.file_path) as file:
        assert file["entry/baseline/temp/temp"][()] == 295.0


def test_points_before_the_first_status_are_kept(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    make_writer()
    scan = Scan(connector)
    scan.say(scan.point(0), scan.point(1))
    scan.run(4)
    assert finished(connector, scan).metadata["num_points"] == 4


def test_bundles_are_taken_apart(connector: RedisConnector, make_writer: Callable[..., FileWriter]) -> None:
    make_writer()
    scan = Scan(connector)
    scan.status("open")
    scan.say(BundleMessage(messages=[scan.point(0), scan.point(1)]), BundleMessage(messages=[scan.point(2)]))
    scan.status("closed", num_monitored_readouts=3)
    assert finished(connector, scan).metadata["num_points"] == 3


def test_the_later_reading_of_a_point_wins(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    make_writer()
    scan = Scan(connector)
    scan.status("open")
    scan.say(scan.point(0), scan.point(1, value=-1), scan.point(1, value=7), scan.point(2))
    scan.status("closed", num_monitored_readouts=3)
    message = finished(connector, scan)
    with xarray.open_dataset(message.file_path) as found:
        assert list(found.det.values) == [0, 7, 20]
    assert list(pandas.read_csv(message.metadata["csv_path"]).det) == [0, 7, 20]


def test_lost_points_are_fetched_from_where_the_scan_server_keeps_them(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    make_writer()
    scan = Scan(connector)
    scan.status("open")
    scan.say(scan.point(0), scan.point(3))
    scan.keep(scan.point(1))
    scan.keep(scan.point(2))
    scan.status("closed", num_monitored_readouts=4)

    message = finished(connector, scan)

    assert message.successful
    assert message.metadata["missing_points"] == []
    with xarray.open_dataset(message.file_path) as found:
        assert list(found.det.values) == [0, 10, 20, 30]


def test_points_that_are_nowhere_are_nan_and_told(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    alarms: list[AlarmMessage] = []
    connector.register(MessageEndpoints.alarm(), cb=lambda found: alarms.append(found.value))
    make_writer()
    scan = Scan(connector)
    scan.status("open")
    scan.say(scan.point(0), scan.point(2))
    scan.status("closed", num_monitored_readouts=4)

    message = finished(connector, scan)

    assert not message.successful
    assert message.metadata["missing_points"] == [1, 3]
    with h5py.File(message.file_path) as file:
        np.testing.assert_array_equal(file["entry/data/det"], [0, np.nan, 20])
        assert list(file["entry/missing_points"]) == [1, 3]
    wait_until(lambda: alarms, what="the alarm")
    assert "2 points of scan 1 are missing" in alarms[0].info.error_message


@pytest.mark.parametrize("ending", ["aborted", "halted", "user_completed"])
def test_a_scan_that_ends_early_is_a_complete_file(
    connector: RedisConnector, make_writer: Callable[..., FileWriter], ending: str
) -> None:
    make_writer()
    scan = Scan(connector)
    scan.status("open", num_points=100)
    scan.say(scan.point(0), scan.point(1))
    scan.status(ending, num_points=100, num_monitored_readouts=2)

    message = finished(connector, scan)

    assert message.successful
    assert message.metadata["exit_status"] == ending
    with h5py.File(message.file_path) as file:
        assert file["entry/exit_status"].asstr()[()] == ending


def test_a_writer_that_starts_in_the_middle_has_the_whole_scan(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    scan = Scan(connector)
    scan.status("open", num_points=6)
    scan.say(*(scan.point(n) for n in range(3)))

    make_writer(catch_up_s=0)
    scan.say(*(scan.point(n) for n in range(3, 6)))
    scan.status("closed", num_points=6, num_monitored_readouts=6)

    message = finished(connector, scan)
    assert message.successful
    with xarray.open_dataset(message.file_path) as found:
        assert list(found.det.values) == [0, 10, 20, 30, 40, 50]


def test_a_scan_that_ran_without_a_writer_is_written_later_and_only_once(
    connector: RedisConnector, make_writer: Callable[..., FileWriter], tmp_path: Path
) -> None:
    scan = Scan(connector)
    scan.run(5)

    first = make_writer()
    assert finished(connector, scan).metadata["num_points"] == 5
    first.stop()
    make_writer()
    later = Scan(connector, number=2)
    later.run(2)
    finished(connector, later)

    names = sorted(path.name for path in (tmp_path / "data").rglob("*.h5"))
    assert names == ["00001_scan.h5", "00002_scan.h5"]


def test_a_writer_that_ends_before_the_scan_says_so(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    writer = make_writer()
    scan = Scan(connector)
    scan.status("open", num_points=6)
    scan.say(scan.point(0))
    wait_until(lambda: writer._book.open_files, what="the file")
    wait_until(writer._inbox.empty, what="an empty inbox")
    writer.stop()

    message = finished(connector, scan)

    assert not message.successful
    assert message.metadata["exit_status"] == "interrupted"
    with h5py.File(message.file_path) as file:
        assert file["entry/exit_status"].asstr()[()] == "interrupted"


def test_several_scans_at_once_are_kept_apart(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    make_writer()
    scans = [Scan(connector, number=n) for n in (1, 2, 3)]
    for scan in scans:
        scan.status("open")
    for number in range(4):
        for scan in scans:
            scan.say(scan.point(number, value=scan.number * 100 + number))
    for scan in scans:
        scan.status("closed", num_monitored_readouts=4)
    for scan in scans:
        with xarray.open_dataset(finished(connector, scan).file_path) as found:
            assert list(found.det.values) == [scan.number * 100 + n for n in range(4)]


def test_trouble_with_the_disk_is_an_alarm_and_the_next_scan_is_written(
    connector: RedisConnector, make_writer: Callable[..., FileWriter], tmp_path: Path
) -> None:
    alarms: list[AlarmMessage] = []
    connector.register(MessageEndpoints.alarm(), cb=lambda found: alarms.append(found.value))
    writer = make_writer()
    # A file stands where the folder of the year belongs: no mkdir can succeed, not even for root.
    (tmp_path / "data" / "2025").write_text("in the way")
    Scan(connector).run(3)
    wait_until(lambda: alarms, what="the alarm")
    assert "no file can be written for scan 1" in alarms[0].info.error_message

    (tmp_path / "data" / "2025").unlink()
    second = Scan(connector, number=2)
    second.run(3)

    assert finished(connector, second).successful
    assert writer._thread.is_alive()


def test_a_hostile_point_number_does_not_end_the_writer(
    connector: RedisConnector, make_writer: Callable[..., FileWriter]
) -> None:
    make_writer()
    scan = Scan(connector)
    scan.status("open")
    scan.say(scan.point(0), scan.point(2**40))
    scan.status("closed", num_monitored_readouts=1)
    assert not finished(connector, scan).successful

    second = Scan(connector, number=2)
    second.run(2)
    assert finished(connector, second).successful


def test_a_directory_that_cannot_be_written_is_refused(connector: RedisConnector, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write data files in"):
        FileWriter(connector, directory=tmp_path / "file")


def test_negative_times_are_refused(connector: RedisConnector, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="must not be negative"):
        FileWriter(connector, directory=tmp_path, settle_s=-1)


def test_it_shows_what_it_does(
    connector: RedisConnector, make_writer: Callable[..., FileWriter], tmp_path: Path
) -> None:
    make_writer()
    status = connector.get(MessageEndpoints.service_status("file_writer"))
    assert status.info["directory"] == str(tmp_path / "data")
    assert status.info["pid"] == os.getpid()
