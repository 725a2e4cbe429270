"""Calls by OpenTera's convention while the broker or the service is killed: each call has one true outcome."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest

from labspine import RedisConnector
from labspine.compat.opentera import RpcClient, RpcServer
from labspine.errors import CallTimeout, DeadlinePassed, DeliveryUnknown, NoSuchService, NotConnected
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault

SERVICE = """
import sys, time
from labspine import RedisConnector
from labspine.compat.opentera import RpcServer

def add(a: int, b: int) -> int:
    return a + b

def hold() -> None:
    print("held", flush=True)
    time.sleep(60)

with RedisConnector(sys.argv[1]) as bus, RpcServer(bus, add, hold, key="victim"):
    print("ready", flush=True)
    sys.stdin.read()
"""
FAILURES = (NoSuchService, CallTimeout, NotConnected, DeliveryUnknown, DeadlinePassed)


def add(a: int, b: int) -> int:
    return a + b


def test_calls_go_on_after_each_kill_of_the_broker(broker: Any) -> None:
    outcomes: Counter[str] = Counter()
    stop = threading.Event()

    def call_on(rpc: RpcClient, first: int) -> None:
        number = first
        while not stop.is_set():
            number += 2
            try:
                answer = rpc.call_service("adder", "add", number, 1, timeout_s=1.0)
            except FAILURES as error:
                outcomes[type(error).__name__] += 1
                stop.wait(0.02)
            else:
                outcomes["right" if answer == number + 1 else "wrong"] += 1

    with (
        RedisConnector(broker.url) as serving,
        RedisConnector(broker.url) as calling,
        RpcServer(serving, add, key="adder"),
        RpcClient(calling) as rpc,
    ):
        threads = [threading.Thread(target=call_on, args=(rpc, first)) for first in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                before = outcomes["right"]
                wait_until(
                    lambda b=before: outcomes["right"] > b + 50, timeout_s=20.0, what="calls that work"
                )
                broker.restart()
            before = outcomes["right"]
            wait_until(
                lambda: outcomes["right"] > before + 50, timeout_s=20.0, what="calls after the last kill"
            )
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)

    assert outcomes["wrong"] == 0, outcomes
    assert sum(outcomes.values()) > outcomes["right"], "no kill was noticed"


def test_a_killed_service_is_missed_at_once_and_its_call_ends_in_time(broker: Any) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, broker.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with RedisConnector(broker.url) as bus, RpcClient(bus) as rpc:
            assert rpc.call_service("victim", "add", 20, 22) == 42
            ended: list[BaseException] = []

            def call() -> None:
                try:
                    rpc.call_service("victim", "hold", timeout_s=1.0)
                except CallTimeout as error:
                    ended.append(error)

            thread = threading.Thread(target=call)
            thread.start()
            assert process.stdout.readline() == "held\n"
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)

            def is_missed() -> bool:
                begin = time.monotonic()
                try:
                    rpc.call_service("victim", "add", 1, 2, timeout_s=30.0)
                except NoSuchService:
                    return time.monotonic() - begin < 10.0
                return False

            wait_until(is_missed, timeout_s=10.0, what="the end of the subscription")
            thread.join(20)
            assert len(ended) == 1
    finally:
        process.kill()
        process.communicate(timeout=10)
