"""
The catalogue of bad inputs: names (A), messages and bytes (B), the connector (C); one test a row.

The command's rows are in ``tests/system/test_bus_verbs.py``, those of the embedded broker in ``tests/faults`` and
``tests/unit/wire``; what needs a server of its own kind (C4 to C6, C15, C19) stands where that server is.
"""

from __future__ import annotations

import datetime
import math
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labspine import MessageEndpoints as Me
from labspine import RedisConnector
from labspine import messages as m
from labspine.cli.context import jsonable
from labspine.endpoints import EndpointInfo, MessageOp
from labspine.errors import (
    ConfigError,
    DecodeError,
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    InvalidOperation,
    LabspineError,
    NotConnected,
    TooLarge,
)
from labspine.messages import decode, encode

NUMBER = Me.scan_number()
SEGMENT = Me.scan_segment()
STATUS = Me.scan_status()

# --- A: names ---

NAMES: dict[str, tuple[Callable[[], object], type[LabspineError], str]] = {
    "A1 empty": (lambda: Me.device_read(""), InvalidName, "empty"),
    "A2 spaces": (lambda: Me.device_read("  "), InvalidName, "character 1"),
    "A2 a space at the end": (lambda: Me.device_read("samx "), InvalidName, "character 5"),
    "A3 a star": (lambda: Me.device_read("user*"), InvalidName, "MessageEndpoints.pattern"),
    "A4 a question mark": (lambda: Me.device_read("us?r"), InvalidName, "MessageEndpoints.pattern"),
    "A4 brackets": (lambda: Me.device_read("us[e]r"), InvalidName, "MessageEndpoints.pattern"),
    "A5 a star in a name of a person": (lambda: Me.scan_queue_request("*"), InvalidName, "pattern"),
    "A6 a line end": (lambda: Me.device_read("a\r\nPUBLISH victim x"), InvalidName, "character 2"),
    "A7 a zero byte": (lambda: Me.device_read("a\x00b"), InvalidName, "character 2"),
    "A8 half a character": (lambda: Me.device_read("a\ud800b"), InvalidName, "character 2"),
    "A9 a way up": (lambda: Me.device_read("../../etc/passwd"), InvalidName, "character 3"),
    "A9 only dots": (lambda: Me.device_read(".."), InvalidName, "dots"),
    "A9 two slashes": (lambda: Me.device_read("a//b"), InvalidName, "character 2"),
    "A10 64 kB": (lambda: Me.device_read("x" * 65536), InvalidName, "512 bytes"),
    "A11 right to left": (lambda: Me.device_read("a\u202eb"), InvalidName, "character 2"),
    "A11 zero width": (lambda: Me.device_read("a\u200bb"), InvalidName, "character 2"),
    "A11 not NFC": (lambda: Me.device_read("e\u0301"), InvalidName, "character 2|NFC"),
    "A12 None": (lambda: Me.device_read(None), InvalidArgument, "expected a name"),  # type: ignore[arg-type]
    "A12 bytes": (lambda: Me.device_read(b"samx"), InvalidArgument, "`bytes`"),  # type: ignore[arg-type]
    "A13 a slot": (lambda: Me.device_read("{tag}"), InvalidName, "character 1"),
    "A14 events of keys": (lambda: Me.device_read("__keyspace@0__:*"), InvalidName, "wildcard|character"),
    "A16 a name is missing": (Me.device_read, InvalidArgument, "needs device"),
    "A16 an unknown name": (lambda: Me.device_read(motor="x"), InvalidArgument, "no name 'motor'"),
    "A16 too many names": (lambda: Me.device_read("a", "b"), InvalidArgument, "takes 1 names, got 2"),
    "A17 a slash": (lambda: Me.device_read("samx/../samy"), InvalidName, "character 5"),
}


@pytest.mark.parametrize("row", NAMES)
def test_a_bad_name_is_refused(row: str) -> None:
    make, error, text = NAMES[row]

    with pytest.raises(error, match=text) as refused:
        make()

    assert len(str(refused.value)) < 300
    assert str(refused.value).isprintable()


