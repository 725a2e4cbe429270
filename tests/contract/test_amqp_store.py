"""RabbitMQ alone and with a Redis beside it: what is kept needs the Redis, and the error says so."""

from __future__ import annotations

import os
from typing import Any

import pytest

from labspine import messages as m
from labspine.endpoints import MessageEndpoints
from labspine.errors import AuthenticationError, ConfigError, InvalidOperation, NotConnected
from labspine.ids import new_sender
from labspine.testing.waiting import wait_until


def reading(value: float) -> m.DeviceMessage:
    return m.DeviceMessage(signals={"samx": {"value": value}})


def test_what_is_kept_is_refused_without_a_store(connect: Any, rabbitmq_url: str) -> None:
    bus = connect(rabbitmq_url)
    value, stream = MessageEndpoints.device_readback("samx"), MessageEndpoints.client_info()

    for refused in (
        lambda: bus.get(value),
        lambda: bus.set_and_publish(value, reading(1)),
        lambda: bus.delete(value),
        lambda: bus.get_last(stream),
        lambda: bus.register(stream, print),
        bus.pipeline,
        lambda: bus.send_client_info("hello"),
    ):
        with pytest.raises(InvalidOperation, match="store="):
            refused()
    with pytest.raises(InvalidOperation, match="replay"):
        bus.register(value, print, from_start=True)


def test_state_goes_to_the_store_and_events_to_rabbitmq(
    connect: Any, rabbitmq_url: str, fresh_broker_url: str
) -> None:
    bus, redis = connect(rabbitmq_url, store=fresh_broker_url), connect(fresh_broker_url)
    other = connect(rabbitmq_url, store=fresh_broker_url)
    place, stream = MessageEndpoints.device_readback(f"s{new_sender()}"), MessageEndpoints.client_info()
    heard: list[Any] = []
    notes: list[Any] = []
    other.register(place, heard.append)
    other.register(stream, notes.append)

    bus.set_and_publish(place, reading(3))
    bus.send_client_info("hello")

    wait_until(lambda: heard and notes, what="event and note")
    assert heard[0].value == redis.get(place) == bus.get(place) == reading(3)
    assert bus.mget([place]) == [reading(3)]
    assert bus.keys(place) == [place.endpoint]
    pipe = bus.pipeline()
    pipe.get(place)
    with pytest.raises(InvalidOperation, match="pipeline"):
        pipe.set_and_publish(place, reading(4))
    assert pipe.execute() == [reading(3)]
    assert bus.delete(place)


def test_who_cannot_connect_is_told_why(connect: Any, rabbitmq_url: str) -> None:
    place = MessageEndpoints.notification("x")
    wrong = connect(rabbitmq_url, password="wrong")  # noqa: S106
    with pytest.raises(AuthenticationError, match="guest"):
        wrong.connect()
    assert wrong.can_connect() is False
    with pytest.raises(ConfigError, match="nosuchvhost"):
        connect(rabbitmq_url + "nosuchvhost").connect()
    nobody = connect("amqp://127.0.0.1:1/")
    with pytest.raises(NotConnected, match="running"):
        nobody.send(place, m.NotificationMessage(event="x", message=[]))
    with pytest.raises(InvalidOperation, match="login"):
        wrong.authenticate(username="me", password="x")  # noqa: S106
    wrong_name = connect(rabbitmq_url)
    wrong_name.close()
    with pytest.raises(NotConnected, match="closed"):
        wrong_name.send(place, m.NotificationMessage(event="x", message=[]))


@pytest.mark.parametrize("door", ["sync"])
def test_a_forked_child_has_its_own_link(connect: Any, rabbitmq_url: str) -> None:
    place = MessageEndpoints.notification(f"fork{new_sender()}")
    parent = connect(rabbitmq_url)
    heard: list[Any] = []
    parent.register(place, lambda message: heard.append(message.value.event))
    parent.send(place, m.NotificationMessage(event="parent", message=[]))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 10 + parent.send(place, m.NotificationMessage(event="child", message=[]))
            parent.close()
        finally:
            os._exit(code)

    ended: list[int] = []

    def has_ended() -> bool:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended[:] = [os.waitstatus_to_exitcode(status)] if pid else []
        return bool(ended)

    wait_until(has_ended, timeout_s=20, what="the end of the child")
    parent.send(place, m.NotificationMessage(event="parent again", message=[]))

    assert ended == [11]
    wait_until(lambda: len(heard) >= 3, what="three events")
    assert sorted(heard) == ["child", "parent", "parent again"]
