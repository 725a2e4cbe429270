"""
From the journal to the bus: what the engine has written down is announced, in order, whatever happens.

The publisher remembers in a file of its own how far the broker has everything, so that a broker that is away
costs delay, and a process that dies leaves the rest to its successor.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from labspine.clock import mono_s, utc_s
from labspine.connector import RedisConnector
from labspine.engine.journal import Journal, JournalError, Position, Tail
from labspine.engine.journal.book import ENDED
from labspine.engine.journal.reader import is_read, tag_of
from labspine.errors import LabspineError
from labspine.messages import ScanStatusMessage, VariableMessage

from .announcer import KEEP_S, Announcer, Ending, Order
from .sender import OUTAGE, Outgoing, Sender

__all__ = ["READER", "Publisher", "journal_for_bus"]

_log = logging.getLogger("labspine.lab")

READER = "bus"
"""Name of this reader; a journal is kept until it has read all of it."""

LIMIT = 50_000
"""Messages that may wait in the sender; the rest waits in the journal."""

AT_ONCE = 64
_LOOK_S = 1.0
_BROKER_MAY_LOSE_S = 5.0
"""A broker that was killed as well may have lost what it had acknowledged so long before."""


def journal_for_bus(directory: str | Path, url: str) -> Journal:
    """
    Make a journal whose files are kept until the bus has heard them.

    Args:
        directory: Where; labs on different brokers may share it.
        url: Address of the broker.

    Returns:
        The journal, for :class:`ScanServer`.
    """
    # Names, passwords and options may change; it is the same broker still.
    place = url.partition("://")[2].rpartition("@")[2].partition("?")[0]
    tag = hashlib.sha256(place.encode()).hexdigest()[:16]
    return Journal(directory, readers=[READER], tag=tag)


class Publisher:
    """
    Announce what stands in the journals of one directory.

    It takes the place of the announcer where there is a journal: what is to be said beside the documents
    (whose request it is, pauses, who ended it) is written into the journal as well, in its place among them.

    Args:
        book: The journals.
        connector: The door to the broker, to ask what a dead process had announced already.
        sender: The thread that speaks to the broker.
        make_announcer: Makes an announcer that speaks through the given sender.
    """

    def __init__(
        self,
        book: Journal,
        connector: RedisConnector,
        sender: Sender,
        *,
        make_announcer: Callable[[Any], Announcer],
    ) -> None:
        self.book = book
        self._connector = connector
        self._sender = sender
        self.make_announcer = make_announcer
        self._courses: dict[str, _Course] = {}
        self._done: set[str] = set()
        self._latest: Announcer | None = None
        self._news = threading.Event()
        self._read = threading.Condition()
        self._is_over = threading.Event()
        self._rounds = 0
        self._changes_seen, self._next_look_mono_s = -1, 0.0
        self._thread = threading.Thread(target=self._work, name="lab-publisher", daemon=True)
        self._unwatch = book.watch(self._news.set)

    def start(self) -> None:
        """Begin with what a dead process did not get to announce."""
        for path in self.book.paths(ENDED):
            if is_read(path):
                self._done.add(path.stem)
        self._thread.start()

    def stop(self) -> None:
        """End; what is not announced stays for the next one."""
        self._is_over.set()
        self._news.set()
        if self._thread.ident:
            self._thread.join(2.0)
        self._unwatch()
        for course in self._courses.values():
            course.close()

    # -- what the announcer would have been told ---------------------------------------------------

    def begin(self, order: Order, *, resumable: bool = True) -> None:
        """
        Say to which request the next call of the engine belongs.

        Args:
            order: The request.
            resumable: Whether its plan may go on after a crash.
        """
        request = {name: getattr(order, name) for name in order.__slots__}
        self.book.about = {"request": {**request, "plan": order.plan_name}, "resumable": resumable}
        self._latest = None

    def end_as(self, ending: Ending, reason: Literal["user", "alarm"] | None) -> None:
        """
        Say how the runs end that are going to be closed now.

        Args:
            ending: The status to announce.
            reason: Who ended it.
        """
        self._note("end_as", ending=ending, reason=reason)

    def show_state(self, status: Literal["open", "paused"]) -> None:
        """
        Announce that all open runs are paused, or go on.

        Args:
            status: ``paused`` or ``open``.
        """
        self._note("state", status=status)
        self.drain(_LOOK_S)

    def _note(self, what: str, **facts: object) -> None:
        try:
            self.book.note(what, **facts)
        except JournalError as error:
            _log.error("%s", error)

    @property
    def begun(self) -> list[ScanStatusMessage]:
        """The first status of each run of the present request."""
        latest = self._latest
        return latest.begun if latest is not None else []

    @property
    def open_scan_ids(self) -> list[str]:
        """Identifiers of the runs that are open."""
        return [uid for course in list(self._courses.values()) for uid in course.announcer.open_scan_ids]

    @property
    def backlog(self) -> int:
        """Bytes of journals that are not with the broker yet."""
        return sum(course.lag() for course in list(self._courses.values()))

    def drain(self, timeout_s: float) -> bool:
        """
        Wait until everything that is written down has been handed to the sender.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            False if the time was over first.
        """
        if not self._thread.is_alive():
            return True  # nobody will hand over more
        with self._read:
            # The round that is under way may have looked already.
            wanted = self._rounds + 2
            deadline = mono_s() + timeout_s
            while self._rounds < wanted and not self._is_over.is_set():
                self._news.set()
                if not self._read.wait(max(0.0, deadline - mono_s())) and mono_s() >= deadline:
                    return False
        return True

    # -- work --------------------------------------------------------------------------------------

    def _work(self) -> None:
        pause_s = _LOOK_S
        while not self._is_over.is_set():
            self._news.wait(pause_s)
            self._news.clear()
            try:
                waits = self._round()
            except Exception:
                # One damaged journal must not silence all that follow.
                _log.exception("publisher: a journal was not announced")
                waits = True
            pause_s = 0.05 if waits else _LOOK_S
            with self._read:
                self._rounds += 1
                self._read.notify_all()
        self._advance()

    def _round(self) -> bool:
        """Hand over what is new; tell whether something waits for the broker."""
        self._look()
        for course in list(self._courses.values()):
            while course.step() and not self._is_over.is_set():
                if self._sender.backlog > LIMIT:
                    self._advance()
                    self._sender.wait_settled(self._sender.settled + AT_ONCE, 0.1)
        return self._advance()

    def _look(self) -> None:
        changes, now_mono_s = self.book.num_changes, mono_s()
        if changes == self._changes_seen and now_mono_s < self._next_look_mono_s:
            return
        self._changes_seen, self._next_look_mono_s = changes, now_mono_s + _LOOK_S
        for path in self.book.paths():
            if path.stem in self._courses or path.stem in self._done:
                continue
            tag = tag_of(path)
            if tag == self.book.tag:
                self._courses[path.stem] = _Course(path, self)
            elif tag is not None:
                self._done.add(path.stem)  # another lab, on another broker, shares this directory

    def _advance(self) -> bool:
        settled = self._sender.settled
        for name, course in list(self._courses.items()):
            if course.advance(settled):
                course.close()
                self._done.add(name)
                del self._courses[name]
        return any(course.waits for course in self._courses.values())

    def took(self, announcer: Announcer) -> None:
        """
        Remember who announces the call that began last.

        Args:
            announcer: The announcer of its course.
        """
        self._latest = announcer

    def ask(self, item: Outgoing[Any]) -> Any:
        """
        Read what is at the place of a message; waits for a broker that is away.

        Args:
            item: The message.

        Returns:
            What is there, or None.
        """
        while not self._is_over.is_set():
            try:
                return self._connector.get(item.endpoint)
            except OUTAGE:
                self._is_over.wait(0.2)
            except LabspineError as error:
                _log.debug("publisher: nothing to compare with: %s", error)
                return None
        return None

    @property
    def sender(self) -> Sender:
        """The thread that speaks to the broker."""
        return self._sender


class _Gate:
    """Stands before the sender: holds back what a dead process had sent already."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.mode: Literal["told", "unsure", "new"] = "new"
        # When the record was written that is being announced.
        self.when_utc_s = 0.0

    def put(self, *items: Outgoing[Any]) -> int:
        sender = self._publisher.sender
        if self.mode == "new" or (self.mode == "unsure" and not self._was_said(items)):
            return sender.put(*items)
        return sender.last_ticket

    def put_latest(self, item: Outgoing[Any]) -> None:
        if self.mode == "new":
            self._publisher.sender.put_latest(item)

    def _was_said(self, items: tuple[Outgoing[Any], ...]) -> bool:
        first = items[0]
        if first.operation != "set":
            return False
        there = self._publisher.ask(first)
        if there is None:
            return False
        mine = first.message
        if isinstance(there, ScanStatusMessage) and isinstance(mine, ScanStatusMessage):
            if there.status not in ("open", "paused"):
                return True
            # An end is told in any case; a state in between when nothing newer is there.
            is_end = mine.status not in ("open", "paused")
            return not is_end and (there.status == mine.status or there.timestamp >= self.when_utc_s)
        if isinstance(there, VariableMessage) and isinstance(mine, VariableMessage):
            return bool(there.value >= mine.value)
        return True


