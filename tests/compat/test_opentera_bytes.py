"""OpenTera's bytes, with its own protobuf classes as the oracle (seed 004)."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labspine.compat import opentera as ot
from labspine.errors import DecodeError, InvalidMessage, LabspineError, TooLarge
from labspine.messages import decode, encode
from labspine.messages.base import Part
from labspine.messages.opentera import KINDS, protobuf

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False)
arguments = st.one_of(st.booleans(), numbers, st.integers(-(2**63), 2**64 - 1), texts, st.binary(max_size=20))
requests = st.fixed_dictionaries({
    "method": texts, "reply_to": texts, "id": st.integers(0, 2**64 - 1), "timestamp": numbers,
    "args": st.lists(arguments, max_size=6),
}).map(lambda fields: ot.RPCMessage(**fields))  # fmt: skip
BY_HINT: dict[Any, st.SearchStrategy[Any]] = {
    str: texts, int: st.integers(0, 40), float: numbers, list[str]: st.lists(texts, max_size=3),
}  # fmt: skip


def fields_of(kind: type[Part]) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def events_of(kind: type[Part]) -> st.SearchStrategy[Any]:
    made = {
        name: BY_HINT[hint] if hint in BY_HINT else st.none() | events_of(ot.LogEvent)
        for name, hint in fields_of(kind).items()
    }
    return st.fixed_dictionaries(made).map(lambda fields: kind(**fields))


events = st.one_of(*[events_of(kind) for kind in KINDS.values()])
envelopes = st.fixed_dictionaries({
    "version": st.integers(0, 2**32 - 1), "time": numbers, "topic": texts, "events": st.lists(events, max_size=3),
}).map(lambda fields: ot.TeraEvent(**fields))  # fmt: skip


# --- golden bytes ----------------------------------------------------------------------------------------


def test_a_request_has_the_bytes_of_their_client() -> None:
    reply_to = "RedisRPCClient.6fe2c8d5-9d0c-4b63-a2f8-7c6b1f0d2e11"
    stamp = struct.unpack("<d", bytes.fromhex("a24dfe52c0da4100"))[0]
    golden = (
        b"\x0a\x03add\x12\x33"
        + reply_to.encode()
        + b"\x21"
        + struct.pack("<d", stamp)
        + b"\x2a\x02\x18\x14\x2a\x02\x18\x16"
    )

    message = ot.RPCMessage(method="add", reply_to=reply_to, timestamp=stamp, args=[20, 22])

    assert encode(message) == golden
    assert len(golden) == 75
    assert decode(golden, ot.RPCMessage) == message
    assert encode(ot.RPCMessage(method="add", id=300, timestamp=0.0)) == b"\x0a\x03add\x18\xac\x02"


@pytest.mark.parametrize(
    ("value", "golden"),
    [
        (1.5, "09000000000000f83f"), (0.0, "090000000000000000"), (20, "1814"), (0, "1800"), (-1, "18ffffffffffffffffff01"),
        (2**63 - 1, "18ffffffffffffffff7f"), (2**63, "2080808080808080808001"), (True, "2801"), (False, "2800"),
        (b"\x00\xff", "320200ff"), (b"", "3200"), ("é", "3a02c3a9"), ("", "3a00"),
    ],
    ids=repr,
)  # fmt: skip
def test_each_kind_of_argument_has_its_bytes(value: Any, golden: str) -> None:
    payload = encode(ot.RPCMessage(method="", timestamp=0.0, args=[value]))

    assert payload == b"\x2a" + bytes([len(golden) // 2]) + bytes.fromhex(golden)
    (found,) = decode(payload, ot.RPCMessage).args
    assert found == value
    assert type(found) is type(value)


def test_four_byte_and_unsigned_numbers_are_read_too() -> None:
    payload = (
        b"\x2a\x05\x15" + struct.pack("<f", 0.5) + b"\x2a\x02\x20\x07" + b"\x58\x01"
    )  # and an unknown field

    assert decode(payload, ot.RPCMessage).args == [0.5, 7]


def test_an_event_has_the_bytes_of_their_package() -> None:
    event = ot.UserEvent(user_uuid="u", type=ot.UserEventType.CONNECTED)
    golden = (
        b"\x0a\x0e\x08\x01\x11" + struct.pack("<d", 1.5) + b"\x1a\x01t"
        b"\x12\x38\x0a\x2ftype.googleapis.com/opentera.protobuf.UserEvent\x12\x05\x0a\x01u\x10\x01"
    )  # fmt: skip

    message = ot.TeraEvent(topic="t", time=1.5, events=[event])

    assert encode(message) == golden
    assert decode(golden, ot.TeraEvent) == message


# --- round trips and the oracle --------------------------------------------------------------------------


@given(requests)
def test_every_request_comes_back(message: ot.RPCMessage) -> None:
    found = decode(encode(message), ot.RPCMessage)

    assert found == message
    assert [type(a) for a in found.args] == [type(a) for a in message.args]


@given(envelopes)
def test_every_event_comes_back(message: ot.TeraEvent) -> None:
    assert decode(encode(message), ot.TeraEvent) == message


@settings(max_examples=15)
@given(st.lists(requests, min_size=10, max_size=30), st.lists(envelopes, min_size=10, max_size=30))
def test_their_classes_write_the_same_bytes(opentera: Any, calls: list[Any], told: list[Any]) -> None:
    for kind, messages in (("RPCMessage", calls), ("TeraEvent", told)):
        ours = [encode(message).hex() for message in messages]

        assert opentera.again(kind, ours) == ours


@settings(max_examples=15)
@given(st.lists(events, min_size=10, max_size=30))
def test_their_classes_write_our_fields_under_the_same_names(opentera: Any, told: list[Part]) -> None:
    def given_fields(event: Part) -> dict[str, Any]:
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        header = fields.pop("log_header", None)
        return fields if header is None else {**fields, "log_header": given_fields(header)}

    asked = [
        [
            "TeraEvent",
            {
                "header": {"version": 1, "time": 2.5, "topic": "t"},
                "events": [[type(e).__name__, given_fields(e)]],
            },
        ]
        for e in told
    ]
    theirs = [bytes.fromhex(payload) for payload in opentera.encode_many(asked)]

    for event, payload in zip(told, theirs, strict=True):
        assert decode(payload, ot.TeraEvent) == ot.TeraEvent(time=2.5, topic="t", events=[event])
        assert encode(ot.TeraEvent(time=2.5, topic="t", events=[event])) == payload


def test_a_module_message_is_theirs_too(opentera: Any) -> None:
    head = {"version": 1, "time": 2.5, "seq": 7, "source": "service.a.messages", "dest": "module.b.messages"}
    event = {"object_type": "user", "type": 2, "object_value": "{}"}

    theirs = bytes.fromhex(
        opentera.encode("TeraModuleMessage", {"head": head, "data": [["DatabaseEvent", event]]})
    )

    found = decode(theirs, ot.TeraModuleMessage)
    assert found == ot.TeraModuleMessage(**head, data=[ot.DatabaseEvent(**event)])
    assert found.data[0].type == ot.DatabaseEventType.UPDATE
    assert encode(found) == theirs


def test_an_event_of_an_unknown_kind_is_kept_as_it_came() -> None:
    unknown = ot.UnknownEvent(type_url="type.googleapis.com/opentera.protobuf.Future", value=b"\x08\x01")
    message = ot.TeraEvent(topic="t", events=[unknown, ot.UserEvent(type=99)])

    assert decode(encode(message), ot.TeraEvent) == message


# --- what is hostile -------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_our_error(payload: bytes) -> None:
    for kind in (ot.RPCMessage, ot.TeraEvent, ot.TeraModuleMessage, ot.RPCReply):
        try:
            found = decode(payload, kind)
        except (DecodeError, TooLarge):
            continue
        assert isinstance(found, kind)
        encode(found)


@given(envelopes, st.data())
def test_damaged_messages_give_a_message_or_our_error(message: ot.TeraEvent, data: st.DataObject) -> None:
    payload = bytearray(encode(message))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))

    for damaged in (bytes(payload), bytes(payload[:cut])):
        try:
            decode(damaged, ot.TeraEvent)
        except LabspineError:
            pass


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"\x0a\x05ab", "cut off, 5 bytes were announced and 2 are there"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "cut off"),
        (b"\x18" + b"\xff" * 11, "longer than 10 bytes"),
        (b"\x00\x01", "a field has the number 0"),
        (b"\x0b", "wire type 3 is not used"),
        (b"\x0a\x02\xff\xfe", "method: not UTF-8"),
        (b"\x2a\x00", r"args\[0\]: an argument without a value"),
        (b"\x2a\x03\x3a\x01\xff", r"args\[0\]: not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_request_is_said(payload: bytes, words: str) -> None:
    with pytest.raises(DecodeError, match=words):
        decode(payload, ot.RPCMessage)


def test_size_and_number_of_parts_are_bounded() -> None:
    many = protobuf.MOST_ITEMS + 1
    with pytest.raises(TooLarge, match="more than 10000 fields"):
        decode(b"\x2a\x02\x18\x01" * many, ot.RPCMessage)
    with pytest.raises(TooLarge, match="more than 10000 fields"):
        decode(b"\x12\x00" * many, ot.TeraEvent)
    with pytest.raises(TooLarge):
        decode(b"\x0a" + bytes(17 * 1024 * 1024), ot.RPCMessage)
    with pytest.raises(TooLarge):
        encode(ot.RPCMessage(method="x", args=[bytes(17 * 1024 * 1024)]))


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"1", b"{", b"[" * 200_000, b"\xff", b'{"id": "x"}', b'{"error": 3}', b'{"status": 1}']
)  # fmt: skip
def test_a_reply_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises((DecodeError, TooLarge)):
        decode(payload, ot.RPCReply)


def test_a_reply_is_what_their_client_reads() -> None:
    reply = ot.RPCReply(method="add", id=1, pattern="service.LabReal.rpc", return_value=42)

    assert json.loads(encode(reply)) == {
        "method": "add", "id": 1, "pattern": "service.LabReal.rpc", "status": "OK", "return_value": 42,
    }  # fmt: skip
    assert decode(encode(reply), ot.RPCReply) == reply
    assert math.isnan(decode(encode(ot.RPCReply(return_value=math.nan)), ot.RPCReply).return_value)


def test_what_cannot_travel_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidMessage, match=r"events\[1\] is a str"):
        ot.TeraEvent(events=[ot.UserEvent(), "x"])
    with pytest.raises(InvalidMessage, match=r"UserEvent\.type=4294967296: must fit into 32 bits"):
        encode(ot.TeraEvent(events=[ot.UserEvent(type=2**32)]))
    with pytest.raises(InvalidMessage, match=r"user_uuid"):
        ot.UserEvent(user_uuid=3)
    with pytest.raises(InvalidMessage, match="not valid Unicode"):
        encode(ot.TeraEvent(topic="\ud800"))
    with pytest.raises(InvalidMessage, match="id=-1"):
        ot.RPCMessage(method="x", id=-1)
