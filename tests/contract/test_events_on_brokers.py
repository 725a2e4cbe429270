"""Events mean the same on Redis and on RabbitMQ, on both doors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import Gap
from labspine.endpoints import MessageEndpoints
from labspine.errors import InvalidMessage, InvalidOperation
from labspine.ids import new_sender
from labspine.testing.waiting import wait_until

Make = Callable[..., Any]


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(broker: str, connect: Make, request: pytest.FixtureRequest) -> Make:
    """Give a function that makes connectors to the broker under test, with a place for values."""
    redis_url = request.getfixturevalue("fresh_broker_url")
    if broker == "redis":
        return lambda **options: connect(redis_url, **options)
    rabbitmq_url = request.getfixturevalue("rabbitmq_url")
    return lambda **options: connect(rabbitmq_url, **{"store": redis_url, **options})


def name() -> str:
    return f"dev{new_sender()}"


def status(number: int) -> m.DeviceMessage:
    return m.DeviceMessage(signals={"samx": {"value": number}})


def value(message: Any) -> Any:
    return message.value.signals["samx"]["value"]


def test_an_event_reaches_everybody_who_listens(make: Make) -> None:
    one, two, sender = make(), make(), make()
    place = MessageEndpoints.device_readback(name())
    got: list[Any] = []
    also: list[Any] = []
    one.register(place, got.append)
    two.register(place, also.append)

    sender.set_and_publish(place, status(7))

    wait_until(lambda: got and also, what="both callbacks")
    assert got[0].topic == place.endpoint
    assert value(got[0]) == value(also[0]) == 7
    assert sender.get(place) == status(7)


def test_send_tells_whether_anybody_listens(make: Make) -> None:
    bus, sender = make(), make()
    place = MessageEndpoints.notification(name())
    note = m.NotificationMessage(event="x", message=[m.MessagingServiceTextContent(content="hello")])

    assert sender.send(place, note) == 0
    bus.register(place, lambda _: None)
    assert sender.send(place, note) >= 1


def test_a_pattern_hears_its_channels_and_no_others(make: Make) -> None:
    bus, sender = make(), make()
    prefix = name()
    got: list[str] = []
    bus.register(
        patterns=MessageEndpoints.device_readback.pattern(device=f"{prefix}_a*"),
        cb=lambda message: got.append(message.topic),
    )
    wanted = [f"{prefix}_a", f"{prefix}_ab", f"{prefix}_a.b-c"]

    for device in (f"{prefix}_b", *wanted, f"{prefix}"):
        sender.set_and_publish(MessageEndpoints.device_readback(device), status(1))
    sender.set_and_publish(MessageEndpoints.device_readback(f"{prefix}_a_last"), status(1))

    wait_until(lambda: len(got) >= 4, what="four messages")
    assert got == [MessageEndpoints.device_readback(d).endpoint for d in (*wanted, f"{prefix}_a_last")]


def test_order_is_kept_for_each_of_several_senders(make: Make) -> None:
    bus = make()
    place = MessageEndpoints.device_readback(name())
    got: list[tuple[int, int]] = []
    bus.register(place, lambda message: got.append(divmod(value(message), 1000)))
    senders = [make() for _ in range(3)]

    def say(who: int) -> None:
        for number in range(100):
            senders[who].set_and_publish(place, status(who * 1000 + number))

    threads = [threading.Thread(target=say, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    wait_until(lambda: len(got) == 300, what="300 messages")
    for who in range(3):
        assert [number for sender, number in got if sender == who] == list(range(100))


def test_a_bundle_arrives_as_a_list(make: Make) -> None:
    bus, sender = make(), make()
    place = MessageEndpoints.device_readback(name())
    got: list[Any] = []
    bus.register(place, got.append)

    sender.set_and_publish(place, [status(1), status(2)])

    wait_until(lambda: got, what="the bundle")
    assert got[0].value == [status(1), status(2)]


def test_a_megabyte_arrives_whole(make: Make) -> None:
    bus, sender = make(), make()
    place = MessageEndpoints.device_readback(name())
    got: list[Any] = []
    bus.register(place, got.append)
    text = "x" * 1_000_000

    sender.set_and_publish(place, m.DeviceMessage(signals={"samx": {"value": text}}))

    wait_until(lambda: got, what="the message")
    assert value(got[0]) == text


def test_a_wrong_message_or_operation_is_refused_before_anything_is_sent(make: Make) -> None:
    bus, sender = make(), make()
    place = MessageEndpoints.device_readback(name())
    got: list[Any] = []
    bus.register(place, got.append)

    with pytest.raises(InvalidMessage):
        sender.set_and_publish(place, m.VariableMessage(value=1))
    with pytest.raises(InvalidOperation, match="not allowed"):
        sender.send(place, status(1))
    sender.set_and_publish(place, status(2))

    wait_until(lambda: got, what="the right message")
    assert [value(one) for one in got] == [2]


def test_after_unregister_nothing_comes(make: Make) -> None:
    bus, sender = make(), make()
    place, other = MessageEndpoints.device_readback(name()), MessageEndpoints.device_readback(name())
    got: list[Any] = []
    kept: list[Any] = []
    bus.register(place, got.append)
    bus.register([place, other], kept.append)

    assert bus.unregister(place, got.append)
    assert not bus.unregister(place, got.append)
    sender.set_and_publish(place, status(1))

    wait_until(lambda: kept, what="the other callback")
    assert got == []


def test_a_callback_that_raises_or_blocks_hurts_nobody_else(make: Make, door: str) -> None:
    bus, sender = make(), make()
    place = MessageEndpoints.device_readback(name())
    held = threading.Event()
    got: list[Any] = []

    def bad(_: Any) -> None:
        raise ValueError("meant")

    bus.register(place, bad)
    if door == "sync":  # on one loop a callback that blocks blocks all, as everywhere in asyncio
        bus.register(place, lambda _: held.wait(20))
    bus.register(place, got.append)

    for number in range(3):
        sender.set_and_publish(place, status(number))
    wait_until(lambda: len(got) == 3, what="three messages")
    held.set()
    wait_until(lambda: bus.counters.callback_errors == 3, what="three errors")


def test_registering_twice_delivers_once(make: Make) -> None:
    bus, sender = make(), make()
    place = MessageEndpoints.device_readback(name())
    got: list[Any] = []
    bus.register(place, got.append)
    bus.register(place, got.append)

    sender.set_and_publish(place, status(1))
    sender.set_and_publish(place, status(2))

    wait_until(lambda: len(got) >= 2, what="two messages")
    assert [value(one) for one in got] == [1, 2]


@pytest.mark.parametrize("door", ["sync"])  # on a loop, a callback that blocks blocks the reader, too
def test_what_does_not_fit_is_told_with_its_count(make: Make, broker: str) -> None:
    bus, sender = make(queue_size=10), make()
    place = MessageEndpoints.notification(name())
    note = m.NotificationMessage(event="x", message=[m.MessagingServiceTextContent(content="hello")])
    held = threading.Event()
    got: list[Any] = []

    def slow(message: Any) -> None:
        held.wait(20)
        got.append(message.value)

    bus.register(place, slow)
    for _ in range(100):
        sender.send(place, note)
    held.set()

    def told() -> int:
        return sum(one.missed if isinstance(one, Gap) else 1 for one in got)

    wait_until(lambda: told() >= 100, what="100 messages, delivered or told as missed")
    assert told() == 100
    assert broker == "redis" or any(isinstance(one, Gap) for one in got)
