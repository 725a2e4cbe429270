"""Every message class constructs, validates and survives the wire; each validator says what it wants."""

from __future__ import annotations

import pickle
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from labspine import messages as m
from labspine.errors import InvalidMessage
from labspine.messages.schema import published_classes

_EXAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "data" / "message_examples.py"))
NAMES = [cls.__name__ for cls in published_classes()]


def example(name: str, **changes: Any) -> Any:
    return getattr(m, name)(**{**_EXAMPLES["fields_of"](name, m), **changes})


def test_there_are_as_many_classes_as_bec_lib_has() -> None:
    assert len(NAMES) == 91


@pytest.mark.parametrize("name", NAMES)
def test_a_class_survives_the_wire(name: str) -> None:
    message = example(name)

    received = m.decode(m.stamp(m.encode(message), "0123456789abcdef", 1), None)

    if name == "BundleMessage":
        assert received == message.messages
        return
    assert type(received) is type(message)
    assert list(received.content) == list(message.content)
    np.testing.assert_equal(pickle.loads(pickle.dumps(received.content)), message.content)  # noqa: S301  # our own bytes
    assert received.metadata == message.metadata


@pytest.mark.parametrize("name", NAMES)
def test_a_class_refuses_unknown_fields_and_says_which_are_missing(name: str) -> None:
    cls = getattr(m, name)

    with pytest.raises(InvalidMessage, match="unknown field `no_such_field`"):
        example(name, no_such_field=1)
    with pytest.raises(InvalidMessage, match="metadata"):
        example(name, metadata=None)
    if any(field.required for field in msgspec.structs.fields(cls)):
        with pytest.raises(InvalidMessage, match="missing field"):
            cls()


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("AvailableResourceMessage", {"resource": "text"}, "neither a map nor a message"),
    ("AvailableResourceMessage", {"resource": [{}, 1]}, "neither a map nor a message"),
    ("BundleMessage", {"messages": [1]}, "not a message"),
    ("DAPResponseMessage", {"dap_request": {"a": 1}}, "not a message"),
    ("DeviceConfigMessage", {"action": "add", "config": {}}, "config that is not empty"),
    ("DeviceInstructionResponse", {"status": "error", "error_info": None}, "needs error_info"),
    ("DeviceMessage", {"metadata": {"async_update": {"type": "add"}}}, "max_shape"),
    ("DeviceMonitor1DMessage", {"data": np.zeros((2, 2))}, "2 dimensions"),
    ("DeviceMonitor2DMessage", {"data": np.zeros((2, 2, 4))}, "expected .rows, columns"),
    ("DeviceMonitor2DMessage", {"data": np.zeros(3)}, "expected .rows, columns"),
    ("DevicePreviewMessage", {"data": [1, 2]}, "Expected `ndarray`"),
    ("DynamicMetricMessage", {"metrics": {"a": {"type_name": "str", "value": "x", "possible_values": ["y"]}}}, "not one of"),
    ("DynamicMetricMessage", {"metrics": {"a": {"type_name": "str", "value": "y", "possible_values": ["y", "y"]}}}, "twice"),
    ("DynamicMetricMessage", {"metrics": {"a": {"type_name": "bytes", "value": 1}}}, "type_name|Invalid value"),
    ("FeedbackMessage", {"rating": 6}, "expected 0 to 5"),
    ("MacroUpdateMessage", {"update_type": "remove", "macro_name": None}, "needs a macro_name"),
    ("MacroUpdateMessage", {"update_type": "add", "file_path": None}, "needs a file_path"),
    ("NotificationMessage", {"message": [{"text": "x"}]}, "Expected a map with one of content"),
    ("NotificationMessage", {"message": [{"content": "x", "extra": 1}]}, "unknown field"),
    ("ProcedureAbortMessage", {"abort_all": True}, "exactly one"),
    ("ProcedureClearUnhandledMessage", {"abort_all": None}, "exactly one"),
    ("ProcedureWorkerStatusMessage", {"current_execution_id": None}, "if, and only if"),
    ("ProcedureWorkerStatusMessage", {"status": m.ProcedureWorkerStatus.IDLE}, "if, and only if"),
    ("ScanInterlockModifyStateTableMessage", {"status": []}, "needs a state_name and a status"),
    ("ScanInterlockModifyStateTableMessage", {"action": "remove"}, "takes no status"),
    ("ScanInterlockModifyStateTableMessage", {"action": "remove", "status": None, "state_name": None}, "needs a state_name"),
    ("ScanInterlockModifyStateTableMessage", {"action": "remove_all", "status": None}, "takes no state_name"),
    ("ScanQueueStatusMessage", {"queue": {"other": {}}}, "needs the key 'primary'"),
    ("ScanStatusMessage", {"status": "opened"}, "status"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), REFUSED)
