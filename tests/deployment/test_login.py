"""A live connector changes its user: subscriptions survive, and a refusal changes nothing."""

from __future__ import annotations

import itertools
import logging
import threading
import time
import traceback
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.errors import AuthenticationError, DeliveryUnknown, PermissionDenied
from labspine.testing.waiting import wait_until

SECRET, OTHER = "correct horse", "battery staple"
SEGMENT, NUMBER = MessageEndpoints.scan_segment(), MessageEndpoints.scan_number()
PROGRESS = MessageEndpoints.scan_progress()


@pytest.fixture
def users(fresh_broker_url: str, say: Any) -> Any:
    """Make alice, who may do everything, bob, who may hear scans only, and nothing for the default user."""
    scans = ("~internal/scans/*", "~labspine/history/scans", "&internal/scans/*")
    say(fresh_broker_url, "ACL", "SETUSER", "alice", "reset", "on", f">{SECRET}", "~*", "&*", "+@all")
    say(fresh_broker_url, "ACL", "SETUSER", "bob", "reset", "on", f">{OTHER}", *scans, "+@all")
    yield fresh_broker_url
    say(fresh_broker_url, "ACL", "DELUSER", "alice", "bob")


def point(number: int) -> m.ScanMessage:
    return m.ScanMessage(point_id=number, scan_id="s", data={})


def who(bus: Any, say: Any, url: str) -> set[bytes]:
    """Tell which users the connections of a connector belong to."""
    lines = say(url, "CLIENT", "LIST").splitlines()
    mine = [line for line in lines if f"name={bus.options.name} ".encode() in line]
    return {line.partition(b" user=")[2].split()[0] for line in mine}


def test_everything_goes_on_as_the_new_user(connect: Any, users: str, say: Any) -> None:
    bus, other = connect(users, name="changing"), connect(users)
    got: list[Any] = []
    bus.register(SEGMENT, cb=got.append)
    bus.register(PROGRESS, cb=got.append)
    bus.get(NUMBER)
    assert who(bus, say, users) == {b"default"}
    bus.authenticate(username="alice", password=SECRET)
    assert bus.get(NUMBER) is None
    wait_until(lambda: who(bus, say, users) == {b"alice"})
    other.send(SEGMENT, point(0))
    other.set_and_publish(PROGRESS, m.ProgressMessage(value=1, max_value=2, done=False))
    wait_until(lambda: len(got) == 2, what="both subscriptions after the change")


def test_nothing_durable_is_lost_or_repeated_while_users_change(connect: Any, users: str) -> None:
    bus, other = connect(users), connect(users)
    got: list[int] = []
    bus.register(SEGMENT, cb=lambda message: got.append(message.value.point_id))
    is_over = threading.Event()
    sent = itertools.count()

    def talk() -> None:
        while not is_over.is_set():
            other.send(SEGMENT, point(next(sent)))
            time.sleep(0.001)  # a steady load, not a wait

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        for username, password in [("alice", SECRET), ("bob", OTHER)] * 5:
            bus.authenticate(username=username, password=password)
    finally:
        is_over.set()
        talker.join()
    wanted = list(range(next(sent)))
    wait_until(lambda: len(got) >= len(wanted))
    assert got == wanted


def test_other_tasks_are_not_disturbed(connect: Any, users: str) -> None:
    bus = connect(users)
    errors: list[BaseException] = []
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            try:
                bus.set(NUMBER, m.VariableMessage(value=1))
            except BaseException as error:
                errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(10):
            bus.authenticate(username="alice", password=SECRET)
    finally:
        is_over.set()
        for worker in workers:
            worker.join()
    assert not errors


def test_a_wrong_login_leaves_the_old_one_working(
    connect: Any, users: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    bus = connect(users, username="alice", password=SECRET)
    got: list[Any] = []
    bus.register(SEGMENT, cb=got.append)
    for username, password in [("alice", "hunter2"), ("nobody", "hunter2"), ("bob", None)]:
        with pytest.raises(AuthenticationError) as caught:
            bus.authenticate(username=username, password=password)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    bus.set(NUMBER, m.VariableMessage(value=1))
    bus.send(SEGMENT, point(0))
    wait_until(lambda: got)
    assert "alice" in repr(bus.address)
    for text in (repr(bus), repr(bus.options), repr(bus.address), str(bus.address), caplog.text):
        assert SECRET not in text
        assert "hunter2" not in text


def test_a_user_who_may_not_listen_is_refused_and_nothing_changes(connect: Any, users: str) -> None:
    bus = connect(users, username="alice", password=SECRET)
    got: list[Any] = []
    limits = MessageEndpoints.device_limits("samx")
    bus.register(limits, cb=got.append)
    with pytest.raises(PermissionDenied, match="SUBSCRIBE internal/devices/limits/samx"):
        bus.authenticate(username="bob", password=OTHER)
    bus.set_and_publish(limits, m.DeviceMessage(signals={}))
    wait_until(lambda: got)


def test_what_the_new_user_may_not_do_is_refused(connect: Any, users: str) -> None:
    bus = connect(users)
    bus.set(NUMBER, m.VariableMessage(value=1))
    bus.authenticate(username="bob", password=OTHER)
    with pytest.raises(PermissionDenied, match="GET public/scans/scan_number"):
        bus.get(NUMBER)
    with pytest.raises(PermissionDenied, match="labspine/history/files"):
        bus.register(MessageEndpoints.file_event("x"), cb=print)
    bus.authenticate(username="default")
    assert bus.get(NUMBER).value == 1


def test_a_login_that_is_taken_away_is_told(connect: Any, users: str, say: Any) -> None:
    """The server cuts a user whose password changes; the next call says so instead of trying for ever."""
    bus = connect(users, username="alice", password=SECRET)
    bus.connect()
    say(users, "ACL", "SETUSER", "alice", "off")
    say(users, "CLIENT", "KILL", "USER", "alice")
    try:
        with pytest.raises((AuthenticationError, DeliveryUnknown)):
            bus.set(NUMBER, m.VariableMessage(value=1))
        with pytest.raises(AuthenticationError):
            bus.get(NUMBER)
    finally:
        say(users, "ACL", "SETUSER", "alice", "on")
