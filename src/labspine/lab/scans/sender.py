"""The one thread through which a lab service speaks, so that a slow broker never slows the engine."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Generic, Literal, Protocol, TypeVar

from labspine.clock import mono_s
from labspine.connector import RedisConnector
from labspine.endpoints import EndpointInfo
from labspine.errors import DeadlinePassed, DeliveryUnknown, LabspineError, NotConnected
from labspine.messages import BundleMessage, Message

__all__ = ["OUTAGE", "Outgoing", "Puts", "Sender"]

_log = logging.getLogger("labspine.lab")

OUTAGE = (NotConnected, DeliveryUnknown, DeadlinePassed)
"""Errors that go away when the broker comes back."""

_BATCH = 64
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0

Operation = Literal["send", "set", "set_and_publish", "rpush", "lpush", "lrem"]


M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Outgoing(Generic[M]):
    """
    One thing to say: operation, place, message; and how.

    ``unsettled``: it may have been said already. ``ticket``: its place among all that was put.
    """

    operation: Operation
    endpoint: EndpointInfo[M]
    message: M
    expire_s: float | None = None
    max_size: int | None = None
    bundled: bool = False
    unsettled: DeliveryUnknown | DeadlinePassed | None = None
    ticket: int = 0


class Puts(Protocol):
    """What takes messages to be sent; returns at once."""

    def put(self, *items: Outgoing[Any]) -> int: ...

    def put_latest(self, item: Outgoing[Any]) -> None: ...


class Sender:
    """
    Send messages in order from one thread, and keep them while the broker is away.

    Messages of ``put`` are kept in order. An event of which nobody knows whether it was said is repeated with
    the stamp of the first time, so that each receiver hears it once. Values, pushes and removals are sent at
    least once, so they must mean the same when they come twice.
    Of ``put_latest`` only the last message per channel is kept, and it has no place in the order.

    Args:
        connector: The door to the broker; it may be shared, all calls come from one thread.
        capacity: Largest number of messages kept while the broker is away; above it the newest are dropped
            and counted in ``dropped``.
        name: Name of the thread.
    """

    def __init__(
        self, connector: RedisConnector, *, capacity: int = 200_000, name: str = "lab-sender"
    ) -> None:
        self.dropped = 0
        self.refused = 0
        self._connector = connector
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: deque[Outgoing[Any]] = deque()
        self._latest: dict[str, Outgoing[Any]] = {}
        self._sending: Sequence[Outgoing[Any]] = ()
        self._last_ticket = 0
        self._give_up_mono_s: float | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, *items: Outgoing[Any]) -> int:
        """
        Send messages in order; returns at once.

        Args:
            items: What to send; they stay together.

        Returns:
            The ticket of the last one; they are with the broker when :attr:`settled` has come to it.
        """
        with self._changed:
            if len(self._waiting) + len(items) > self._capacity:
                self.dropped += len(items)
                return self._last_ticket
            for item in items:
                self._last_ticket += 1
                self._waiting.append(replace(item, ticket=self._last_ticket))
            self._changed.notify_all()
            return self._last_ticket

    @property
    def last_ticket(self) -> int:
        """The ticket of what was put last."""
        with self._changed:
            return self._last_ticket

    @property
    def settled(self) -> int:
        """The last ticket of which everything up to it is with the broker, or was refused by it."""
        with self._changed:
            return self._settled()

    def _settled(self) -> int:
        open_tickets = [item.ticket for item in self._sending if item.ticket]
        if self._waiting:
            open_tickets.append(self._waiting[0].ticket)
        return min(open_tickets) - 1 if open_tickets else self._last_ticket

    def wait_settled(self, ticket: int, timeout_s: float) -> int:
        """
        Wait until something is with the broker.

        Args:
            ticket: What :meth:`put` returned.
            timeout_s: Longest wait in seconds.

        Returns:
            What :attr:`settled` has come to.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._settled() >= ticket, timeout_s)
            return self._settled()

    def put_latest(self, item: Outgoing[Any]) -> None:
        """
        Send a message of which only the last one per channel counts; returns at once.

        Args:
            item: What to send; it replaces one for the same channel that still waits.
        """
        with self._changed:
            self._latest[item.endpoint.endpoint] = item
            self._changed.notify_all()

    @property
    def backlog(self) -> int:
        """How many messages wait to be sent."""
        with self._changed:
            return len(self._waiting) + len(self._latest) + len(self._sending)

    def flush(self, timeout_s: float) -> bool:
        """
        Wait until everything that was put has been sent.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            True if nothing is left, False if the time was over first.
        """
        deadline = mono_s() + timeout_s
        with self._changed:
            return self._changed.wait_for(self._is_empty, max(0.0, deadline - mono_s()))

    def stop(self, timeout_s: float = 2.0) -> bool:
        """
        Send what is left and end the thread.

        Args:
            timeout_s: Seconds after which the rest is given up.

        Returns:
            True if everything was sent.
        """
        with self._changed:
            self._give_up_mono_s = mono_s() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s + 1.0)
        return self._is_empty()

    def _is_empty(self) -> bool:
        return not (self._waiting or self._latest or self._sending)

    def _work(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            batch = self._take()
            if not batch:
                return
            left = self._perform(bundle(batch))
            self._finish(left)
            if not left:
                pause_s = _FIRST_PAUSE_S
            elif self._sleep(pause_s):
                pause_s = min(_LONGEST_PAUSE_S, 2.0 * pause_s)
            else:
                return

    def _take(self) -> list[Outgoing[Any]]:
        """Wait for work; an empty list means that the thread shall end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._latest or self._give_up_mono_s is not None)
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            if len(batch) < _BATCH:
                batch.extend(self._latest.values())
                self._latest.clear()
            self._sending = tuple(batch)
            return batch

    def _sleep(self, pause_s: float) -> bool:
        """Wait before the next attempt; False when it is time to give up."""
        with self._changed:
            self._changed.wait_for(lambda: self._give_up_mono_s is not None, pause_s)
            if self._give_up_mono_s is None:
                return True
            left_s = self._give_up_mono_s - mono_s()
            if left_s > 0:
                self._changed.wait(min(pause_s, left_s))
            return self._give_up_mono_s > mono_s()

    def _finish(self, left: Sequence[Outgoing[Any]]) -> None:
        """Put back what could not be sent, in front of what came since."""
        with self._changed:
            self._waiting.extendleft(reversed(left))
            self._sending = ()
            self._changed.notify_all()

    def _perform(self, batch: Sequence[Outgoing[Any]]) -> list[Outgoing[Any]]:
        """Send a batch; return what the broker did not get, in order. What is repeated goes ahead, alone."""
        runs = [list(run) for _, run in groupby(batch, lambda item: item.unsettled is None)]
        for at, run in enumerate(runs):
            left = self._send_together(run)
            if left:
                return left + [item for later in runs[at + 1 :] for item in later]
        return []

    def _send_together(self, batch: Sequence[Outgoing[Any]]) -> list[Outgoing[Any]]:
        """Send in one round trip; return what the broker did not get, in order."""
        pipeline = self._connector.pipeline()
        sent: list[Outgoing[Any]] = []
        for item in batch:
            try:
                _apply(pipeline, item)
            except LabspineError as error:
                self._refuse(item, error)
            else:
                sent.append(item)
        try:
            results = pipeline.execute(return_errors=True)
        except OUTAGE:
            return sent
        left = []
        for item, result in zip(sent, results, strict=True):
            if isinstance(result, OUTAGE):
                left.append(_to_be_repeated(item, result))
            elif isinstance(result, LabspineError):
                self._refuse(item, result)
        return left

    def _refuse(self, item: Outgoing[Any], error: LabspineError) -> None:
        self.refused += 1
        _log.error("%s on %s was refused: %s", item.operation, item.endpoint.endpoint, error)


def _to_be_repeated(item: Outgoing[M], error: LabspineError) -> Outgoing[M]:
    if isinstance(error, (DeliveryUnknown, DeadlinePassed)) and error.unsettled is not None:
        return replace(item, unsettled=error, bundled=False)
    return item


def bundle(batch: Sequence[Outgoing[Any]]) -> list[Outgoing[Any]]:
    """
    Put neighbouring messages that may be bundled into one message a channel.

    Args:
        batch: What is going to be sent, in order.

    Returns:
        The same in order; storing a value may stand between the parts of a bundle, nothing else.
    """
    result: list[Outgoing[Any]] = []
    parts: list[Outgoing[Any]] = []

    def close() -> None:
        if len(parts) == 1:
            result.append(parts[0])
        elif parts:
            together = BundleMessage(messages=[part.message for part in parts])
            first = parts[0]
            result.append(Outgoing(first.operation, first.endpoint, together, ticket=first.ticket))
        parts.clear()

    for item in batch:
        if item.bundled:
            if parts and parts[0].endpoint != item.endpoint:
                close()
            parts.append(item)
        else:
            if item.operation != "set":
                close()
            result.append(item)
    close()
    return result


def _apply(door: Any, item: Outgoing[Any]) -> None:
    """Perform one operation at once or in a pipeline; both have the same names."""
    if item.unsettled is not None:
        door.repeat(item.unsettled)
        return
    match item.operation:
        case "send":
            door.send(item.endpoint, item.message)
        case "set":
            door.set(item.endpoint, item.message, expire_s=item.expire_s)
        case "set_and_publish":
            door.set_and_publish(item.endpoint, item.message, expire_s=item.expire_s)
        case "rpush":
            door.rpush(item.endpoint, item.message, max_size=item.max_size)
        case "lpush":
            door.lpush(item.endpoint, item.message, max_size=item.max_size)
        case "lrem":
            door.lrem(item.endpoint, 0, item.message)
