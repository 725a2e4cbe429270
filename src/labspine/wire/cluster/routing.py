"""
How exchanges are done on a cluster, without any I/O.

A flow yields what is to be sent to which nodes (a list of `Send`) and receives, for each, a list with one
result an exchange: replies or an error; or it yields seconds to wait. Both wires drive the same flows.

A node that has not got the slot says MOVED (ask there from now on) or ASK (ask there this once). TRYAGAIN,
CLUSTERDOWN, a wait that the node broke off, and a node that cannot be reached mean that nothing was done yet:
the flow waits a little, asks for the topology again, and gives up when its patience is over. What was sent
and not answered is never repeated.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from ...errors import (
    AuthenticationError,
    ConfigError,
    DeadlinePassed,
    DeliveryUnknown,
    LabspineError,
    NotConnected,
    PermissionDenied,
    ServerError,
)
from ...flows import Exchange
from ...flows.slots import EVERYWHERE, SCANNING, Plan, planned
from ..address import Address, Cluster
from .jobs import Job, expanded, joined, sent_as
from .topology import QUESTION, Place, Topology, known_places, read_topology, remember

__all__ = ["Router", "Routing", "Send"]

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25
_FREE_HOPS = 5
_POLL_S = 0.02
_LOOK_EVERY_S = 5.0

Result: TypeAlias = "list[Any] | LabspineError"


class Send(NamedTuple):
    """
    What one node is asked.

    Args:
        place: Which node.
        asks: What; they travel in one write.
    """

    place: Place
    asks: tuple[Exchange, ...]


Routing: TypeAlias = Generator["list[Send] | float", "list[list[Result]]", list[Result]]


class Router:
    """
    Know the cluster, and send each exchange where its keys are.

    Args:
        address: Of the cluster.
        patience_s: How long a call waits while its slot has no master or is being moved, in seconds.
        clock: Monotonic time in seconds.
    """

    def __init__(self, address: Address, *, patience_s: float, clock: Callable[[], float]) -> None:
        self.address = address
        self.topology: Topology | None = None
        self.cluster = address.cluster or Cluster(())
        self._patience_s = patience_s
        self.clock = clock
        self._is_stale = False
        self._turn = 0
        self._knows_best: Place | None = None
        self._looked_mono_s = 0.0
        self._links: weakref.WeakSet[_Link] = weakref.WeakSet()

    def owner(self, slot: int) -> Place:
        """Say which node has a slot, as far as is known; raises `NotConnected` if none has."""
        place = self.topology.owners[slot] if self.topology is not None else None
        if place is None:
            raise NotConnected(f"no node of {self.address} serves slot {slot}; nothing was done")
        return place

    def distrust(self) -> None:
        """Ask for the topology again before the next exchange."""
        self._is_stale = True

    def watch(self, link: _Link) -> None:
        """Break a subscriber's link when its node leaves the cluster: it would live on and hear nothing."""
        self._links.add(link)

    def quick_place(self, ask: Exchange) -> Place | None:
        """Say where an exchange goes as it is, if that is known; None if it needs `perform`."""
        topology = self.topology
        if self.clock() - self._looked_mono_s > _LOOK_EVERY_S:
            self._is_stale = True
        if topology is None or self._is_stale:
            return None
        plan = planned(ask)
        slot = plan.parts[0].slot
        if len(plan.parts) > 1 or slot in (EVERYWHERE, SCANNING):
            return None
        return topology.owners[slot] if slot >= 0 else self._any_master()

    def perform(self, asks: Sequence[Exchange], first: tuple[Place, LabspineError] | None = None) -> Routing:
        """
        Do some exchanges.

        Args:
            asks: What; for one node they stay in order.
            first: What became of it already: one exchange was sent to this node, with this result.

        Returns:
            For each its replies, or its error.

        Raises:
            NotConnected: If no node can be reached.
            AuthenticationError: If no node accepts the login.
            ConfigError: If what answers is no cluster.
        """
        polls_until_mono_s = self._polls_until(asks)
        results = yield from self._once(asks, first)
        while polls_until_mono_s and results[0] == [None] and self.clock() < polls_until_mono_s:
            yield _POLL_S
            results = yield from self._once(asks, None)
        return results

    def _once(self, asks: Sequence[Exchange], first: tuple[Place, LabspineError] | None) -> Routing:
        deadline_mono_s = self.clock() + (self._patience_s if self.topology is not None else 0.0)
        if self.topology is None:
            yield from self._look(deadline_mono_s)
        plans = [_plan_or_error(ask) for ask in asks]
        masters = len(self._masters())
        jobs = [job for plan in plans if isinstance(plan, Plan) for job in expanded(plan, masters)]
        if first is not None:
            self._judge([jobs[0]], first[0], [first[1]])
        yield from self._finish([job for job in jobs if not job.is_done], deadline_mono_s)
        return [joined(plan, jobs, masters) if isinstance(plan, Plan) else plan for plan in plans]

    def _polls_until(self, asks: Sequence[Exchange]) -> float:
        """Say until when to come back for streams of several slots: no node can wait for all of them."""
        if len(asks) != 1 or asks[0].block_s is None:
            return 0.0
        try:
            is_spread = len(planned(asks[0]).parts) > 1
        except LabspineError:
            return 0.0
        return self.clock() + asks[0].block_s if is_spread else 0.0

    def _masters(self) -> tuple[Place, ...]:
        return self.topology.masters if self.topology is not None else ()

    def _any_master(self) -> Place:
        """Choose a master; after each look another one, because this one may be dead."""
        masters = self._masters()
        return masters[self._turn % len(masters)]

    def _finish(self, jobs: list[Job], deadline_mono_s: float) -> Generator[Any, Any, None]:
        """Do all jobs; what ends this early is the result of those that are not done, and of no other."""
        try:
            yield from self._worked_off(jobs, deadline_mono_s)
        except LabspineError as error:
            for job in jobs:
                if not job.is_done:
                    job.done(error)

    def _worked_off(self, jobs: list[Job], deadline_mono_s: float) -> Generator[Any, Any, None]:
        pause_s, rounds = _FIRST_PAUSE_S, 0
        while jobs:
            rounds += 1
            if self._is_stale:
                yield from self._look(deadline_mono_s)
            sends = self._sends(jobs)
            answers = yield [send for send, _ in sends]
            for (send, group), results in zip(sends, answers, strict=True):
                self._judge(group, send.place, sent_as(group, results))
            jobs = [job for job in jobs if not job.is_done]
            if not jobs or (rounds <= _FREE_HOPS and not any(job.must_wait for job in jobs)):
                continue
            if self.clock() >= deadline_mono_s:
                for job in jobs:
                    job.give_up(self.address)
                return
            yield pause_s * random.uniform(0.7, 1.3)  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _sends(self, jobs: Sequence[Job]) -> list[tuple[Send, list[Job]]]:
        """Group what goes to the same node, in order; who asks out of turn, or waits, goes alone."""
        groups: dict[Any, list[Job]] = {}
        for number, job in enumerate(jobs):
            place = job.asked_place or self._place(job)
            is_alone = job.asked_place is not None or job.ask.block_s is not None
            groups.setdefault((place, number if is_alone else None), []).append(job)
        found = []
        for (place, _), group in groups.items():
            asks = tuple(ask for job in group for ask in job.asks())
            found.append((Send(place, asks), group))
        return found

    def _place(self, job: Job) -> Place:
        topology = self.topology
        masters = self._masters()
        if topology is None or not masters:
            raise NotConnected(f"no node of {self.address} serves anything; nothing was done")
        if job.master is not None:
            return masters[min(job.master, len(masters) - 1)]
        # A slot that nobody serves: whoever is asked says CLUSTERDOWN, and that is waited for.
        return (topology.owners[job.part.slot] if job.part.slot >= 0 else None) or self._any_master()

    # --- what the answers mean ---

    def _judge(self, group: Sequence[Job], place: Place, results: Sequence[Result]) -> None:
        is_unknown = False
        for job, result in zip(group, results, strict=True):
            if isinstance(result, (DeliveryUnknown, DeadlinePassed)):
                is_unknown = self._is_stale = True
            if isinstance(result, AuthenticationError) or not isinstance(result, (NotConnected, ServerError)):
                job.done(result)
            elif isinstance(result, NotConnected):
                # What stands behind something unknown in the same write must not come before it.
                self._is_stale = True
                job.done(result) if is_unknown else job.wait(result)
            else:
                self._follow(job, place, result)

    def _follow(self, job: Job, place: Place, error: ServerError) -> None:
        word, _, rest = error.said.partition(" ")
        if (word == "ASK" and _reaches_further(job.ask)) or "non local key" in error.said:
            job.wait(error)
        elif word in ("MOVED", "ASK"):
            slot_text, _, where = rest.partition(" ")
            host, _, port = where.rpartition(":")
            target = (host.strip("[]") or place[0], int(port))
            if word == "ASK":
                job.asked_place = target
            else:
                if self.topology is not None:
                    self.topology = self.topology.moved(int(slot_text), target)
                self._is_stale = True
                self._knows_best = target
                job.asked_place = None
            job.hop(error)
        elif word in ("TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "UNBLOCKED"):
            self._is_stale = self._is_stale or word != "TRYAGAIN"
            job.wait(error)
        else:
            job.done(error)

    # --- the topology ---

    def _look(self, deadline_mono_s: float) -> Generator[Any, Any, None]:
        """Ask who has what; wait for somebody who answers."""
        seen, pause_s = self.topology, _FIRST_PAUSE_S
        while True:
            self._is_stale = False
            try:
                yield from self._asked_around()
                return
            except NotConnected as error:
                if isinstance(error, AuthenticationError) or self.clock() >= deadline_mono_s:
                    self._is_stale = seen is not None
                    raise
            yield pause_s * random.uniform(0.7, 1.3)  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            if self.topology is not seen:
                return  # another thread has asked meanwhile

    def _adopt(self, topology: Topology) -> None:
        before = set(self.topology.nodes) if self.topology is not None else set()
        self.topology = topology
        self._looked_mono_s = self.clock()
        remember(self.cluster, topology)
        gone = before.difference(topology.nodes)
        for link in list(self._links):
            if (link.address.host, link.address.port) in gone:
                link.abort()

    def _asked_around(self) -> Generator[Any, Any, None]:
        places = known_places(self.cluster)
        # Each time another one first: somebody who was cut off may tell an old story.
        self._turn = turn = (self._turn + 1) % len(places) if self.topology is not None else 0
        complaints = []
        refused: LabspineError | None = None
        order = [*places[turn:], *places[:turn]]
        if self._knows_best is not None:
            order.insert(
                0, self._knows_best
            )  # a slot has moved there: the others may not have heard of it yet
            self._knows_best = None
        for place in order:
            ((answer,),) = yield [Send(place, (QUESTION,))]
            if isinstance(answer, list):
                topology = read_topology(answer[0], place)
                if topology.masters:
                    self._adopt(topology)
                    return
                answer = NotConnected("it knows no masters: was the cluster made?")
            if isinstance(answer, (AuthenticationError, PermissionDenied)):
                refused = answer
            elif isinstance(answer, ServerError) and "cluster support disabled" in answer.said:
                raise ConfigError(f"{place[0]}:{place[1]} is not a node of a Redis Cluster: use redis://")
            complaints.append(f"{place[0]}:{place[1]}: {answer}")
        if refused is not None:
            raise refused
        raise NotConnected(
            f"no node of {self.address} can be asked ({'; '.join(complaints)}); nothing was done"
        )


class _Link(Protocol):
    """A subscriber's connection of either door."""

    address: Address

    def abort(self) -> None:
        """Break it; may be called from any thread."""


def _reaches_further(ask: Exchange) -> bool:
    """
    Tell whether it touches keys that it does not name, as the functions of a queue do.

    While a slot is moved one key after the other, neither side has all of them: the answer is to wait.
    """
    return any(command[0] in ("FCALL", b"FCALL") for command in ask.commands)


def _plan_or_error(ask: Exchange) -> Plan | LabspineError:
    try:
        return planned(ask)
    except LabspineError as error:
        return error
