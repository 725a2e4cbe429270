"""A queue against a model of it: whatever is done in whatever order, nothing is lost and nothing is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labspine.connector import RedisConnector
from labspine.ids import new_sender
from labspine.queues import Item, Queue

ORDER = ("high", "normal", "low")


class Model:
    """Two claimers of one queue; the model knows where each item is."""

    def __init__(self, bus: RedisConnector) -> None:
        name = f"model-{new_sender()}"
        self.claimers = [Queue(bus, name, max_deliveries=2) for _ in range(2)]
        self.ready: dict[str, list[str]] = {priority: [] for priority in ORDER}
        self.held: list[dict[str, tuple[Item, str]]] = [{}, {}]
        self.deliveries: dict[str, int] = {}
        self.dead: dict[str, str] = {}
        self.stale: list[Item] = []
        self.count = 0

    def put(self, who: int, many: int) -> None:
        priority: Any = ORDER[self.count % 3]
        values = list(range(self.count, self.count + many))
        self.count += many
        ids = self.claimers[who].put_many(values, item_ids=[f"id-{v}" for v in values], priority=priority)
        self.ready[priority] += ids

    def put_again(self, who: int, _: int) -> None:
        if self.count:
            self.claimers[who].put(0, item_id=f"id-{self.count - 1}")

    def claim(self, who: int, count: int) -> None:
        done = count // 2
        finished = [self.held[who].pop(i)[0] for i in list(self.held[who])[:done]]
        self.stale += finished
        found = self.claimers[who].acknowledge_and_claim(finished, count=count)
        for item in finished:
            self.deliveries.pop(item.id)
        wanted = [(i, p) for p in ORDER for i in self.ready[p]][:count]
        assert [item.id for item in found] == [i for i, _ in wanted]
        for item, (item_id, priority) in zip(found, wanted, strict=True):
            self.ready[priority].remove(item_id)
            self.deliveries[item_id] = self.deliveries.get(item_id, 0) + 1
            assert item.deliveries == self.deliveries[item_id]
            self.held[who][item_id] = (item, priority)

    def settle(self, who: int, act: str) -> None:
        if not self.held[who]:
            return
        item_id = next(iter(self.held[who]))
        item, priority = self.held[who][item_id]
        other, queue = self.claimers[1 - who], self.claimers[who]
        assert other.acknowledge(item) is False
        if act == "touch":
            assert queue.touch(item) is True
            return
        del self.held[who][item_id]
        self.stale.append(item)
        if act == "acknowledge":
            assert queue.acknowledge(item) is True
            self.deliveries.pop(item_id)
        elif act == "bury" or self.deliveries[item_id] >= 2:
            assert (queue.bury(item, "model") if act == "bury" else queue.give_back(item)) is True
            self.dead[item_id] = priority
        else:
            assert queue.give_back(item) is True
            self.ready[priority].append(item_id)

    def refuse(self, who: int, _: int) -> None:
        """What is over is refused."""
        for item in self.stale[-3:]:
            queue = self.claimers[who]
            told = [queue.acknowledge(item), queue.give_back(item), queue.bury(item, "x"), queue.touch(item)]
            assert told == [False] * 4

    def requeue(self, who: int, _: int) -> None:
        assert self.claimers[who].requeue() == len(self.dead)
        for item_id, priority in self.dead.items():
            self.ready[priority].append(item_id)
            self.deliveries.pop(item_id)
        self.dead = {}

    def check(self) -> None:
        """Nothing is lost, and nothing is made."""
        ready, claimed, delayed, dead = self.claimers[0].state()
        assert ready == sum(map(len, self.ready.values()))
        assert claimed == sum(map(len, self.held))
        assert (delayed, dead) == (0, len(self.dead))
        assert [letter.id for letter in self.claimers[0].dead()] == list(self.dead)


ACTS: dict[str, Callable[[Model, int, int], None]] = {
    "put": Model.put,
    "put again": Model.put_again,
    "claim": Model.claim,
    "acknowledge": lambda model, who, _: model.settle(who, "acknowledge"),
    "give back": lambda model, who, _: model.settle(who, "give back"),
    "bury": lambda model, who, _: model.settle(who, "bury"),
    "touch": lambda model, who, _: model.settle(who, "touch"),
    "refuse": Model.refuse,
    "requeue": Model.requeue,
}
OFTEN = ["put", "claim", "claim", "give back", "give back", "acknowledge", *ACTS]
STEPS = st.lists(
    st.tuples(st.sampled_from(OFTEN), st.integers(0, 1), st.integers(1, 4)), min_size=30, max_size=60
)


@pytest.fixture(scope="module")
def bus(broker_url: str) -> Iterator[RedisConnector]:
    with RedisConnector(broker_url) as connector:
        yield connector


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_a_queue_does_what_its_model_says(bus: RedisConnector, steps: list[tuple[str, int, int]]) -> None:
    model = Model(bus)
    for act, who, number in steps:
        ACTS[act](model, who, number)
        model.check()
