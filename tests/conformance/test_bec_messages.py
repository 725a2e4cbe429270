"""Every message class that bec_lib and we know, in both directions, with the real bec_lib (issue 3)."""

from __future__ import annotations

import enum
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from labspine import messages
from labspine.errors import DecodeError
from labspine.messages import ScanQueueMessage, VariableMessage, decode, encode, stamp

bec = pytest.importorskip("bec_lib.messages")
bec_wire = pytest.importorskip("bec_lib.serialization").MsgpackSerialization

_DATA = runpy.run_path(str(Path(__file__).parent.parent / "data" / "message_examples.py"))
NAMES = sorted(_DATA["EXAMPLES"])
# bec_lib marks models that are no messages with an envelope of their own; we send their fields bare.
WITH_PARTS = {
    "AlarmMessage", "AvailableBeamlineStatesMessage", "AvailableMessagingServicesMessage", "DeploymentInfoMessage",
    "DeviceAsyncSignalIndexMessage", "DeviceInstructionResponse", "DynamicMetricMessage", "FeedbackMessage",
    "MessagingServiceMessage", "NotificationConfigMessage", "NotificationMessage", "ROIAvailableAnalysisMessage",
    "ROIConfigurationMessage", "RealmInfoMessage", "ScanDeviceInfoMessage", "ScanHistoryMessage", "ScanQueueHistoryMessage",
    "ScanQueueStatusMessage", "SessionInfoMessage", "DeviceRPCMessage",
}  # fmt: skip


def ours(name: str) -> Any:
    return getattr(messages, name)(**_DATA["fields_of"](name, messages))


def theirs(name: str) -> Any:
    return getattr(bec, name)(**_DATA["fields_of"](name, bec))


def plain(value: Any) -> Any:
    """Reduce a message of either library to dicts, lists, numbers and arrays, for comparison."""
    if isinstance(value, msgspec.Struct):
        config = value.__struct_config__
        tag = {config.tag_field: config.tag} if config.tag_field else {}
        return {**tag, **{name: plain(getattr(value, name)) for name in value.__struct_fields__}}
    if isinstance(value, bec.BECMessage):
        return {name: plain(item) for name, item in value.__dict__.items()}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def assert_same(left: Any, right: Any) -> None:
    """Compare two plain values: content, array types and number types."""
    if isinstance(left, np.ndarray):
        assert isinstance(right, np.ndarray)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, dict):
        assert isinstance(right, dict)
        assert set(left) == set(right)
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list):
        assert isinstance(right, list)
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert type(left) is type(right)
        assert left == right


def test_there_is_an_example_of_every_class() -> None:
    known = {cls.__name__ for cls in messages.message_classes() if cls.__module__ == "labspine.messages"}
    published = {
        name for name, cls in vars(bec).items()
        if isinstance(cls, type) and issubclass(cls, bec.BECMessage) and "msg_type" in vars(cls)
    }  # fmt: skip

    assert set(NAMES) == known
    assert known == published


@pytest.mark.parametrize("name", NAMES)
def test_a_class_has_the_fields_of_bec_lib(name: str) -> None:
    our_class, their_class = getattr(messages, name), getattr(bec, name)

    assert set(our_class.__struct_fields__) == set(their_class.model_fields)
    assert our_class.msg_type == their_class.msg_type
    required = {field.name for field in msgspec.structs.fields(our_class) if field.required}
    assert required <= {field for field, info in their_class.model_fields.items() if info.is_required()}


@pytest.mark.parametrize("name", NAMES)
def test_bec_lib_reads_our_message(name: str) -> None:
    message = ours(name)

    received = bec_wire.loads(stamp(encode(message), "0123456789abcdef", 7))

    if name == "BundleMessage":
        assert_same(plain(received), plain(message.messages))
        return
    assert type(received).__name__ == name
    assert_same(plain(received), plain(message))


@pytest.mark.parametrize("name", NAMES)
def test_we_read_a_message_of_bec_lib(name: str) -> None:
    message = theirs(name)

    received = decode(bec_wire.dumps(message))

    if name == "BundleMessage":
        assert_same(plain(received), plain(message.messages))
        return
    assert type(received) is getattr(messages, name)
    assert_same(plain(received), plain(message))
    assert_same(plain(bec_wire.loads(encode(received))), plain(message))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_PARTS])
def test_the_bytes_are_equal(name: str) -> None:
    assert encode(ours(name)) == bec_wire.dumps(theirs(name))


_PEER = """
import json, sys
from bec_lib import messages
from bec_lib.serialization import MsgpackSerialization
for line in sys.stdin:
    received = MsgpackSerialization.loads(bytes.fromhex(line))
    kinds = [type(item).__name__ for item in received] if isinstance(received, list) else type(received).__name__
    if isinstance(received, list):
        received = messages.BundleMessage(messages=received)
    print(json.dumps([kinds, MsgpackSerialization.dumps(received).hex()]), flush=True)
"""


