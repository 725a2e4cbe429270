"""Services on RabbitMQ that are killed and frozen, and links that are cut: each call has one outcome, in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine.connector import AmqpConnector
from labspine.errors import LabspineError, NoSuchService, ServiceDied
from labspine.ids import new_sender
from labspine.service import Rpc
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault
PROGRAM = Path(__file__).with_name("call_service.py")
TOLD_IN_S = 2.5
SLACK_S = 2.0  # a machine with more work than processors


class Instances:
    """Starts instances of one service in processes of their own."""

    def __init__(self, url: str, log: Path) -> None:
        self.name = f"chiller-{new_sender()}"
        self.log = log
        self._url = url
        self._processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), self._url, self.name, "4"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "CALL_LOG": str(self.log)},
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def executions(self) -> Counter[int]:
        return Counter(map(int, self.log.read_text().split()) if self.log.exists() else [])

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.communicate()


@pytest.fixture
def instances(rabbitmq_url: str, tmp_path: Path) -> Iterator[Instances]:
    made = Instances(rabbitmq_url, tmp_path / "log")
    yield made
    made.close()


@pytest.fixture
def rpc(rabbitmq_url: str) -> Iterator[Rpc]:
    with AmqpConnector(rabbitmq_url) as bus, Rpc(bus, timeout_s=30.0) as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_service_that_is_killed_or_frozen_is_told_in_time(
    rpc: Rpc, instances: Instances, number: signal.Signals
) -> None:
    process = instances.start()
    call = rpc.begin(instances.name, "work", 1, 20.0)
    wait_until(lambda: instances.executions()[1], what="the call")

    process.send_signal(number)
    began_mono_s = time.monotonic()
    with pytest.raises(ServiceDied, match="unknown"):
        call.result()

    assert time.monotonic() - began_mono_s < TOLD_IN_S + SLACK_S
    if number == signal.SIGKILL:
        began_mono_s = time.monotonic()
        with pytest.raises(NoSuchService):
            rpc.call_service(instances.name, "work", 2)
        assert time.monotonic() - began_mono_s < 1.0


def test_one_of_two_instances_is_killed_under_load(rpc: Rpc, instances: Instances) -> None:
    """Each call has one outcome, and none is done twice; what can be done again, is."""
    doomed = instances.start()
    instances.start()
    outcomes: dict[int, list[Any]] = {}

    def load(first: int) -> None:
        for number in range(first, first + 60):
            try:
                outcome: Any = rpc.call_service(instances.name, "work", number, 0.004)
            except LabspineError as error:
                outcome = error
            outcomes.setdefault(number, []).append(outcome)

    threads = [threading.Thread(target=load, args=(n * 60,)) for n in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(outcomes) > 90, what="a quarter of the calls", timeout_s=30)
    doomed.kill()
    for thread in threads:
        thread.join(40)

    assert len(outcomes) == 360
    assert {len(found) for found in outcomes.values()} == {1}
    failed = {n: found[0] for n, found in outcomes.items() if isinstance(found[0], Exception)}
    assert all(isinstance(error, ServiceDied) for error in failed.values()), failed
    assert len(failed) <= 8
    executions = instances.executions()
    assert max(executions.values()) == 1
    workers = {found[0][1] for n, found in outcomes.items() if n not in failed}
    assert len(workers) == 2


def test_a_link_that_breaks_in_mid_call_loses_nothing_and_repeats_nothing(
    rabbitmq_url: str, instances: Instances
) -> None:
    instances.start()
    with AmqpConnector(rabbitmq_url) as bus, Rpc(bus, timeout_s=30.0) as rpc:
        call = rpc.begin(instances.name, "work", 1, 1.0)
        wait_until(lambda: instances.executions()[1], what="the call")

        rpc._transport._wire.distrust()

        assert call.result()[0] == 1
        assert rpc.call_service(instances.name, "work", 2)[0] == 2
    assert instances.executions() == {1: 1, 2: 1}
