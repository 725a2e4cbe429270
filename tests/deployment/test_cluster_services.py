"""Queues and services on a real Redis Cluster: nothing of them fits on one node, and everything works all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.errors import (
    CallError,
    DeadlinePassed,
    DeliveryUnknown,
    InvalidArgument,
    LabspineError,
    NoSuchProcedure,
    NoSuchService,
    NotConnected,
    RemoteError,
)
from labspine.flows.slots import slot_of
from labspine.ids import new_sender
from labspine.queues import AsyncQueue, AsyncWorker, Item, Queue, Worker, worker
from labspine.service import AsyncRpc, Rpc, Service, procedure, progress
from labspine.testing.doors import Blocking
from labspine.testing.redis_cluster import ClusterNode, RedisCluster
from labspine.testing.waiting import wait_until

LONGEST_OUTAGE_S = 15.0


def made_at(bus: Any, kinds: tuple[type, type], *args: Any, **options: Any) -> Any:
    """Make an object of the blocking or of the asyncio door; the latter behind a blocking face."""
    if not isinstance(bus, Blocking):
        return kinds[0](bus, *args, **options)

    async def build() -> Any:
        return kinds[1](bus._target, *args, **options)

    return Blocking(bus._loop.run(build()), bus._loop)


def name_on(cluster: RedisCluster, node: ClusterNode, *, unlike: str = "") -> str:
    """Find a name whose slot a node has, as each queue and service is one slot."""
    while True:
        name = f"n{new_sender()}"
        if cluster.owner(slot_of(name)) is node and (not unlike or slot_of(name) != slot_of(unlike)):
            return name


def masters_of(cluster: RedisCluster) -> list[ClusterNode]:
    """List the masters."""
    return [node for node in cluster.nodes if b"role:master" in node.say("INFO", "replication")]


@pytest.fixture
def bus(connect: Any, redis_cluster: RedisCluster) -> Any:
    return connect(redis_cluster.url)


# --- queues ---


def test_a_queue_does_all_that_a_queue_does(bus: Any, redis_cluster: RedisCluster) -> None:
    for node in masters_of(redis_cluster):
        name = name_on(redis_cluster, node)
        queue = made_at(bus, (Queue, AsyncQueue), name, lease_s=30.0)
        queue.put_many(["a", "b", "c"])
        queue.put("first", priority="high")
        queue.put("later", delay_s=0.05)
        assert [one.message.value for one in queue.peek(2)] == ["first", "a"]
        found = queue.claim_many(2, wait_s=5)
        found += queue.acknowledge_and_claim(found[:1], wait_s=5)
        assert [item.value for item in found] == ["first", "a", "b"]
        assert queue.touch(found[1]) is True
        assert queue.give_back(found[1]) is True
        assert queue.bury(found[2], "broken") is True
        assert [letter.reason for letter in queue.dead()] == ["broken"]
        assert queue.requeue() == 1
        assert name in queue.names()
        left: list[Any] = []
        while len(left) < 4:
            item = queue.claim(wait_s=5)
            left.append(item.value)
            assert queue.acknowledge(item) is True
        assert sorted(left) == ["a", "b", "c", "later"]
        queue.drain(5)
        queue.close()


def test_a_claimer_that_waits_is_given_what_comes(
    bus: Any, connect: Any, redis_cluster: RedisCluster
) -> None:
    name = f"n{new_sender()}"
    queue = made_at(bus, (Queue, AsyncQueue), name)
    putter = made_at(connect(redis_cluster.url), (Queue, AsyncQueue), name)
    timer = threading.Timer(0.2, putter.put, ("x",))
    timer.start()
    assert queue.claim(wait_s=10).value == "x"
    timer.join()


def test_a_worker_takes_from_queues_on_several_nodes_in_their_order(
    bus: Any, redis_cluster: RedisCluster
) -> None:
    names = [name_on(redis_cluster, node) for node in masters_of(redis_cluster)]
    queues = [made_at(bus, (Queue, AsyncQueue), name) for name in names]
    for queue in reversed(queues):
        queue.put_many([f"{queue.name}/{number}" for number in range(5)])
    done: list[Any] = []

    @worker(*names, prefetch=3)
    def handle(item: Item) -> None:
        if item.value == "bad":
            raise ValueError("bad")
        done.append(item.value)

    running = made_at(bus, (Worker, AsyncWorker), handle)
    running.start()
    try:
        for queue in queues:
            queue.drain(20)
        assert done == [f"{name}/{number}" for name in names for number in range(5)]
        queues[2].put("last")
        queues[1].put("bad", item_id="bad")
        wait_until(lambda: "last" in done, what="what came later", timeout_s=10)
    finally:
        assert running.stop(5.0) is True
    assert [queue.state().claimed for queue in queues] == [0, 0, 0]
    assert (running.counters.done, running.counters.refused) == (16, 0)


class Work:
    """Put numbers into a queue, and take them out again, all the time."""

    def __init__(self, putter: Any, taker: Any) -> None:
        self._queues = putter, taker
        self.acknowledged: list[int] = []
        self.got: list[int] = []
        self.unexpected: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._put), threading.Thread(target=self._take)]

    def __enter__(self) -> Work:
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)

    def _put(self) -> None:
        number, queue = 0, self._queues[0]
        while not self._is_over.wait(0.005):  # a steady load that leaves the taker time to wait
            try:
                queue.put(number, item_id=str(number))  # said again under its name, nothing is put twice
            except LabspineError as error:
                self._note(error)
                continue
            self.acknowledged.append(number)
            number += 1

    def _take(self) -> None:
        queue, done = self._queues[1], []
        while not self._is_over.is_set() or set(self.acknowledged) - set(self.got):
            try:
                done = queue.acknowledge_and_claim(done, count=5, wait_s=0.5)
            except LabspineError as error:
                self._note(error)
                continue  # what is done is said again
            self.got += [item.value for item in done]
        queue.acknowledge_many(done)

    def _note(self, error: LabspineError) -> None:
        is_outage = isinstance(error, (NotConnected, DeliveryUnknown, DeadlinePassed))
        if not is_outage and "has done this" not in str(error):  # ?replicas=1 without a replica
            self.unexpected.append(error)

    def wait_for_more(self) -> None:
        before = len(self.got)
        wait_until(lambda: len(self.got) >= before + 20, timeout_s=40, what="more work", pause_s=0.01)


@pytest.mark.fault
def test_the_slot_of_a_queue_moves_and_no_item_is_lost_or_comes_twice(
    connect: Any, whole_cluster: RedisCluster
) -> None:
    source, target, _ = masters_of(whole_cluster)
    name = name_on(whole_cluster, source)
    queues = [made_at(connect(whole_cluster.url), (Queue, AsyncQueue), name) for _ in range(2)]
    with Work(*queues) as work:
        whole_cluster.move(slot_of(name), target, between=lambda: time.sleep(0.03))
        work.wait_for_more()
        whole_cluster.move(slot_of(name), source, between=lambda: time.sleep(0.03))
        work.wait_for_more()
    assert work.unexpected == []
    assert sorted(work.got) == work.acknowledged
    assert queues[0].length() == 0
    assert queues[1].counters.refused == 0


# --- services ---


class Chiller:
    """What is served."""

    def __init__(self) -> None:
        self.celsius = 20.0

    @procedure(idempotent=True)
    def setpoint(self, celsius: float) -> float:
        self.celsius = celsius
        return celsius

    @procedure
    def fail(self) -> None:
        raise ValueError("too hot")

    @procedure
    def ramp(self) -> str:
        progress(0.5, text="half")
        return "done"


Serve = Callable[..., Service]


@pytest.fixture
def serve(redis_cluster: RedisCluster) -> Iterator[Serve]:
    """Give a function that serves a chiller; all are stopped at the end."""
    made: list[tuple[Service, RedisConnector]] = []

    def start(name: str, **options: Any) -> Service:
        connector = RedisConnector(redis_cluster.url, **options)
        made.append((Service(name, Chiller(), connector=connector), connector))
        made[-1][0].start()
        return made[-1][0]

    yield start
    for service, connector in made:
        service.stop(timeout_s=2.0)
        connector.close()


@pytest.fixture
def open_rpc(connect: Any, redis_cluster: RedisCluster) -> Iterator[Callable[..., Any]]:
    """Give a function that makes clients of the door under test; each has replies on a slot of its own."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(made_at(connect(redis_cluster.url, **options), (Rpc, AsyncRpc)))
        return made[-1]

    yield make
    for rpc in made:
        rpc.close()


