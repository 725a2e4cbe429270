"""The wire format is bec_lib's, byte for byte, and decoding is closed."""

from __future__ import annotations

import datetime
import decimal
import time
import tracemalloc
import uuid
from typing import Any

import numpy as np
import pytest

from labspine.errors import DecodeError, InvalidMessage, TooLarge
from labspine.messages import (
    BECStatus,
    BundleMessage,
    DeviceMessage,
    DeviceMonitor1DMessage,
    Message,
    ProgressMessage,
    RawMessage,
    ScanMessage,
    StatusMessage,
    VariableMessage,
    decode,
    encode,
    read_stamp,
    stamp,
    without_stamp,
)
from labspine.messages.limits import MAX_PAYLOAD_BYTES

_HEAD = "81ad5f5f6265635f636f6465635f5f83ac656e636f6465725f6e616d65aa4245434d657373616765a9747970655f6e616d65"
GOLDEN: list[tuple[Message, str]] = [
    (
        VariableMessage(value=5),
        "af5661726961626c654d657373616765a46461746182a86d6574616461746180a576616c756505",
    ),
    (
        ScanMessage(point_id=1, scan_id="s1", data={"samx": {"samx": {"value": 1.5, "timestamp": 1.7e9}}}),
        "ab5363616e4d657373616765a46461746184a86d6574616461746180a8706f696e745f696401a77363616e5f6964a27331a4646174"
        "6181a473616d7881a473616d7882a576616c7565cb3ff8000000000000a974696d657374616d70cb41d954fc40000000",
    ),
    (
        DeviceMessage(signals={"samx": {"value": np.int64(3), "timestamp": 1.7e9}}),
        "ad4465766963654d657373616765a46461746182a86d6574616461746180a77369676e616c7381a473616d7882a576616c756581ad"
        "5f5f6265635f636f6465635f5f83ac656e636f6465725f6e616d65a66e756d626572a9747970655f6e616d65a5696e743634a46461"
        "746183c4026e64c2c40474797065a33c6938c40464617461c4080300000000000000a974696d657374616d70cb41d954fc40000000",
    ),
    (
        StatusMessage(name="s", status=BECStatus.RUNNING, info={}),
        "ad5374617475734d657373616765a46461746184a86d6574616461746180a46e616d65a173a673746174757381ad5f5f6265635f63"
        "6f6465635f5f83ac656e636f6465725f6e616d65a4456e756da9747970655f6e616d65a9424543537461747573a46461746102a469"
        "6e666f80",
    ),
]


@pytest.mark.parametrize(("message", "tail"), GOLDEN, ids=lambda v: type(v).__name__)
def test_the_bytes_are_those_of_bec_lib(message: Message, tail: str) -> None:
    payload = encode(message)

    assert payload.hex() == _HEAD + tail
    assert decode(payload) == message


def test_bec_lib_reads_our_bytes_and_we_read_its() -> None:
    """Every class that both know, both directions, with the real bec_lib."""
    bec = pytest.importorskip("bec_lib.messages")
    serialization = pytest.importorskip("bec_lib.serialization")
    cases = [*(m for m, _ in GOLDEN), *_more_messages()]

    for ours in cases:
        theirs = serialization.MsgpackSerialization.loads(encode(ours))
        assert type(theirs).__name__ == type(ours).__name__
        back = serialization.MsgpackSerialization.dumps(theirs)
        assert isinstance(theirs, getattr(bec, type(ours).__name__))
        again = decode(back, type(ours))
        _assert_equal(again.content, ours.content)
        assert again.metadata == ours.metadata


