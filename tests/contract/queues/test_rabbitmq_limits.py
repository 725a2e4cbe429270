"""What RabbitMQ cannot do is refused with a sentence, before anything is sent; what it does otherwise."""

from __future__ import annotations

import os
from typing import Any

import pytest

from labspine.connector import AmqpConnector
from labspine.errors import InvalidOperation
from labspine.queues.amqp_names import delay_ms, item_properties, main_name

only_rabbitmq = pytest.mark.parametrize("broker", ["rabbitmq"])


@only_rabbitmq
def test_what_it_cannot_do_is_refused(queue: Any, open_queue: Any) -> None:
    with pytest.raises(InvalidOperation, match="priority"):
        queue.put("x", priority="high")
    with pytest.raises(InvalidOperation, match="without taking"):
        queue.peek()
    with pytest.raises(InvalidOperation, match="above a limit"):
        open_queue(limit=10)

    assert queue.length() == 0


@only_rabbitmq
def test_poison_goes_to_the_dead_letters_and_others_go_on(queue: Any, name: str, rabbitmq_url: str) -> None:
    payloads = [b"", b"\x80\x04K\x01.", b"\x81" * 100, os.urandom(64)]
    queue.put("before")
    with AmqpConnector(rabbitmq_url) as other:
        for payload in payloads:
            properties = item_properties(os.urandom(8).hex(), 0)
            other.amqp.publish("", main_name(name), payload, properties=properties)
    queue.put("after")

    first = queue.claim(wait_s=5)
    second = queue.acknowledge_and_claim([first], wait_s=5)[0]

    assert (first.value, second.value) == ("before", "after")
    assert queue.counters.poison == 4
    letters = queue.dead()
    assert [letter.payload for letter in letters] == payloads
    assert all(letter.message is None and "Error" in letter.reason for letter in letters)
    assert [letter.payload for letter in queue.dead()] == payloads


def test_delays_share_queues() -> None:
    assert [delay_ms(s) for s in (0.001, 0.014, 0.4, 0.401, 1.234, 61.7, 3600.0)] == [
        10,
        20,
        400,
        410,
        1300,
        62_000,
        3_600_000,
    ]
