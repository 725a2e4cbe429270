"""What is refused before anything is sent."""

from __future__ import annotations

import time
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import (
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    InvalidOperation,
    NotConnected,
)

SEGMENT = MessageEndpoints.scan_segment()
NUMBER = MessageEndpoints.scan_number()


def test_wrong_operations_and_messages_are_refused(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    with pytest.raises(InvalidOperation, match="send, register"):
        bus.get(SEGMENT)
    with pytest.raises(InvalidMessage, match="ScanMessage"):
        bus.send(SEGMENT, m.VariableMessage(value=1))
    with pytest.raises(InvalidMessage):
        bus.set(NUMBER, "text")
    with pytest.raises(InvalidArgument, match="expected an endpoint"):
        bus.get("public/scans/scan_number")
    with pytest.raises(InvalidName, match="wildcard"):
        bus.get(EndpointInfo("user/*", m.VariableMessage, MessageOp.KEY_VALUE))
    with pytest.raises(InvalidArgument, match="pattern"):
        bus.get(MessageEndpoints.pattern("device_read"))
    with pytest.raises(InvalidArgument, match="expire_s"):
        bus.set(NUMBER, m.VariableMessage(value=1), expire_s=0)
    for limit in (-1, float("nan"), float("inf"), "soon"):
        with pytest.raises(InvalidArgument, match="timeout_s"):
            bus.blocking_list_pop(MessageEndpoints.scan_queue_waiting(), timeout_s=limit)
    with pytest.raises(InvalidArgument, match="stream id"):
        bus.xrange(MessageEndpoints.log(), "abc")
    with pytest.raises(InvalidArgument, match="max_size"):
        bus.xadd(MessageEndpoints.log(), {"data": 1}, max_size=0)
    assert bus.keys(MessageEndpoints.log()) == []


def test_wrong_callbacks_are_refused_at_once(connect: Any, fresh_broker_url: str, door: str) -> None:
    bus = connect(fresh_broker_url)

    async def coroutine(message: object) -> None:
        pass

    for wrong in (None, 5, lambda: None, lambda message, needed: None):
        with pytest.raises(InvalidArgument, match=r"callback|called"):
            bus.register(SEGMENT, wrong)
    with pytest.raises(InvalidArgument, match="cannot be called"):
        bus.register(SEGMENT, lambda message: None, extra=1)
    if door == "sync":
        with pytest.raises(InvalidArgument, match="AsyncConnector"):
            bus.register(SEGMENT, coroutine)
    with pytest.raises(InvalidOperation, match="register"):
        bus.register(NUMBER, lambda message: None)
    with pytest.raises(InvalidArgument, match="no history"):
        bus.register(MessageEndpoints.service_status("x"), lambda message: None, from_start=True)
    with pytest.raises(InvalidArgument, match="nothing to listen"):
        bus.register(cb=lambda message: None)


def test_nobody_there_is_told_at_once(connect: Any, tmp_path: Any) -> None:
    bus = connect(f"unix://{tmp_path}/nobody")
    began = time.monotonic()
    with pytest.raises(NotConnected, match="nothing was done"):
        bus.get(NUMBER)
    with pytest.raises(NotConnected):
        bus.register(SEGMENT, print)
    assert time.monotonic() - began < 1
