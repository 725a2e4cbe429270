"""The data files of a scan: HDF5 and CSV, read back with the programs that people use."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pandas
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from labspine.errors import InvalidArgument
from labspine.lab.files.columns import Columns, ScanFacts
from labspine.lab.files.csv_file import CsvFile
from labspine.lab.files.nexus import NexusFile
from labspine.lab.files.nexus_disk import ForgivingFile
from labspine.lab.files.nexus_grid import grid_order
from labspine.lab.files.scan_files import ScanFiles, find_written
from labspine.messages import ScanStatusMessage

# A file that makes its reader warn is not good enough.
pytestmark = pytest.mark.filterwarnings("error::UserWarning")

START_UTC_S = 1_750_000_000.0


def facts_of(**changes: object) -> ScanFacts:
    values: dict[str, object] = {
        "scan_id": "5e1f0a2c-0000-4000-8000-000000000001",
        "number": 7,
        "name": "scan",
        "motors": ("samx",),
        "detectors": ("det",),
        "fields": {"samx": ["samx"], "det": ["det"]},
        "data_keys": {"samx": {"samx": {"units": "mm"}}, "det": {"det": {"units": "counts"}}},
        "start_utc_s": START_UTC_S,
        "info": {"plan_name": "scan", "weird": {1, 2}},
        "user_metadata": {"sample_name": "Si 111", "temperature": 4.2, "list": [1, 2]},
    }
    return ScanFacts(**{**values, **changes})  # type: ignore[arg-type]


def reading(value: object, number: int = 0) -> dict[str, object]:
    return {"value": value, "timestamp": START_UTC_S + number}


def point(number: int, **signals: object) -> dict[str, dict[str, dict[str, object]]]:
    found = {"samx": {"samx": reading(number * 0.5, number)}, "det": {"det": reading(100.0 - number, number)}}
    for name, value in signals.items():
        found.setdefault(name, {})[name] = reading(value, number)
    return found


def write_line(path: Path, facts: ScanFacts, count: int = 5, **signals: object) -> None:
    file = NexusFile(path, facts)
    for number in range(count):
        file.write_point(number, point(number, **signals))
    file.close(exit_status="closed", end_utc_s=START_UTC_S + 10)


@pytest.mark.parametrize("group", ["entry/data", None])
def test_xarray_opens_a_line_scan_with_the_motor_as_coordinate(tmp_path: Path, group: str | None) -> None:
    write_line(tmp_path / "a.h5", facts_of())

    with xarray.open_dataset(tmp_path / "a.h5", group=group, engine="h5netcdf") as found:
        assert found.det.dims == ("samx",)
        assert list(found.samx.values) == [0, 0.5, 1, 1.5, 2]
        assert list(found.det.values) == [100, 99, 98, 97, 96]
        assert list(found.sel(samx=1.0).det.values.reshape(-1)) == [98]
        assert found.samx.attrs["units"] == "mm"
        assert found.det.attrs["units"] == "counts"
        assert set(found.coords) == {"samx", "point", "time"}
        assert set(found.data_vars) == {"det"}
        assert found.time.values[0] == np.datetime64("2025-06-15T15:06:40")


def test_xarray_opens_it_without_being_told_the_engine(tmp_path: Path) -> None:
    write_line(tmp_path / "a.h5", facts_of())
    with xarray.open_dataset(tmp_path / "a.h5") as found:
        assert found.det.dims == ("samx",)


def test_the_file_follows_nexus(tmp_path: Path) -> None:
    write_line(tmp_path / "a.h5", facts_of(), monitor=3)

    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["NX_class"] == "NXroot"
        entry = file[file.attrs["default"]]
        data = entry[entry.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert data.attrs["NX_class"] == "NXdata"
        assert data.attrs["signal"] == "det"
        assert list(data.attrs["auxiliary_signals"]) == ["monitor"]
        assert list(data.attrs["axes"]) == ["samx"]
        assert entry["instrument"].attrs["NX_class"] == "NXinstrument"
        assert entry["instrument/samx"].attrs["NX_class"] == "NXpositioner"
        assert entry["instrument/det"].attrs["NX_class"] == "NXdetector"
        assert entry["instrument/det/det"] == data["det"]
        assert list(entry["instrument/det/det_timestamp"][:3]) == [
            START_UTC_S,
            START_UTC_S + 1,
            START_UTC_S + 2,
        ]
        assert entry["sample"].attrs["NX_class"] == "NXsample"
        assert entry["sample/name"].asstr()[()] == "Si 111"
        assert entry["exit_status"].asstr()[()] == "closed"
        assert entry["start_time"].asstr()[()] == "2025-06-15T15:06:40.000+00:00"
        assert entry["duration"][()] == 10
        assert entry["scan_number"][()] == 7
        assert json.loads(entry["info"].asstr()[()])["plan_name"] == "scan"
        assert entry["user_metadata/temperature"][()] == 4.2
        assert json.loads(entry["user_metadata/list"].asstr()[()]) == [1, 2]


@pytest.mark.parametrize("group", ["entry/data", None])
def test_it_can_be_read_while_it_is_written(tmp_path: Path, group: str | None) -> None:
    file = NexusFile(tmp_path / "a.h5", facts_of())
    try:
        for number in range(3):
            file.write_point(number, point(number))
            file.flush()
            with xarray.open_dataset(tmp_path / "a.h5", group=group, engine="h5netcdf") as found:
                assert found.sizes["samx"] == number + 1
                assert found.det.values[-1] == 100 - number
            assert read_in_another_process(tmp_path / "a.h5") == f"{number + 1} {100 - number}.0"
    finally:
        file.close(exit_status="closed")


READER = """
import sys, h5py
with h5py.File(sys.argv[1], "r") as file:
    column = file["entry/data/det"]
    print(len(column), column[-1])
