"""One piece of an exchange on its way: where it goes, what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import DeliveryUnknown, LabspineError, NotConnected, ServerError
from ...flows import Exchange
from ...flows.slots import EVERYWHERE, SCANNING, Part, Plan, planned
from .topology import Place

__all__ = ["Job", "apart", "expanded", "joined", "sent_as", "waiting_failed"]

_ASKING = Exchange((("ASKING",),), readonly=True)


class Job:
    """
    A part of a plan, for one node.

    Args:
        plan: The whole.
        part: The part.
        master: The number of the master that must do it; None for that of its slot.
    """

    __slots__ = ("ask", "asked_place", "is_done", "master", "must_wait", "part", "plan", "result")

    def __init__(self, plan: Plan, part: Part, master: int | None = None) -> None:
        self.plan = plan
        self.part = part
        self.master = master
        self.ask = part.ask
        self.asked_place: Place | None = None
        self.is_done = False
        self.must_wait = False
        self.result: Any = None

    def asks(self) -> tuple[Exchange, ...]:
        """Say what is sent: the exchange; where it is out of turn, ASKING first, in the same write."""
        if self.asked_place is None:
            return (self.ask,)
        if self.ask.transaction:
            return (_ASKING, self.ask)
        commands = tuple(c for command in self.ask.commands for c in (("ASKING",), command))
        return (Exchange(commands, False, self.ask.readonly, self.ask.block_s, self.ask.keep_order),)

    def done(self, result: Any) -> None:
        """Note what came of it."""
        self.result = result
        self.is_done = True

    def hop(self, error: LabspineError) -> None:
        """Note that another node is to be asked at once."""
        self.result = error
        self.must_wait = False

    def wait(self, error: LabspineError) -> None:
        """Note that nothing was done, and that time may help."""
        self.result = error
        self.must_wait = True
        self.asked_place = None

    def give_up(self, where: object) -> None:
        """Make an end: nothing was done, and the patience is over."""
        if isinstance(self.result, ServerError):
            self.result = NotConnected(f"{where}: {self.result}; nothing was done")
        self.is_done = True


def apart(ask: Exchange) -> tuple[Exchange, Exchange]:
    """
    Part what waits on the server from what is done before it.

    The slot may move while it waits; only the waiting must be done again then.

    Args:
        ask: Several commands, of which the last one waits.

    Returns:
        The others, and the last one.

    Raises:
        InvalidOperation: If no node can wait for that.
    """
    last = Exchange(ask.commands[-1:], False, ask.readonly, ask.block_s, ask.keep_order)
    planned(last)
    return Exchange(ask.commands[:-1], False, ask.readonly, None, ask.keep_order), last


def waiting_failed(error: NotConnected) -> DeliveryUnknown:
    """Make the error of an exchange of which `apart` has done the first part."""
    return DeliveryUnknown(f"what was sent with it was done, but waiting for more failed: {error}")


def sent_as(group: Sequence[Job], results: Sequence[Any]) -> list[Any]:
    """
    Give each job of one write its result.

    Args:
        group: The jobs.
        results: One an exchange that was sent.

    Returns:
        One a job.
    """
    if group[0].asked_place is None:
        return list(results)
    (job,) = group
    result = results[-1]
    if not job.ask.transaction and isinstance(result, list):
        result = result[1::2]
    return [result]


def expanded(plan: Plan, masters: int) -> list[Job]:
    """
    Make the jobs of a plan.

    Args:
        plan: How an exchange is taken apart.
        masters: How many masters there are.

    Returns:
        One a part; for what every master must do, one a master.
    """
    jobs = []
    for part in plan.parts:
        if part.slot == EVERYWHERE:
            jobs += [Job(plan, part, number) for number in range(masters)]
        elif part.slot == SCANNING:
            jobs.append(_scan(plan, part))
        else:
            jobs.append(Job(plan, part))
    return jobs


def _scan(plan: Plan, part: Part) -> Job:
    """Read which master a cursor belongs to: ours are ``number:cursor``, the first is ``0``."""
    ((word, cursor, *rest),) = part.ask.commands
    text = cursor.decode() if isinstance(cursor, bytes) else str(cursor)
    number, _, own = text.rpartition(":")
    job = Job(plan, part, int(number or 0))
    job.ask = Exchange(((word, own, *rest),), readonly=True)
    return job


def joined(plan: Plan, jobs: Sequence[Job], masters: int) -> Any:
    """
    Put together what became of the jobs of a plan.

    Args:
        plan: Which.
        jobs: All jobs.
        masters: How many masters there are.

    Returns:
        One reply a command; or the first error.
    """
    mine = [job for job in jobs if job.plan is plan]
    for job in mine:
        if isinstance(job.result, LabspineError):
            return job.result
    replies = []
    for part in plan.parts:
        own = [job for job in mine if job.part is part]
        if part.slot == SCANNING:
            replies.append([_scanned(own[0], masters)])
        elif part.slot == EVERYWHERE:
            replies.append(
                [_of_everybody(column) for column in zip(*(job.result for job in own), strict=True)]
            )
        else:
            replies.append(own[0].result)
    return plan.joined(replies)


def _scanned(job: Job, masters: int) -> list[Any]:
    ((cursor, names),) = job.result
    number = job.master or 0
    if cursor != b"0":
        return [b"%d:%b" % (number, cursor), names]
    return [b"%d:0" % (number + 1) if number + 1 < masters else b"0", names]


def _of_everybody(answers: Sequence[Any]) -> Any:
    """Join what all masters said: texts and counts; what they did, they did alike."""
    if len(answers) > 1 and all(isinstance(answer, bytes) and b"\r\n" in answer for answer in answers):
        return b"\r\n".join(answers)
    return sum(answers) if all(isinstance(answer, int) for answer in answers) else answers[0]