def test_every_message_survives_the_way_through_a_process_with_bec_lib() -> None:
    sent = [ours(name) for name in NAMES]
    text = "\n".join(encode(message).hex() for message in sent)

    peer = subprocess.run(
        [sys.executable, "-c", _PEER], input=text, capture_output=True, text=True, timeout=60, check=True
    )
    answers = [json.loads(line) for line in peer.stdout.splitlines() if line.startswith("[")]

    assert len(answers) == len(sent)
    for message, (kinds, payload) in zip(sent, answers, strict=True):
        received = decode(bytes.fromhex(payload))
        expected = message.messages if isinstance(received, list) else message
        assert kinds == (
            [type(m).__name__ for m in expected] if isinstance(received, list) else type(message).__name__
        )
        assert_same(plain(received), plain(expected))


def test_parts_given_as_objects_arrive_too() -> None:
    entry = msgspec.convert(_DATA["ENTRY"], messages.QueueInfoEntry)
    status = messages.ScanQueueStatus(info=[entry], status="RUNNING")
    queue = messages.ScanQueueStatusMessage(queue={"primary": status})
    heartbeat = messages.StatusMessage(
        name="s",
        status=messages.BECStatus.IDLE,
        info=messages.ServiceInfo(user="u", hostname="h"),  # type: ignore[arg-type]
    )

    received = bec_wire.loads(encode(queue)).queue["primary"]

    assert received.info[0].request_blocks[0].msg.scan_type == "line_scan"
    assert bec_wire.loads(encode(heartbeat)).info.hostname == "h"


def test_device_proxies_as_keys_of_a_scan_request_become_names() -> None:
    """bec_lib's client sends ``{dev.samx: [...]}`` with the proxy itself as the key."""
    device = pytest.importorskip("bec_lib.device")
    samx, eye = device.DeviceBase(name="samx"), device.DeviceBase(name="eye")
    request = bec.ScanQueueMessage.model_construct(
        scan_type="line_scan", parameter={"args": {samx: [-1, 1.5], eye: {"a": samx, "w": np.arange(3)}}, "kwargs": {"n": -3}},
        queue="primary", allow_restart=True, metadata={"RID": "r", "t": 1.7e9, "big": 2**40, "long": "x" * 300},
    )  # fmt: skip

    payload = bec_wire.dumps(request)
    received = decode(payload, ScanQueueMessage)

    args = received.parameter["args"]
    np.testing.assert_array_equal(args["eye"].pop("w"), [0, 1, 2])
    assert args == {"samx": [-1, 1.5], "eye": {"a": "samx"}}
    assert received.metadata == request.metadata
    assert decode(stamp(payload, "0123456789abcdef", 1), ScanQueueMessage).parameter["kwargs"] == {"n": -3}
    for cut in range(1, len(payload)):
        with pytest.raises(DecodeError):
            decode(payload[:cut], ScanQueueMessage)


def test_numpy_1_peers_are_understood() -> None:
    """numpy 1 calls its boolean ``bool_``."""
    payload = bec_wire.dumps(bec.VariableMessage(value=np.bool_(True)))

    old = payload.replace(b"\xa4bool\xa9type_name\xa4bool", b"\xa5bool_\xa9type_name\xa5bool_")

    assert old != payload
    assert decode(old, VariableMessage).value is np.True_


def test_a_masked_array_of_bec_lib_arrives_without_its_mask_and_ours_is_refused() -> None:
    masked = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])

    received = decode(bec_wire.dumps(bec.VariableMessage(value=masked)), VariableMessage).value

    assert type(received) is np.ndarray
    np.testing.assert_array_equal(received, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="lose its mask"):
        encode(VariableMessage(value=masked))


def test_status_enumerations_endpoints_and_foreign_enumerations_in_free_fields() -> None:
    endpoint = pytest.importorskip("bec_lib.endpoints").MessageEndpoints.device_read("samx")

    received = decode(
        bec_wire.dumps(
            bec.VariableMessage(value=[bec.BECStatus.BUSY, endpoint, bec.ProcedureWorkerStatus.IDLE])
        )
    ).value

    assert received[0] is messages.BECStatus.BUSY
    assert received[1]["endpoint"] == "info/devices/read/samx"
    assert received[1]["message_type"] == "DeviceMessage"
    assert received[2] == 2


def test_numpy_numbers_in_typed_fields_are_taken_from_the_wire() -> None:
    request = bec.DeviceStatusMessage.model_construct(device="samx", status=np.int32(1), metadata={})

    assert decode(bec_wire.dumps(request), messages.DeviceStatusMessage).status == 1