# --- B: messages ---


def looped() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def value(content: object) -> bytes:
    return encode(m.VariableMessage(value=content))


def preview(**fields: Any) -> m.DevicePreviewMessage:
    return m.DevicePreviewMessage(device="cam", signal="image", data=np.zeros(3), **fields)


MESSAGES: dict[str, tuple[Callable[[], object], str]] = {
    "B1 a wrong type": (lambda: m.ScanStatusMessage(scan_id=5, status="open", info={}), "scan_id"),  # type: ignore[arg-type]
    "B2 an unknown field": (lambda: m.VariableMessage(value=1, extra=2), "unknown field `extra`"),  # type: ignore[call-arg]
    "B3 a missing field": (lambda: m.ScanStatusMessage(scan_id="s", info={}), "missing field `status`"),  # type: ignore[call-arg]
    "B4 another message": (
        lambda: SEGMENT.check(m.VariableMessage(value=1)),
        "ScanMessage, got VariableMess",
    ),
    "B5 one wrong item": (lambda: STATUS.check([m.VariableMessage(value=1)]), "item 0"),
    "B6 an object": (lambda: value({"x": {"y": object()}}), r"value.x.y"),
    "B6 an open file": (lambda: value([1, sys.stdin]), r"value\[1\]"),
    "B7 a list in itself": (lambda: value(looped()), "contains itself"),
    "B8 an array of objects": (lambda: value(np.array([object()])), "object|dtype"),
    "B19 no number where a time is": (lambda: preview(timestamp=math.nan), "timestamp"),
    "B20 above 64 bits": (lambda: value(2**65), "range|64|large|big"),
    "B20 below 64 bits": (lambda: value(-(2**65)), "range|64|large|big"),
    "B21 a number as key": (lambda: value({"a": {5: 1}}), "keys are text"),
    "B22 half a character": (lambda: value("a\ud800b"), "surrogates|UTF-8|utf-8"),
    "B25 a date without zone": (lambda: value(datetime.datetime(2026, 1, 1)), "use seconds"),
    "B25 milliseconds": (lambda: preview(timestamp=1.7e12), "timestamp"),
    "B25 the year 9999": (lambda: preview(timestamp=253402300799.0), "timestamp"),
    "B26 metadata of another kind": (lambda: m.VariableMessage(value=1, metadata=[1]), "metadata"),  # type: ignore[arg-type]
    "B26 metadata with numbers as keys": (lambda: m.VariableMessage(value=1, metadata={5: 1}), "metadata"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("row", MESSAGES)
def test_a_bad_message_is_refused(row: str) -> None:
    make, text = MESSAGES[row]

    with pytest.raises(InvalidMessage, match=text) as refused:
        make()

    assert len(str(refused.value)) < 600


def codec(encoder: str, type_name: str, data: object) -> bytes:
    return encode({"__bec_codec__": {"encoder_name": encoder, "type_name": type_name, "data": data}})


def array(kind: str, shape: list[int], data: bytes) -> bytes:
    return codec("ndarray", "ndarray", {b"nd": True, b"type": kind, b"shape": shape, b"data": data})


GOOD = value({"a": [1, 2.5, "x"]})
BYTES: dict[str, tuple[bytes, type[LabspineError]]] = {
    "B9 a huge shape": (array("<f8", [10**12], b""), DecodeError),
    "B9 a negative shape": (array("<f8", [-1], b""), DecodeError),
    "B9 a short buffer": (array("<f8", [4], b"12345678"), DecodeError),
    "B9 two gigabytes of nothing": (array("V2147483647", [1], b""), DecodeError),
    "B10 pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix", DecodeError),
    "B11 a type of builtins": (
        codec("type", "type", {"type_name": "eval", "module": "builtins"}),
        DecodeError,
    ),
    "B12 a callable": (codec("BECMessage", "uuid4", {}), DecodeError),
    "B12 another callable": (codec("BECMessage", "deepcopy", {"x": 1}), DecodeError),
    "B14 trailing bytes": (GOOD + b"\x01", DecodeError),
    "B15 100,000 nested lists": (b"\x91" * 100_000 + b"\xc0", DecodeError),
    "B16 4 G items": (b"\xdd\xff\xff\xff\xff", DecodeError),
    "B16 4 G pairs": (b"\xdf\xff\xff\xff\xff", DecodeError),
    "B16 4 G of text": (b"\xdb\xff\xff\xff\xff", DecodeError),
    "B16 4 G of bytes": (b"\xc6\xff\xff\xff\xff", DecodeError),
    "B16 4 G of an extension": (b"\xc9\xff\xff\xff\xff\x05", DecodeError),
    "B17 10 MB of empty maps": (b"\xdd" + struct.pack(">I", 10**7) + b"\x80" * 10**7, TooLarge),
    "B18 an unknown extension": (b"\xc7\x03\x05abc", DecodeError),
    "B18 a bad timestamp": (b"\xc7\x03\xffabc", DecodeError),
    "B21 a number as key": (b"\x81\x05\x01", DecodeError),
    "B22 bad UTF-8": (GOOD.replace(b"\xa1x", b"\xa1\xff"), DecodeError),
    "B23 above 16 MiB": (b"\xc6" + struct.pack(">I", 17 << 20) + b"x" * (17 << 20), TooLarge),
    "B24 a newer sender": (codec("BECMessage", "VariableMessage", {"value": 1, "since_v9": 2}), DecodeError),
}


@pytest.mark.parametrize("row", BYTES)
def test_bad_bytes_are_refused(row: str) -> None:
    payload, error = BYTES[row]

    with pytest.raises(error) as refused:
        decode(payload, m.VariableMessage)

    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("end", range(len(GOOD)), ids=lambda end: f"B13 cut at byte {end}")
def test_bytes_that_are_cut_off_are_refused(end: int) -> None:
    with pytest.raises(DecodeError):
        decode(GOOD[:end], m.VariableMessage)


def test_b10_no_module_of_ours_knows_pickle() -> None:
    import labspine

    for source in Path(labspine.__file__).parent.rglob("*.py"):
        assert not re.search(
            r"^\s*(import|from) (c?pickle|dill|cloudpickle|marshal)\b", source.read_text(), re.M
        )


def test_b19_no_number_is_null_in_json() -> None:
    assert jsonable(m.VariableMessage(value=[1.0, math.nan, math.inf])) == {
        "type": "VariableMessage",
        "value": [1.0, None, None],
        "metadata": {},
    }


# --- C: the connector ---


@pytest.fixture(scope="module")
def bus(broker_url: str) -> Iterator[RedisConnector]:
    with RedisConnector(broker_url) as connector:
        yield connector


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", "localhost:abc", "", "h:0", "h:70000", "h:-1"]
)
def test_c1_c3_a_bad_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        RedisConnector(address)


