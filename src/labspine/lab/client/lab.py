"""The lab as a person at a prompt or in a notebook sees it."""

from __future__ import annotations

import getpass
import os
import socket
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

from labspine.clock import mono_s, utc_s
from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import NoScanServer, RequestRefused
from labspine.ids import new_uid
from labspine.messages import (
    RequestResponseMessage,
    ScanMessage,
    ScanQueueMessage,
    ScanQueueModificationMessage,
    ScanQueueStatusMessage,
    ScanStatusMessage,
)
from labspine.service import Rpc

from ..discovery import resolve_url
from .report import ScanReport
from .segments import follow_segments
from .views import Devices, Scans, plain_argument

__all__ = ["Lab", "connect"]

Action = Literal["pause", "deferred_pause", "continue", "abort", "halt", "user_completed", "clear"]


def connect(
    url: str | None = None, *, profile: Literal["seed", "bec4"] = "seed", name: str = "client"
) -> Lab:
    """
    Connect to a lab.

    Args:
        url: Address of the broker; None takes LABSPINE_URL, REDIS_URL or the running embedded broker.
        profile: Names of the channels: ``seed``, or ``bec4`` for an existing BEC Redis.
        name: Name of this client on the broker.

    Returns:
        The lab; close it at the end, or use it in a ``with``.

    Raises:
        ConfigError: If there is no broker to be found, or the address cannot work.
        NotConnected: If the broker cannot be reached.
    """
    address = resolve_url(url)
    return Lab(RedisConnector(address, name=name, profile=profile), url=address)


