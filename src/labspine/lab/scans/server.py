"""The scan server: accepts requests, keeps them in order, runs them on the engine, tells everybody."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Literal

from labspine.clock import mono_s
from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.engine import is_resumable
from labspine.engine.journal import Journal
from labspine.engine.journal.recovery import close_call
from labspine.errors import ConfigError, InvalidOperation, LabspineError, RequestRefused
from labspine.messages import (
    AlarmMessage,
    AvailableResourceMessage,
    BECStatus,
    ClientInfoMessage,
    ErrorInfo,
    ScanQueueModificationMessage,
)

from ..broker_check import refuse_unsafe_broker
from ..devices import DeviceRegistry
from ..plans.registry import PlanRegistry
from ..plans.requests import ReadyScan, prepare
from ..service import HEARTBEAT_EXPIRY_S, Heartbeat
from .aftermath import Aftermath, Left, Recovery, take_stock
from .announcer import Announcer, Order, plain
from .desk import RequestDesk
from .numbers import ScanNumbers
from .publisher import Publisher
from .queue import QueueEntry, ScanQueue
from .runner import Outcome, PlanRunner
from .sender import Outgoing, Puts, Sender
from .succession import Successor

__all__ = ["ScanServer"]

_log = logging.getLogger("labspine.lab")

_TURN_S = 1.0


class ScanServer:
    """
    Serve the queue of one lab; there is one scan server a broker.

    Args:
        connector: The door to the broker.
        registry: The devices.
        plans: The plans that may be requested.
        name: Name of the service.
        metadata: Goes into the start document of each run, for instance the beamline's name.
        journal: Where everything is written down before anybody is told; None announces directly, and
            forgets what was not announced when the process dies.
        recovery: What to do with a plan whose process died: ``resume`` goes on where that is possible,
            ``close`` ends its runs.
    """

    def __init__(
        self,
        connector: RedisConnector,
        registry: DeviceRegistry,
        plans: PlanRegistry,
        *,
        name: str = "scan_server",
        metadata: dict[str, object] | None = None,
        journal: Journal | None = None,
        recovery: Recovery = "resume",
    ) -> None:
        self.name = name
        self._connector = connector
        self._registry = registry
        self._plans = plans
        self._sender = Sender(connector, name=f"{name}-sender")
        self._queue = ScanQueue(connector, self._sender)
        self._numbers = ScanNumbers()
        self._journal = journal
        self._recovery: Recovery = recovery
        self._to_resume: list[tuple[QueueEntry, Left]] = []
        self._announcer = self._make_announcer(self._sender)
        self._publisher: Publisher | None = None
        if journal is not None:
            journal.full_hook = lambda words: self._alarm("DiskFull", words, severity=2)
            self._publisher = Publisher(journal, connector, self._sender, make_announcer=self._make_announcer)
        self._voice: Announcer | Publisher = self._publisher or self._announcer
        self._runner = PlanRunner(
            self._voice,
            registry,
            next_scan_number=self._numbers.next,
            on_state=self._on_state,
            metadata=metadata,
            journal=journal,
        )
        self._heartbeat = Heartbeat(connector, name, self._state)
        self._lock = threading.RLock()
        self._entry: QueueEntry | None = None
        self._desk = RequestDesk(self._sender, self._queue, registry, plans, service=name)
        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._work, name=name, daemon=True)
        self._put_plans_back: Callable[[], None] = _nothing

    # -- beginning and end ---------------------------------------------------------------------------

    def start(self) -> None:
        """
        Take over the queue and begin to serve.

        Raises:
            ConfigError: If another scan server serves this broker, or the broker could lose data.
            NotConnected: If the broker cannot be reached.
        """
        found = self._stop_devices_of_the_dead()
        refuse_unsafe_broker(self._connector)
        self._refuse_second_server()
        self._numbers.load(self._connector)
        interrupted = self._queue.restore()
        self._heartbeat.start()
        successor = Successor(self._connector, self._sender, self._queue, alarm=self._alarm)
        if self._publisher is not None:
            self._numbers.at_least(found.last_number)
            interrupted, self._to_resume = successor.clear_up(found, interrupted)
            self._publisher.start()
        for entry in interrupted:
            successor.report_interrupted(entry)
        self.announce_plans()
        self._queue.tell()
        self._register()
        self._put_plans_back = _cheaper_bluesky_plans()
        self._worker.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """
        End: a running scan is aborted, waiting requests stay for the next scan server.

        Args:
            timeout_s: Longest wait in seconds.

        Returns:
            True if everything has ended and was told in time.
        """
        deadline = mono_s() + timeout_s
        if self._stopping.is_set():
            return True
        self._stopping.set()
        self._unregister()
        self._queue.close()
        self._end_running()
        if self._worker.ident:
            self._worker.join(max(0.1, deadline - mono_s()))
        if self._publisher is not None:
            self._publisher.drain(max(0.1, deadline - mono_s()))
        all_sent = self._sender.stop(max(0.2, deadline - mono_s()))
        if self._publisher is not None:
            self._publisher.stop()
        self._heartbeat.stop()
        self._runner.close()
        self._put_plans_back()
        return all_sent and not self._worker.is_alive()

    def _end_running(self) -> None:
        try:
            self._runner.end("abort", reason="the scan server was stopped")
        except InvalidOperation:
            return  # nothing runs

    def _make_announcer(self, sender: Puts) -> Announcer:
        return Announcer(sender, self._registry, bundled=self._connector.options.profile == "bec4")

    def _refuse_second_server(self) -> None:
        """Wait for the sign of life of a dead predecessor to expire; a living one keeps renewing it."""
        endpoint = MessageEndpoints.service_status(self.name)
        deadline = mono_s() + HEARTBEAT_EXPIRY_S + 1.0
        first = self._connector.get(endpoint)
        pause = threading.Event()
        while first is not None:
            pause.wait(0.1)
            now = self._connector.get(endpoint)
            if now is None:
                return
            if now.info.get("timestamp") != first.info.get("timestamp") or mono_s() > deadline:
                where = f"{now.info.get('hostname')}, process {now.info.get('pid')}"
                raise ConfigError(
                    f'scan server "{self.name}" serves this broker already ({where}); stop it first'
                )

    def _register(self) -> None:
        if self._connector.options.profile == "bec4":  # there each user has a channel of his own
            everybody = MessageEndpoints.pattern("scan_queue_request")
            self._connector.register(patterns=everybody, cb=self._desk.on_request)
        else:
            self._connector.register(MessageEndpoints.scan_queue_request(), cb=self._desk.on_request)
        changes = MessageEndpoints.scan_queue_modification_request()
        self._connector.register(changes, cb=self._on_modification)

    def _unregister(self) -> None:
        try:
            self._connector.unregister(cb=self._desk.on_request)
            self._connector.unregister(cb=self._on_modification)
        except LabspineError as error:
            _log.debug("%s: still registered: %s", self.name, error)

    def announce_plans(self) -> None:
        """Publish the plans that may be requested; call it again after a change of the registry."""
        message = AvailableResourceMessage(resource=self._plans.describe())
        self._sender.put(Outgoing("set_and_publish", MessageEndpoints.available_scans(), message))

    def _stop_devices_of_the_dead(self) -> Aftermath:
        """Bring to rest what a dead predecessor moved, before anything else: this needs no broker."""
        if self._journal is None:
            return Aftermath()
        loop = self._runner.engine.loop
        return take_stock(self._journal, self._registry, recovery=self._recovery, loop=loop)

    # -- changes of the queue ----------------------------------------------------------------------------

    def _on_modification(self, message: MessageObject, **_: object) -> None:
        change = message.value
        if not isinstance(change, ScanQueueModificationMessage):
            return
        try:
            self._modify(change)
        except LabspineError as error:
            _log.info("%s: %s", change.action, error)
            note = ClientInfoMessage(
                message=f"{change.action}: {error}", source="scan_server", severity=1, RID=change.request_id
            )
            self._tell_people(note)
            return
        self._sender.put(Outgoing("send", MessageEndpoints.scan_queue_modification(), change))

    def _modify(self, change: ScanQueueModificationMessage) -> None:
        if self._take_out(change):
            return
        self._check_meant(change)
        match change.action:
            case "pause":
                self._runner.pause(defer=False)
            case "deferred_pause":
                self._runner.pause(defer=True)
            case "continue" | "resume":
                self._runner.resume()
            case "abort":
                self._runner.end("abort", reason=str(change.parameter.get("reason", "")))
            case "halt":
                self._runner.end("halt")
            case "user_completed":
                self._runner.end("stop")
            case "clear":
                for entry in self._queue.pending():
                    self._desk.forget(entry.rid)
                    self._queue.finish(entry, "STOPPED", reason="user")
            case _:
                raise InvalidOperation(f"{change.action} is not offered by this scan server")

    def _take_out(self, change: ScanQueueModificationMessage) -> bool:
        """Abort of a request that still waits: take it out of the queue."""
        if change.action not in ("abort", "halt") or change.request_id is None:
            return False
        for entry in self._queue.pending():
            if entry.rid == change.request_id:
                self._desk.forget(entry.rid)
                self._queue.finish(entry, "STOPPED", reason="user")
                return True
        return False

    def _check_meant(self, change: ScanQueueModificationMessage) -> None:
        """Refuse a change for a scan that is not the one that runs: the person saw an old picture."""
        meant = change.scan_id if isinstance(change.scan_id, list) else [change.scan_id]
        wanted = [scan_id for scan_id in meant if scan_id is not None]
        running = self._voice.open_scan_ids
        if wanted and not set(wanted) & set(running):
            raise InvalidOperation("the scan that was meant does not run any more")
        entry = self._entry
        if change.request_id is not None and (entry is None or entry.rid != change.request_id):
            raise InvalidOperation("the request that was meant neither runs nor waits")

    # -- running -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        for entry, left in self._to_resume:
            self._attempt(entry, left)
        while not self._stopping.is_set():
            following = self._queue.next(_TURN_S)
            if following is not None and not self._stopping.is_set():
                self._attempt(following, None)

    def _attempt(self, entry: QueueEntry, left: Left | None) -> None:
        if self._stopping.is_set():
            return
        try:
            self._run(entry, left)
        except Exception as error:  # the queue must go on, whatever one request does
            _log.exception("request %s failed", entry.message.scan_type)
            self._fail(entry, error)

    def _run(self, entry: QueueEntry, left: Left | None) -> None:
        try:
            ready = self._desk.take(entry.rid) or prepare(
                entry.message, registry=self._registry, plans=self._plans
            )
        except RequestRefused as error:
            if left is not None and self._journal is not None:
                close_call(self._journal, left.path, why=str(error))
            self._fail(entry, error)
            return
        if left is None:
            self._begin(entry, ready)
        self._entry = entry
        self._heartbeat.beat()
        try:
            if left is not None:
                self._tell_resumed(entry, left)
                paused = left.story.was_paused
                outcome = self._runner.recover(left.path, ready.build(), paused=paused)
            else:
                outcome = self._runner.run(ready.build(), ready.user_metadata)
        finally:
            self._entry = None
        self._catch_up()
        self._note_runs(entry)
        self._conclude(entry, outcome)
        self._heartbeat.beat()

    def _begin(self, entry: QueueEntry, ready: ReadyScan) -> None:
        if self._publisher is not None:
            self._publisher.begin(_order(entry, ready), resumable=is_resumable(ready.plan.function))
        else:
            self._announcer.begin(_order(entry, ready))
        self._queue.mark_running(entry)
        self._sender.flush(_TURN_S)  # the mark should be on the broker before anything moves

    def _catch_up(self) -> None:
        """Have the end of a scan announced before the end of its request."""
        while self._publisher is not None and not self._publisher.drain(_TURN_S):
            if self._stopping.is_set():
                return

    def _tell_resumed(self, entry: QueueEntry, left: Left) -> None:
        text = f"{entry.message.scan_type}: {left.story.words()}; it goes on now"
        _log.warning("%s", text)
        self._tell_people(ClientInfoMessage(message=text, source="scan_server", severity=1, RID=entry.rid))

    def _conclude(self, entry: QueueEntry, outcome: Outcome) -> None:
        match outcome.kind:
            case "completed":
                self._queue.finish(entry, "COMPLETED", reason=None)
            case "ended" if outcome.way == "stop":
                self._queue.finish(entry, "COMPLETED", reason="user")
            case "ended":
                entry.error = outcome.reason or None
                self._queue.finish(entry, "STOPPED", reason="user")
            case "failed":
                self._fail(entry, outcome.error or RuntimeError(outcome.reason))

    def _fail(self, entry: QueueEntry, error: BaseException) -> None:
        entry.error = f"{type(error).__name__}: {error}"
        self._alarm(type(error).__name__, f"{entry.message.scan_type}: {error}", severity=2)
        self._queue.finish(entry, "STOPPED", reason="alarm")

    def _note_runs(self, entry: QueueEntry) -> None:
        begun = self._voice.begun
        entry.scan_ids = [status.scan_id for status in begun]
        entry.scan_numbers = [status.scan_number for status in begun]

    def _on_state(self, state: Literal["open", "paused"]) -> None:
        entry = self._entry
        if entry is None:
            return
        shown: Literal["PAUSED", "RUNNING"] = "PAUSED" if state == "paused" else "RUNNING"

        def change(target: QueueEntry) -> None:
            target.status = shown
            self._note_runs(target)

        self._queue.update(entry, change)
        self._heartbeat.beat()

    # -- telling -----------------------------------------------------------------------------------------

    def _state(self) -> tuple[BECStatus, dict[str, object]]:
        entry = self._entry
        status = BECStatus.RUNNING if entry is not None else BECStatus.IDLE
        scan_ids = self._voice.open_scan_ids
        return status, {
            "state": str(self._runner.engine.state),
            "scan_id": scan_ids[-1] if scan_ids else None,
            "scan_number": self._numbers.last or None,
            "plan": entry.message.scan_type if entry is not None else None,
            "queue_length": len(self._queue),
            "waiting": len(self._queue.pending()),
            "plans": len(self._plans),
            "backlog": self._sender.backlog,
            "dropped": self._sender.dropped,
            "journal_backlog": self._publisher.backlog if self._publisher is not None else 0,
        }

    def _alarm(self, kind: str, words: str, *, severity: int) -> None:
        info = ErrorInfo(error_message=words, compact_error_message=words, exception_type=kind)
        message = AlarmMessage(severity=severity, info=info)
        self._sender.put(Outgoing("set_and_publish", MessageEndpoints.alarm(), message))

    def _tell_people(self, note: ClientInfoMessage) -> None:
        try:
            self._connector.xadd(MessageEndpoints.client_info(), note, max_size=100)
        except LabspineError as error:
            _log.debug("%s: nobody could be told: %s", self.name, error)


def _order(entry: QueueEntry, ready: ReadyScan) -> Order:
    def plain_list(value: object) -> list[object]:
        made = plain(value)
        return made if isinstance(made, list) else []

    return Order(
        rid=entry.rid,
        queue_id=entry.queue_id,
        plan_name=entry.message.scan_type,
        args=plain_list(ready.args),
        kwargs={key: plain(value) for key, value in ready.kwargs.items()},
        user_metadata={key: plain(value) for key, value in ready.user_metadata.items()},
        num_points=entry.num_points,
    )


def _cheaper_bluesky_plans() -> Callable[[], None]:
    """Spare bluesky's stack traces while we serve; returns what puts them back."""
    if "bluesky.plans" not in sys.modules:
        return _nothing
    from ..plans.bluesky_plans import spare_stack_traces

    return spare_stack_traces()


def _nothing() -> None:
    pass