@pytest.mark.parametrize("address", ["[::1]:6379", "redis://h:1", "unix:///run/s", "rediss://h:1"])
def test_c2_other_addresses_are_taken(address: str) -> None:
    RedisConnector(address).close()


LIST = Me.scan_queue_waiting()
LOG = Me.log()
HAND_MADE: EndpointInfo[Any] = EndpointInfo("user/*", m.VariableMessage, MessageOp.KEY_VALUE)
ONE = m.VariableMessage(value=1)
CALLS: dict[str, tuple[Callable[[Any], object], type[LabspineError], str]] = {
    "A15 text instead of an endpoint": (lambda b: b.get("public/x"), InvalidArgument, "expected an endpoint"),
    "A3 a wildcard in an own endpoint": (lambda b: b.get(HAND_MADE), InvalidName, "wildcard"),
    "C7 get where only send is allowed": (lambda b: b.get(SEGMENT), InvalidOperation, "send, register"),
    "C9 no callback": (lambda b: b.register(SEGMENT, None), InvalidArgument, "callback is missing"),
    "C9 a callback that is a number": (lambda b: b.register(SEGMENT, 5), InvalidArgument, "not callable"),
    "C9 a callback that takes nothing": (
        lambda b: b.register(SEGMENT, lambda: 1),
        InvalidArgument,
        "called as",
    ),
    "C12 unregister what": (lambda b: b.unregister(), InvalidArgument, "unregister what"),
    "C16 a negative time": (lambda b: b.blocking_list_pop(LIST, timeout_s=-1), InvalidArgument, "timeout_s"),
    "C16 no number": (lambda b: b.blocking_list_pop(LIST, timeout_s=math.nan), InvalidArgument, "timeout_s"),
    "C16 for ever": (lambda b: b.blocking_list_pop(LIST, timeout_s=math.inf), InvalidArgument, "timeout_s"),
    "C16 text": (lambda b: b.blocking_list_pop(LIST, timeout_s="1"), InvalidArgument, "timeout_s"),
    "C17 room for none": (lambda b: b.xadd(LOG, {"data": 1}, max_size=0), InvalidArgument, "max_size"),
    "C17 room for less": (lambda b: b.xadd(LOG, {"data": 1}, max_size=-1), InvalidArgument, "max_size"),
    "C17 gone at once": (lambda b: b.set(NUMBER, ONE, expire_s=0), InvalidArgument, "expire_s"),
    "C17 gone before": (lambda b: b.set(NUMBER, ONE, expire_s=-1), InvalidArgument, "expire_s"),
    "C21 an id of letters": (lambda b: b.xrange(LOG, "abc"), InvalidArgument, "stream id"),
    "C21 half an id": (lambda b: b.xread(LOG, "5-"), InvalidArgument, "stream id"),
    "C24 too many keys": (lambda b: b.keys(NUMBER, limit=0), TooLarge, "more than 0 keys"),
    "D8 an option that is not known": (
        lambda b: RedisConnector("h:1", tiemout_s=1),
        InvalidArgument,
        "tiemout_s",
    ),
    "D8 no time at all": (lambda b: RedisConnector("h:1", timeout_s=0), InvalidArgument, "timeout_s"),
}


