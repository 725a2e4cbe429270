"""A master dies, or is replaced, under load: nothing acknowledged is lost, and everybody moves on."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.errors import (
    AuthenticationError,
    ConfigError,
    DeadlinePassed,
    DeliveryUnknown,
    NotConnected,
    ServerError,
)
from labspine.testing.waiting import wait_until

SEGMENT, NUMBER = MessageEndpoints.scan_segment(), MessageEndpoints.scan_number()
FAILOVERS = 5
LONGEST_OUTAGE_S = (
    10.0  # measured 1 to 3 s; the sentinels wait a random part of a second, and machines are loaded
)


class Writer:
    """Publish numbers and note what was acknowledged; a number whose outcome is unknown is not used again."""

    def __init__(self, bus: Any) -> None:
        self.bus = bus
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.refused = 0
        self.unexpected: list[Exception] = []
        self._number = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._is_over.wait(0.002):  # a steady load
            try:
                self.bus.send(SEGMENT, m.ScanMessage(point_id=self._number, scan_id="s", data={}))
                self.acknowledged.append(self._number)
            except NotConnected:
                continue  # nothing was done: the same number again
            except ServerError as error:
                self.refused += 1
                if "has done this" not in str(error):
                    continue
                self.unknown.append(self._number)
            except (DeliveryUnknown, DeadlinePassed):
                self.unknown.append(self._number)
            except Exception as error:
                self.unexpected.append(error)
            self._number += 1

    def outage_after(self, happening: Any) -> float:
        """Do something, and tell how long nothing was acknowledged afterwards, in seconds."""
        happening()
        begun_s = time.monotonic()
        before = len(self.acknowledged)
        wait_until(
            lambda: len(self.acknowledged) > before + 5,
            timeout_s=40,
            what="acknowledged writes",
            pause_s=0.01,
        )
        return time.monotonic() - begun_s


def check_heard(got: list[int], writer: Writer) -> None:
    wanted = set(writer.acknowledged)
    wait_until(lambda: wanted <= set(got), timeout_s=20, what="all that was acknowledged")
    assert not writer.unexpected
    assert len(got) == len(set(got)), "something was heard twice"
    assert set(got) <= wanted | set(writer.unknown)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("door", ["sync"])
def test_five_masters_are_killed_and_nothing_acknowledged_is_lost(connect: Any, sentinel_group: Any) -> None:
    bus, listener = connect(sentinel_group.url), connect(sentinel_group.url)
    got: list[int] = []
    listener.register(SEGMENT, cb=lambda message: got.append(message.value.point_id))
    outages = []
    with Writer(bus) as writer:
        wait_until(lambda: len(writer.acknowledged) > 20)
        for _ in range(FAILOVERS):
            dead = sentinel_group.master()
            outages.append(writer.outage_after(dead.end))
            new = sentinel_group.master()
            assert new is not dead
            dead.start("--replicaof", "127.0.0.1", str(new.port))
            sentinel_group.wait_whole()
    check_heard(got, writer)
    print(f"{len(writer.acknowledged)} acknowledged, {len(writer.unknown)} unknown, outages {outages}")
    assert len(writer.unknown) <= 5 * FAILOVERS
    assert max(outages) < LONGEST_OUTAGE_S


@pytest.mark.fault
@pytest.mark.slow
def test_an_operator_replaces_the_master_and_everybody_moves_at_once(
    connect: Any, sentinel_group: Any, say: Any
) -> None:
    bus, listener = connect(sentinel_group.url), connect(sentinel_group.url)
    got: list[int] = []
    listener.register(SEGMENT, cb=lambda message: got.append(message.value.point_id))
    old = sentinel_group.master()
    with Writer(bus) as writer:
        wait_until(lambda: len(writer.acknowledged) > 20)
        say(sentinel_group.sentinels[1].url, "SENTINEL", "FAILOVER", sentinel_group.name)
        wait_until(
            lambda: sentinel_group.master() is not old, timeout_s=20, what="a new master", pause_s=0.02
        )
        outage_s = writer.outage_after(lambda: None)
        new = sentinel_group.master()
        wait_until(
            lambda: b"name=labspine" not in clients(say, old), timeout_s=10, what="everybody's leaving"
        )
    check_heard(got, writer)
    assert outage_s < LONGEST_OUTAGE_S
    assert b"name=labspine" in clients(say, new)


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("door", ["async"])
def test_a_frozen_master_is_left_and_nobody_returns_when_it_wakes(
    connect: Any, sentinel_group: Any, say: Any
) -> None:
    bus, listener = connect(sentinel_group.url), connect(sentinel_group.url)
    got: list[int] = []
    listener.register(SEGMENT, cb=lambda message: got.append(message.value.point_id))
    old = sentinel_group.master()
    with Writer(bus) as writer:
        wait_until(lambda: len(writer.acknowledged) > 20)
        outage_s = writer.outage_after(lambda: old.end(signal.SIGSTOP))
        old.end(signal.SIGCONT)
        wait_until(old.answers, timeout_s=10, what="the zombie")
        before = len(writer.acknowledged)
        wait_until(lambda: len(writer.acknowledged) > before + 200, timeout_s=20)
        assert sentinel_group.master() is not old
        assert b"name=labspine" not in clients(say, old)
    check_heard(got, writer)
    assert outage_s < LONGEST_OUTAGE_S


@pytest.mark.slow
def test_sentinel_and_server_with_tls(
    connect: Any, redis_process: Any, redis_sentinel: Any, certificates: Any
) -> None:
    certificate, key = certificates.server("both", "DNS:localhost,IP:127.0.0.1")
    ca = certificates.path("ca.pem")
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca)
    master = redis_process(*files, "--tls-auth-clients", "no", "--tls-replication", "yes", tls=True)
    watcher = redis_sentinel(
        f"port 0\ntls-port {{port}}\ntls-replication yes\ntls-auth-clients no\ntls-cert-file {certificate}\n"
        f"tls-key-file {key}\ntls-ca-cert-file {ca}\nsentinel monitor lab 127.0.0.1 {master.port} 1\n"
    )
    where = f"rediss+sentinel://localhost:{watcher.port}/lab"
    bus = connect(f"{where}?ssl_ca_certs={ca}")
    got: list[Any] = []
    bus.register(SEGMENT, cb=got.append)
    bus.send(SEGMENT, m.ScanMessage(point_id=0, scan_id="s", data={}))
    wait_until(lambda: got)
    with pytest.raises(NotConnected, match="authority that is not trusted"):
        connect(where).connect()


def clients(say: Any, node: Any) -> bytes:
    """List the connections of a node, without the one that asks."""
    lines = say(node.url, "CLIENT", "LIST", name="asker").splitlines()
    return b"\n".join(line for line in lines if b"name=asker" not in line)


@pytest.mark.slow
@pytest.mark.parametrize("door", ["async"])
def test_what_sentinels_cannot_tell_is_said(
    connect: Any, sentinel_group: Any, free_port: Any, say: Any
) -> None:
    places = sentinel_group.url.partition("://")[2].partition("/")[0]
    with pytest.raises(ConfigError, match='knows a master called "other"'):
        connect(f"redis+sentinel://{places}/other").connect()
    with pytest.raises(NotConnected, match="no sentinel tells who is master"):
        connect(f"redis+sentinel://127.0.0.1:{free_port()}/mymaster").connect()
    one_dead = f"redis+sentinel://127.0.0.1:{free_port()},{places}/mymaster"
    bus = connect(one_dead)
    bus.set(NUMBER, m.VariableMessage(value=7))
    assert bus.get(NUMBER).value == 7
    for node in sentinel_group.nodes:
        say(node.url, "ACL", "SETUSER", "alice", "reset", "on", ">pw", "~*", "&*", "+@all")
    with pytest.raises(AuthenticationError):
        connect(f"redis+sentinel://alice:wrong@{places}/mymaster").connect()
    assert connect(f"redis+sentinel://alice:pw@{places}/mymaster").get(NUMBER).value == 7
    greedy = connect(f"redis+sentinel://{places}/mymaster?replicas=3")
    with pytest.raises(ServerError, match="only 2 of 3 replicas"):
        greedy.set(NUMBER, m.VariableMessage(value=8))
    pipe = greedy.pipeline()
    pipe.set(NUMBER, m.VariableMessage(value=9))
    pipe.get(NUMBER)
    first, second = pipe.execute(return_errors=True)
    assert isinstance(first, ServerError)
    assert second.value == 9