class _Course:
    """One journal on its way to the bus."""

    def __init__(self, path: Path, publisher: Publisher) -> None:
        self._gate = _Gate(publisher)
        self._publisher = publisher
        self._tail = Tail(path)
        self._position = Position(path, READER)
        self._died_utc_s = path.stat().st_mtime
        self._found: deque[tuple[int, Any]] = deque()
        # What was said long ago is not on the broker any more, whether it was heard or not.
        self._is_recent = utc_s() - self._died_utc_s < KEEP_S / 2
        self._unsure_until = 0
        if path.stem not in publisher.book.own:
            while part := self._tail.read():
                self._found.extend(part)
            self._unsure_until = self._tail.offset
        self._marks: deque[tuple[int, int]] = deque()
        self._offset = 0
        self._has_ended = False
        self.announcer = publisher.make_announcer(self._gate)

    @property
    def waits(self) -> bool:
        """Whether something is not with the broker yet."""
        return bool(self._marks)

    def lag(self) -> int:
        """Count the bytes that are not with the broker yet."""
        return max(0, self._tail.offset - self._position.offset)

    def step(self) -> bool:
        """Hand over some records; False when there is nothing new."""
        if not self._found:
            self._found.extend(self._tail.read())
        if not self._found:
            return False
        for _ in range(min(AT_ONCE, len(self._found))):
            end, record = self._found.popleft()
            self._gate.when_utc_s = _time_of(record)
            self._gate.mode = self._mode()
            self._take(record)
            self._offset = end
        self._marks.append((self._publisher.sender.last_ticket, self._offset))
        return True

    def _mode(self) -> Literal["told", "unsure", "new"]:
        if self._offset >= self._unsure_until:
            return "new"
        if self._offset >= self._position.offset:
            return "unsure"
        is_doubtful = self._is_recent and self._gate.when_utc_s > self._died_utc_s - _BROKER_MAY_LOSE_S
        return "unsure" if is_doubtful else "told"

    def _take(self, record: list[Any]) -> None:
        match record[0]:
            case "O":
                self.announcer.begin(_order(record[1]))
                self._publisher.took(self.announcer)
            case "D":
                self.announcer(record[1], record[2])
            case "N" if record[1] == "state":
                self.announcer.show_state(record[2]["status"])
            case "N" if record[1] == "end_as":
                self.announcer.end_as(record[2]["ending"], record[2]["reason"])
            case "R":
                self._publisher.took(self.announcer)
            case "E":
                self._has_ended = True

    def advance(self, settled: int) -> bool:
        """Remember what the broker has; True when that is all, and there will be no more."""
        offset = 0
        while self._marks and self._marks[0][0] <= settled:
            offset = self._marks.popleft()[1]
        if offset > self._position.offset:
            self._position.move(offset)
        return self._has_ended and not self._marks and not self._found

    def close(self) -> None:
        """Give up the files."""
        self._tail.close()
        self._position.close()


def _time_of(record: list[Any]) -> float:
    if record[0] not in ("D", "N"):
        return 0.0
    when = record[2].get("time", 0.0)
    return float(max(when, default=0.0) if isinstance(when, list) else when)


def _order(header: Mapping[str, Any]) -> Order:
    request = header.get("request") or {}
    return Order(
        rid=str(request.get("rid", "")),
        queue_id=str(request.get("queue_id", "")),
        plan_name=str(request.get("plan_name") or header.get("plan", "")),
        args=list(request.get("args", ())),
        kwargs=dict(request.get("kwargs", {})),
        user_metadata=dict(request.get("user_metadata", {})),
        num_points=request.get("num_points"),
    )
