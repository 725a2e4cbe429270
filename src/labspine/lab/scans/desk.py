"""The desk of the scan server: looks at each request, answers it, and puts it into the queue."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping

from labspine.clock import utc_s
from labspine.connector import MessageObject
from labspine.endpoints import MessageEndpoints
from labspine.errors import RequestRefused
from labspine.ids import new_uid
from labspine.messages import RequestResponseMessage, ScanQueueMessage

from ..devices import DeviceRegistry
from ..plans.registry import PlanRegistry
from ..plans.requests import ReadyScan, prepare
from .queue import QueueEntry, ScanQueue
from .sender import OUTAGE, Outgoing, Sender

__all__ = ["MAX_WAITING", "RequestDesk"]

_log = logging.getLogger("labspine.lab")

MAX_WAITING = 1000
_REMEMBERED_ANSWERS = 1000


class RequestDesk:
    """
    Answer each request once, however often it comes.

    Args:
        sender: The thread that sends the answers.
        queue: Where accepted requests go.
        registry: The devices.
        plans: The plans that may be requested.
        service: Name of the scan server, for the answers.
    """

    def __init__(
        self, sender: Sender, queue: ScanQueue, registry: DeviceRegistry, plans: PlanRegistry, *, service: str
    ) -> None:
        self._sender = sender
        self._queue = queue
        self._registry = registry
        self._plans = plans
        self._service = service
        self._lock = threading.Lock()
        self._ready: dict[str, ReadyScan] = {}
        self._answers: OrderedDict[str, RequestResponseMessage] = OrderedDict()

    def take(self, rid: str) -> ReadyScan | None:
        """
        Hand out what was prepared for a request.

        Args:
            rid: Identifier of the request.

        Returns:
            The prepared scan; None if it comes from a former scan server.
        """
        with self._lock:
            return self._ready.pop(rid, None)

    def forget(self, rid: str) -> None:
        """
        Throw away what was prepared for a request that was taken out of the queue.

        Args:
            rid: Identifier of the request.
        """
        with self._lock:
            self._ready.pop(rid, None)

    def on_request(self, message: MessageObject, **_: object) -> None:
        """
        Take a request; a callback of the connector.

        Args:
            message: What came.
        """
        request = message.value
        if not isinstance(request, ScanQueueMessage):
            return
        expires = request.metadata.get("expires_utc_s")
        if isinstance(expires, (int, float)) and utc_s() > expires:
            _log.warning("a request for %s came after its time limit and is dropped", request.scan_type)
            return
        rid = str(request.metadata.get("RID") or new_uid())
        with self._lock:
            answer = self._answers.get(rid)
        if answer is None:
            answer = self._decide(request, rid)
            with self._lock:
                self._answers[rid] = answer
                if len(self._answers) > _REMEMBERED_ANSWERS:
                    self._answers.popitem(last=False)
        self._sender.put(Outgoing("send", MessageEndpoints.scan_queue_request_response(), answer))

    def _decide(self, request: ScanQueueMessage, rid: str) -> RequestResponseMessage:
        try:
            ready = prepare(request, registry=self._registry, plans=self._plans)
            entry = self._enqueue(ready, rid)
        except RequestRefused as error:
            return self._answer(request, rid, text=str(error), code=error.code)
        except OUTAGE as error:
            text = f"the request could not be stored: {error}"
            return self._answer(request, rid, text=text, code=error.code)
        except Exception as error:  # a plan of the lab's own may raise anything while it is walked through
            _log.exception("request for %s failed", request.scan_type)
            return self._answer(request, rid, text=f"{type(error).__name__}: {error}", code="E-PLAN")
        points = f", {entry.num_points} points" if entry.num_points else ""
        text = f"{request.scan_type} accepted{points}"
        more = {"queue_id": entry.queue_id, "num_points": entry.num_points}
        return self._answer(request, rid, text=text, code=None, more=more)

    def _enqueue(self, ready: ReadyScan, rid: str) -> QueueEntry:
        if len(self._queue) >= MAX_WAITING:
            raise RequestRefused(f"the queue is full: {MAX_WAITING} requests wait; try again later")
        request = ready.message
        points = ready.num_points
        metadata = {
            **request.metadata,
            "RID": rid,
            "queue_id": new_uid(),
            "num_points": points,
            "accepted_utc_s": utc_s(),
        }
        stored = ScanQueueMessage(**{**request.content, "metadata": metadata})
        entry = QueueEntry.of(stored)
        with self._lock:
            self._ready[rid] = ready
        self._queue.accept(entry)
        return entry

    def _answer(
        self,
        request: ScanQueueMessage,
        rid: str,
        *,
        text: str,
        code: str | None,
        more: Mapping[str, object] | None = None,
    ) -> RequestResponseMessage:
        metadata = {**request.metadata, "RID": rid, "service": self._service, **(more or {})}
        if code is not None:
            metadata["code"] = code
        return RequestResponseMessage(accepted=code is None, message=text, metadata=metadata)
