"""Endpoints bind a channel to a message type and its operations (seeds 000 and 001)."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from labspine import messages
from labspine.endpoints import MessageEndpoints, MessageOp
from labspine.errors import DecodeError, InvalidArgument, InvalidMessage, InvalidName, InvalidOperation
from labspine.messages import (
    BundleMessage,
    FileMessage,
    Message,
    ScanMessage,
    ScanStatusMessage,
    VariableMessage,
)


def test_the_repr_is_that_of_seed_000() -> None:
    assert repr(MessageEndpoints.file_event("samx")) == (
        "EndpointInfo(endpoint='public/file_event/samx', message_type=<class 'labspine.messages.FileMessage'>, "
        "message_op=<MessageOp.SET_PUBLISH: ['register', 'set_and_publish', 'delete', 'get', 'keys']>)"
    )


def test_the_operations_are_those_of_seed_001() -> None:
    assert MessageEndpoints.scan_status().message_type is ScanStatusMessage
    assert MessageEndpoints.scan_number().message_op.value == ["set", "get", "delete", "keys"]
    assert MessageEndpoints.scan_segment().message_op.value == ["send", "register"]
    assert "register" in MessageOp.STREAM
    assert "set" not in MessageOp.SEND


def test_an_operation_that_is_not_allowed_is_refused_with_the_list() -> None:
    with pytest.raises(InvalidOperation, match=r"get is not allowed on scan_segment .*: use send, register"):
        MessageEndpoints.scan_segment().require("get")


def test_a_message_of_another_type_is_refused_with_both_names() -> None:
    endpoint = MessageEndpoints.scan_segment()
    point = ScanMessage(point_id=0, scan_id="s", data={})

    endpoint.check(point)
    endpoint.check([point, point])
    endpoint.check(BundleMessage(messages=[point]))
    with pytest.raises(InvalidMessage, match="takes ScanMessage, got VariableMessage"):
        endpoint.check(VariableMessage(value=1))
    with pytest.raises(InvalidMessage, match="item 1"):
        endpoint.check([point, VariableMessage(value=1)])
    with pytest.raises(InvalidMessage, match="got list"):
        endpoint.check([])
    with pytest.raises(InvalidMessage, match="got str"):
        endpoint.check("text")


@pytest.mark.parametrize(
    "name",
    ["", " ", " samx", "samx ", "user*", "us?r", "us[e]r", "a\r\nPUBLISH victim x", "a\x00b", "a\ud800b", "..", ".",
     "../etc", "a//b", "/a", "a/", "x" * 600, "a\u202eb", "e\u0301", "{tag}", "samx/../samy"],
    ids=ascii,
)  # fmt: skip
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        MessageEndpoints.device_read(name)


@pytest.mark.parametrize("name", [None, b"samx", ["samx"], 1.5, True, object()], ids=repr)
def test_what_is_not_a_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidArgument, match="expected a name"):
        MessageEndpoints.device_read(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["samx", "sam_x-1.2", "mötör", "0"])
def test_a_good_name_is_taken(name: str) -> None:
    assert MessageEndpoints.device_read(name).endpoint == f"internal/devices/read/{name}"
    assert MessageEndpoints.device_read(device=name) == MessageEndpoints.device_read(name)


def test_missing_and_unknown_names_say_what_is_needed() -> None:
    with pytest.raises(InvalidArgument, match=r"device_read\(device\) needs device"):
        MessageEndpoints.device_read()
    with pytest.raises(InvalidArgument, match='did you mean "device"'):
        MessageEndpoints.device_read(devcie="samx")
    with pytest.raises(InvalidArgument, match="takes 1 names, got 2"):
        MessageEndpoints.device_read("a", "b")
    with pytest.raises(InvalidArgument, match='did you mean "scan_status"'):
        MessageEndpoints.definition("scan_statsu")


def test_wildcards_have_their_own_call() -> None:
    pattern = MessageEndpoints.pattern("public_scan_segment", scan_id="s1")

    assert pattern.is_pattern
    assert pattern.endpoint == "public/s1/scan_segment/*"
    with pytest.raises(InvalidName):
        MessageEndpoints.pattern("device_read", device="a/*")


def test_an_endpoint_moves_between_profiles() -> None:
    seed = MessageEndpoints.public_file("1f0c", "master")

    bec = seed.at("bec4")

    assert bec.endpoint == "info/public/1f0c/file/master"
    assert bec.message_type is FileMessage
    assert bec.at("seed") == seed
    assert MessageEndpoints.pattern("device_read").at("bec4").endpoint == "info/devices/read/*"
    assert MessageEndpoints.scan_queue_request().at("bec4").endpoint == "personal/default/queue/queue_request"


def test_profile_bec4_agrees_with_the_installed_bec_lib() -> None:
    """Channel, names, message type and operations of every endpoint of bec_lib."""
    theirs = pytest.importorskip("bec_lib.endpoints").MessageEndpoints
    methods = {name: f for name, f in vars(theirs).items() if isinstance(f, staticmethod)}
    assert len(methods) >= 130

    for name, method in methods.items():
        definition = MessageEndpoints.definition(name)
        parts = [f"n{i}" for i, _ in enumerate(definition.parameters)]
        ours = definition(*parts).at("bec4")
        bec = getattr(theirs, name)(*parts)
        assert list(inspect.signature(inspect.unwrap(method.__func__)).parameters) == list(
            definition.parameters
        )
        assert ours.endpoint == bec.endpoint
        assert ours.message_type is (
            Message if bec.message_type is Any else messages.message_class(bec.message_type.__name__)
        )
        assert ours.message_op.value == list(bec.message_op.value)


def test_an_endpoint_for_any_class_takes_messages_only() -> None:
    """Where bec_lib declares `Any`, every message is taken and nothing that is no message (ADR 0013)."""
    endpoint = MessageEndpoints.atlas_deployment_ingest("lab")

    endpoint.check(VariableMessage(value=1))
    assert messages.decode(messages.encode(VariableMessage(value=1)), endpoint.message_type).value == 1
    with pytest.raises(InvalidMessage, match="takes Message, got dict"):
        endpoint.check({"a": 1})
    with pytest.raises(DecodeError, match="expected Message, got int"):
        messages.decode(b"\x01", endpoint.message_type)
    with pytest.raises(DecodeError, match='"Message" is not known'):
        messages.decode(
            messages.encode(VariableMessage(value=1)).replace(b"\xafVariableMessage", b"\xa7Message"), Message
        )


def test_the_seed_profile_continues_the_scheme_of_the_seeds() -> None:
    assert MessageEndpoints.roi_config("eye", "image").endpoint == "internal/devices/roi_config/eye/image"
    assert MessageEndpoints.procedure_request().endpoint == "internal/procedures/procedure_request"
    assert MessageEndpoints.login_info().endpoint == "public/acl/login_info"
    assert MessageEndpoints.public_scan_info("1").endpoint == "public/1/scan_info"


def test_credentials_are_never_recorded() -> None:
    assert MessageEndpoints.acl_session("1").history is None
    assert MessageEndpoints.acl_accounts().history is None


def test_each_entry_of_the_catalogue_is_documented_and_unique() -> None:
    definitions = MessageEndpoints.definitions()
    for profile in ("seed", "bec4"):
        channels = [d.templates[profile] for d in definitions]  # type: ignore[index]
        assert len(set(channels)) == len(channels)
    for definition in definitions:
        assert definition.__doc__
        assert definition.__doc__.endswith(".")
