"""Each endpoint, operation and role on a real server: it works exactly when the table says so."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from labspine import messages as m
from labspine.connector import RedisConnector
from labspine.endpoints import EndpointInfo, MessageEndpoints, Profile
from labspine.endpoints.access import ROLES, is_allowed, rules_for
from labspine.errors import NoSuchService, PermissionDenied
from labspine.flows import Exchange, queues
from labspine.lab import LabHost, connect, simulated_beamline
from labspine.queues import Queue
from labspine.service import Rpc, Service
from labspine.testing.waiting import wait_until

SECRET = "correct horse"  # noqa: S105 - of users that live for one test
VALUE = m.VariableMessage(value=1)
CLAIMER = queues.Claimer("0" * 16, lambda: 0.0)
RECEIPT = (queues.base_of("samx"), b"normal", b"1-1", 1, CLAIMER.consumer(30.0), 0.0)
SERVICES = ("scan_server", "device_server", "file_writer", "gateway")


def ignore(message: Any) -> None:
    """Hear nothing."""


CALLS: dict[str, Callable[[RedisConnector, Any], object]] = {
    "get": lambda bus, e: bus.get(e),
    "set": lambda bus, e: bus.set(e, VALUE),
    "set_and_publish": lambda bus, e: bus.set_and_publish(e, VALUE),
    "send": lambda bus, e: bus.send(e, VALUE),
    "delete": lambda bus, e: bus.delete(e),
    "keys": lambda bus, e: bus.keys(e),
    "register": lambda bus, e: (bus.register(e, cb=ignore), bus.unregister(e)),
    "register_stream": lambda bus, e: (bus.register(e, cb=ignore), bus.unregister(e)),
    "xadd": lambda bus, e: bus.xadd(e, VALUE, max_size=10, expire_s=60),
    "xrange": lambda bus, e: bus.xrange(e),
    "xread": lambda bus, e: bus.xread(e),
    "get_last": lambda bus, e: bus.get_last(e),
    "llen": lambda bus, e: bus.llen(e),
    "lpush": lambda bus, e: bus.lpush(e, VALUE, max_size=10, expire_s=60),
    "rpush": lambda bus, e: bus.rpush(e, VALUE),
    "lrange": lambda bus, e: bus.lrange(e, 0, -1),
    "lrem": lambda bus, e: bus.lrem(e, 1, VALUE),
    "ltrim": lambda bus, e: bus.ltrim(e, 0, 10),
    "blocking_list_pop": lambda bus, e: bus.blocking_list_pop(e, timeout_s=0.001),
    "remove_from_set": lambda bus, e: bus.remove_from_set(e, VALUE),
    "get_set_members": lambda bus, e: bus.get_set_members(e),
    "put": lambda bus, e: Queue(bus, "samx").put(VALUE),
    "claim": lambda bus, e: Queue(bus, "samx").claim(wait_s=0.01),
    "acknowledge": lambda bus, e: bus._perform(queues.acknowledge(CLAIMER, [RECEIPT])),
    "touch": lambda bus, e: bus._perform(queues.touch(CLAIMER, [RECEIPT])),
    "give_back": lambda bus, e: bus._perform(
        queues.give_back(CLAIMER, RECEIPT, delay_s=1.0, max_deliveries=2)
    ),
    "bury": lambda bus, e: bus._perform(queues.bury(CLAIMER, RECEIPT, "bad")),
    "state": lambda bus, e: Queue(bus, "samx").state(),
    "peek": lambda bus, e: Queue(bus, "samx").peek(),
    "dead": lambda bus, e: Queue(bus, "samx").dead(),
    "requeue": lambda bus, e: Queue(bus, "samx").requeue(),
    "purge": lambda bus, e: Queue(bus, "samx").purge(),
    "call": lambda bus, e: called(bus),
    "serve": lambda bus, e: served(bus),
}


def called(bus: RedisConnector) -> None:
    """Call a service that nobody serves, and look who is there."""
    with Rpc(bus) as rpc:
        with contextlib.suppress(NoSuchService):
            rpc.call_service("samx", "ping")
        rpc.instances()


def served(bus: RedisConnector) -> None:
    """Serve, and be called."""
    with Service("samx", connector=bus), Rpc(bus) as rpc:
        assert rpc.call_service("samx", "ping")
        assert rpc.ask_all("samx", "ping", window_s=5.0)


def endpoints(profile: Profile, username: str) -> list[EndpointInfo[Any]]:
    """Make one endpoint of each definition."""
    made = []
    for definition in MessageEndpoints.definitions():
        names = {p: username if p == "username" else "samx" for p in definition.parameters}
        made.append(definition(**names).at(profile))
    return made


def stand_in(endpoint: EndpointInfo[Any]) -> EndpointInfo[Any]:
    """Same channel, operations and history, for a message that is quickly made."""
    return EndpointInfo(
        endpoint.endpoint, m.VariableMessage, endpoint.message_op, endpoint.history, profile=endpoint.profile
    )


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except PermissionDenied:
        return False
    return True


@pytest.fixture
def login(fresh_broker_url: str, say: Any) -> Any:
    """Give a function that makes a user with the rules of some roles; queues have been used before."""
    with RedisConnector(fresh_broker_url) as admin:
        admin._perform(queues.declare("samx"))

    def make(roles: Any, profile: Profile, name: str = "alice") -> dict[str, Any]:
        rules = rules_for(roles, profile=profile, user=name)
        say(fresh_broker_url, "ACL", "SETUSER", name, *rules, f">{SECRET}")
        return {"username": name, "password": SECRET, "profile": profile}

    yield make
    say(fresh_broker_url, "ACL", "DELUSER", "alice", "lab")


@pytest.mark.parametrize("profile", ["seed", "bec4"])
@pytest.mark.parametrize("role", ROLES)
def test_each_endpoint_works_exactly_when_it_may(
    fresh_broker_url: str, login: Any, role: str, profile: Profile
) -> None:
    differences, cells = [], 0
    with RedisConnector(fresh_broker_url, **login(role, profile)) as bus:
        for username in ("alice", "bob"):
            for endpoint in endpoints(profile, username):
                if username == "bob" and "username" not in (endpoint.definition.parameters or ()):
                    continue
                # Pushes before pops, so that a pop that is allowed need not wait.
                for operation in sorted(endpoint.message_op.value, key=list(CALLS).index):
                    wanted = is_allowed(role, endpoint, operation, user="alice")
                    found = works(lambda e=endpoint, o=operation: CALLS[o](bus, stand_in(e)))
                    cells += 1
                    if found is not wanted:
                        differences.append((endpoint.name, endpoint.endpoint, operation, wanted))
    assert cells > 150
    assert not differences


@pytest.mark.parametrize("profile", ["seed", "bec4"])
@pytest.mark.parametrize("role", ROLES)
def test_whole_patterns_can_be_heard_exactly_when_each_channel_may(
    fresh_broker_url: str, login: Any, role: str, profile: Profile
) -> None:
    differences = []
    with RedisConnector(fresh_broker_url, **login(role, profile)) as bus:
        for definition in MessageEndpoints.definitions():
            if definition.message_op.name not in ("SEND", "SET_PUBLISH"):
                continue
            pattern = definition.pattern().at(profile)
            wanted = is_allowed(role, pattern, "register", user="alice")
            found = works(lambda p=pattern: bus.register(patterns=p, cb=ignore))
            if found is not wanted:
                differences.append((pattern.endpoint, wanted))
    assert not differences


ADMIN_ONLY = """
KEYS *; RANDOMKEY; DBSIZE; PUBSUB CHANNELS; SELECT 1; SCRIPT FLUSH; FUNCTION FLUSH; FUNCTION LIST
EVAL "return 1" 0; FLUSHALL; FLUSHDB; CONFIG GET *; CONFIG SET maxmemory 1; ACL LIST; ACL SETUSER alice +@all
ACL GETUSER default; CLIENT LIST; CLIENT KILL TYPE normal; CLIENT PAUSE 1; REPLICAOF NO ONE; BGREWRITEAOF; SAVE
BGSAVE; SLOWLOG GET; LATENCY LATEST; MODULE LIST; SWAPDB 0 1; MEMORY USAGE k; MONITOR; SHUTDOWN NOSAVE; FAILOVER
RENAME public/scans/scan_number other; COPY public/scans/scan_number other; SORT internal/queue/queue_history
GET other; SET other 1; RPUSH public/scans/scan_number 1; XADD public/scans/scan_number * a 1; PUBLISH other 1
SUBSCRIBE other; PSUBSCRIBE *; MIGRATE localhost 1 k 0 1; DUMP public/scans/scan_number; OBJECT HELP; TYPE other
"""
NOT_FOR_PEOPLE = "SCAN 0; INFO; WAIT 1 0; ROLE; FUNCTION LOAD x"


@pytest.mark.parametrize("profile", ["seed", "bec4"])
@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_everything_else_is_refused(
    fresh_broker_url: str, login: Any, say: Any, role: str, profile: Profile
) -> None:
    lines = ADMIN_ONLY.replace("\n", ";")
    if role not in SERVICES:
        lines += NOT_FOR_PEOPLE
    commands = [shlex.split(line) for line in lines.split(";") if line.strip()]
    user = login(role, profile)
    with RedisConnector(fresh_broker_url, **user) as bus:
        allowed = [words for words in commands if works(lambda w=words: bus._perform(_flow(w)))]
    assert len(commands) >= 45
    assert not allowed


def _flow(words: list[str]) -> Any:
    yield Exchange((tuple(words),))


@pytest.mark.parametrize("profile", ["seed", "bec4"])
def test_a_whole_lab_runs_with_these_rights(
    fresh_broker_url: str, login: Any, profile: Profile, tmp_path: Any, caplog: Any
) -> None:
    """Services and a person, each with its own rights, do a scan; nothing is refused."""
    services = login(["scan_server", "device_server", "file_writer"], profile, "lab")
    person = login("user", profile, "alice")
    place = fresh_broker_url.removeprefix("unix://")
    host = LabHost(
        _with_login(place, services),
        simulated_beamline(speed=200.0, seed=1),
        data_dir=tmp_path,
        profile=profile,
    )
    with host, connect(_with_login(place, person), profile=profile) as lab:
        report = lab.scans.scan(["det"], "x", -1, 1, 5).wait(30)
        assert report.status == "closed"
        wait_until(lambda: list(tmp_path.glob("**/*.h5")), what="the file")
        with pytest.raises(PermissionDenied):
            lab.connector.set_and_publish(
                MessageEndpoints.scan_progress(), m.ProgressMessage(value=1, max_value=1, done=True)
            )
    assert "NOPERM" not in caplog.text


def _with_login(path: str, login: dict[str, Any]) -> str:
    return f"unix://{login['username']}:{quote(login['password'])}@{path}"
