"""``labspine get``, ``set``, ``pub``, ``tail`` and ``top`` against a broker without any lab."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine import MessageEndpoints, RedisConnector, messages
from labspine.testing.waiting import wait_until

from .conftest import COMMAND

Bus = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def bus(fresh_broker_url: str) -> Bus:
    """Run the command against an empty broker."""

    def run(*arguments: str, words_in: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**os.environ, "LABSPINE_URL": fresh_broker_url},
            input=words_in,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def connector(fresh_broker_url: str) -> Iterator[RedisConnector]:
    with RedisConnector(fresh_broker_url) as made:
        yield made


class Watching:
    """A verb that runs until it has printed what it was asked for."""

    def __init__(self, url: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments, "--url", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def lines(self) -> list[dict[str, Any]]:
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return [json.loads(line) for line in out.splitlines()]


def test_what_is_set_can_be_got_and_put_back(bus: Bus, connector: RedisConnector) -> None:
    done = bus("set", "scan_number", '{"value": 7, "metadata": {"who": "me"}}')

    assert done.returncode == 0, done.stderr
    assert done.stdout == "set on public/scans/scan_number\n"
    got = bus("get", "scan_number", "--json").stdout
    assert json.loads(got) == {"type": "VariableMessage", "value": 7, "metadata": {"who": "me"}}
    assert bus("set", "scan_number", "8").returncode == 0
    assert connector.get(MessageEndpoints.scan_number()) == messages.VariableMessage(value=8)
    assert bus("set", "scan_number", "-", words_in=got).returncode == 0
    number = connector.get(MessageEndpoints.scan_number())
    assert (number.value, number.metadata) == (7, {"who": "me"})


def test_pub_does_what_the_endpoint_allows(bus: Bus, connector: RedisConnector) -> None:
    heard: list[Any] = []
    connector.register(MessageEndpoints.device_read("samx"), heard.append)
    connector.register(MessageEndpoints.scan_segment(), heard.append)
    connector.register(MessageEndpoints.log(), heard.append)

    value = bus("pub", "device_read", "samx", '{"signals": {"samx": {"value": 1.5}}}')
    event = bus("pub", "scan_segment", '{"point_id": 3, "scan_id": "s", "data": {}}', "--json")
    entry = bus("pub", "log", '{"log_type": "info", "log_msg": "hello"}')

    assert (value.returncode, event.returncode, entry.returncode) == (0, 0, 0), event.stderr + entry.stderr
    assert json.loads(event.stdout)["heard_by"] == 1
    wait_until(lambda: len(heard) == 3, what="three messages")
    kinds = {type(item.value).__name__ for item in heard}
    assert kinds == {"DeviceMessage", "ScanMessage", "LogMessage"}
    assert connector.get(MessageEndpoints.device_read("samx")).signals == {"samx": {"value": 1.5}}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("set", "scan_nummer", "1"), 'did you mean "scan_number"'),
        (("set", "scan_number", "{value: 5}"), "is not JSON"),
        (("set", "scan_number", '{"value": NaN}'), "NaN is not JSON"),
        (("set", "scan_number", '{"valu": 5}'), "valu"),
        (("set", "scan_status", "5"), "needs an object with fields"),
        (("set", "scan_status", '{"scan_id": "s", "status": "opened", "info": {}}'), "status"),
        (("set", "device_read", "samx", '{"signals": {}}'), "labspine pub says it"),
        (("set", "scan_number", '{"type": "ScanMesage"}'), 'did you mean "ScanMessage"'),
        (
            ("set", "scan_number", '{"type": "LogMessage", "log_type": "info", "log_msg": "x"}'),
            "VariableMess",
        ),
        (("set", "device_read", "{}"), "device_read(device) needs device"),
        (("pub", "scan_number", "5"), "labspine set stores it"),
        (("pub", "device_read", "sam*", '{"signals": {}}'), "this is a pattern"),
        (("pub", "device_read", "sam/x", '{"signals": {}}'), "character 4 is not allowed"),
        (
            ("pub", "scan_segment", '{"point_id": 1, "scan_id": "s", "data": {}}', "--expire", "5"),
            "leave --exp",
        ),
        (("pub", "atlas_deployment_ingest", "a", '{"value": 1}'), "messages of any class"),
        (("top", "scan_number"), "register is not allowed"),
        (("tail", "device_read", "a", "b"), "takes 1 names, got 2"),
        (("tail", "device_read", "sam[x]"), "in a pattern"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_sent(
    bus: Bus, connector: RedisConnector, words: tuple[str, ...], sentence: str
) -> None:
    refused = bus(*words)

    assert refused.returncode == 2, refused.stdout
    assert refused.stderr.startswith("✘ ")
    assert sentence in refused.stderr
    assert refused.stdout == ""
    assert connector.get(MessageEndpoints.scan_number()) is None


@pytest.mark.parametrize("words", [("device_read sam*",), ("device_read", "sam*"), ("device_read", "*")])
def test_tail_follows_a_pattern_from_the_start(
    bus: Bus, connector: RedisConnector, words: tuple[str, ...]
) -> None:
    for number, device in enumerate(("samx", "other", "samy")):
        reading = messages.DeviceMessage(signals={device: {"value": number}})
        connector.set_and_publish(MessageEndpoints.device_read(device), reading)
    wanted = ["samx", "other", "samy"] if words[-1] == "*" else ["samx", "samy"]

    tailed = bus("tail", *words, "--from-start", "-n", str(len(wanted)), "--json")

    assert tailed.returncode == 0, tailed.stderr
    found = [json.loads(line) for line in tailed.stdout.splitlines()]
    assert [line["topic"].rpartition("/")[2] for line in found] == wanted


def test_top_counts_events_and_streams(fresh_broker_url: str, connector: RedisConnector) -> None:
    segment = messages.ScanMessage(point_id=1, scan_id="s", data={})
    note = messages.LogMessage(log_type="info", log_msg="hello")
    connector.xadd(MessageEndpoints.log(), note)
    top = Watching(fresh_broker_url, "top", "--interval", "2", "--once", "--json")

    def said_until_it_ends() -> bool:
        connector.send(MessageEndpoints.scan_segment(), segment)
        connector.xadd(MessageEndpoints.log(), note)
        return top.process.poll() is not None

    wait_until(said_until_it_ends, timeout_s=30, pause_s=0.02, what="the end of top")

    rows = {row["endpoint"]: row for row in top.lines()}
    assert rows["scan_segment"]["total"] >= 2
    assert rows["scan_segment"]["per_s"] > 0
    assert rows["scan_segment"]["topic"] == MessageEndpoints.scan_segment().endpoint
    assert rows["log"]["total"] >= 1
    assert set(rows) == {"scan_segment", "log"}


def test_top_draws_a_table(bus: Bus) -> None:
    drawn = bus("top", "device_read", "sam*", "--once", "--interval", "0.1")

    assert drawn.returncode == 0, drawn.stderr
    assert "0.0 messages a second on 0 topics" in drawn.stdout


def test_profile_bec4_uses_its_channels(bus: Bus, fresh_broker_url: str) -> None:
    assert bus("set", "scan_number", "5", "--profile", "bec4").returncode == 0

    with RedisConnector(fresh_broker_url, profile="bec4") as foreign:
        assert foreign.get(MessageEndpoints.scan_number()).value == 5
    assert bus("get", "scan_number").returncode == 2
    assert bus("get", "scan_number", "--profile", "bec5").returncode == 2