def _more_messages() -> list[Message]:
    from labspine import messages as m

    info = m.ErrorInfo(error_message="e", exception_type="E", id="1")
    return [
        DeviceMonitor1DMessage(device="w", data=np.array([1.0, 2.0, 3.0]), timestamp=1.7e9),
        ScanMessage(point_id=0, scan_id="s", data={"cam": {"cam": {"value": np.ones((2, 3), np.uint16)}}}),
        m.ScanStatusMessage(scan_id="s", status="open", info={"motors": ["x"]}, scan_number=3, num_points=11),
        m.ScanQueueMessage(scan_type="scan", parameter={"args": [["det"], "x", -5, 5, 11], "kwargs": {}}),
        m.ScanQueueModificationMessage(scan_id=None, action="abort", parameter={}),
        m.ScanBaselineMessage(scan_id="s", data={"t": {"t": {"value": 1.0, "timestamp": 2.0}}}),
        m.FileMessage(file_path="/f.h5", done=True, successful=True, metadata={"scan_id": "1234"}),
        m.ProgressMessage(value=1.0, max_value=2.0, done=False),
        m.RequestResponseMessage(accepted=False, message="no device"),
        m.LogMessage(log_type="info", log_msg="hello"),
        m.AlarmMessage(severity=2, info=info),
        m.AvailableResourceMessage(resource=[{"name": "x"}]),
        m.ServiceMetricMessage(name="s", metrics={"cpu": 1.5}),
        m.DeviceInfoMessage(device="x", info={"units": "mm"}),
        m.DeviceStatusMessage(device="x", status=1),
        m.ClientInfoMessage(message="hello", source="scan_server"),
        m.VariableMessage(value={"a": [1, 2.5, "t", b"b", None, True]}),
        m.VariableMessage(value={"set": {1, 2}, "complex": 1 + 2j, "flag": np.bool_(True)}),
    ]


def _assert_equal(left: Any, right: Any) -> None:
    np.testing.assert_equal(left, right)


def test_a_bundle_comes_out_as_a_list() -> None:
    bundle = BundleMessage(messages=[VariableMessage(value=1), VariableMessage(value=2)])

    assert [m.value for m in decode(encode(bundle), VariableMessage)] == [1, 2]


def test_the_stamp_is_read_without_decoding_and_ignored_by_bec_lib() -> None:
    serialization = pytest.importorskip("bec_lib.serialization")
    payload = encode(VariableMessage(value=5))

    stamped = stamp(payload, "0123456789abcdef", 2**40)

    assert read_stamp(stamped) == ("0123456789abcdef", 2**40)
    assert read_stamp(payload) is None
    assert without_stamp(stamped) == payload
    assert decode(stamped) == VariableMessage(value=5)
    assert serialization.MsgpackSerialization.loads(stamped).value == 5


def test_an_array_is_not_copied_on_decoding() -> None:
    message = DeviceMonitor1DMessage(device="w", data=np.arange(1000.0))

    array = decode(encode(message)).data

    assert not array.flags.writeable
    np.testing.assert_array_equal(array, np.arange(1000.0))


def test_json_of_a_foreign_publisher_is_a_raw_message() -> None:
    assert decode(b'{"a": [1, 2]}') == RawMessage(data={"a": [1, 2]})


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, np.array([object()]), np.datetime64("2026-01-01"), 2**65, [{3: 4}], lambda: None],
    ids=str,
)
def test_what_cannot_be_sent_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage):
        encode(VariableMessage(value=value))


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(InvalidMessage, match="contains itself"):
        encode(VariableMessage(value=loop))


def _envelope(encoder: str, type_name: str, data: object) -> bytes:
    codec = {"encoder_name": encoder, "type_name": type_name, "data": data}
    return encode({"__bec_codec__": codec})


