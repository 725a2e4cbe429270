"""The access rules of services are enough for calls and events by OpenTera's convention, and others have none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labspine.compat.opentera import RpcClient, RpcServer, UserEvent, tera_event
from labspine.connector import RedisConnector
from labspine.endpoints import ROLES, MessageEndpoints, rules_for
from labspine.errors import PermissionDenied
from labspine.testing.waiting import wait_until

TOPIC = MessageEndpoints.service_events("adder")


@pytest.fixture
def login(fresh_broker_url: str, say: Any) -> Iterator[Any]:
    """Give a function that makes a login with the rules of a role."""

    def make(role: str) -> dict[str, str]:
        rules = rules_for(role, user=role)
        say(fresh_broker_url, "ACL", "SETUSER", role, *rules, ">a-secret-of-the-test")
        return {"username": role, "password": "a-secret-of-the-test"}

    yield make
    say(fresh_broker_url, "ACL", "DELUSER", *ROLES)


def add(a: int, b: int) -> int:
    return a + b


def test_a_service_may_serve_call_tell_and_hear(fresh_broker_url: str, login: Any) -> None:
    heard: list[Any] = []
    with (
        RedisConnector(fresh_broker_url, **login("file_writer")) as serving,
        RedisConnector(fresh_broker_url, **login("scan_server")) as calling,
        RpcServer(serving, add, key="adder"),
        RpcClient(calling) as rpc,
    ):
        serving.register(TOPIC, cb=heard.append)

        assert rpc.call_service("adder", "add", 20, 22) == 42
        calling.send(TOPIC, tera_event(TOPIC, UserEvent(user_uuid="u")))
        wait_until(lambda: bool(heard), timeout_s=10.0, what="the event")


@pytest.mark.parametrize("role", ["observer", "user"])
def test_who_is_no_service_may_not(fresh_broker_url: str, login: Any, role: str) -> None:
    with RedisConnector(fresh_broker_url, **login(role)) as bus, RpcClient(bus) as rpc:
        with pytest.raises(PermissionDenied):
            rpc.call_service("adder", "add", 20, 22)
        with pytest.raises(PermissionDenied):
            RpcServer(bus, add, key="adder").start()
        with pytest.raises(PermissionDenied):
            bus.send(TOPIC, tera_event(TOPIC, UserEvent(user_uuid="u")))
        with pytest.raises(PermissionDenied):
            bus.register(TOPIC, cb=print)