def test_services_and_callers_on_all_nodes_find_each_other(
    open_rpc: Any, serve: Serve, redis_cluster: RedisCluster
) -> None:
    names = [name_on(redis_cluster, node) for node in masters_of(redis_cluster)]
    for name in names:
        serve(name)
    for _ in range(6):  # so that replies lie on any node
        rpc = open_rpc()
        for name in names:
            assert rpc.call_service(name, "setpoint", 18.5) == 18.5
            assert rpc.call_service(name, "setpoint", celsius=19) == 19.0
    listed = {one.service for one in rpc.instances()}
    assert set(names) <= listed


def test_each_outcome_is_what_it_is(open_rpc: Any, serve: Serve) -> None:
    name, rpc = f"n{new_sender()}", open_rpc()
    serve(name), serve(name)
    with pytest.raises(RemoteError, match="too hot"):
        rpc.call_service(name, "fail")
    with pytest.raises(NoSuchProcedure):
        rpc.call_service(name, "boil")
    with pytest.raises(InvalidArgument, match="celsius"):
        rpc.call_service(name, "setpoint", "warm")
    assert rpc.call_service(name, "ramp") == "done"
    assert set(rpc.ask_all(name, "setpoint", 4.0).values()) == {4.0}
    assert len(rpc.instances(name)) == 2


