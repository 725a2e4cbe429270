"""Services that are killed, frozen and started again, and brokers that die: each call has exactly one outcome."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.errors import (
    CallTimeout,
    DeliveryUnknown,
    LabspineError,
    NoSuchService,
    NotConnected,
    ServiceDied,
)
from labspine.flows import Exchange
from labspine.ids import new_sender
from labspine.service import AsyncRpc, Rpc, Service
from labspine.testing.doors import Blocking
from labspine.testing.waiting import wait_until
from labspine.wire import SyncWire, parse_address

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

    def start(self, *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM), self._url, self.name, *map(str, words)],
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
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.communicate()


@pytest.fixture
def instances(broker: Any, tmp_path: Path) -> Iterator[Instances]:
    made = Instances(broker.url, tmp_path / "log")
    yield made
    made.close()


def client_at(bus: Any) -> Any:
    """Make a client at the door of a connector."""
    if not isinstance(bus, Blocking):
        return Rpc(bus)

    async def build() -> AsyncRpc:
        return AsyncRpc(bus._target)

    return Blocking(bus._loop.run(build()), bus._loop)


@pytest.fixture
def rpc(connect: Any, broker: Any) -> Iterator[Any]:
    made = client_at(connect(broker.url))
    yield made
    made.close()


class Caller(threading.Thread):
    """Makes one call in a thread, and notes its outcome and how long it took."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self.outcome: Any = None
        self.ended_mono_s = 0.0
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self._call()
        except LabspineError as error:
            self.outcome = error
        self.ended_mono_s = time.monotonic()


def test_g10_a_service_that_is_killed_is_told_in_time(rpc: Any, instances: Instances) -> None:
    process = instances.start()
    call = Caller(lambda: rpc.call_service(instances.name, "work", 1, 30.0, timeout_s=60.0))
    wait_until(lambda: instances.executions()[1], what="the call")

    process.kill()
    killed_mono_s = time.monotonic()
    call.join(10)

    assert isinstance(call.outcome, ServiceDied)
    assert call.ended_mono_s - killed_mono_s < TOLD_IN_S + SLACK_S
    started_s = time.monotonic()
    with pytest.raises(NoSuchService):
        rpc.call_service(instances.name, "work", 2)
    assert time.monotonic() - started_s < 1.0
    assert instances.executions() == {1: 1}


def test_g10_a_service_that_is_frozen_is_told_in_time(rpc: Any, instances: Instances) -> None:
    process = instances.start()
    call = Caller(lambda: rpc.call_service(instances.name, "work", 1, 2.0, timeout_s=60.0))
    wait_until(lambda: instances.executions()[1], what="the call")

    process.send_signal(signal.SIGSTOP)
    frozen_mono_s = time.monotonic()
    call.join(10)

    assert isinstance(call.outcome, ServiceDied)
    assert call.ended_mono_s - frozen_mono_s < TOLD_IN_S + SLACK_S
    process.send_signal(signal.SIGCONT)
    calm = rpc.with_options(patient=True) if isinstance(rpc, Rpc) else None
    if calm is not None:
        assert calm.call_service(instances.name, "work", 2)[0] == 2
        assert instances.executions() == {1: 1, 2: 1}


def test_a_request_that_nobody_has_begun_goes_to_a_service_that_starts_again(
    broker: Any, instances: Instances
) -> None:
    """Given patient callers, when the service is killed and started again, then idempotent calls succeed."""
    process = instances.start(1)
    with Rpc(broker.url, patient=True, timeout_s=30.0) as rpc:
        running = Caller(lambda: rpc.call_service(instances.name, "again", 1, 0.8))
        wait_until(lambda: instances.executions()[1], what="the first call")
        lost = Caller(lambda: rpc.call_service(instances.name, "again", 2))
        time.sleep(0.1)
        process.kill()
        instances.start(1)
        running.join(15)
        lost.join(15)
    assert running.outcome[0] == 1
    assert lost.outcome[0] == 2
    assert instances.executions() == {1: 2, 2: 1}


def test_what_may_not_be_done_twice_is_not(broker: Any, instances: Instances) -> None:
    process = instances.start(1)
    with Rpc(broker.url, patient=True, timeout_s=30.0) as rpc:
        running = Caller(lambda: rpc.call_service(instances.name, "work", 1, 0.8))
        wait_until(lambda: instances.executions()[1], what="the first call")
        process.kill()
        instances.start(1)
        running.join(15)
    assert isinstance(running.outcome, ServiceDied)
    assert "done or not done is unknown" in str(running.outcome)
    assert instances.executions() == {1: 1}


