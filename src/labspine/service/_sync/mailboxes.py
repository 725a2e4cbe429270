"""
Replies for the callers of a process, without a thread of their own.

One caller at a time leads: it waits at the broker for the replies to everybody's calls, and puts them where
they belong. When its own reply has come it goes, and the next that waits leads. A caller alone therefore
sends its request and waits for the reply in one write, and no thread is woken for it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ...clock import mono_s
from ...errors import DeadlinePassed, DeliveryUnknown, NotConnected
from ...flows import Exchange
from ...flows.calls import calling, reply_key, split_reply
from ...ids import new_token
from ...wire import SyncWire, Template
from ..redis import OPENED, Line, Opening

__all__ = ["Mailbox", "Mailboxes", "pause"]

_SLICE_S = 0.5
_PAUSE_S = 0.05
_NOTHING = Exchange(())
_AWAY = (NotConnected, DeliveryUnknown, DeadlinePassed)


class Mailbox:
    """Where the replies to one call are put."""

    __slots__ = ("bodies", "call_id", "gate")

    def __init__(self, call_id: bytes) -> None:
        self.call_id = call_id
        self.bodies: deque[bytes] = deque()
        self.gate: Any = None  # a lock that is held while its owner waits


class Mailboxes:
    """
    Own the reply list of a process.

    Args:
        wire: Where to send; the connection on which is waited is opened beside it.
        new_prefix: Makes the first part of the list's name.
    """

    def __init__(self, wire: SyncWire, new_prefix: Callable[[], str]) -> None:
        self._wire = wire
        self._line = Line(wire)
        self._may_send = not wire.address.is_cluster  # there the request lies on another node than the reply
        self._new_prefix = new_prefix
        self.late_replies = 0
        self._is_closed = False
        self._begin()
        _alive.add(self)

    def _begin(self) -> None:
        """Start with a new list and no calls; so does a forked child."""
        self._lock = threading.Lock()
        self._leader: Mailbox | None = None
        self._boxes: dict[bytes, Mailbox] = {}
        self._waiting: dict[Mailbox, None] = {}
        self._count = 0
        self._prefix = f"{self._new_prefix()}{new_token()}".encode()
        self.reply_list = reply_key(f"{self._prefix.decode()}-0")
        self._packed_poll = Template([calling.poll_command(self.reply_list, _SLICE_S)]).fill()
        self._line.drop()
        self._line.key = self.reply_list

    def new(self) -> Mailbox:
        """Make a mailbox for a new call."""
        with self._lock:
            self._count += 1
            mailbox = Mailbox(b"%b-%d" % (self._prefix, self._count))
            self._boxes[mailbox.call_id] = mailbox
        return mailbox

    def forget(self, mailbox: Mailbox) -> None:
        """Drop what comes for a call from now on."""
        with self._lock:
            self._boxes.pop(mailbox.call_id, None)
            self._waiting.pop(mailbox, None)
            if self._leader is None:  # it may have been told to lead just when it gave up
                self._wake_one()

    def start(self, mailbox: Mailbox, opening: Opening) -> list[Any]:
        """
        Send a request; who can lead asks for replies in the same write.

        Returns:
            The replies to its commands.

        Raises:
            NotConnected: If nothing was sent; `DeliveryUnknown` or `DeadlinePassed` if that is not known.
        """
        with self._lock:
            leads = self._may_send and self._leader is None and not (self._line.is_waiting or self._is_closed)
            if leads:
                self._leader = mailbox
        if leads:
            try:
                packed = opening.packed(mailbox.call_id, self._packed_poll)
                return self._line.send(packed, OPENED, wait_s=_SLICE_S)
            except NotConnected:
                pass  # the wire waits for a broker that comes back
            finally:
                self._hand_over()
        return self._wire.exchange(opening.ask(mailbox.call_id))

    def wait(self, mailbox: Mailbox, timeout_s: float) -> bytes | None:
        """
        Wait for the next reply to a call.

        Args:
            mailbox: Of the call.
            timeout_s: Longest wait in seconds.

        Returns:
            Its body, or None.

        Raises:
            NotConnected: If this was closed.
        """
        deadline_mono_s = mono_s() + timeout_s
        while True:
            if mailbox.bodies:
                return mailbox.bodies.popleft()
            left_s = deadline_mono_s - mono_s()
            if left_s <= 0:
                return None
            if self._is_closed:
                raise NotConnected("this client of services is closed")
            if self._takes_lead(mailbox):
                self._lead(mailbox, left_s)
            else:
                mailbox.gate.acquire(timeout=left_s)
                with self._lock:
                    self._waiting.pop(mailbox, None)

    def _takes_lead(self, mailbox: Mailbox) -> bool:
        with self._lock:
            if self._leader is None:
                self._leader = mailbox
                return True
            if mailbox.gate is None:
                mailbox.gate = threading.Lock()
                mailbox.gate.acquire()
            elif not mailbox.gate.locked():
                mailbox.gate.acquire()
            if mailbox.bodies:  # put just now, before it could be told
                mailbox.gate.release()
            else:
                self._waiting[mailbox] = None
            return False

    def _lead(self, mailbox: Mailbox, left_s: float) -> None:
        line = self._line
        deadline_mono_s = mono_s() + left_s
        try:
            while not mailbox.bodies and left_s > 0 and not self._is_closed:
                if not line.is_waiting:
                    line.send(self._packed_poll, _NOTHING, wait_s=_SLICE_S)
                self._put(line.next(left_s))
                left_s = deadline_mono_s - mono_s()
        except _AWAY:
            pause(min(_PAUSE_S, left_s))  # each call has its own time limit
        finally:
            self._hand_over()

    def _put(self, found: Sequence[Any] | None) -> None:
        """Put replies where they belong, and wake their owners."""
        if not found:  # no reply yet, or none within the broker's time
            return
        with self._lock:
            for item in found[1]:
                call_id, body = split_reply(item)
                mailbox = self._boxes.get(call_id)
                if mailbox is None:
                    self.late_replies += 1
                    continue
                mailbox.bodies.append(body)
                if mailbox in self._waiting:
                    del self._waiting[mailbox]
                    mailbox.gate.release()

    def _hand_over(self) -> None:
        with self._lock:
            self._leader = None
            self._wake_one()

    def _wake_one(self) -> None:
        if self._waiting:
            mailbox = next(iter(self._waiting))
            del self._waiting[mailbox]
            mailbox.gate.release()

    def close(self) -> None:
        """Let everybody go who waits, and remove the list."""
        self._is_closed = True
        with self._lock:
            waiting, self._waiting = list(self._waiting), {}
        for mailbox in waiting:
            mailbox.gate.release()
        self._line.close()


_alive: weakref.WeakSet[Mailboxes] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for mailboxes in list(_alive):
        mailboxes._begin()


os.register_at_fork(after_in_child=_renew_after_fork)


def pause(pause_s: float) -> None:
    """Let some time pass."""
    time.sleep(pause_s)
