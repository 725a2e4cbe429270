"""RabbitMQ killed, cut and frozen: what was confirmed is there, once; what was lost is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from labspine import messages as m
from labspine.connector import AmqpConnector, Gap
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected
from labspine.ids import new_sender
from labspine.queues import Queue
from labspine.service import Rpc, Service, procedure
from labspine.testing.rabbitmq import RabbitProcess, find_rabbitmq
from labspine.testing.waiting import wait_until

pytestmark = pytest.mark.fault
PLACE = MessageEndpoints.notification("faults")


def note(number: int) -> m.NotificationMessage:
    return m.NotificationMessage(event=str(number), message=[m.MessagingServiceTextContent(content="x")])


def number_of(message: Any) -> int:
    return int(message.value.event)


def until_done(connector: AmqpConnector, work: Callable[[], Any]) -> None:
    """Do something that must be done, as a program does that may not lose it."""
    error: LabspineError | None = None
    for _ in range(200):
        try:
            if error is None:
                work()
            else:
                connector.repeat(error)
            return
        except (DeliveryUnknown, DeadlinePassed) as unknown:
            error = unknown
        except NotConnected:
            pass
    raise AssertionError("the broker did not come back")


def has_no_link(connector: AmqpConnector, error: BaseException) -> bool:
    """Try to repeat, and tell whether the connector knows that there is no broker."""
    try:
        connector.repeat(error)
    except NotConnected:
        return True
    except DeadlinePassed:
        pass
    return False


@pytest.fixture
def bus() -> Iterator[Callable[..., AmqpConnector]]:
    """Give a function that makes connectors; all are closed at the end."""
    made: list[AmqpConnector] = []

    def make(url: str, **options: Any) -> AmqpConnector:
        made.append(AmqpConnector(url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitProcess]:
    """Give a RabbitMQ that tests may kill and freeze, if they leave it well."""
    scripts = find_rabbitmq()
    if scripts is None:
        pytest.skip("needs rabbitmq-server")
    server = RabbitProcess(tmp_path_factory.mktemp("own-rabbitmq"), scripts)
    try:
        server.start()
        yield server
    finally:
        server.end()


def test_a_broker_that_freezes_is_noticed_and_found_again(
    own_rabbitmq: RabbitProcess, bus: Callable[..., AmqpConnector]
) -> None:
    """A frozen broker leaves the socket open: only its silence tells."""
    sender, listener = bus(own_rabbitmq.url, timeout_s=1.0), bus(own_rabbitmq.url)
    heard: list[Any] = []
    listener.register(PLACE, heard.append)
    assert sender.send(PLACE, note(1)) == 1
    own_rabbitmq.kill(signal.SIGSTOP)
    began_mono_s = time.monotonic()
    try:
        with pytest.raises(DeadlinePassed, match="unknown") as caught:
            sender.send(PLACE, note(2))
        wait_until(lambda: has_no_link(sender, caught.value), timeout_s=20, what="the end of the link")
        assert time.monotonic() - began_mono_s < 6.0 + sender.options.patience_s + 3.0
    finally:
        own_rabbitmq.kill(signal.SIGCONT)

    until_done(sender, lambda: sender.repeat(caught.value))
    until_done(sender, lambda: sender.send(PLACE, note(3)))

    wait_until(lambda: heard and number_of(heard[-1]) == 3, timeout_s=20, what="the last message")
    assert [number_of(h) for h in heard] == [1, 2, 3]


def test_three_kills_of_the_broker_lose_no_confirmed_message_and_repeat_none(
    own_rabbitmq: RabbitProcess, bus: Callable[..., AmqpConnector]
) -> None:
    """Events and queue items under way, 6,000 in all, while the broker is killed three times."""
    url = own_rabbitmq.url
    sender, listener, putter = (bus(url, patience_s=30.0, timeout_s=30.0) for _ in range(3))
    heard: list[Any] = []
    listener.register(PLACE, heard.append)
    queue = Queue(putter, f"kills-{new_sender()}", max_deliveries=None)
    ids: list[str] = []
    executed: list[int] = []

    @procedure
    def work(number: int) -> int:
        executed.append(number)
        time.sleep(7.0)  # longer than the broker is away
        return number

    service = Service("worker", work, connector=bus(url))
    service.start()
    rpc = Rpc(bus(url))
    call = rpc.begin("worker", "work", 7)
    wait_until(lambda: executed, timeout_s=20, what="the call")

    def say() -> None:
        for number in range(3000):
            until_done(sender, lambda number=number: sender.send(PLACE, note(number)))  # type: ignore[misc]

    def put() -> None:
        for number in range(0, 3000, 10):
            ids.extend(queue.put_many([number + i for i in range(10)]))

    threads = [threading.Thread(target=say), threading.Thread(target=put)]
    for thread in threads:
        thread.start()
    for at in (400, 1200, 2000):
        wait_until(lambda at=at: len(heard) > at or len(ids) > at, timeout_s=60, what=f"{at} messages")  # type: ignore[misc]
        own_rabbitmq.kill()
        own_rabbitmq.start()
    for thread in threads:
        thread.join(60)

    assert len(ids) == 3000
    wait_until(
        lambda: any(not isinstance(h.value, Gap) and number_of(h) == 2999 for h in heard), timeout_s=20
    )
    assert [number_of(h) for h in heard if not isinstance(h.value, Gap)] == list(range(3000))
    assert not [h for h in heard if isinstance(h.value, Gap)]
    taken: list[int] = []
    while items := queue.claim_many(500, wait_s=2.0):
        queue.acknowledge_many(items)
        taken += [item.value for item in items]
    assert sorted(taken) == list(range(3000))
    assert call.result() == 7
    assert executed == [7]
    rpc.close()
    service.stop()
    queue.close()


def test_a_link_that_the_broker_cuts_loses_and_repeats_nothing(
    rabbitmq_server: RabbitProcess, bus: Callable[..., AmqpConnector]
) -> None:
    url = rabbitmq_server.url
    place = MessageEndpoints.notification(f"cut{new_sender()}")
    sender, listener = bus(url, patience_s=20.0), bus(url)
    heard: list[Any] = []
    listener.register(place, heard.append)
    done = threading.Event()

    def say() -> None:
        for number in range(1500):
            until_done(sender, lambda number=number: sender.send(place, note(number)))  # type: ignore[misc]
        done.set()

    thread = threading.Thread(target=say)
    thread.start()
    for at in (200, 600):
        wait_until(lambda at=at: len(heard) > at, timeout_s=30, what=f"{at} messages")  # type: ignore[misc]
        for one in (sender, listener):
            one.amqp.distrust()
    thread.join(60)

    wait_until(lambda: heard and number_of(heard[-1]) == 1499, timeout_s=20, what="the last message")
    assert [number_of(h) for h in heard] == list(range(1500))


def test_what_the_broker_had_to_drop_is_told_with_its_count(
    rabbitmq_server: RabbitProcess, bus: Callable[..., AmqpConnector]
) -> None:
    """The listener freezes while 6,000 messages are said; its queue, and its own, hold 50 each."""
    place = MessageEndpoints.notification(f"frozen{new_sender()}")
    code = (
        "import sys, time\n"
        "from labspine.connector import AmqpConnector, Gap\n"
        "from labspine.endpoints import MessageEndpoints\n"
        "bus = AmqpConnector(sys.argv[1], queue_size=50)\n"
        "def heard(message):\n"
        "    value = message.value\n"
        "    print('gap', value.missed, flush=True) if isinstance(value, Gap) else print(value.event, flush=True)\n"
        "bus.register(MessageEndpoints.notification(sys.argv[2]), heard)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
    )
    listener = subprocess.Popen(
        [sys.executable, "-c", code, rabbitmq_server.url, place.args[0]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert listener.stdout is not None
    try:
        assert listener.stdout.readline() == "ready\n"
        sender = bus(rabbitmq_server.url)
        sender.send(place, note(0))
        assert listener.stdout.readline() == "0\n"
        os.kill(listener.pid, signal.SIGSTOP)
        for number in range(1, 6000):
            sender.send(place, note(number))
        os.kill(listener.pid, signal.SIGCONT)
        sender.send(place, note(9999))
        told, gaps = 0, 0
        while told < 6000:
            line = listener.stdout.readline().split()
            told += int(line[1]) if line[0] == "gap" else 1
            gaps += line[0] == "gap"
    finally:
        listener.kill()
        listener.communicate()

    assert told == 6000
    assert gaps > 0


def test_a_queue_that_is_gone_is_told_as_a_gap(
    rabbitmq_server: RabbitProcess, bus: Callable[..., AmqpConnector]
) -> None:
    place = MessageEndpoints.notification(f"gone{new_sender()}")
    sender, listener = bus(rabbitmq_server.url), bus(rabbitmq_server.url)
    heard: list[Any] = []
    listener.register(place, heard.append)
    name = listener._reader._feed._queue

    rabbitmq_server.control("delete_queue", name)

    wait_until(lambda: heard, timeout_s=20, what="the notice")
    assert heard[0].value == Gap(None)
    sender.send(place, note(1))
    wait_until(lambda: len(heard) == 2, timeout_s=20, what="the next message")
    assert number_of(heard[1]) == 1


CLAIMER = """
import sys
from labspine.connector import AmqpConnector
from labspine.queues import Queue
queue = Queue(AmqpConnector(sys.argv[1]), sys.argv[2], max_deliveries=None)
while True:
    for item in queue.claim_many(10, wait_s=30):
        print(item.value, flush=True)
        queue.acknowledge(item)
"""


def test_a_consumer_that_is_killed_loses_nothing(
    rabbitmq_server: RabbitProcess, bus: Callable[..., AmqpConnector]
) -> None:
    """Killed five times; an item comes twice at most as often as one was under way."""
    queue = Queue(bus(rabbitmq_server.url), f"killed-{new_sender()}", max_deliveries=None)
    queue.put_many(list(range(500)))
    seen: list[int] = []
    for _ in range(5):
        claimer = subprocess.Popen(
            [sys.executable, "-c", CLAIMER, rabbitmq_server.url, queue.name],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert claimer.stdout is not None
        seen += [int(claimer.stdout.readline()) for _ in range(30)]
        claimer.kill()
        seen += [int(line) for line in claimer.communicate()[0].splitlines()]
    wait_until(lambda: queue.state().ready > 0 or len(set(seen)) == 500, timeout_s=10, what="what came back")
    while items := queue.claim_many(500, wait_s=2.0):
        queue.acknowledge_many(items)
        seen += [item.value for item in items]

    assert set(seen) == set(range(500))
    assert len(seen) - 500 <= 5 * 10
    queue.close()
