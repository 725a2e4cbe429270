"""``labspine services`` and ``labspine call``, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.lab import Lab
from labspine.service import Service

COMMAND = str(Path(sys.executable).with_name("labspine"))


@pytest.fixture(scope="module")
def service(broker_url: str) -> Iterator[Service]:
    service = Service("typed-chiller", url=broker_url, version="1.2")

    @service.procedure
    def setpoint(celsius: float, ramp: float = 1.0) -> float:
        """Set the temperature."""
        return celsius * ramp

    @service.procedure
    def table() -> dict[str, Any]:
        return {"a": [1, None]}

    @service.procedure
    def count(most: int) -> Iterator[int]:
        yield from range(most)

    @service.procedure
    def fail() -> None:
        raise OSError("no water")

    @service.procedure
    def sleep(duration_s: float) -> None:
        time.sleep(duration_s)

    with service:
        yield service


def typed(url: str, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [COMMAND, *words, "--url", url], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def test_services_are_listed(broker_url: str, service: Service) -> None:
    code, out, _ = typed(broker_url, "services")
    assert code == 0
    assert service.instance in out
    code, out, _ = typed(broker_url, "services", "--json")
    rows = {row["service"]: row for row in map(json.loads, out.splitlines())}
    assert rows["typed-chiller"]["version"] == "1.2"
    code, out, _ = typed(broker_url, "services", "typed-chiller")
    assert "setpoint(celsius: float, ramp: float = 1.0) -> float" in out
    assert "Set the temperature." in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["setpoint", "18.5"], 0, "18.5\n"),
        (["setpoint", "celsius=18.5", "ramp=2"], 0, "37.0\n"),
        (["table"], 0, '{"a": [1, null]}\n'),
        (["count", "3", "--json"], 0, "0\n1\n2\n"),
        (["setpoint", "warm"], 2, "argument celsius: Expected `float`"),
        (["setpont", "1"], 2, 'did you mean "setpoint"'),
        (["fail"], 1, "raised OSError: no water"),
        (["sleep", "1", "--timeout", "0.2"], 4, "no answer within 0.2 s"),
    ],
)
def test_calls_end_with_the_result_or_a_sentence(
    broker_url: str, service: Service, words: list[str], code: int, said: str
) -> None:
    found, out, err = typed(broker_url, "call", f"typed-chiller.{words[0]}", *words[1:])
    assert found == code, err
    assert said in (out if code == 0 else err)
    assert "Traceback" not in err


def test_a_service_that_is_not_there_has_a_code_of_its_own(broker_url: str) -> None:
    code, _, err = typed(broker_url, "call", "nobody.setpoint", "1")
    assert code == 3
    assert 'nobody serves "nobody"' in err
    code, _, err = typed(broker_url, "call", "setpoint")
    assert code == 2


def test_a_lab_calls_services(broker_url: str, service: Service) -> None:
    with Lab(RedisConnector(broker_url)) as lab:
        assert lab.rpc.service("typed-chiller").setpoint(celsius=18.5) == 18.5
