"""Values, keys, sizes and profiles, on both doors and a real server."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from labspine import messages as m
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import (
    DecodeError,
    InvalidOperation,
    TooLarge,
)
from labspine.testing.waiting import wait_until

SEGMENT = MessageEndpoints.scan_segment()
NUMBER = MessageEndpoints.scan_number()


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def reading(value: float) -> m.DeviceMessage:
    return m.DeviceMessage(signals={"samx": {"value": value}})


def points(got: list[Any]) -> list[int]:
    return [message.value.point_id for message in got]


def test_what_is_set_can_be_read_and_deleted(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    assert bus.get(NUMBER) is None
    bus.set(NUMBER, m.VariableMessage(value=5, metadata={"a": 1}))
    assert bus.get(NUMBER) == m.VariableMessage(value=5, metadata={"a": 1})
    assert bus.mget([NUMBER, MessageEndpoints.dataset_number()]) == [bus.get(NUMBER), None]
    assert bus.delete(NUMBER) is True
    assert bus.delete(NUMBER) is False
    assert bus.get(NUMBER) is None


def test_a_value_vanishes_after_its_time(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    bus.set(NUMBER, m.VariableMessage(value=5), expire_s=0.05)
    assert bus.get(NUMBER) is not None
    wait_until(lambda: bus.get(NUMBER) is None)


def test_keys_are_found_by_pattern(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    for device in ("samx", "samy", "eiger"):
        bus.set_and_publish(MessageEndpoints.device_read(device), reading(1.0))
    found = bus.keys(MessageEndpoints.pattern("device_read", device="sam*"))
    assert found == ["internal/devices/read/samx", "internal/devices/read/samy"]
    with pytest.raises(TooLarge, match="more than 2 keys"):
        bus.keys(MessageEndpoints.pattern("device_read"), limit=2)


def test_a_large_array_comes_back_equal(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    data = np.arange(500_000, dtype=np.float64).reshape(500, 1000)
    endpoint = MessageEndpoints.device_read("eiger")
    bus.set_and_publish(endpoint, m.DeviceMessage(signals={"eiger": {"value": data}}))
    back = bus.get(endpoint).signals["eiger"]["value"]
    np.testing.assert_array_equal(back, data)


def test_64_megabytes_are_refused_at_once(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    message = m.DeviceMessage(signals={"eiger": {"value": np.zeros(8 * 1024 * 1024)}})
    times_s = []
    for _ in range(10):
        began = time.perf_counter()
        with pytest.raises(TooLarge, match="at most"):
            bus.set_and_publish(MessageEndpoints.device_read("eiger"), message)
        times_s.append(time.perf_counter() - began)
    assert min(times_s) < 0.01
    assert bus.get(MessageEndpoints.device_read("eiger")) is None


def test_15_megabytes_arrive(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    got: list[Any] = []
    bus.register(MessageEndpoints.device_read("eiger"), got.append)
    data = np.arange(15 * 1024 * 128, dtype=np.float64)
    bus.set_and_publish(
        MessageEndpoints.device_read("eiger"), m.DeviceMessage(signals={"e": {"value": data}})
    )
    wait_until(lambda: got)
    np.testing.assert_array_equal(got[0].value.signals["e"]["value"], data)


def test_a_key_of_another_kind_is_told(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    bus.rpush(EndpointInfo("public/x", m.VariableMessage, MessageOp.LIST), m.VariableMessage(value=1))
    with pytest.raises(InvalidOperation, match="WRONGTYPE"):
        bus.get(EndpointInfo("public/x", m.VariableMessage, MessageOp.KEY_VALUE))


def test_a_value_of_another_type_is_told(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    bus.set(NUMBER, m.VariableMessage(value=1))
    with pytest.raises(DecodeError, match="FileMessage"):
        bus.get(EndpointInfo(NUMBER.endpoint, m.FileMessage, MessageOp.KEY_VALUE))


def test_many_threads_share_one_connector(connect: Any, fresh_broker_url: str) -> None:
    bus = connect(fresh_broker_url)
    got: list[Any] = []
    bus.register(SEGMENT, got.append)
    wrong: list[Any] = []

    def work(name: int) -> None:
        endpoint = MessageEndpoints.global_vars(f"v{name}")
        for number in range(50):
            bus.set(endpoint, m.VariableMessage(value=[name, number]))
            if bus.get(endpoint).value != [name, number]:
                wrong.append((name, number))
            bus.send(SEGMENT, point(name * 1000 + number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    wait_until(lambda: len(got) == 400)
    for name in range(8):
        mine = [p for p in points(got) if p // 1000 == name]
        assert mine == [name * 1000 + n for n in range(50)]


def test_the_profile_chooses_the_channel(connect: Any, fresh_broker_url: str) -> None:
    bec, seed = connect(fresh_broker_url, profile="bec4"), connect(fresh_broker_url)
    bec.set(NUMBER, m.VariableMessage(value=1))
    assert seed.get(NUMBER) is None
    assert bec.keys(MessageEndpoints.pattern("scan_number")) == ["user/scan_number"]
