"""Logins and access rules of a real server: refusals reach the caller, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.errors import AuthenticationError, PermissionDenied
from labspine.flows import Exchange
from labspine.testing.waiting import wait_until

SECRET = "correct horse"  # noqa: S105 - of a user that lives for one test


@pytest.fixture
def alice(connect: Any, fresh_broker_url: str) -> Iterator[dict[str, str]]:
    admin = connect(fresh_broker_url)
    rules = ("reset", "on", f">{SECRET}", "~public/*", "&public/*", "+@all", "-scan")
    admin._perform(_say("ACL", "SETUSER", "alice", *rules))
    yield {"username": "alice", "password": SECRET}
    connect(fresh_broker_url)._perform(_say("ACL", "DELUSER", "alice"))


def _say(*words: str) -> Any:
    yield Exchange((words,))


def test_a_user_can_do_what_the_rules_allow(
    connect: Any, fresh_broker_url: str, alice: dict[str, str]
) -> None:
    bus = connect(fresh_broker_url, history=False, **alice)
    got: list[Any] = []
    endpoint = MessageEndpoints.file_event("samx")
    bus.register(endpoint, got.append)
    bus.set_and_publish(endpoint, m.FileMessage(file_path="a", done=True, successful=True))
    wait_until(lambda: got)


def test_refusals_reach_the_caller(connect: Any, fresh_broker_url: str, alice: dict[str, str]) -> None:
    bus = connect(fresh_broker_url, history=False, **alice)
    with pytest.raises(PermissionDenied, match="GET internal/devices/read/samx"):
        bus.get(MessageEndpoints.device_read("samx"))
    with pytest.raises(PermissionDenied, match="SUBSCRIBE internal/scans/scan_segment"):
        bus.register(MessageEndpoints.scan_segment(), print)
    with pytest.raises(PermissionDenied, match="PSUBSCRIBE"):
        bus.register(patterns=MessageEndpoints.pattern("device_read"), cb=print)
    with pytest.raises(PermissionDenied):
        bus.keys(MessageEndpoints.pattern("public_file"))
    with pytest.raises(PermissionDenied):
        bus.set_and_publish(MessageEndpoints.device_read("samx"), m.DeviceMessage(signals={}))


def test_a_history_that_may_not_be_read_is_told_at_registration(
    connect: Any, fresh_broker_url: str, alice: dict[str, str]
) -> None:
    bus = connect(fresh_broker_url, **alice)
    with pytest.raises(PermissionDenied, match="labspine/history"):
        bus.register(MessageEndpoints.file_event("samx"), print)


def test_a_wrong_password_is_told_without_showing_it(
    connect: Any, fresh_broker_url: str, alice: dict[str, str]
) -> None:
    for login in (
        {"username": "alice", "password": "hunter2"},
        {"username": "nobody", "password": "hunter2"},
    ):
        bus = connect(fresh_broker_url, **login)
        with pytest.raises(AuthenticationError) as caught:
            bus.connect()
        assert "hunter2" not in str(caught.value)
        with pytest.raises(AuthenticationError):
            bus.register(MessageEndpoints.scan_segment(), print)