"""


def read_in_another_process(path: Path) -> str:
    answer = subprocess.run([sys.executable, "-c", READER, path], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from labspine.lab.files.nexus import NexusFile
from labspine.lab.files.columns import ScanFacts

file = NexusFile(Path(sys.argv[1]), ScanFacts(scan_id="x", motors=("samx",)))
for number in range(2000):
    data = {"samx": {"samx": {"value": number}}, "det": {"det": {"value": -number}}}
    file.write_point(number, data)
    if number % 10 == 0:
        file.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_whose_writer_was_killed_opens_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    subprocess.run([sys.executable, "-c", KILLED_WRITER, path], check=False, timeout=60)

    with xarray.open_dataset(path, group="entry/data", engine="h5netcdf") as found:
        assert found.sizes["samx"] >= 1991
        np.testing.assert_array_equal(found.samx.values[:1991], np.arange(1991))
        np.testing.assert_array_equal(found.det.values[:1991], -np.arange(1991))


def test_points_that_are_left_out_are_nan_and_repeated_ones_replace(tmp_path: Path) -> None:
    file = NexusFile(tmp_path / "a.h5", facts_of())
    for number in (0, 3, 1):
        file.write_point(number, point(number, det=50 + number))
    file.write_point(3, point(3, det=-1))
    file.close(exit_status="closed", missing=[2])

    with xarray.open_dataset(tmp_path / "a.h5", group="entry/data", engine="h5netcdf") as found:
        np.testing.assert_array_equal(found.det.values, [50, 51, np.nan, -1])
        assert list(found.point.values) == [0, 1, 2, 3]
    with h5py.File(tmp_path / "a.h5") as written:
        assert list(written["entry/missing_points"]) == [2]
        assert written["entry/number_of_points"][()] == 3


@pytest.mark.parametrize("point_id", [-1, 10_000_000, 2**40])
def test_absurd_point_numbers_are_refused(tmp_path: Path, point_id: int) -> None:
    file = NexusFile(tmp_path / "a.h5", facts_of())
    with pytest.raises(InvalidArgument, match="point number"):
        file.write_point(point_id, point(0))
    file.close(exit_status="closed")


def test_arrays_images_text_and_flags_keep_what_they_are(tmp_path: Path) -> None:
    spectrum = np.arange(16, dtype=np.uint16)
    image = np.ones((4, 6), dtype=np.float32)
    file = NexusFile(tmp_path / "a.h5", facts_of())
    for number in range(3):
        file.write_point(
            number,
            point(
                number, mca=spectrum + number, cam=image * number, state=f"ö{number}", on=True, listed=[1, 2]
            ),
        )
    file.close(exit_status="closed")

    with xarray.open_dataset(tmp_path / "a.h5", group="entry/data", engine="h5netcdf") as found:
        assert found.mca.dims == ("samx", "mca_dim_1")
        assert found.mca.dtype == np.uint16
        assert found.cam.shape == (3, 4, 6)
        assert found.cam.dtype == np.float32
        assert list(found.mca.values[2][:3]) == [2, 3, 4]
        assert list(found.state.values) == ["ö0", "ö1", "ö2"]
        assert list(found.on.values) == [1, 1, 1]
        assert found.listed.shape == (3, 2)


def test_a_signal_that_appears_later_is_nan_before(tmp_path: Path) -> None:
    file = NexusFile(tmp_path / "a.h5", facts_of())
    file.write_point(0, point(0))
    file.write_point(1, point(1, late=5))
    file.close(exit_status="closed")
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as found:
        np.testing.assert_array_equal(found.late.values, [np.nan, 5])


def test_a_reading_of_another_shape_is_told_and_the_rest_is_written(tmp_path: Path) -> None:
    file = NexusFile(tmp_path / "a.h5", facts_of())
    file.write_point(0, point(0, mca=np.zeros(4)))
    file.write_point(1, point(1, mca=np.zeros(5)))
    file.write_point(2, point(2, mca=7.0))
    file.close(exit_status="closed")
    with h5py.File(tmp_path / "a.h5") as written:
        assert list(written["entry/data/mca"].attrs["points_of_other_shape"]) == [1, 2]
        assert list(written["entry/data/det"]) == [100, 99, 98]


def test_two_motors_are_coordinates_of_the_points(tmp_path: Path) -> None:
    facts = facts_of(motors=("samx", "samy"))
    write_line(tmp_path / "a.h5", facts, samy=3.0)
    with xarray.open_dataset(tmp_path / "a.h5", group="entry/data", engine="h5netcdf") as found:
        assert found.det.dims == ("point",)
        assert {"samx", "samy", "point", "time"} == set(found.coords)
        assert list(found.samy.values) == [3] * 5


def test_a_scan_without_motors_counts_points(tmp_path: Path) -> None:
    write_line(tmp_path / "a.h5", facts_of(motors=(), name="count"))
    with xarray.open_dataset(tmp_path / "a.h5", group="entry/data", engine="h5netcdf") as found:
        assert found.det.dims == ("point",)


@pytest.mark.parametrize("snake", [False, True])
def test_a_complete_grid_scan_is_a_grid_too(tmp_path: Path, snake: bool) -> None:
    facts = facts_of(motors=("samy", "samx"), shape=(3, 4), name="grid_scan")
    file = NexusFile(tmp_path / "a.h5", facts)
    number = 0
    for row in range(3):
        columns = range(4) if not (snake and row % 2) else range(3, -1, -1)
        for column in columns:
            data = {
                "samy": {"samy": reading(row * 10.0)},
                "samx": {"samx": reading(column + 0.001 * row)},
                "det": {"det": reading(row * 100 + column)},
            }
            file.write_point(number, data)
            number += 1
    entries = file.close(exit_status="closed")

    assert entries == ["/entry/data", "/entry/grid"]
    with xarray.open_dataset(tmp_path / "a.h5", group="entry/grid", engine="h5netcdf") as found:
        assert found.det.dims == ("samy", "samx")
        expected = [[0, 1, 2, 3], [100, 101, 102, 103], [200, 201, 202, 203]]
        np.testing.assert_array_equal(found.det.values, expected)
        np.testing.assert_allclose(found.samx.values, [0, 1, 2, 3], atol=0.002)
    with xarray.open_dataset(tmp_path / "a.h5", group="entry/data", engine="h5netcdf") as flat:
        assert flat.det.shape == (12,)
        assert list(flat.attrs["shape"]) == [3, 4]


def test_an_aborted_grid_scan_stays_flat(tmp_path: Path) -> None:
    facts = facts_of(motors=("samy", "samx"), shape=(3, 4))
    file = NexusFile(tmp_path / "a.h5", facts)
    for number in range(5):
        file.write_point(number, point(number, samy=0.0))
    assert file.close(exit_status="aborted", reason="user") == ["/entry/data"]
    with h5py.File(tmp_path / "a.h5") as written:
        assert "grid" not in written["entry"]
        assert written["entry/exit_status"].asstr()[()] == "aborted"
        assert written["entry/exit_reason"].asstr()[()] == "user"


def test_the_turns_of_a_snake_in_three_dimensions_are_undone() -> None:
    shape = (2, 3, 4)
    places = []
    for a in range(2):
        for b in range(3) if a % 2 == 0 else range(2, -1, -1):
            forward = (len(places) // 4) % 2 == 0
            places += [(a, b, c) for c in (range(4) if forward else range(3, -1, -1))]
    positions = [np.array([place[axis] for place in places], dtype=float) for axis in range(3)]

    order = grid_order(positions, shape)

    for place in np.ndindex(*shape):
        assert places[order[place]] == place


def test_the_baseline_is_kept_with_each_reading(tmp_path: Path) -> None:
    file = NexusFile(tmp_path / "a.h5", facts_of())
    for value in (1.5, 1.75):
        file.write_baseline({"temp": {"temp": reading(value), "unit": reading("K"), "map": reading([1, 2])}})
    assert file.close(exit_status="closed") == ["/entry/baseline"]
    with h5py.File(tmp_path / "a.h5") as written:
        baseline = written["entry/baseline/temp"]
        assert (baseline["temp"][()], baseline["temp_2"][()]) == (1.5, 1.75)
        assert baseline["unit"].asstr()[()] == "K"
        assert list(baseline["map"]) == [1, 2]
        assert baseline["temp"].attrs["timestamp"] == START_UTC_S


def test_an_empty_scan_gives_a_readable_file(tmp_path: Path) -> None:
    NexusFile(tmp_path / "a.h5", facts_of()).close(exit_status="aborted")
    with xarray.open_dataset(tmp_path / "a.h5", engine="h5netcdf") as found:
        assert not found.data_vars
    with h5py.File(tmp_path / "a.h5") as written:
        assert written["entry/number_of_points"][()] == 0


def test_equal_signal_names_of_two_devices_are_kept_apart() -> None:
    columns = Columns(facts_of())
    assert columns.name_of("det", "value") == "value"
    assert columns.name_of("mon", "value") == "mon_value"
    assert columns.name_of("det", "value") == "value"
    assert columns.name_of("clock", "time") == "clock_time"
    assert columns.name_of("a/b", "c/d") == "c_d"


def test_pandas_opens_the_table_without_options(tmp_path: Path) -> None:
    file = CsvFile(tmp_path / "a.csv", facts_of())
    for number in range(3):
        file.write_point(number, point(number, note='a, "b"', mca=np.zeros(3), gone=None))
        assert len(pandas.read_csv(tmp_path / "a.csv")) == number + 1, "each row is there at once"
    file.close()

    found = pandas.read_csv(tmp_path / "a.csv")
    assert list(found.columns) == ["point", "samx", "det", "note", "gone", "time"]
    assert list(found.samx) == [0, 0.5, 1]
    assert list(found.note) == ['a, "b"'] * 3
    assert found.gone.isna().all()
    assert found.time[0] == START_UTC_S


def test_the_table_is_in_order_at_the_end_and_the_later_reading_wins(tmp_path: Path) -> None:
    file = CsvFile(tmp_path / "a.csv", facts_of())
    for number, value in ((0, 1), (2, 1), (1, 1), (2, 9)):
        file.write_point(number, point(number, det=value))
    file.close()
    found = pandas.read_csv(tmp_path / "a.csv")
    assert list(found.point) == [0, 1, 2]
    assert list(found.det) == [1, 1, 9]


def test_a_late_signal_gets_a_column(tmp_path: Path) -> None:
    file = CsvFile(tmp_path / "a.csv", facts_of())
    file.write_point(0, point(0))
    file.write_point(1, point(1, late=5))
    file.write_point(2, point(2, late=6))
    file.close()
    found = pandas.read_csv(tmp_path / "a.csv")
    assert list(found.late[1:]) == [5, 6]
    assert np.isnan(found.late[0])


def test_numbers_survive_the_text(tmp_path: Path) -> None:
    file = CsvFile(tmp_path / "a.csv", facts_of())
    file.write_point(0, point(0, det=0.1 + 0.2))
    file.write_point(1, point(1, det=1e-300))
    file.close()
    rows = (tmp_path / "a.csv").read_text().splitlines()[1:]
    assert [float(row.split(",")[2]) for row in rows] == [0.1 + 0.2, 1e-300]


def test_facts_come_from_any_status() -> None:
    status = ScanStatusMessage(
        scan_id="x",
        status="open",
        scan_number=3,
        scan_name="grid_scan",
        info={
            "motors": ["a", "b"],
            "detectors": ["d"],
            "shape": [2, 3],
            "hints": {"fields": {"d": ["d_sum"]}},
            "data_keys": {"a": {"a": {"units": "mm"}}},
            "start_utc_s": 5.0,
        },
    )
    facts = ScanFacts.from_status(status)
    assert (facts.number, facts.shape, facts.motors, facts.start_utc_s) == (3, (2, 3), ("a", "b"), 5.0)
    assert Columns(facts).units_of("a", "a") == "mm"


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"motors": None, "shape": None, "hints": None},
        {"shape": [0, -1], "hints": [], "data_keys": {"a": 3}},
    ],
)
def test_odd_statuses_are_taken_as_well(info: dict[str, object]) -> None:
    facts = ScanFacts.from_status(ScanStatusMessage(scan_id="x", status="open", info=info))
    assert facts.shape == ()
    assert facts.motors == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scan", "00007_scan"),
        ("../../etc/passwd", "00007_etc_passwd"),
        ("a b\n", "00007_a_b"),
        ("", "00007_scan"),
    ],
)
def test_file_names_are_safe(tmp_path: Path, name: str, expected: str) -> None:
    stem = facts_of(name=name).file_stem(tmp_path)
    assert stem.name == expected
    assert stem.parent.relative_to(tmp_path).parts == ("2025", "06", "15")


def test_a_used_number_gets_another_file_name(tmp_path: Path) -> None:
    first = ScanFiles(tmp_path, facts_of())
    second = ScanFiles(tmp_path, facts_of(scan_id="another"))
    for files in (first, second):
        files.write_point(0, point(0))
        files.close(exit_status="closed", reason=None, end_utc_s=None)

    assert first.path.name == "00007_scan.h5"
    assert second.path.name == "00007_scan_2.h5"
    assert second.csv_path.name == "00007_scan_2.csv"
    assert find_written(tmp_path, facts_of()) == first.path
    assert find_written(tmp_path, facts_of(scan_id="another")) == second.path
    assert find_written(tmp_path, facts_of(scan_id="unknown")) is None


def test_a_file_that_was_not_finished_does_not_count_as_written(tmp_path: Path) -> None:
    files = ScanFiles(tmp_path, facts_of())
    files.flush()
    assert find_written(tmp_path, facts_of()) is None
    files.close(exit_status="closed", reason=None, end_utc_s=None)
    assert find_written(tmp_path, facts_of()) == files.path


FULL_DISK = """
import gc, resource, signal, sys
from pathlib import Path
import numpy as np
from labspine.lab.files.columns import ScanFacts
from labspine.lab.files.scan_files import ScanFiles

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
files = ScanFiles(Path(sys.argv[1]), ScanFacts(scan_id="x", motors=("samx",)))
for number in range(300):
    data = {"samx": {"samx": {"value": number}}, "cam": {"cam": {"value": np.ones((40, 40))}}}
    files.write_point(number, data)
    files.flush()