HOSTILE = {
    "an attribute of builtins": _envelope("type", "type", {"type_name": "eval", "module": "builtins"}),
    "a callable of a module": _envelope("BECMessage", "uuid4", {}),
    "an unknown class": _envelope("BECMessage", "NoSuchMessage", {}),
    "data that is a list": _envelope("BECMessage", "VariableMessage", [1]),
    "an unknown field": _envelope("BECMessage", "VariableMessage", {"value": 1, "valeu": 2}),
    "an object array": _envelope(
        "ndarray", "ndarray", {b"nd": True, b"type": "|O", b"shape": [1], b"data": b"x" * 8}
    ),
    "a huge shape": _envelope(
        "ndarray", "ndarray", {b"nd": True, b"type": "<f8", b"shape": [10**12], b"data": b""}
    ),
    "a negative shape": _envelope(
        "ndarray", "ndarray", {b"nd": True, b"type": "<f8", b"shape": [-1], b"data": b""}
    ),
    "a large void type": _envelope(
        "ndarray", "ndarray", {b"nd": True, b"type": "V2147483647", b"shape": [1], b"data": b""}
    ),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00",
    "100,000 nested lists": b"\x91" * 100_000 + b"\xc0",
    "1,000 nested lists": b"\x91" * 1000 + b"\xc0",
    "a length prefix of 4 G": b"\xdd\xff\xff\xff\xff",
    "an extension type": b"\xc7\x08\x05abcdefgh" * 10_000,
    "trailing bytes": encode(1) + b"\x01",
    "nothing": b"",
    "bad UTF-8": b"\xa2\xff\xfe",
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(payload, VariableMessage)


def test_a_memory_bomb_is_refused_before_it_is_built() -> None:
    started = time.perf_counter()

    with pytest.raises(TooLarge, match="parts"):
        decode(b"\xdd\x00\x98\x96\x80" + b"\x80" * 10_000_000)

    assert time.perf_counter() - started < 5


def test_more_than_16_mib_is_refused_on_both_sides() -> None:
    with pytest.raises(TooLarge, match="at most"):
        encode(VariableMessage(value=b"x" * (17 * 1024 * 1024)))
    with pytest.raises(TooLarge, match="at most"):
        decode(b"\xc6" + b"x" * (17 * 1024 * 1024))


def test_a_message_cut_at_any_byte_is_refused() -> None:
    payload = encode(DeviceMonitor1DMessage(device="w", data=np.arange(4.0)))

    for cut in range(len(payload)):
        with pytest.raises(DecodeError):
            decode(payload[:cut], DeviceMonitor1DMessage)


def test_another_class_than_expected_is_refused() -> None:
    with pytest.raises(DecodeError, match="expected ScanMessage, got VariableMessage"):
        decode(encode(VariableMessage(value=1)), ScanMessage)


def test_large_arrays_anywhere_lie_over_the_received_bytes() -> None:
    image = np.random.default_rng(1).integers(0, 9, (300, 400), dtype=np.uint16)
    reading = {
        "image": {"value": image, "timestamp": 1.0},
        "small": {"value": np.arange(3), "timestamp": 2.0},
    }
    payload = encode(DeviceMessage(signals=reading, metadata={"note": "x", "set": [1]}))

    received = decode(stamp(payload, "0123456789abcdef", 3), DeviceMessage)

    array = received.signals["image"]["value"]
    np.testing.assert_array_equal(array, image)
    assert not array.flags.writeable
    assert not array.flags.owndata
    np.testing.assert_array_equal(received.signals["small"]["value"], [0, 1, 2])
    assert received.metadata == {"note": "x", "set": [1]}


def test_a_large_bundle_and_large_bytes_survive() -> None:
    scans = [
        ScanMessage(point_id=i, scan_id="s", data={"eye": {"eye": {"value": np.full((50, 50), i)}}})
        for i in range(5)
    ]
    large = VariableMessage(value={"bytes": b"x" * 100_000, "texts": ["y" * 1000] * 100, "set": {1, 2}})

    received = decode(encode(BundleMessage(messages=scans)), ScanMessage)

    assert [m.point_id for m in received] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(received[4].data["eye"]["eye"]["value"], np.full((50, 50), 4))
    assert decode(encode(large), VariableMessage) == large


def test_an_array_above_the_limit_is_refused_before_it_is_copied() -> None:
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (40_000_000_000,), (0,))  # 320 GB, if it were copied

    with pytest.raises(TooLarge, match="320000000000 bytes: at most 16777216"):
        encode(DeviceMonitor1DMessage(device="w", data=huge))
    with pytest.raises(TooLarge, match="write it to a file"):
        encode(VariableMessage(value={"deep": [huge]}))


def test_a_value_that_is_an_array_can_be_sent() -> None:
    np.testing.assert_array_equal(decode(encode(VariableMessage(value=np.arange(3)))).value, [0, 1, 2])


