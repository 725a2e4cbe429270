"""Many calls in one write, on both doors."""

from __future__ import annotations

from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import (
    InvalidArgument,
    InvalidOperation,
)

SEGMENT = MessageEndpoints.scan_segment()
NUMBER = MessageEndpoints.scan_number()


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def reading(value: float) -> m.DeviceMessage:
    return m.DeviceMessage(signals={"samx": {"value": value}})


def test_a_pipeline_gives_one_result_a_call(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    queue, log = MessageEndpoints.scan_queue_waiting(), MessageEndpoints.log()
    item = m.ScanQueueMessage(scan_type="scan", parameter={})
    pipe = bus.pipeline()
    pipe.set(NUMBER, m.VariableMessage(value=1))
    pipe.get(NUMBER)
    pipe.send(SEGMENT, point(1))
    pipe.set_and_publish(MessageEndpoints.device_read("samx"), reading(2.0))
    pipe.rpush(queue, item)
    pipe.lrange(queue, 0, -1)
    pipe.xadd(log, m.LogMessage(log_type="info", log_msg={}))
    pipe.delete(NUMBER)
    results = pipe.execute()
    assert results[:6] == [None, m.VariableMessage(value=1), 0, None, 1, [item]]
    assert results[7] is True
    with pytest.raises(InvalidArgument, match="executed already"):
        pipe.execute()


def test_a_failing_call_in_a_pipeline_is_named_and_the_rest_is_done(
    connect: Any, fresh_broker_url: str
) -> None:
    bus = connect(fresh_broker_url)
    bus.set(NUMBER, m.VariableMessage(value=1))
    wrong: EndpointInfo[Any] = EndpointInfo(NUMBER.endpoint, m.VariableMessage, MessageOp.LIST)
    pipe = bus.pipeline()
    pipe.rpush(wrong, m.VariableMessage(value=2))
    pipe.get(NUMBER)
    with pytest.raises(InvalidOperation, match="another kind of value") as caught:
        pipe.execute()
    assert "1 done, 1 failed" in caught.value.__notes__[0]
    assert pipe.results[1] == m.VariableMessage(value=1)
