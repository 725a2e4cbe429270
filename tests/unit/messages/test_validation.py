"""Messages validate on construction (seed 000)."""

from __future__ import annotations

import numpy as np
import pytest

from labspine import messages
from labspine.errors import InvalidMessage
from labspine.messages import (
    AlarmMessage,
    BECStatus,
    BundleMessage,
    DeviceMessage,
    DeviceMonitor1DMessage,
    ErrorInfo,
    FileMessage,
    ScanMessage,
    ScanStatusMessage,
    StatusMessage,
    VariableMessage,
)


def test_content_and_metadata_are_separate() -> None:
    message = FileMessage(file_path="path/to/file", done=False, successful=True, metadata={"scan_id": "1234"})

    assert message.metadata == {"scan_id": "1234"}
    assert message.content["file_path"] == "path/to/file"
    assert "metadata" not in message.content


def test_a_message_cannot_be_changed() -> None:
    message = VariableMessage(value=1)

    with pytest.raises(AttributeError):
        message.value = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"point_id": "1", "scan_id": "s", "data": {}}, "point_id"),
        ({"scan_id": "s", "data": {}}, "missing field `point_id`"),
        ({"point_id": 1, "scan_id": "s", "data": {}, "pont": 1}, "unknown field `pont`"),
        ({"point_id": 1, "scan_id": "s", "data": []}, "data"),
        ({"point_id": 1.5, "scan_id": "s", "data": {}}, "point_id"),
        ({"point_id": 1, "scan_id": None, "data": {}}, "scan_id"),
        ({"point_id": 1, "scan_id": "s", "data": {}, "metadata": None}, "metadata"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(InvalidMessage, match=expected):
        ScanMessage(**fields)  # type: ignore[arg-type]


def test_values_outside_the_schema_are_refused() -> None:
    with pytest.raises(InvalidMessage, match="status"):
        ScanStatusMessage(scan_id="a", status="opened", info={})  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match="signals"):
        DeviceMessage(signals={"samx": {"position": 1.0}})  # type: ignore[dict-item]
    with pytest.raises(InvalidMessage, match="2 dimensions"):
        DeviceMonitor1DMessage(device="w", data=np.zeros((2, 2)))
    with pytest.raises(InvalidMessage, match="ndarray"):
        DeviceMonitor1DMessage(device="w", data=[1.0])  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage, match=r"messages\[1\]"):
        BundleMessage(messages=[VariableMessage(value=1), 2])


def test_fields_are_given_by_name() -> None:
    with pytest.raises(InvalidMessage, match="by name"):
        VariableMessage(5)  # type: ignore[misc]


def test_numpy_numbers_are_welcome_where_numbers_are_needed() -> None:
    message = ScanMessage(point_id=np.int64(4), scan_id="s", data={"w": np.arange(3)})  # type: ignore[arg-type]

    assert type(message.point_id) is int
    assert isinstance(message.data["w"], np.ndarray)


def test_enumerations_and_nested_structs_are_accepted() -> None:
    status = StatusMessage(name="scan_server", status=BECStatus.RUNNING, info={})
    alarm = AlarmMessage(severity=1, info=ErrorInfo(error_message="hot", exception_type="Overheat"))

    assert status.status is BECStatus.RUNNING
    assert alarm.info.error_message == "hot"


def test_every_class_is_exported_under_the_package() -> None:
    for cls in messages.message_classes():
        if cls.__module__.startswith("labspine"):
            assert cls.__module__ == "labspine.messages"
            assert getattr(messages, cls.__name__) is cls
            assert cls.__doc__