@pytest.mark.parametrize("row", CALLS)
def test_a_bad_call_is_refused_in_the_caller(row: str, bus: RedisConnector) -> None:
    call, error, text = CALLS[row]
    bus.set(NUMBER, m.VariableMessage(value=7))

    with pytest.raises(error, match=text):
        call(bus)

    assert bus.get(NUMBER) == m.VariableMessage(value=7)


def test_c8_a_key_of_another_kind_is_told(bus: RedisConnector) -> None:
    bus.set(NUMBER, ONE)
    with pytest.raises(InvalidOperation, match="holds"):
        bus.llen(EndpointInfo(NUMBER.endpoint, m.VariableMessage, MessageOp.LIST))


def test_c11_the_same_callback_twice_is_called_once(broker_url: str) -> None:
    heard: list[Any] = []
    with RedisConnector(broker_url) as bus:
        for _ in range(2):
            bus.register(SEGMENT, heard.append)
        assert bus.send(SEGMENT, m.ScanMessage(point_id=1, scan_id="s", data={})) == 1
        assert bus.unregister(SEGMENT, heard.append)
        assert not bus.unregister(SEGMENT, heard.append)  # C12: nothing was registered any more


def test_c13_a_closed_connector_says_so(broker_url: str) -> None:
    bus = RedisConnector(broker_url)
    bus.get(NUMBER)
    bus.close()
    bus.close()
    with pytest.raises(NotConnected, match="closed"):
        bus.get(NUMBER)
    with pytest.raises(NotConnected, match="closed"):
        bus.register(SEGMENT, print)


def test_c18_a_pipeline_is_executed_once(bus: RedisConnector) -> None:
    pipe = bus.pipeline()
    pipe.get(NUMBER)
    pipe.execute()
    with pytest.raises(InvalidArgument, match="executed already"):
        pipe.execute()
    with pytest.raises(InvalidArgument, match="executed already"):
        bus.get(NUMBER, pipe=pipe)
