"""
The threads of a service: one leads, which takes requests and runs the quick ones itself.

A hop from thread to thread costs more than most calls, so there is none as long as procedures are quick. A
watchman looks after the leader every few milliseconds while it is busy: if it is held up in a procedure,
another thread is made leader, and what the first one had not sent yet is sent. So a procedure that blocks
delays nobody else, until as many are blocked as may run at a time: requests are left to other instances then.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable

from ...clock import mono_s
from ...errors import LabspineError
from ..procedures import Procedure
from ..transport import CallServer, Delivery, Reply
from .handling import Handler, Task

__all__ = ["Crew"]

_log = logging.getLogger("labspine.service")
_TAKE_S = 1.0
_WATCH_S = 0.003
_QUIET_S = 0.05
_IDLE_S = 10.0
_PAUSE_S = 0.1
_MOST_TAKEN = 64
_QUICK_S = 0.002
_HOLD_S = 0.002


class Crew:
    """
    Take requests and answer them.

    Args:
        server: The instance's side of the transport.
        handler: Answers requests.
        concurrency: How many procedures may run at a time.
        loop: Returns the event loop for coroutine functions.
    """

    def __init__(
        self,
        server: CallServer,
        handler: Handler,
        *,
        concurrency: int,
        loop: Callable[[], asyncio.AbstractEventLoop],
    ) -> None:
        self._server = server
        self._handler = handler
        self._concurrency = concurrency
        self._loop = loop
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._taken: deque[Delivery] = deque()
        self._replies: list[Reply] = []
        self._leader: threading.Thread | None = None
        self._threads: set[threading.Thread] = set()
        self._spare = 0
        self._running = 0
        self._begun_mono_s = 0.0  # when the leader began its present task; 0 while it has none
        self._usual_s = 1.0
        self._is_stopping = False
        self._is_done = False
        self._parked: dict[Procedure, deque[Task]] = {}
        self._active: dict[Procedure, int] = {}
        self._watch_wanted = threading.Event()
        self._watchman: threading.Thread | None = None

    # --- life ---

    def start(self) -> None:
        """Begin to take requests."""
        self._watchman = threading.Thread(target=self._watch, name="labspine-service-watch", daemon=True)
        self._watchman.start()
        with self._lock:
            self._want_leader()

    def drain(self, timeout_s: float) -> bool:
        """
        Take no more requests, and wait for those that run.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            Whether all have ended.
        """
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._server.wake()
        deadline_s = mono_s() + timeout_s
        with self._changed:
            while not self._is_idle() and mono_s() < deadline_s:
                self._changed.wait(_PAUSE_S)
            is_idle = self._is_idle()
        self._is_done = True
        self._watch_wanted.set()
        while is_idle and self._others_live() and mono_s() < deadline_s + _TAKE_S:
            self._server.wake()
            with self._changed:
                self._changed.notify_all()
                self._changed.wait(_WATCH_S)
        return is_idle

    def _others_live(self) -> bool:
        threads = {*self._threads, self._watchman} - {threading.current_thread(), None}
        return any(thread.is_alive() for thread in threads if thread is not None)

    def _is_idle(self) -> bool:
        return self._running == 0 and not self._taken and not any(self._parked.values())

    def submit(self, delivery: Delivery) -> None:
        """Run a request that did not come by `take`."""
        with self._lock:
            self._taken.append(delivery)
            if not self._begun_mono_s:  # the leader waits at the broker, or there is none
                self._more_hands()

    # --- leading ---

    def _want_leader(self) -> None:
        """Make sure that somebody leads, if one more may run; the lock is held."""
        if self._leader is None and self._running < self._concurrency:
            self._more_hands()

    def _more_hands(self) -> None:
        if self._spare > 0:
            self._changed.notify()
            return
        thread = threading.Thread(target=self._work, name="labspine-service", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        me = threading.current_thread()
        try:
            while self._next_duty(me):
                pass
        finally:
            with self._changed:
                self._threads.discard(me)
                self._changed.notify_all()

    def _next_duty(self, me: threading.Thread) -> bool:
        """Lead, help, or wait for either; False ends the thread."""
        with self._changed:
            if self._running < self._concurrency and self._leader is None and not self._is_over():
                self._leader = me
            elif not self._taken or self._running >= self._concurrency:
                if self._is_over():
                    return False
                self._spare += 1
                told = self._changed.wait(_IDLE_S)
                self._spare -= 1
                wants_leader = self._leader is None and self._running < self._concurrency
                return told or bool(self._taken) or wants_leader
            leads = self._leader is me
        if leads:
            self._lead(me)
        else:
            self._help()
        return True

    def _is_over(self) -> bool:
        return self._is_stopping and not self._taken

    def _lead(self, me: threading.Thread) -> None:
        while self._leader is me:
            with self._lock:
                if self._leader is not me:
                    return
                delivery = self._taken.popleft() if self._taken else None
                replies, self._replies = self._replies, []
                if delivery is None and self._is_stopping:
                    self._leader = None
                if delivery is not None and replies and not self._must_send(replies):
                    self._replies, replies = replies, []
            if replies or delivery is None:
                self._take(replies, wants_more=delivery is None and not self._is_stopping)
            if delivery is not None:
                self._attend(delivery, leader=me)

    def _must_send(self, replies: list[Reply]) -> bool:
        return len(replies) >= _MOST_TAKEN or mono_s() - self._held_mono_s > _HOLD_S

    _held_mono_s = 0.0

    def _take(self, replies: list[Reply], *, wants_more: bool) -> None:
        count = max(1, min(_MOST_TAKEN, int(_QUICK_S / self._usual_s))) if wants_more else 0
        try:
            found = self._server.take(replies, count=count, wait_s=_TAKE_S)
        except LabspineError as error:
            if not self._is_stopping:
                _log.warning("no requests for now: %s", error)
                threading.Event().wait(_PAUSE_S)
            return
        except Exception:
            _log.exception("taking requests failed and goes on")
            threading.Event().wait(_PAUSE_S)
            return
        if found:
            self._taken.extend(found)

    def _help(self) -> None:
        """Run one request that waits here, beside the leader."""
        with self._lock:
            delivery = self._taken.popleft() if self._taken else None
        if delivery is not None:
            self._attend(delivery, leader=None)

    # --- one request ---

    def _attend(self, delivery: Delivery, *, leader: threading.Thread | None) -> None:
        try:
            task = self._handler.prepare(delivery)
        except Exception:  # a fault of ours must not end the thread
            _log.exception("a request could not be prepared")
            task = b""
        if isinstance(task, bytes):
            self._finish(delivery, task, leader=leader)
            return
        if task.procedure.is_async:
            self._begin_async(task)
            return
        with self._lock:
            place = self._place_for(task)
            if place == "now":
                self._running += 1
                if leader is not None and self._leader is leader:
                    self._begun_mono_s = mono_s()
                    if not self._watch_wanted.is_set():
                        self._watch_wanted.set()
        if place == "now":
            self._run(task, leader=leader)
        elif place == "full":
            waiting = len(self._parked.get(task.procedure, ()))
            self._finish(delivery, self._handler.busy(task, waiting), leader=leader)

    def _place_for(self, task: Task) -> str:
        """Decide whether a task runs now, is parked, or is one too many; the lock is held."""
        limit = task.procedure.options.concurrency
        if limit is None:
            return "now"
        if self._active.get(task.procedure, 0) < limit:
            self._active[task.procedure] = self._active.get(task.procedure, 0) + 1
            return "now"
        parked = self._parked.setdefault(task.procedure, deque())
        if len(parked) >= task.procedure.options.max_waiting:
            return "full"
        parked.append(task)
        return "parked"

    def _run(self, task: Task | None, *, leader: threading.Thread | None) -> None:
        while task is not None:
            delivery = task.delivery
            started_s = mono_s()
            body = self._handler.run(task)
            ended_s = mono_s()
            reply = Reply(delivery, body)
            with self._lock:
                following = self._after(task)
                if following is None:
                    self._running -= 1
                leads = leader is not None and self._leader is leader
                if leads:
                    self._begun_mono_s = 0.0 if following is None else ended_s
                    self._usual_s += 0.2 * (ended_s - started_s - self._usual_s)
                    self._hold(reply, ended_s)
                if self._is_stopping:
                    self._changed.notify_all()
            if not leads:
                self._send(reply)
            task = following

    def _after(self, task: Task) -> Task | None:
        """Give the place of a task that has ended to the next that is parked; the lock is held."""
        if task.procedure.options.concurrency is None:
            return None
        parked = self._parked.get(task.procedure)
        if parked:
            return parked.popleft()
        self._active[task.procedure] -= 1
        return None

    def _finish(self, delivery: Delivery, body: bytes, *, leader: threading.Thread | None) -> None:
        """Keep the last reply for the leader's next write; who does not lead any more sends it now."""
        reply = Reply(delivery, body)
        with self._lock:
            if leader is not None and self._leader is leader:
                self._hold(reply, mono_s())
                return
        self._send(reply)

    def _hold(self, reply: Reply, now_s: float) -> None:
        """Keep a reply for the leader's next write; the lock is held."""
        if not self._replies:
            self._held_mono_s = now_s
        self._replies.append(reply)

    def _send(self, reply: Reply) -> None:
        try:
            self._server.reply(reply)
        except LabspineError as error:
            _log.warning("a reply could not be sent: %s", error)
        except Exception:
            _log.exception("a reply could not be sent")

    # --- coroutines ---

    def _begin_async(self, task: Task) -> None:
        with self._lock:
            place = self._place_for(task)
            if place == "now":
                self._running += 1
        if place == "now":
            asyncio.run_coroutine_threadsafe(self._run_async(task), self._loop())
        elif place == "full":
            waiting = len(self._parked.get(task.procedure, ()))
            self._send(Reply(task.delivery, self._handler.busy(task, waiting)))

    async def _run_async(self, task: Task) -> None:
        loop = asyncio.get_running_loop()
        following: Task | None = task
        while following is not None:
            task = following
            delivery = task.delivery
            mine = asyncio.ensure_future(self._handler.run_async(task, self._sender(delivery)))
            task.call.on_cancel = lambda mine=mine: loop.call_soon_threadsafe(mine.cancel)
            body = await mine
            await loop.run_in_executor(None, self._send, Reply(delivery, body))
            with self._changed:
                following = self._after(task)
                if following is None:
                    self._running -= 1
                    self._want_leader()
                self._changed.notify_all()

    def _sender(self, delivery: Delivery) -> Callable[[bytes], asyncio.Future[int]]:
        loop = asyncio.get_running_loop()

        def send(body: bytes) -> asyncio.Future[int]:
            return loop.run_in_executor(None, self._server.reply, Reply(delivery, body, False))

        return send

    # --- the watchman ---

    def _watch(self) -> None:
        """Replace a leader that is held up."""
        pause = threading.Event()
        seen_s = quiet_s = 0.0
        while not self._is_done:
            pause.wait(_WATCH_S)
            begun_s = self._begun_mono_s
            if begun_s:
                quiet_s = 0.0
                if begun_s == seen_s:
                    self._replace_leader(begun_s)
            else:
                quiet_s += _WATCH_S
                if quiet_s > _QUIET_S:
                    self._watch_wanted.clear()
                    if not (self._begun_mono_s or self._is_done):  # either may have come just before
                        self._watch_wanted.wait(_IDLE_S)
                    quiet_s = 0.0
            seen_s = begun_s

    def _replace_leader(self, begun_s: float) -> None:
        with self._changed:
            if self._begun_mono_s != begun_s:
                return
            self._begun_mono_s = 0.0
            self._leader = None
            replies, self._replies = self._replies, []
            self._usual_s = max(self._usual_s, 2 * _WATCH_S)
            self._want_leader()
        for reply in replies:
            self._send(reply)