def test_nobody_there_is_known_at_once(open_rpc: Any, serve: Serve) -> None:
    rpc = open_rpc()
    begun_s = time.monotonic()
    with pytest.raises(NoSuchService, match="nothing was executed"):
        rpc.call_service(f"n{new_sender()}", "setpoint", 1.0, timeout_s=30)
    assert time.monotonic() - begun_s < 10
    name = f"n{new_sender()}"
    service = serve(name)
    assert rpc.call_service(name, "setpoint", 1.0) == 1.0
    service.stop()
    with pytest.raises(NoSuchService):
        rpc.call_service(name, "setpoint", 1.0, timeout_s=30)
    assert name not in {one.service for one in rpc.instances()}


class Calls:
    """Call a service all the time, and note what comes of it."""

    def __init__(self, rpc: Any, service: str) -> None:
        self._rpc = rpc
        self._service = service
        self.answers: list[float] = []
        self.outages: list[LabspineError] = []
        self.unexpected: list[BaseException] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> Calls:
        self._thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _call(self) -> None:
        number = 0.0
        while not self._is_over.wait(0.002):  # a steady load
            number += 1.0
            try:
                answer = self._rpc.call_service(self._service, "setpoint", number, timeout_s=3.0)
            except (CallError, NotConnected, DeliveryUnknown, DeadlinePassed) as error:
                self.outages.append(error)
            except Exception as error:
                self.unexpected.append(error)
            else:
                self.answers.append(answer)
                if answer != number:
                    self.unexpected.append(AssertionError(f"{answer} for {number}"))

    def wait_for_more(self) -> None:
        before = len(self.answers)
        wait_until(lambda: len(self.answers) >= before + 20, timeout_s=40, what="more answers", pause_s=0.01)


@pytest.mark.fault
def test_the_slot_of_a_service_moves_and_calls_go_on(
    open_rpc: Any, serve: Serve, whole_cluster: RedisCluster
) -> None:
    source, target, _ = masters_of(whole_cluster)
    name = name_on(whole_cluster, source)
    serve(name)
    with Calls(open_rpc(), name) as calls:
        whole_cluster.move(slot_of(name), target, between=lambda: time.sleep(0.01))
        calls.wait_for_more()
        whole_cluster.move(slot_of(name), source, between=lambda: time.sleep(0.01))
        calls.wait_for_more()
    assert calls.unexpected == []


@pytest.mark.fault
@pytest.mark.slow
def test_a_master_is_killed_and_services_and_queues_go_on_without_a_restart(
    connect: Any, open_rpc: Any, serve: Serve, whole_cluster: RedisCluster
) -> None:
    dead = masters_of(whole_cluster)[0]
    service = name_on(whole_cluster, dead)
    queue = name_on(whole_cluster, dead, unlike=service)
    serve(service, patience_s=LONGEST_OUTAGE_S)
    url = f"{whole_cluster.url}?replicas=1"
    queues = [
        made_at(connect(url, patience_s=LONGEST_OUTAGE_S), (Queue, AsyncQueue), queue, lease_s=2.0)
        for _ in range(2)
    ]
    with Work(*queues) as work, Calls(open_rpc(patience_s=LONGEST_OUTAGE_S), service) as calls:
        dead.end()
        wait_until(lambda: whole_cluster.owner(slot_of(queue)) is not dead, timeout_s=30, what="a new master")
        dead.start()  # the new master needs a replica before anything is acknowledged again
        work.wait_for_more()
        calls.wait_for_more()
    assert work.unexpected == []
    assert set(work.got) >= set(work.acknowledged)
    assert calls.unexpected == []
