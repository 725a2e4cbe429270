"""Slots move, masters die, nodes freeze under load: nothing acknowledged is lost, nothing is heard twice."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import DeadlinePassed, DeliveryUnknown, NotConnected, ServerError
from labspine.flows.slots import slot_of
from labspine.ids import new_sender
from labspine.testing.waiting import wait_until

SEGMENT = MessageEndpoints.scan_segment()
FAMILY = slot_of(SEGMENT.history or "")
LONGEST_OUTAGE_S = 15.0  # measured 1.5 to 3 s, most of it the nodes' own timeout; machines are loaded


class Load:
    """Publish numbers, note what was acknowledged, and what a listener hears."""

    def __init__(self, bus: Any, listener: Any) -> None:
        self.bus = bus
        self.run = new_sender()
        self.acknowledged: list[int] = []
        self.unknown: list[int] = []
        self.refused = 0
        self.unexpected: list[Exception] = []
        self.got: list[int] = []
        self._number = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        listener.register(SEGMENT, self._hear)

    def _hear(self, message: Any) -> None:
        if message.value.scan_id == self.run:
            self.got.append(message.value.point_id)

    def __enter__(self) -> Load:
        self._thread.start()
        self.wait_for_more(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._is_over.wait(0.002):  # a steady load
            try:
                self.bus.send(SEGMENT, m.ScanMessage(point_id=self._number, scan_id=self.run, data={}))
                self.acknowledged.append(self._number)
            except NotConnected:
                self.refused += 1
                continue  # nothing was done: the same number again
            except ServerError as error:
                if "has done this" not in str(error):
                    self.unexpected.append(error)
                self.unknown.append(self._number)
            except (DeliveryUnknown, DeadlinePassed):
                self.unknown.append(self._number)
            except Exception as error:
                self.unexpected.append(error)
            self._number += 1

    def wait_for_more(self, count: int) -> float:
        """Wait until so many more were acknowledged, and tell how long that took, in seconds."""
        begun_s, before = time.monotonic(), len(self.acknowledged)
        wait_until(
            lambda: len(self.acknowledged) >= before + count,
            timeout_s=40,
            what="acknowledged writes",
            pause_s=0.01,
        )
        return time.monotonic() - begun_s

    def check(self) -> None:
        """Everything that was acknowledged is heard, once, in order."""
        wanted = set(self.acknowledged)
        wait_until(lambda: wanted <= set(self.got), timeout_s=20, what="all that was acknowledged")
        assert not self.unexpected
        assert len(self.got) == len(set(self.got)), "something was heard twice"
        assert self.got == sorted(self.got)
        assert set(self.got) <= wanted | set(self.unknown)


@pytest.mark.fault
def test_a_slot_moves_under_load_and_nobody_notices(connect: Any, whole_cluster: Any) -> None:
    bus, listener = connect(whole_cluster.url), connect(whole_cluster.url)
    source = whole_cluster.owner(FAMILY)
    target = next(
        node for node in whole_cluster.nodes if node is not source and b"role:master" in node.say("INFO")
    )
    for number in range(20):  # more keys on the slot, so that it is open for a while
        source.say("SET", f"{{{SEGMENT.history}}}fill{number}", b"x")
    with Load(bus, listener) as load:
        whole_cluster.move(FAMILY, target, between=lambda: time.sleep(0.01))
        load.wait_for_more(50)
        whole_cluster.move(FAMILY, source, between=lambda: time.sleep(0.01))
        load.wait_for_more(50)
    load.check()
    assert (load.unknown, load.refused) == ([], 0)


@pytest.mark.fault
def test_values_are_found_while_their_slot_is_on_the_move(connect: Any, whole_cluster: Any) -> None:
    tag = new_sender()
    places = [EndpointInfo(f"{{{tag}}}{n}", m.VariableMessage, MessageOp.KEY_VALUE) for n in range(10)]
    items = EndpointInfo(f"{{{tag}}}list", m.VariableMessage, MessageOp.LIST)
    bus = connect(whole_cluster.url)
    for number, place in enumerate(places):
        bus.set(place, m.VariableMessage(value=number))
    rounds: list[list[int]] = []

    def look() -> None:
        rounds.append([bus.get(place).value for place in places])
        pipe = bus.pipeline()
        for place in places:
            pipe.get(place)
        rounds.append([one.value for one in pipe.execute()])
        bus.rpush(items, m.VariableMessage(value=len(rounds)))
        assert bus.blocking_list_pop(items, timeout_s=5).value == len(rounds)

    source = whole_cluster.owner(slot_of(tag))
    masters = [node for node in whole_cluster.nodes if b"role:master" in node.say("INFO")]
    whole_cluster.move(slot_of(tag), next(n for n in masters if n is not source), between=look)
    look()
    assert len(rounds) >= 20
    assert all(values == list(range(10)) for values in rounds)


@pytest.mark.fault
@pytest.mark.slow
def test_a_master_is_killed_and_nothing_acknowledged_is_lost(connect: Any, whole_cluster: Any) -> None:
    bus = connect(f"{whole_cluster.url}?replicas=1", patience_s=LONGEST_OUTAGE_S)
    listener = connect(whole_cluster.url, name="listener")
    dead = whole_cluster.owner(FAMILY)
    with Load(bus, listener) as load:
        dead.end()
        wait_until(lambda: whole_cluster.owner(FAMILY) is not dead, timeout_s=30, what="a new master")
        dead.start()  # the new master needs a replica before anything is acknowledged again
        outage_s = load.wait_for_more(30)
    load.check()
    print(
        f"{len(load.acknowledged)} acknowledged, {len(load.unknown)} unknown, {outage_s:.1f} s after the election"
    )
    assert outage_s < LONGEST_OUTAGE_S


@pytest.mark.fault
@pytest.mark.slow
def test_the_node_of_the_subscriptions_dies_and_they_come_back(connect: Any, whole_cluster: Any) -> None:
    bus = connect(whole_cluster.url, patience_s=LONGEST_OUTAGE_S)
    name = f"listener-{new_sender()}"
    listener = connect(whole_cluster.url, name=name)
    with Load(bus, listener) as load:
        node = link_of(whole_cluster, name)
        while node is whole_cluster.owner(FAMILY):  # losing that one is another test
            node.say("CLIENT", "KILL", "TYPE", "pubsub")
            wait_until(lambda: link_of(whole_cluster, name), timeout_s=10, what="another link")
            node = link_of(whole_cluster, name)
        node.end()
        load.wait_for_more(20)
        wait_until(lambda: link_of(whole_cluster, name) not in (None, node), timeout_s=20, what="a new link")
        load.wait_for_more(20)
    load.check()
    assert load.unknown == []
    assert listener.counters.reconnects >= 1


def link_of(cluster: Any, name: str) -> Any:
    """Find the node to which a listener's subscriptions lead."""
    for node in cluster.nodes:
        if node.process.poll() is None:
            for line in node.say("CLIENT", "LIST", "TYPE", "pubsub").splitlines():
                if f"name={name}".encode() in line:
                    return node
    return None


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("door", ["async"])
def test_a_frozen_master_is_left_and_nobody_returns_when_it_wakes(connect: Any, whole_cluster: Any) -> None:
    options = {"patience_s": LONGEST_OUTAGE_S, "timeout_s": 1.0}
    bus, listener = connect(f"{whole_cluster.url}?replicas=1", **options), connect(whole_cluster.url)
    frozen = whole_cluster.owner(FAMILY)
    others = [node for node in whole_cluster.nodes if node is not frozen]
    with Load(bus, listener) as load:
        frozen.end(signal.SIGSTOP)
        wait_until(
            lambda: others[0].say("CLUSTER", "SLOTS") and owner_among(whole_cluster, others) is not frozen,
            timeout_s=30,
            what="a new master",
        )
        frozen.end(signal.SIGCONT)
        load.wait_for_more(50)
    load.check()


def owner_among(cluster: Any, nodes: list[Any]) -> Any:
    for first, last, master, *_ in nodes[0].say("CLUSTER", "SLOTS"):
        if first <= FAMILY <= last:
            return next(node for node in cluster.nodes if node.port == master[1])
    return None