def test_two_instances_one_killed_under_load(broker: Any, instances: Instances) -> None:
    """Given load on two instances, when one is killed, then each call has one outcome and none is done twice."""
    doomed = instances.start(4)
    instances.start(4)
    outcomes: dict[int, list[Any]] = {}
    with Rpc(broker.url, timeout_s=30.0) as rpc:

        def load(first: int) -> None:
            for number in range(first, first + 100):
                try:
                    outcome = rpc.call_service(instances.name, "work", number, 0.004)
                except LabspineError as error:
                    outcome = error
                outcomes.setdefault(number, []).append(outcome)

        threads = [threading.Thread(target=load, args=(n * 100,)) for n in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(outcomes) > 150, what="a quarter of the calls", timeout_s=20)
        doomed.kill()
        for thread in threads:
            thread.join(40)
    assert len(outcomes) == 600
    assert {len(found) for found in outcomes.values()} == {1}
    failed = {n: found[0] for n, found in outcomes.items() if isinstance(found[0], Exception)}
    assert len(failed) <= 8
    assert all(isinstance(error, ServiceDied) for error in failed.values())
    executions = instances.executions()
    assert max(executions.values()) == 1
    assert all(found[0][0] == n for n, found in outcomes.items() if n not in failed)


def test_idempotent_calls_survive_the_death_of_one_of_two_instances(
    broker: Any, instances: Instances
) -> None:
    doomed = instances.start(4)
    instances.start(4)
    with Rpc(broker.url, timeout_s=30.0) as rpc:
        calls = [Caller(lambda n=n: rpc.call_service(instances.name, "again", n, 0.5)) for n in range(8)]
        wait_until(lambda: len(instances.executions()) == 8, what="all calls")
        doomed.kill()
        for call in calls:
            call.join(20)
    assert [call.outcome[0] for call in calls] == list(range(8))


@pytest.mark.parametrize("duration_s", [0.0, 0.8])
def test_a_request_whose_confirmation_is_lost_is_executed_once(
    connect: Any, valve: Any, instances: Instances, duration_s: float
) -> None:
    """Given a link that breaks after the request, then the caller gets the answer or is told it is unknown."""
    instances.start()
    rpc = client_at(connect(valve.url))
    try:
        assert rpc.call_service(instances.name, "again", 1)[0] == 1
        valve.cut_replies_after = b"marker"
        try:
            outcome: Any = rpc.call_service(instances.name, "work", 2, duration_s, "marker", timeout_s=10.0)
        except DeliveryUnknown as error:
            outcome = error
        assert valve.cut_replies_after is None
        assert isinstance(outcome, DeliveryUnknown) or outcome[0] == 2
        if duration_s:  # the answer was not on its way when the link broke
            assert not isinstance(outcome, DeliveryUnknown)
        assert instances.executions() == {1: 1, 2: 1}
        assert rpc.call_service(instances.name, "again", 3)[0] == 3
    finally:
        rpc.close()


def test_a_link_that_goes_silent_is_left_and_the_answer_still_comes(
    connect: Any, valve: Any, instances: Instances
) -> None:
    instances.start()
    rpc = client_at(connect(valve.url, timeout_s=1.0))
    try:
        assert rpc.call_service(instances.name, "again", 1)[0] == 1
        call = Caller(lambda: rpc.call_service(instances.name, "work", 2, 1.0, timeout_s=20.0))
        wait_until(lambda: instances.executions()[2], what="the call")
        valve.silence()
        call.join(20)
        assert isinstance(call.outcome, DeliveryUnknown) or call.outcome[0] == 2
        assert rpc.call_service(instances.name, "again", 3)[0] == 3
    finally:
        rpc.close()


def test_retries_survive_a_restart_for_idempotent_procedures_only(broker: Any, instances: Instances) -> None:
    process = instances.start()
    with Rpc(broker.url, timeout_s=30.0, retries=30) as rpc:
        calls = [
            Caller(lambda: rpc.call_service(instances.name, "again", 1, 0.7)),
            Caller(lambda: rpc.call_service(instances.name, "work", 2, 0.7)),
        ]
        wait_until(lambda: len(instances.executions()) == 2, what="both calls")
        process.kill()
        wait_until(lambda: rpc.instances(instances.name) == [], what="its silence")
        time.sleep(0.6)  # longer than a caller needs to notice
        instances.start()
        for call in calls:
            call.join(20)
    assert calls[0].outcome[0] == 1
    assert isinstance(calls[1].outcome, ServiceDied)
    assert instances.executions() == {1: 2, 2: 1}


def test_the_broker_is_killed_in_mid_call(rpc: Any, broker: Any, instances: Instances) -> None:
    instances.start()
    call = Caller(lambda: rpc.call_service(instances.name, "work", 1, 1.5, timeout_s=20.0))
    wait_until(lambda: instances.executions()[1], what="the call")

    broker.restart()
    call.join(20)

    assert not isinstance(call.outcome, Exception), call.outcome
    assert call.outcome[0] == 1
    assert instances.executions() == {1: 1}

    def works_again() -> bool:
        try:
            return bool(rpc.call_service(instances.name, "again", 5)[0] == 5)
        except NoSuchService:  # the instance has not said yet that it lives
            return False

    wait_until(works_again, what="the service", timeout_s=10)


