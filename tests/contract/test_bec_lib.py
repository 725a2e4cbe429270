"""bec_lib in a second process hears and reads what we say, and we what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.testing.waiting import wait_until

pytest.importorskip("bec_lib")
PEER = Path(__file__).with_name("bec_peer.py")


@pytest.fixture
def ask(fresh_broker_url: str) -> Iterator[Callable[[str], Any]]:
    """Give a function that tells bec_lib's process what to do and returns its answer."""
    process = subprocess.Popen(
        [sys.executable, str(PEER), fresh_broker_url.removeprefix("unix://")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def tell(word: str) -> Any:
        stdin.write(json.dumps(word) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())

    assert json.loads(stdout.readline()) == "ready"
    yield tell
    stdin.close()
    process.wait(20)
    stdout.close()


def test_bec_lib_hears_and_reads_what_we_say(
    connect: Any, fresh_broker_url: str, ask: Callable[[str], Any]
) -> None:
    bus = connect(fresh_broker_url, profile="bec4")
    wait_until(lambda: bus.send(MessageEndpoints.scan_segment(), _point(0)) > 0)
    reading = m.DeviceMessage(
        signals={"samx": {"value": np.float32(1.5), "timestamp": 2.0}}, metadata={"a": "b"}
    )
    bus.set_and_publish(MessageEndpoints.device_read("samx"), reading)
    bus.send(MessageEndpoints.scan_segment(), [_point(1), _point(2)])
    wait_until(lambda: len(_after_first(ask("heard"))) >= 2, pause_s=0.05)
    heard = _after_first(ask("heard"))
    (device,) = heard[0]
    assert device["type"] == "DeviceMessage"
    assert device["metadata"] == {"a": "b"}
    assert "1.5" in device["content"]
    assert [part["type"] for part in heard[1]] == ["ScanMessage", "ScanMessage"]
    assert ask("read")["metadata"] == {"a": "b"}
    info = bus.get(MessageEndpoints.device_info("samx"))
    assert info == m.DeviceInfoMessage(device="samx", info={"a": [1]})


def _point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def _after_first(heard: list[Any]) -> list[Any]:
    """Leave out the points that were sent until bec_lib listened."""
    return [parts for parts in heard if "'point_id': 0" not in parts[0]["content"]]


def test_we_hear_and_read_what_bec_lib_says(
    connect: Any, fresh_broker_url: str, ask: Callable[[str], Any]
) -> None:
    bus = connect(fresh_broker_url, profile="bec4")
    got: list[Any] = []
    bundles: list[Any] = []
    bus.register(patterns=MessageEndpoints.pattern("device_read"), cb=got.append)
    bus.register(MessageEndpoints.scan_segment(), bundles.append)
    ask("publish")
    wait_until(lambda: len(got) == 20 and bundles)
    assert [message.value.metadata["n"] for message in got] == list(range(20))
    assert got[0].topic == "info/devices/read/samy"
    assert [point.point_id for point in bundles[0].value] == [0, 1, 2]
    assert bus.get(MessageEndpoints.device_read("samy")).signals == {"samy": {"value": 19}}
