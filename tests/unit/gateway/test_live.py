"""The picture that the page shows: messages in, in any order; one state out."""

from __future__ import annotations

import json
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from labspine.gateway.live import LiveModel
from labspine.messages import (
    AlarmMessage,
    BECStatus,
    ErrorInfo,
    FileMessage,
    ProgressMessage,
    ScanMessage,
    ScanQueueStatusMessage,
    ScanStatusMessage,
    StatusMessage,
)

Status = Literal["open", "paused", "aborted", "halted", "closed", "user_completed"]


def status(scan_id: str, state: Status, at: float, **fields: Any) -> ScanStatusMessage:
    """Announce a scan."""
    return ScanStatusMessage(
        scan_id=scan_id, status=state, info=fields.pop("info", {}), timestamp=at, **fields
    )


def point(scan_id: str, number: int) -> ScanMessage:
    """One point with two devices."""
    data = {
        "x": {"x": {"value": number / 2, "timestamp": 100.0 + number}},
        "det": {"det": {"value": number * number, "timestamp": 100.0 + number}},
    }
    return ScanMessage(point_id=number, scan_id=scan_id, data=data)


def view(model: LiveModel, *, utc_s: float = 200.0, mono_s: float = 0.0) -> Any:
    """What a browser gets: it must be JSON."""
    return json.loads(json.dumps(model.view(utc_s, mono_s), allow_nan=False))


@given(st.data())
def test_any_order_of_statuses_and_points_ends_in_the_same_picture(data: st.DataObject) -> None:
    # Given two scans, one after the other, and everything that was said about them, some of it twice
    said: list[ScanStatusMessage | ScanMessage] = [
        status("one", "open", 100.0), status("one", "closed", 110.0),
        status("two", "open", 120.0, scan_number=2, num_points=9), status("two", "paused", 125.0),
        status("two", "open", 135.0, scan_number=2, num_points=9),
        *(point("one", i) for i in range(5)), *(point("two", i) for i in range(8)),
    ]  # fmt: skip
    again = data.draw(st.lists(st.sampled_from(said), max_size=8))
    model = LiveModel("epoch")
    # When it arrives in any order
    for message in data.draw(st.permutations(said + again)):
        if isinstance(message, ScanStatusMessage):
            model.scan_status(message)
        else:
            model.scan_segment(message, 0.0)
    # Then the later scan is shown, running, with each of its points once
    assert model.table is not None
    ids, columns = model.table.in_order()
    assert ids == list(range(8))
    assert columns == {"det": [float(i * i) for i in range(8)], "x": [i / 2 for i in range(8)]}
    scan = view(model, utc_s=140.0)["scan"]
    assert (scan["scan_id"], scan["status"], scan["number"], scan["points"]) == ("two", "open", 2, 8)
    # and the paused time does not count: 5 s before, 5 s since
    assert scan["started_utc_s"] == 120.0
    assert scan["active_s"] == 10.0


def test_the_points_of_a_scan_that_is_not_announced_yet_are_kept() -> None:
    model = LiveModel("e")
    model.scan_status(status("old", "closed", 1.0))
    for i in range(3):
        model.scan_segment(point("new", i), 0.0)
    assert model.scan_id == "old"
    model.scan_status(status("new", "open", 2.0))
    assert model.scan_id == "new"
    assert model.rows("new", 0, 10).point_ids == [0, 1, 2]  # type: ignore[union-attr]
    assert model.rows("old", 0, 10) is None


def test_a_replay_of_many_old_scans_does_not_push_out_the_present_one() -> None:
    model = LiveModel("e")
    model.scan_status(status("now", "open", 100.0))
    model.scan_segment(point("now", 0), 0.0)
    for n in range(20):
        model.scan_status(status(f"s{n}", "closed", float(n)))
        model.scan_segment(point(f"s{n}", 0), 0.0)
    assert model.scan_id == "now"
    assert model.rows("now", 0, 10).point_ids == [0]  # type: ignore[union-attr]


