"""The device server follows devices without flooding the bus, and survives those that fail."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeviceError
from labspine.lab import DeviceRegistry, DeviceServer
from labspine.messages import ScanStatusMessage


class Counter:
    """A device that changes much faster than anybody can look."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0
        self.functions: list[Callable[..., None]] = []
        self.is_torn = False

    def read(self) -> dict[str, dict[str, object]]:
        if self.is_torn:
            raise OSError("cable torn")
        return {self.name: {"value": self.value, "timestamp": time.time()}}

    def describe(self) -> dict[str, dict[str, object]]:
        return {self.name: {"source": "test", "dtype": "integer", "shape": []}}

    def subscribe(self, function: Callable[..., None]) -> None:
        self.functions.append(function)

    def clear_sub(self, function: Callable[..., None]) -> None:
        self.functions.remove(function)

    def count(self) -> None:
        self.value += 1
        for function in self.functions:
            function(value=self.value)

    def on_scan_status(self, message: ScanStatusMessage) -> None:
        raise RuntimeError("not today")


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.005)


@pytest.fixture
def counters() -> list[Counter]:
    return [Counter("fast"), Counter("other")]


@pytest.fixture
def server(fresh_broker_url: str, counters: list[Counter]) -> Iterator[RedisConnector]:
    registry = DeviceRegistry()
    for counter in counters:
        registry.add(counter)
    with RedisConnector(fresh_broker_url) as connector:
        server = DeviceServer(connector, registry)
        server.start()
        yield connector
        server.stop()
        server.stop()
    assert all(not counter.functions for counter in counters)


def test_fast_device_is_published_twenty_times_a_second_with_its_last_value(
    server: RedisConnector, counters: list[Counter]
) -> None:
    heard: list[int] = []
    place = MessageEndpoints.device_read("fast")

    def take(message: MessageObject) -> None:
        heard.append(message.value.signals["fast"]["value"])

    server.register(place, take)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:
        counters[0].count()
        time.sleep(0.0005)
    wait_until(lambda: heard and heard[-1] == counters[0].value, "the last value")
    took_s = time.monotonic() - began
    assert 4 <= len(heard) <= 20 * took_s + 2
    assert heard == sorted(heard)
    assert server.get(place).signals["fast"]["value"] == counters[0].value


def test_device_that_fails_disturbs_no_other(server: RedisConnector, counters: list[Counter]) -> None:
    counters[0].is_torn = True
    for counter in counters:
        counter.count()
    place = MessageEndpoints.device_read("other")
    wait_until(lambda: server.get(place).signals["other"]["value"] == 1, "the other device")
    status = ScanStatusMessage(scan_id="s", status="open", info={})
    server.set_and_publish(MessageEndpoints.scan_status(), status)  # on_scan_status of both raises
    counters[0].is_torn = False
    counters[0].count()
    wait_until(
        lambda: server.get(MessageEndpoints.device_read("fast")).signals["fast"]["value"] == 2, "healed"
    )


def test_publishing_a_device_that_does_not_exist_is_refused(fresh_broker_url: str) -> None:
    with RedisConnector(fresh_broker_url) as connector:
        server = DeviceServer(connector, DeviceRegistry())
        with pytest.raises(DeviceError, match="no device"):
            server.publish("x")
        server.start()
        assert connector.get(MessageEndpoints.device_config()).resource == []
        server.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith("device_server")]
