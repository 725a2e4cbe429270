"""Properties of the codec: what goes in comes out, and no bytes do harm."""

from __future__ import annotations

import runpy
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labspine import messages
from labspine.errors import DecodeError, TooLarge
from labspine.messages import (
    DeviceMessage,
    Message,
    ScanMessage,
    VariableMessage,
    decode,
    encode,
    read_stamp,
    stamp,
)
from labspine.messages.proxies import read_with_proxies

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.booleans() | st.none()
text = st.text(st.characters(codec="utf-8"), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    numbers | text | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


@given(values, st.dictionaries(text, values, max_size=3))
def test_any_value_survives(value: Any, metadata: dict[str, Any]) -> None:
    message = VariableMessage(value=value, metadata=metadata)

    assert decode(encode(message), VariableMessage) == message


@given(st.integers(0, 2**31), st.dictionaries(text, values, max_size=4))
def test_a_point_survives_with_its_stamp(point: int, data: dict[str, Any]) -> None:
    message = ScanMessage(point_id=point, scan_id="s", data=data)
    payload = stamp(encode(message), "0123456789abcdef", point)

    assert decode(payload, ScanMessage) == message
    assert read_stamp(payload) == ("0123456789abcdef", point)


@given(hnp.arrays(hnp.scalar_dtypes().filter(lambda t: t.kind not in "mM"), hnp.array_shapes(min_side=0)))
def test_any_array_survives(array: np.ndarray[Any, Any]) -> None:
    message = DeviceMessage(signals={"w": {"value": array, "timestamp": 1.0}})

    back = decode(encode(message), DeviceMessage).signals["w"]["value"]

    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@given(st.binary(max_size=300))
def test_random_bytes_do_no_harm(payload: bytes) -> None:
    try:
        decode(payload, ScanMessage)
    except (DecodeError, TooLarge):
        pass


@given(st.data())
def test_a_damaged_message_is_read_or_refused(data: st.DataObject) -> None:
    payload = bytearray(encode(DeviceMessage(signals={"w": {"value": np.arange(3), "timestamp": 1.0}})))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))

    try:
        decode(bytes(payload), DeviceMessage)
    except (DecodeError, TooLarge):
        pass


EXAMPLES = runpy.run_path(str(Path(__file__).parent.parent / "data" / "message_examples.py"))
PAYLOADS = [
    (type(message), encode(message))
    for name in EXAMPLES["EXAMPLES"]
    for message in [getattr(messages, name)(**EXAMPLES["fields_of"](name, messages))]
]


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_message_of_any_class_is_read_or_refused(data: st.DataObject) -> None:
    cls, whole = data.draw(st.sampled_from(PAYLOADS))
    payload = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        action = data.draw(st.sampled_from(["set", "cut", "double"]))
        if action == "set":
            payload[at] = data.draw(st.integers(0, 255))
        else:
            end = min(len(payload), at + data.draw(st.integers(1, 20)))
            payload[at:end] = b"" if action == "cut" else payload[at:end] * 2
        if not payload:
            return
    started = time.process_time()

    for expected in (cls, None, Message):
        try:
            decode(bytes(payload), expected)
        except (DecodeError, TooLarge):
            pass

    assert time.process_time() - started < 1


@given(values)
def test_the_reader_for_proxies_reads_what_msgspec_reads(value: Any) -> None:
    assert read_with_proxies(encode(value)) == msgspec.msgpack.decode(encode(value))


@given(st.binary(max_size=200))
def test_the_reader_for_proxies_refuses_or_agrees(payload: bytes) -> None:
    try:
        value = read_with_proxies(payload)
    except (DecodeError, TooLarge):
        return
    assert repr(value) == repr(msgspec.msgpack.decode(payload))
