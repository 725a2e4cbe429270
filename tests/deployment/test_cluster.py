"""A real Redis Cluster of three masters and three replicas: every operation on both doors, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import RedisConnector
from labspine.endpoints import EndpointInfo, MessageEndpoints, MessageOp
from labspine.errors import (
    AuthenticationError,
    ConfigError,
    InvalidOperation,
    NotConnected,
    PermissionDenied,
    ServerError,
)
from labspine.flows import check_server
from labspine.flows.slots import slot_of
from labspine.ids import new_sender
from labspine.testing.redis_cluster import RedisCluster
from labspine.testing.waiting import wait_until

STATUS, SEGMENT, NUMBER = (
    MessageEndpoints.scan_status(),
    MessageEndpoints.scan_segment(),
    MessageEndpoints.scan_number(),
)

SECRET, WRONG = "pw", "wrong"  # of users that live for one test


def unique(prefix: str = "dev") -> str:
    return f"{prefix}{new_sender()}"


def named(name: str, op: MessageOp) -> EndpointInfo[m.VariableMessage]:
    return EndpointInfo(f"{name}/{new_sender()}", m.VariableMessage, op)


def value(number: int) -> m.VariableMessage:
    return m.VariableMessage(value=number)


def point(number: int, scan_id: str = "s") -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id=scan_id, data={})


@pytest.fixture
def bus(connect: Any, redis_cluster: Any) -> Any:
    return connect(redis_cluster.url)


def test_values_spread_over_the_masters_and_come_back_in_order(bus: Any, redis_cluster: Any) -> None:
    run = new_sender()
    places = [EndpointInfo(f"spread/{run}/{n}", m.VariableMessage, MessageOp.KEY_VALUE) for n in range(40)]
    for number, place in enumerate(places):
        bus.set(place, value(number))
    assert len({redis_cluster.owner(slot_of(place.endpoint)).port for place in places[:12]}) == 3
    bus.delete(places[3])
    found = bus.mget(places)
    assert [None if one is None else one.value for one in found] == [*range(3), None, *range(4, 40)]
    assert bus.delete(places[3]) is False
    assert bus.get(places[39]) == value(39)


def test_keys_of_all_masters_are_listed_by_the_names_of_their_channels(bus: Any) -> None:
    names = [unique() for _ in range(30)]
    for name in names:
        bus.set_and_publish(MessageEndpoints.device_read(name), m.DeviceMessage(signals={}))
    found = set(bus.keys(MessageEndpoints.pattern("device_read")))
    assert {MessageEndpoints.device_read(name).endpoint for name in names} <= found
    bus.set_and_publish(STATUS, m.ScanStatusMessage(scan_id="s", status="open", info={}))
    assert bus.keys(STATUS) == [STATUS.endpoint]


def test_an_event_its_value_and_its_history_are_one_step_on_one_node(bus: Any, redis_cluster: Any) -> None:
    message = m.ScanStatusMessage(scan_id=new_sender(), status="open", info={})
    bus.set_and_publish(STATUS, message)
    assert bus.get(STATUS) == message
    key = f"{{{STATUS.history}}}{STATUS.endpoint}"
    node = redis_cluster.owner(slot_of(key))
    assert node.say("EXISTS", key) == 1
    assert node.say("EXISTS", STATUS.history) == 1  # its slot is the same, or the node would say MOVED


def test_events_are_heard_and_replayed_once_in_order(connect: Any, bus: Any, redis_cluster: Any) -> None:
    run, listener = new_sender(), connect(redis_cluster.url)
    got: list[int] = []
    late: list[int] = []

    def take(numbers: list[int]) -> Any:
        return lambda msg: numbers.append(msg.value.point_id) if msg.value.scan_id == run else None

    listener.register(SEGMENT, take(got))
    for number in range(300):
        bus.send(SEGMENT, point(number, run))
    connect(redis_cluster.url).register(SEGMENT, take(late), from_start=True)
    for number in range(300, 400):
        bus.send(SEGMENT, point(number, run))
    wait_until(lambda: len(got) == 400 == len(late), what="all events")
    assert got == late == list(range(400))


def test_what_live_delivery_lost_is_read_from_the_history(connect: Any, bus: Any, redis_cluster: Any) -> None:
    """Nodes hand events on to each other unasked: what is lost there, no number and no broken link tells."""
    listener = connect(redis_cluster.url)
    got: list[Any] = []
    listener.register(SEGMENT, lambda msg: got.append(msg.value.scan_id))
    lost = new_sender()
    payload = m.encode(point(0, lost))
    payload = m.stamp(payload, new_sender(), 1)
    record = (STATUS.history, "*", "c", SEGMENT.endpoint, "d", payload)
    node = redis_cluster.owner(slot_of(SEGMENT.history or ""))
    node.say("XADD", SEGMENT.history, *record[1:])
    wait_until(lambda: lost in got, timeout_s=10, what="the event that was only recorded")
    assert got.count(lost) == 1


def test_send_tells_whether_anybody_listens_on_any_node(connect: Any, bus: Any, redis_cluster: Any) -> None:
    listeners = [connect(redis_cluster.url) for _ in range(3)]
    places = [MessageEndpoints.notification(unique()) for _ in range(8)]
    note = m.NotificationMessage(event="x", message=[m.MessagingServiceTextContent(content="hello")])
    assert [bus.send(place, note) for place in places] == [0] * 8
    for place in places:
        listeners[0].register(place, lambda _: None)
    wait_until(lambda: all(bus.send(place, note) == 1 for place in places), timeout_s=5, what="one listener")
    listeners[0].unregister(places)
    wait_until(lambda: not any(bus.send(place, note) for place in places), timeout_s=5, what="nobody")


def test_patterns_hear_channels_of_all_nodes(connect: Any, bus: Any, redis_cluster: Any) -> None:
    prefix, listener = unique(), connect(redis_cluster.url)
    got: list[str] = []
    pattern = MessageEndpoints.pattern("device_readback", device=f"{prefix}*")
    listener.register(patterns=pattern, cb=lambda msg: got.append(msg.topic))
    wanted = [MessageEndpoints.device_readback(f"{prefix}{n}").endpoint for n in range(20)]
    for number in range(20):
        place = MessageEndpoints.device_readback(f"{prefix}{number}")
        bus.set_and_publish(place, m.DeviceMessage(signals={}))
    wait_until(lambda: len(got) == 20, what="all channels")
    assert sorted(got) == sorted(wanted)


def test_streams_of_several_nodes_are_followed_and_read(connect: Any, bus: Any, redis_cluster: Any) -> None:
    streams = [named("stream", MessageOp.STREAM) for _ in range(6)]
    listener = connect(redis_cluster.url)
    got: list[int] = []
    listener.register(streams, lambda msg: got.append(msg.value.value))
    for number, stream in enumerate(streams):
        bus.xadd(stream, value(number))
    wait_until(lambda: sorted(got) == list(range(6)), what="an entry of each stream")
    assert [bus.get_last(stream, "data").value for stream in streams] == list(range(6))
    bus.xadd(streams[0], value(7), max_size=5, expire_s=60)
    assert [one["data"].value for one in bus.xrange(streams[0])] == [0, 7]
    assert bus.xread(streams[0], from_start=True, block_s=0.2)[-1]["data"].value == 7
    assert bus.xread(streams[0], block_s=0.05) == []


def test_lists_sets_and_waiting(connect: Any, bus: Any, redis_cluster: Any) -> None:
    work, members = named("list", MessageOp.LIST), named("set", MessageOp.SET)
    assert [bus.rpush(work, value(n)) for n in range(3)] == [1, 2, 3]
    assert bus.lrange(work, 0, -1) == [value(0), value(1), value(2)]
    assert bus.blocking_list_pop(work, timeout_s=1) == value(0)
    bus.ltrim(work, 1, 0)
    other = connect(redis_cluster.url)
    threading.Timer(0.2, lambda: other.lpush(work, value(9))).start()
    assert bus.blocking_list_pop(work, timeout_s=10) == value(9)
    assert bus.blocking_list_pop(work, timeout_s=0.05) is None
    assert (bus.add_to_set(members, value(1)), bus.add_to_set(members, value(1))) == (True, False)
    assert bus.get_set_members(members) == [value(1)]
    assert bus.remove_from_set(members, value(1))


def test_what_moves_in_one_step_must_lie_together(bus: Any) -> None:
    waiting = MessageEndpoints.procedure_execution(unique("queue"))
    running = MessageEndpoints.active_procedure_executions()
    item = m.ProcedureExecutionMessage(identifier=new_sender(), queue="q", execution_id=new_sender())
    bus.rpush(waiting, item)
    assert bus.blocking_list_pop_to_set_add(waiting, running, timeout_s=1) == item
    assert item in bus.get_set_members(running)
    assert bus.remove_from_set(running, item)
    apart = (named("list", MessageOp.LIST), EndpointInfo("elsewhere", m.VariableMessage, MessageOp.SET))
    with pytest.raises(
        InvalidOperation, match="cannot be one step on a Redis Cluster: they lie on different slots"
    ):
        bus.blocking_list_pop_to_set_add(*apart, timeout_s=1)


def test_a_pipeline_goes_to_all_nodes_and_its_results_are_in_order(bus: Any) -> None:
    places = [named("pipe", MessageOp.KEY_VALUE) for _ in range(50)]
    pipe = bus.pipeline()
    for number, place in enumerate(places):
        pipe.set(place, value(number))
        pipe.get(place)
    pipe.mget(places)
    pipe.send(SEGMENT, point(1))
    results = pipe.execute()
    assert [one.value for one in results[1:100:2]] == list(range(50))
    wrong = bus.pipeline()
    wrong.rpush(named("x", MessageOp.LIST), value(1))
    wrong.lrange(EndpointInfo(places[0].endpoint, m.VariableMessage, MessageOp.LIST), 0, -1)
    wrong.get(places[1])
    first, second, third = wrong.execute(return_errors=True)
    assert (first, third) == (1, value(1))
    assert isinstance(second, InvalidOperation)


def test_a_user_of_the_rules_works_on_every_node(connect: Any, redis_cluster: Any) -> None:
    from labspine.endpoints.access import rules_for

    for node in redis_cluster.nodes:
        for name, role in (("serve", "scan_server"), ("watch", "observer")):
            node.say("ACL", "SETUSER", name, *rules_for(role, in_cluster=True), f">{SECRET}")
    server, observer = (connect(redis_cluster.url, username=n, password=SECRET) for n in ("serve", "watch"))
    got: list[Any] = []
    observer.register(STATUS, got.append)
    message = m.ScanStatusMessage(scan_id=new_sender(), status="open", info={})
    server.set_and_publish(STATUS, message)
    wait_until(lambda: message in [one.value for one in got])
    assert observer.get(STATUS) == message
    with pytest.raises(PermissionDenied):
        observer.set_and_publish(STATUS, message)
    with pytest.raises(AuthenticationError):
        observer.authenticate(username="serve", password=WRONG)
    observer.authenticate(username="serve", password=SECRET)
    observer.set_and_publish(STATUS, message)
    with pytest.raises(AuthenticationError):
        connect(redis_cluster.url, username="serve", password=WRONG).connect()


def test_one_node_that_lives_is_enough_to_find_the_others(
    connect: Any, redis_cluster: Any, free_port: Any
) -> None:
    last = redis_cluster.nodes[-1].port
    bus = connect(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{last}")
    bus.set(NUMBER, value(5))
    assert bus.get(NUMBER) == value(5)
    with pytest.raises(NotConnected, match=r"no node of .* can be asked"):
        connect(f"redis+cluster://127.0.0.1:{free_port()}").connect()


def test_a_wrong_kind_of_address_is_told(
    connect: Any, redis_cluster: Any, broker_url: str, redis_process: Any
) -> None:
    alone = connect(redis_cluster.nodes[0].url)
    last = EndpointInfo("{foo}", m.VariableMessage, MessageOp.KEY_VALUE)  # lies on the third master
    with pytest.raises(ServerError, match=r"node of a Redis Cluster: use redis\+cluster://"):
        alone.set(last, value(1))
    server = redis_process()
    with pytest.raises(ConfigError, match="is not a node of a Redis Cluster: use redis://"):
        connect(f"redis+cluster://127.0.0.1:{server.port}").connect()


def test_a_change_counts_when_replicas_have_it(connect: Any, redis_cluster: Any) -> None:
    safe = connect(f"{redis_cluster.url}?replicas=1")
    place = named("safe", MessageOp.KEY_VALUE)
    safe.set(place, value(1))
    assert safe.get(place) == value(1)
    with pytest.raises(ServerError, match="only 1 of 2 replicas confirmed"):
        connect(f"{redis_cluster.url}?replicas=2").set(place, value(2))


@pytest.mark.slow
@pytest.mark.parametrize("door", ["async"])
def test_an_encrypted_cluster(connect: Any, certificates: Any, tmp_path: Any) -> None:
    certificate, key = certificates.server("node", "DNS:localhost,IP:127.0.0.1")
    ca = certificates.path("ca.pem")
    files = ("--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", ca)
    cluster = RedisCluster(tmp_path, *files, "--tls-auth-clients", "no", ca_file=ca)
    try:
        cluster.start()
        bus, got = connect(f"{cluster.url}?ssl_ca_certs={ca}"), []
        bus.register(SEGMENT, got.append)
        bus.send(SEGMENT, point(0))
        places = [named("tls", MessageOp.KEY_VALUE) for _ in range(9)]
        for number, place in enumerate(places):
            bus.set(place, value(number))
        assert [one.value for one in bus.mget(places)] == list(range(9))
        wait_until(lambda: got, what="the event")
        with pytest.raises(NotConnected, match="authority that is not trusted"):
            connect(cluster.url).connect()
    finally:
        cluster.end()


def test_the_report_is_the_worst_of_all_masters(bus: Any, redis_cluster: Any) -> None:
    def levels() -> dict[str, str]:
        return {one.topic: one.level for one in check_server(bus.server_report())}

    assert levels() == {
        "version": "ok",
        "role": "ok",
        "memory": "ok",
        "persistence": "warning",
        "cluster": "ok",
    }
    second = redis_cluster.nodes[1]
    second.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", 10**8)
    try:
        assert levels()["memory"] == "problem"
    finally:
        second.say("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", 0)
    report = bus.server_report().cluster
    assert (report.masters, report.replicas, report.slots, report.bare_masters) == (3, 3, 16384, ())


def test_the_doctor_shows_the_cluster(redis_cluster: Any) -> None:
    def doctor(url: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "labspine", "doctor", "--json"],
            env={**os.environ, "LABSPINE_URL": url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return {one["topic"]: one for one in map(json.loads, done.stdout.splitlines())}

    found = doctor(redis_cluster.url)
    assert found["cluster"]["level"] == "ok"
    assert found["cluster"]["text"] == "Redis Cluster, 3 masters and 3 replicas, all 16384 slots are served"
    assert "redis+cluster://" in found["broker"]["text"]
    alone = doctor(redis_cluster.nodes[0].url)
    assert alone["version"]["level"] == "problem"
    assert "redis+cluster://" in alone["version"]["fix"]


def test_a_child_after_a_fork_has_links_of_its_own(redis_cluster: Any) -> None:
    places = [named("fork", MessageOp.KEY_VALUE) for _ in range(12)]
    with RedisConnector(redis_cluster.url) as bus:
        for place in places:
            bus.set(place, value(0))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for _ in range(20):
                    for place in places:
                        bus.set(place, value(1))
                code = 0
            finally:
                os._exit(code)
        for _ in range(20):
            assert all(one in (value(0), value(1)) for one in bus.mget(places))
        assert os.waitpid(child, 0)[1] == 0
        assert bus.mget(places) == [value(1)] * 12