def test_a_validator_says_what_it_wants(name: str, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidMessage, match=words):
        example(name, **change)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "add", "max_shape": []}, "not empty"),
        ({"type": "add", "max_shape": [0]}, "1 or more"),
        ({"type": "add", "max_shape": [5, None]}, "None comes first"),
        ({"type": "add", "max_shape": [None, None, None]}, "two dimensions"),
        ({"type": "add_slice", "max_shape": [None], "index": 0}, "two dimensions"),
        ({"type": "add_slice", "max_shape": [None, 5]}, "needs an index"),
        ({"type": "add_slice", "max_shape": [5, 5], "index": 5}, "not below"),
        ({"type": "remove"}, "type"),
    ],
)
def test_an_asynchronous_update_is_checked(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidMessage, match=words):
        m.DeviceAsyncUpdate(**fields)


def test_transports_of_signals_are_checked() -> None:
    assert m.ZMQSignalTransport(address="tcp://a:1", encoder="json").transport == "zmq"
    with pytest.raises(InvalidMessage, match="'sub' only"):
        m.ZMQSignalTransport(address="tcp://a:1", encoder="json", socket_type="pull", topic="t")
    with pytest.raises(InvalidMessage, match="must not be empty"):
        m.ZMQSignalTransport(address="", encoder="json")
    with pytest.raises(InvalidMessage, match="must not be empty"):
        m.RedisSignalTransport(endpoint="", message_type="X", message_op=[])


def test_parts_are_validated_immutable_and_accepted_as_objects() -> None:
    with pytest.raises(InvalidMessage, match="ErrorInfo: missing field `exception_type`"):
        m.ErrorInfo(error_message="e")  # type: ignore[call-arg]
    info = m.ErrorInfo(error_message="e", exception_type="E")
    with pytest.raises(AttributeError):
        info.error_message = "other"  # type: ignore[misc]

    alarm = m.AlarmMessage(severity=1, info=info)

    assert alarm.info is info
    assert m.decode(m.encode(alarm), m.AlarmMessage) == alarm
    metric = m.DynamicMetricMessage(metrics={"a": m.IntMetric(value=3)})
    assert m.decode(m.encode(metric), m.DynamicMetricMessage) == metric


def test_numbers_beside_an_enumeration_keep_their_type() -> None:
    message = m.StatusMessage(name="s", status=m.BECStatus.BUSY, info={"n": np.int32(3)})

    assert message.status is m.BECStatus.BUSY
    assert type(message.info["n"]) is np.int32


def test_small_messages_need_no_numpy() -> None:
    """numpy costs more than twice what all the rest of the import does."""
    program = (
        "import sys; from labspine.messages import *; from labspine.endpoints import MessageEndpoints\n"
        "assert decode(encode(VariableMessage(value=[1])), VariableMessage).value == [1]\n"
        "assert decode(encode(ScanMessage(point_id=0, scan_id='s', data={}))).point_id == 0\n"
        "try: DevicePreviewMessage(device='d', signal='s', data=[1])\n"
        "except ValueError as error: assert 'ndarray' in str(error)\n"
        "print('numpy' in sys.modules, 'pydantic' in sys.modules)"
    )

    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )

    assert run.stdout.split() == ["False", "False"]