@pytest.mark.parametrize(
    "value",
    [
        datetime.datetime(2026, 1, 1),
        datetime.date(2026, 1, 1),
        decimal.Decimal("1.5"),
        uuid.UUID(int=1),
        frozenset({1}),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_would_arrive_as_something_else_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage, match="cannot be sent"):
        encode(VariableMessage(value={"a": [value]}))


def _proxy(name: str) -> bytes:
    return encode({"__bec_codec__": {"encoder_name": "DeviceBase", "type_name": "Positioner", "data": name}})


def test_a_map_with_a_proxy_as_its_key_is_read_and_other_maps_as_keys_are_refused() -> None:
    payload = encode(VariableMessage(value={"samx": 1, "b": [1.5, None, True, -3, b"x"]}))
    mark = encode("samx")

    received = decode(payload.replace(mark, _proxy("samx")), VariableMessage)

    assert received.value == {"samx": 1, "b": [1.5, None, True, -3, b"x"]}
    for key in (
        encode({"a": 1}),
        encode([_proxy("x")]),
        _proxy("x").replace(b"DeviceBase", b"SomeThings"),
    ):
        with pytest.raises(DecodeError):
            decode(payload.replace(mark, key), VariableMessage)
    twice = (
        encode(VariableMessage(value={"samx": 1, "samy": 2}))
        .replace(mark, _proxy("samx"))
        .replace(encode("samy"), mark)
    )
    with pytest.raises(DecodeError, match="twice"):
        decode(twice, VariableMessage)


def test_json_that_begins_with_anything_is_raw_and_the_rest_names_both_formats() -> None:
    assert decode(b"123").data == 123
    assert decode(b"true").data is True
    with pytest.raises(DecodeError, match="neither MessagePack nor JSON"):
        decode(b"no message at all")


def test_an_unknown_field_on_the_wire_hints_at_a_newer_sender() -> None:
    payload = encode({"__bec_codec__": {"encoder_name": "BECMessage", "type_name": "ProgressMessage", "data": {
        "value": 1.0, "max_value": 2.0, "done": True, "unit": "mm"}}})  # fmt: skip

    with pytest.raises(DecodeError, match=r"unknown field `unit`.*is the sender newer"):
        decode(payload, ProgressMessage)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [1, object()]}, "value.a[1]"),
        ({"a": {"b": {3: 4}}}, "value.a.b"),
        ([{"t": datetime.date(2026, 1, 1)}], "value[0].t"),
        ({"x": {"y": 2**65}}, "value.x.y"),
        (np.array([object()]), "value"),
    ],
)
def test_a_refusal_names_the_place(value: object, place: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        encode(VariableMessage(value=value))

    assert str(caught.value).endswith(f"- at `{place}`")
    with pytest.raises(InvalidMessage, match="at `deep"):
        encode({"deep": value})


def test_the_place_in_deep_and_in_shared_values_is_found_quickly() -> None:
    deep: list[Any] = [object()]
    for _ in range(5000):
        deep = [deep, deep]
    started = time.process_time()

    with pytest.raises(InvalidMessage):
        encode(VariableMessage(value=deep))

    assert time.process_time() - started < 2


@pytest.mark.parametrize("content", [b"x" * (64 << 20), "x" * (64 << 20)], ids=["bytes", "text"])
def test_bytes_and_text_above_the_limit_are_refused_before_they_are_copied(content: object) -> None:
    message = VariableMessage(value=content)
    encode(VariableMessage(value="small"))
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=f"{64 << 20} bytes: at most"):
            encode(message)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 1 << 20


@pytest.mark.parametrize("left_over", [-1, 0, 1])
def test_the_limit_holds_to_the_byte(left_over: int) -> None:
    around = len(encode(VariableMessage(value={"a": b"x" * 100_000}))) - 100_000
    message = VariableMessage(value={"a": b"x" * (MAX_PAYLOAD_BYTES - around + left_over)})

    if left_over <= 0:
        assert len(encode(message)) == MAX_PAYLOAD_BYTES + left_over
    else:
        with pytest.raises(TooLarge):
            encode(message)
