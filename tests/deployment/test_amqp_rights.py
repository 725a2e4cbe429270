"""The rights that the page on RabbitMQ gives to a user are enough for everything, and no others are needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import AmqpConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import PermissionDenied
from labspine.ids import new_sender
from labspine.queues import Queue
from labspine.service import Rpc, Service, procedure
from labspine.testing.rabbitmq import RabbitProcess
from labspine.testing.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-rabbitmq.md"
NOTE = m.NotificationMessage(event="x", message=[m.MessagingServiceTextContent(content="hello")])


@pytest.fixture(scope="module")
def user_url(rabbitmq_server: RabbitProcess) -> Iterator[str]:
    """Give an address with a user who has the rights that the page names."""
    rights = re.search(r"set_permissions -p lab beamline '(.*?)' '(.*?)' '(.*?)'", PAGE.read_text("utf-8"))
    assert rights is not None
    vhost, user = f"lab-{new_sender()}", f"user-{new_sender()}"
    rabbitmq_server.control("add_vhost", vhost)
    rabbitmq_server.control("add_user", user, "secret")
    rabbitmq_server.control("set_permissions", "-p", vhost, user, *rights.groups())
    yield f"amqp://{user}:secret@127.0.0.1:{rabbitmq_server.port}/{vhost}"
    rabbitmq_server.control("delete_vhost", vhost)
    rabbitmq_server.control("delete_user", user)


def test_these_rights_are_enough(user_url: str) -> None:
    @procedure
    def double(number: int) -> int:
        return 2 * number

    heard: list[Any] = []
    place = MessageEndpoints.notification("rights")
    with AmqpConnector(user_url) as bus, Queue(bus, "work") as queue:
        bus.register(place, heard.append)
        assert bus.send(place, NOTE) == 1
        wait_until(lambda: heard, what="the event")
        queue.put("later", delay_s=0.05)
        item = queue.claim(wait_s=10)
        queue.bury(item, "bad")
        assert queue.requeue() == 1
        with Service("double", double, connector=bus), Rpc(bus) as rpc:
            assert rpc.call_service("double", "double", 4) == 8
            assert [one.service for one in rpc.instances("double")] == ["double"]


def test_without_rights_it_is_refused(user_url: str, rabbitmq_server: RabbitProcess) -> None:
    user, vhost = user_url.partition("//")[2].partition(":")[0], user_url.rpartition("/")[2]
    rabbitmq_server.control("set_permissions", "-p", vhost, user, "^$", "^$", "^$")
    place = MessageEndpoints.notification("rights")
    with AmqpConnector(user_url) as bus, Queue(bus, "work") as queue:
        for refused in (
            lambda: bus.send(place, NOTE),
            lambda: bus.register(place, print),
            lambda: queue.put("x"),
        ):
            with pytest.raises(PermissionDenied, match="refuse"):
                refused()