def test_the_state_holds_what_the_scan_says_of_itself() -> None:
    model = LiveModel("e")
    info = {
        "hints": {"fields": {"x": ["x"], "det": ["det"], "gone": ["gone"]}},
        "data_keys": {"x": {"x": {"units": "mm"}}, "det": {"det": {"units": None}}},
        "reason": "shutter closed",
        "start_utc_s": 90.0,
    }
    message = status(
        "s", "aborted", 100.0, reason="alarm", scan_name="scan", scan_report_devices=["x"], info=info,
        user_metadata={"sample": "LaB6"},
    )  # fmt: skip
    model.scan_status(message)
    model.scan_segment(point("s", 0), 5.0)
    scan = view(model, mono_s=7.0)["scan"]
    assert scan["hints"] == ["x", "det"]
    assert scan["units"] == {"x": "mm"}
    assert scan["words"] == "shutter closed"
    assert scan["sample"] == "LaB6"
    assert scan["axes"] == ["x"]
    assert scan["devices"] == {"x": "x", "det": "det"}
    assert scan["data_age_s"] == 2.0
    assert scan["started_utc_s"] == 90.0


def test_a_scan_server_is_unknown_then_present_then_absent() -> None:
    model = LiveModel("e")
    model.set_broker("connected", 100.0)
    assert view(model, mono_s=101.0)["server"]["state"] == "unknown"
    assert view(model, mono_s=104.0)["server"]["state"] == "absent"
    model.service_status(StatusMessage(name="file_writer", status=BECStatus.RUNNING, info={}), 104.0)
    assert view(model, mono_s=104.0)["server"]["state"] == "absent"
    model.service_status(StatusMessage(name="scan_server", status=BECStatus.BUSY, info={}), 105.0)
    assert view(model, mono_s=107.9)["server"] == {"state": "present", "status": "BUSY", "age_s": 2.9}
    assert view(model, mono_s=108.1)["server"]["state"] == "absent"


def test_services_are_bounded() -> None:
    model = LiveModel("e")
    model.service_status(StatusMessage(name="ScanServer", status=BECStatus.RUNNING, info={}), 1000.0)
    for n in range(500):
        model.service_status(StatusMessage(name=f"s{n}", status=BECStatus.RUNNING, info={}), float(n))
    assert view(model, mono_s=1000.0)["server"]["state"] == "present"


def test_progress_of_another_scan_is_not_shown() -> None:
    model = LiveModel("e")
    model.scan_status(status("s", "open", 1.0))
    model.scan_progress(ProgressMessage(value=3, max_value=9, done=False, metadata={"scan_id": "t"}))
    assert view(model)["progress"] is None
    model.scan_progress(ProgressMessage(value=3, max_value=9, done=False, metadata={"scan_id": "s"}))
    assert view(model)["progress"] == {"value": 3.0, "max_value": 9.0, "done": False}


def test_queue_alarm_and_file_are_shown() -> None:
    model = LiveModel("e")
    entries = [{"status": "RUNNING"}, {"status": "PENDING"}, {"status": "PENDING"}]
    model.scan_queue_status(ScanQueueStatusMessage(queue={"primary": {"status": "RUNNING", "info": entries}}))
    error = ErrorInfo(
        error_message="long", compact_error_message="x stuck", exception_type="DeviceError", device="x"
    )
    model.alarm(AlarmMessage(severity=2, info=error), 50.0)
    model.file_event(FileMessage(file_path="/data/1.nxs", done=True, successful=True, is_master_file=True))
    model.file_event(FileMessage(file_path="/data/part.h5", done=True, successful=True))
    shown = view(model)
    assert shown["queue"] == {"status": "RUNNING", "waiting": 2}
    assert (shown["alarm"]["text"], shown["alarm"]["device"], shown["alarm"]["severity"]) == (
        "x stuck",
        "x",
        2,
    )
    assert shown["file"]["path"] == "/data/1.nxs"


def test_each_change_is_a_new_revision_and_a_repetition_is_none() -> None:
    model = LiveModel("e")
    announced = status("s", "open", 1.0)
    model.scan_status(announced)
    model.scan_segment(point("s", 0), 0.0)
    before = model.revision
    model.scan_status(announced)
    model.scan_segment(point("s", 0), 1.0)
    model.service_status(StatusMessage(name="scan_server", status=BECStatus.BUSY, info={}), 1.0)
    changed = model.revision
    model.service_status(StatusMessage(name="scan_server", status=BECStatus.BUSY, info={}), 2.0)
    assert (changed, model.revision) == (before + 1, before + 1)


def test_huge_texts_and_strange_contents_stay_small() -> None:
    model = LiveModel("e")
    model.scan_status(
        status("s", "open", 1.0, scan_name="n" * 10**6, scan_report_devices=["d" * 10**5] * 100,
               info={"hints": [1], "data_keys": {"x": 5}, "reason": 7}, user_metadata={"sample": "z" * 10**6})
    )  # fmt: skip
    model.scan_segment(point("s", 0), 0.0)
    assert len(json.dumps(view(model))) < 10_000