class Lab:
    """
    Request scans, follow them, and look at devices.

    Args:
        connector: The door to the broker; it is closed together with the lab.
        url: Its address, for people.
    """

    def __init__(self, connector: RedisConnector, *, url: str = "") -> None:
        self.connector = connector
        self.url = url
        self.devices = Devices(connector)
        self.scans = Scans(self)
        self._lock = threading.RLock()
        self._rpc: Rpc | None = None
        self._listens = False
        self._answered = threading.Condition(self._lock)
        self._answers: dict[str, RequestResponseMessage] = {}
        self._awaited: set[str] = set()
        self._reports: weakref.WeakValueDictionary[str, ScanReport] = weakref.WeakValueDictionary()

    @property
    def rpc(self) -> Rpc:
        """The client for services: ``lab.rpc.chiller.setpoint(celsius=18.5)``."""
        with self._lock:
            if self._rpc is None:
                self._rpc = Rpc(self.connector)
            return self._rpc

    def close(self) -> None:
        """Close the connection; a scan that runs goes on."""
        if self._rpc is not None:
            self._rpc.close()
        self.connector.shutdown()

    def __enter__(self) -> Lab:
        """Use the lab in a ``with``."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def submit(
        self,
        plan: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        metadata: Mapping[str, object] | None = None,
        timeout_s: float = 5.0,
    ) -> ScanReport:
        """
        Request a plan.

        Args:
            plan: Name of the plan.
            args: Its positional arguments; devices by name or as ``lab.devices.x``.
            kwargs: Its keyword arguments.
            metadata: What goes into the start of the run, such as ``{"sample": "LaB6"}``.
            timeout_s: Longest wait for the answer in seconds; after it the request is void.

        Returns:
            The report with which the scan can be followed; the request is in the queue.

        Raises:
            RequestRefused: If the scan server does not accept it; the sentence is the server's.
            NoScanServer: If nobody answers.
            NotConnected: If the broker cannot be reached.
        """
        message = ScanQueueMessage(
            scan_type=plan,
            parameter={"args": plain_argument(list(args)), "kwargs": plain_argument(dict(kwargs or {}))},
            metadata={"user_metadata": dict(metadata)} if metadata else {},
        )
        return self.send_request(message, timeout_s=timeout_s)

    def send_request(self, message: ScanQueueMessage, *, timeout_s: float = 5.0) -> ScanReport:
        """
        Send a request that was built before, for instance by ``words_to_request``.

        Args:
            message: The request; identifier, sender and time limit are added to its metadata.
            timeout_s: Longest wait for the answer in seconds; after it the request is void.

        Returns:
            As `submit`.

        Raises:
            RequestRefused: If the scan server does not accept it.
            NoScanServer: If nobody answers.
            NotConnected: If the broker cannot be reached.
        """
        rid = new_uid()
        metadata = {**message.metadata, "RID": rid, "client_info": _who()}
        metadata["expires_utc_s"] = utc_s() + timeout_s
        message = ScanQueueMessage(**{**message.content, "metadata": metadata})
        self._listen()
        report = ScanReport(rid, connector=self.connector, service="scan_server")
        with self._lock:
            self._reports[rid] = report
            self._awaited.add(rid)
        try:
            mine = MessageEndpoints.scan_queue_request(self.connector.address.username or "default")
            heard = self.connector.send(mine, message)
            answer = self._await(rid, timeout_s if heard else min(timeout_s, 1.0))
        finally:
            with self._lock:
                self._awaited.discard(rid)
                self._answers.pop(rid, None)
        if answer is None:
            raise NoScanServer(
                f"no scan server answers on {self.url or 'this broker'}; start one with: labspine up --demo"
            )
        if not answer.accepted:
            refused = RequestRefused(str(answer.message))
            refused.code = str(answer.metadata.get("code") or refused.code)
            raise refused
        report.service = str(answer.metadata.get("service") or report.service)
        return report

    def pause(self, *, at_once: bool = False) -> None:
        """
        Pause the running scan.

        Args:
            at_once: True stops motors now and repeats the point later; False waits for the next checkpoint.

        Raises:
            NoScanServer: If nobody listens.
        """
        self._modify("pause" if at_once else "deferred_pause")

    def resume(self) -> None:
        """Let a paused scan and a paused queue go on; raises `NoScanServer` if nobody listens."""
        self._modify("continue")

    def abort(self) -> None:
        """End the running or paused scan as aborted; its clean-up is done. Raises `NoScanServer`."""
        self._modify("abort")

    def halt(self) -> None:
        """End the scan without the clean-up of its plan; motors are stopped. Raises `NoScanServer`."""
        self._modify("halt")

    def finish(self) -> None:
        """End the scan early as a success: what was measured is enough. Raises `NoScanServer`."""
        self._modify("user_completed")

    def clear_queue(self) -> None:
        """Take all waiting requests out of the queue; the running one goes on. Raises `NoScanServer`."""
        self._modify("clear")

    def segments(
        self, scan_id: str | None = None, *, from_start: bool = True, timeout_s: float | None = None
    ) -> Iterator[ScanMessage]:
        """
        Yield the points of a scan in order, each exactly once, live until the scan has ended.

        Args:
            scan_id: The scan; None takes the one that runs, or waits for the next.
            from_start: True begins with the first point, also in the middle of the scan.
            timeout_s: Longest wait for the next point, in seconds; None waits without limit.

        Returns:
            An iterator that ends with the scan.

        Raises:
            InvalidArgument: If there is no scan of that identifier.
            DeadlinePassed: If nothing came in time.
        """
        return follow_segments(self.connector, scan_id, from_start=from_start, timeout_s=timeout_s)

    def queue_status(self) -> dict[str, Any]:
        """
        Look at the queue.

        Returns:
            ``{"info": [entries], "status": "RUNNING" | "PAUSED", "locks": []}``; no entries when nothing
            was ever queued.
        """
        message = self.connector.get(MessageEndpoints.scan_queue_status())
        if message is None:
            return {"info": [], "status": "RUNNING", "locks": []}
        return dict(message.queue["primary"])

    def scan_status(self) -> ScanStatusMessage | None:
        """Return the status of the running or last scan; None when there was none yet."""
        status: ScanStatusMessage | None = self.connector.get(MessageEndpoints.scan_status())
        return status

    def _modify(self, action: Action) -> None:
        message = ScanQueueModificationMessage(action=action, parameter={}, metadata={"client_info": _who()})
        if not self.connector.send(MessageEndpoints.scan_queue_modification_request(), message):
            raise NoScanServer(f"nobody listens, so {action} has no effect; is a scan server running?")

    def _listen(self) -> None:
        with self._lock:
            if self._listens:
                return
            self._listens = True
        self.connector.register(MessageEndpoints.scan_queue_request_response(), cb=self._take_answer)
        self.connector.register(MessageEndpoints.scan_queue_status(), cb=self._take_queue)
        self.connector.register(MessageEndpoints.scan_status(), cb=self._take_status)

    def _await(self, rid: str, timeout_s: float) -> RequestResponseMessage | None:
        deadline = mono_s() + timeout_s
        with self._answered:
            self._answered.wait_for(lambda: rid in self._answers, max(0.0, deadline - mono_s()))
            return self._answers.get(rid)

    def _take_answer(self, message: MessageObject, **_: object) -> None:
        answer = message.value
        if isinstance(answer, RequestResponseMessage):
            with self._answered:
                rid = answer.metadata.get("RID")
                if rid in self._awaited:
                    self._answers[str(rid)] = answer
                    self._answered.notify_all()

    def _take_queue(self, message: MessageObject, **_: object) -> None:
        if not isinstance(message.value, ScanQueueStatusMessage):
            return
        for entry in message.value.queue["primary"].get("info", ()):
            rids = [block.get("RID") for block in entry.get("request_blocks", ())]
            for report in self._reports_of(rids):
                report.take_entry(entry)

    def _take_status(self, message: MessageObject, **_: object) -> None:
        if isinstance(message.value, ScanStatusMessage):
            for report in self._reports_of([message.value.metadata.get("RID")]):
                report.take_status(message.value)

    def _reports_of(self, rids: Sequence[object]) -> list[ScanReport]:
        with self._lock:
            found = [self._reports.get(str(rid)) for rid in rids]
        return [report for report in found if report is not None]

    def __repr__(self) -> str:
        return f"<Lab {self.url}>"


def _who() -> dict[str, object]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return {"username": user, "hostname": socket.gethostname(), "pid": os.getpid()}