files.close(exit_status="closed", reason=None, end_utc_s=None)
del files
gc.collect()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
after = ScanFiles(Path(sys.argv[1]), ScanFacts(scan_id="y", number=1))
after.close(exit_status="closed", reason=None, end_utc_s=None)
print("alive", after.errors)
"""


def test_a_disk_that_takes_no_more_does_not_kill_the_process(tmp_path: Path) -> None:
    # HDF5 itself crashes here: the reason for labspine.lab.files.nexus_disk.
    answer = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "alive []\n"
    (table,) = tmp_path.rglob("00000_scan.csv")
    assert len(pandas.read_csv(table)) == 300, "the other file is complete"


def test_what_a_full_disk_does_not_take_is_an_error_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ScanFiles(tmp_path, facts_of())
    files.write_point(0, point(0))
    files.flush()

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("labspine.lab.files.nexus_disk.os.pwrite", full)
        files.write_point(1, point(1))
        files.flush()
    files.write_point(2, point(2))
    files.close(exit_status="closed", reason=None, end_utc_s=None)

    assert files.errors == ["OSError: [Errno 28] No space left on device"]
    assert len(pandas.read_csv(files.csv_path)) == 3


@given(data=st.data())
def test_a_forgiving_file_reads_back_what_was_written_in_any_case(data: st.DataObject) -> None:
    model = io.BytesIO()
    real = os.pwrite
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = ForgivingFile(Path(folder) / "x")
        for _step in range(data.draw(st.integers(1, 12))):
            if data.draw(st.booleans()):
                patch.setattr(os, "pwrite", lambda fd, view, at: real(fd, view[: max(1, len(view) // 2)], at))
            elif data.draw(st.integers(0, 5)) == 0:
                patch.setattr(os, "pwrite", _refuse)
            if data.draw(st.booleans()):
                with contextlib.suppress(OSError):
                    file.commit()
                    assert (Path(folder) / "x").read_bytes() == model.getvalue()
            content = data.draw(st.binary(min_size=1, max_size=20))
            offset = data.draw(st.integers(0, 30))
            for target in (file, model):
                target.seek(offset)
                target.write(content)
            begin = data.draw(st.integers(0, 40))
            buffer = bytearray(20)
            file.seek(begin)
            model.seek(begin)
            count = file.readinto(buffer)
            assert bytes(buffer[:count]) == model.read(20)
        file.close()


def _refuse(*_arguments: object) -> int:
    raise OSError(errno.EIO, "Input/output error")