def test_the_broker_is_killed_under_load(broker: Any, instances: Instances) -> None:
    """Each call has one outcome, nothing is done twice, and afterwards all works again."""
    instances.start()
    outcomes: dict[int, Any] = {}
    stop = threading.Event()
    with Rpc(broker.url, timeout_s=15.0, patient=True) as rpc:

        def load(first: int) -> None:
            number = first
            while not stop.is_set():
                try:
                    outcomes[number] = rpc.call_service(instances.name, "work", number)
                except LabspineError as error:
                    outcomes[number] = error
                number += 1

        threads = [threading.Thread(target=load, args=(n * 1_000_000,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            before = len(outcomes)
            wait_until(lambda before=before: len(outcomes) > before + 200, what="calls", timeout_s=20)
            broker.restart()
        before = len(outcomes)
        wait_until(lambda: len(outcomes) > before + 200, what="calls after the last kill", timeout_s=20)
        stop.set()
        for thread in threads:
            thread.join(30)
    failed = [outcome for outcome in outcomes.values() if isinstance(outcome, Exception)]
    assert all(isinstance(error, (DeliveryUnknown, NotConnected)) for error in failed), failed
    executions = instances.executions()
    assert max(executions.values()) == 1
    assert all(executions[n] == 1 for n, found in outcomes.items() if not isinstance(found, Exception))


def test_ten_thousand_calls_leave_no_connection_and_no_key_behind(broker: Any) -> None:
    wire = SyncWire(parse_address(broker.url))

    def connections() -> int:
        (found,) = wire.exchange(Exchange((("CLIENT", "LIST"),), readonly=True))
        return len(found.splitlines())

    def keys() -> set[bytes]:
        (found,) = wire.exchange(Exchange((("KEYS", "labspine/*"),), readonly=True))
        return set(found)

    before = connections()
    service = Service("echo", url=broker.url)

    @service.procedure
    def echo(value: int) -> int:
        return value

    with service:
        with Rpc(broker.url) as rpc:
            assert rpc.call_service("echo", "echo", -1) == -1
            present = connections()
            for number in range(10_000):
                assert rpc.call_service("echo", "echo", number) == number
                if number % 1000 == 0:
                    assert connections() <= present + 1
            assert not any(b"replies" in key for key in keys())
        assert connections() <= before + 4  # those of the service
    wait_until(lambda: connections() == before, what="the end of all connections")
    assert keys() == set()
    wire.close()


def test_a_procedure_that_blocks_is_left_behind_when_the_service_stops(broker: Any) -> None:
    released = threading.Event()
    service = Service("stuck", url=broker.url)

    @service.procedure
    def stuck() -> None:
        released.wait(20)

    service.start()
    with Rpc(broker.url) as rpc:
        call = Caller(lambda: rpc.call_service("stuck", "stuck", timeout_s=10.0))
        wait_until(lambda: rpc.instances("stuck")[0].facts["running"] == 1, what="the call")
        started_s = time.monotonic()
        service.stop(timeout_s=0.3)
        assert time.monotonic() - started_s < 6.0
        call.join(10)
        assert isinstance(call.outcome, (ServiceDied, CallTimeout))
    released.set()


def test_a_frozen_exclusive_instance_gives_way(broker: Any, instances: Instances) -> None:
    frozen = instances.start("8", "x")
    refused = subprocess.run(
        [sys.executable, str(PROGRAM), broker.url, instances.name, "8", "x"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "CALL_LOG": str(instances.log)},
    )
    assert refused.returncode == 2
    assert "already served by" in refused.stdout
    frozen.send_signal(signal.SIGSTOP)
    with Rpc(broker.url) as rpc:
        wait_until(lambda: rpc.instances(instances.name) == [], what="its silence")
        second = instances.start("8", "x")
        frozen.send_signal(signal.SIGCONT)
        wait_until(lambda: len(rpc.instances(instances.name)) == 1, what="one instance")
        for number in range(20):
            assert rpc.call_service(instances.name, "work", number)[1] == second.pid


def test_a_forked_child_has_calls_of_its_own(broker: Any) -> None:
    service = Service("echo", url=broker.url)

    @service.procedure
    def echo(value: int) -> int:
        return value

    program = f"""
import os, sys
from labspine.service import Rpc
rpc = Rpc({broker.url!r})
assert rpc.echo.echo(1) == 1
pid = os.fork()
for number in range(100):
    assert rpc.echo.echo(number + pid) == number + pid
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
rpc.close()
"""
    with service:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
        )
    assert done.returncode == 0, done.stderr


def test_a_connector_is_not_closed_by_its_rpc(broker: Any) -> None:
    with RedisConnector(broker.url) as bus:
        Rpc(bus).close()
        assert bus.can_connect()
