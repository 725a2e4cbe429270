"""Lists, streams and sets, on both doors and a real server."""

from __future__ import annotations

import threading
import time
from typing import Any

from labspine import messages as m
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp


def test_lists_push_pop_trim_and_count(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    queue = MessageEndpoints.scan_queue_waiting()
    items = [m.ScanQueueMessage(scan_type="scan", parameter={"n": n}) for n in range(5)]
    assert [bus.rpush(queue, item) for item in items[:3]] == [1, 2, 3]
    bus.lpush(queue, items[3], expire_s=100)
    assert bus.llen(queue) == 4
    assert bus.lrange(queue, 0, -1) == [items[3], items[0], items[1], items[2]]
    assert bus.lrem(queue, 0, items[0]) == 1
    bus.rpush(queue, items[4], max_size=2)
    assert bus.lrange(queue, 0, -1) == [items[2], items[4]]
    bus.ltrim(queue, 0, 0)
    assert bus.blocking_list_pop(queue, timeout_s=1) == items[2]
    began = time.monotonic()
    assert bus.blocking_list_pop(queue, "RIGHT", timeout_s=0.2) is None
    assert 0.15 < time.monotonic() - began < 2


def test_a_blocking_pop_waits_as_long_as_asked(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url, timeout_s=0.5)
    queue = MessageEndpoints.scan_queue_waiting()
    item = m.ScanQueueMessage(scan_type="scan", parameter={})
    timer = threading.Timer(2.6, lambda: bus.rpush(queue, item))
    timer.start()
    assert bus.blocking_list_pop(queue, timeout_s=10) == item
    timer.join()


def test_streams_append_and_read(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    log = MessageEndpoints.log()
    entries = [m.LogMessage(log_type="info", log_msg={"n": n}) for n in range(4)]
    assert bus.xread(log) == []
    first = bus.xadd(log, entries[0])
    assert bus.xread(log) == [{"data": entries[0]}]
    bus.xadd(log, {"data": entries[1]}, max_size=100, expire_s=100)
    bus.xadd(log, entries[2], max_size=3, approximate=False)
    assert bus.xread(log, count=1) == [{"data": entries[1]}]
    assert bus.xread(log) == [{"data": entries[2]}]
    assert bus.xread(log, block_s=0.05) == []
    assert bus.xread(log, user_id="other", from_start=True) == [{"data": e} for e in entries[:3]]
    assert bus.xrange(log, first, first) == [{"data": entries[0]}]
    assert bus.xrange(log) == [{"data": e} for e in entries[:3]]
    assert bus.get_last(log) == {"data": entries[2]}
    assert bus.get_last(log, "data") == entries[2]
    assert bus.get_last(log, "data", 2) == entries[1:3]


def test_sets_hold_each_member_once(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    place: EndpointInfo[Any] = EndpointInfo("user/some/set", m.VariableMessage, MessageOp.SET)
    one, two = m.VariableMessage(value=1), m.VariableMessage(value=2)
    assert [bus.add_to_set(place, item) for item in (one, one, two)] == [True, False, True]
    assert sorted(item.value for item in bus.get_set_members(place)) == [1, 2]
    assert bus.remove_from_set(place, one) is True
    assert bus.get_set_members(place) == [two]
