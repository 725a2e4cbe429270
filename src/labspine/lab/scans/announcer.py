"""From the documents of the engine to the messages on the bus."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np

from labspine.clock import utc_s
from labspine.endpoints import MessageEndpoints
from labspine.messages import (
    ProgressMessage,
    ScanBaselineMessage,
    ScanMessage,
    ScanStatusMessage,
    VariableMessage,
)

from ..devices import DeviceRegistry, brief_key
from .sender import Outgoing, Puts

__all__ = ["Announcer", "Ending", "Order", "ScanState"]

Document = Mapping[str, object]
Data = dict[str, dict[str, dict[str, object]]]
ScanState = Literal["open", "paused", "aborted", "halted", "closed", "user_completed"]
Ending = Literal["closed", "aborted", "halted", "user_completed"]

KEEP_S = 1800.0
"""How long points, baseline and final status of a scan stay readable on the broker."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is known about a scan before its documents: who asked for it, and how."""

    rid: str
    queue_id: str
    plan_name: str
    args: list[object] = field(default_factory=list)
    kwargs: dict[str, object] = field(default_factory=dict)
    user_metadata: dict[str, object] = field(default_factory=dict)
    num_points: int | None = None


@dataclass(slots=True)
class _Run:
    """One open run."""

    order: Order
    status: ScanStatusMessage
    announced: int = 0
    repeated: int = 0
    last_seq_num: int = 0
    streams: dict[str, tuple[str, dict[str, list[str]]]] = field(default_factory=dict)

    @property
    def scan_id(self) -> str:
        return self.status.scan_id or ""


class Announcer:
    """
    Subscribe it to a RunEngine: it turns documents into scan status, segments, baseline and progress.

    It only translates and hands over to the sender, so the engine never waits for the broker. Each point is
    announced once: a point that is measured again after a pause keeps its first reading on the bus, and the
    final status counts it as ``info["repeated_readouts"]``. All points go out before the final status.

    Args:
        sender: The thread that speaks to the broker.
        registry: The devices, for units and shapes before the first point.
        bundled: True sends segments as bundles, as BEC clients expect.
    """

    def __init__(self, sender: Puts, registry: DeviceRegistry, *, bundled: bool = False) -> None:
        self._sender = sender
        self._registry = registry
        self._bundled = bundled
        self._lock = threading.RLock()
        self._order = Order(rid="", queue_id="", plan_name="")
        self._ending: Ending | None = None
        self._reason: Literal["user", "alarm"] | None = None
        self._runs: dict[str, _Run] = {}
        self._begun: list[ScanStatusMessage] = []

    def begin(self, order: Order) -> None:
        """
        Say to which request the next documents belong.

        Args:
            order: The request.
        """
        with self._lock:
            self._order, self._ending, self._reason = order, None, None
            self._begun = []

    def end_as(self, ending: Ending, reason: Literal["user", "alarm"] | None) -> None:
        """
        Say how the runs end that are going to be closed now; without it their stop document decides.

        Args:
            ending: The status to announce.
            reason: Who ended it.
        """
        with self._lock:
            self._ending, self._reason = ending, reason

    @property
    def begun(self) -> list[ScanStatusMessage]:
        """The first status of each run of the present request."""
        with self._lock:
            return list(self._begun)

    @property
    def open_scan_ids(self) -> list[str]:
        """Identifiers of the runs that are open."""
        with self._lock:
            return list(self._runs)

    def announced(self, scan_id: str) -> int:
        """Count the points of an open run that were handed over."""
        with self._lock:
            return self._runs[scan_id].announced if scan_id in self._runs else 0

    def show_state(self, status: Literal["open", "paused"]) -> None:
        """
        Announce that all open runs are paused, or go on.

        Args:
            status: ``paused`` or ``open``.
        """
        with self._lock:
            for run in self._runs.values():
                if run.status.status != status:
                    self._put_status(run, status=status, reason=None)

    def __call__(self, name: str, document: Document) -> None:
        """
        Take a document of the engine.

        Args:
            name: start, descriptor, event, event_page or stop; others are ignored.
            document: The document, by the event model.
        """
        with self._lock:
            match name:
                case "start":
                    self._start(document)
                case "descriptor":
                    self._descriptor(document)
                case "event":
                    self._event(document)
                case "event_page":
                    for row in _rows(document):
                        self._event(row)
                case "stop":
                    self._stop(document)
                case _:
                    pass

    def _start(self, start: Document) -> None:
        order = self._order
        scan_id = str(start["uid"])
        number = start.get("scan_id")
        scan_number = number if isinstance(number, int) else None
        motors, detectors = _names(start.get("motors")), _names(start.get("detectors"))
        points = start.get("num_points")
        num_points = points if isinstance(points, int) else order.num_points
        status = ScanStatusMessage(
            metadata={"RID": order.rid, "queue_id": order.queue_id},
            scan_id=scan_id,
            status="open",
            scan_number=scan_number,
            num_points=num_points,
            scan_name=str(start.get("plan_name") or order.plan_name),
            scan_type="step",
            scan_report_devices=motors,
            user_metadata=order.user_metadata,
            readout_priority={
                "monitored": [*motors, *(d for d in detectors if d not in motors)],
                "baseline": self._registry.names("baseline"),
                "async": [],
                "continuous": [],
                "on_request": self._registry.names("on_request"),
            },
            request_inputs={"arg_bundle": order.args, "inputs": {}, "kwargs": order.kwargs},
            info=self._info(start, scan_number=scan_number, num_points=num_points),
            timestamp=utc_s(),
        )
        run = self._runs[scan_id] = _Run(order, status)
        self._begun.append(status)
        if scan_number is not None:
            number_message = VariableMessage(value=scan_number, metadata={"scan_id": scan_id})
            self._sender.put(Outgoing("set", MessageEndpoints.scan_number(), number_message))
        self._say_status(status)
        self._say_progress(run, done=False)

    def _info(self, start: Document, *, scan_number: int | None, num_points: int | None) -> dict[str, object]:
        order = self._order
        motors, detectors = _names(start.get("motors")), _names(start.get("detectors"))
        known = [name for name in (*motors, *detectors) if name in self._registry]
        return {
            "uid": start["uid"],
            "scan_number": scan_number,
            "num_points": num_points,
            "plan_name": str(start.get("plan_name") or order.plan_name),
            "motors": motors,
            "detectors": detectors,
            "shape": plain(start.get("shape")) or ([num_points] if num_points else []),
            "hints": self._hints(start, (*motors, *detectors)),
            "data_keys": {name: self._registry.data_keys(name) for name in known},
            "scan_args": {"args": order.args, "kwargs": order.kwargs},
            "user_metadata": order.user_metadata,
            "queue_id": order.queue_id,
            "RID": order.rid,
            "start_utc_s": start.get("time"),
        }

    def _hints(self, start: Document, names: Sequence[str]) -> dict[str, object]:
        hints = dict(cast("Mapping[str, object]", plain(start.get("hints")) or {}))
        fields = {}
        for name in names:
            if name in self._registry:
                own = getattr(self._registry[name], "hints", None) or {}
                fields[name] = list(own.get("fields", []))
        hints["fields"] = fields
        return hints

    def _descriptor(self, descriptor: Document) -> None:
        run = self._runs.get(str(descriptor.get("run_start")))
        if run is None:
            return
        object_keys = cast("Mapping[str, Sequence[str]]", descriptor.get("object_keys") or {})
        keys = {device: list(signals) for device, signals in object_keys.items()}
        stream = str(descriptor.get("name", "primary"))
        run.streams[str(descriptor["uid"])] = (stream, keys)
        if stream != "primary":
            return
        described = cast("Mapping[str, Mapping[str, object]]", descriptor.get("data_keys") or {})
        data_keys = {
            device: {signal: brief_key(described[signal]) for signal in signals if signal in described}
            for device, signals in keys.items()
        }
        if data_keys != run.status.info["data_keys"]:
            run.status.info["data_keys"] = plain(data_keys)
            self._put_status(run, status=run.status.status, reason=None)

    def _event(self, event: Document) -> None:
        for run in self._runs.values():
            found = run.streams.get(str(event["descriptor"]))
            if found is not None:
                break
        else:
            return
        stream, keys = found
        if stream == "primary":
            self._point(run, int(cast("int", event["seq_num"])), _data(event, keys))
        elif stream == "baseline":
            self._baseline(run, _data(event, keys))

    def _point(self, run: _Run, seq_num: int, data: Data) -> None:
        if seq_num <= run.last_seq_num:
            run.repeated += 1
            return
        run.last_seq_num = seq_num
        run.announced += 1
        message = ScanMessage(
            metadata={"scan_id": run.scan_id, "scan_number": run.status.scan_number, "RID": run.order.rid},
            point_id=seq_num - 1,
            scan_id=run.scan_id,
            data=data,
        )
        kept = MessageEndpoints.public_scan_segment(run.scan_id, message.point_id)
        self._sender.put(
            Outgoing("set", kept, message, expire_s=KEEP_S),
            Outgoing("send", MessageEndpoints.scan_segment(), message, bundled=self._bundled),
        )
        self._say_progress(run, done=False)

    def _baseline(self, run: _Run, data: Data) -> None:
        message = ScanBaselineMessage(
            metadata={"scan_id": run.scan_id, "RID": run.order.rid}, scan_id=run.scan_id, data=data
        )
        self._sender.put(
            Outgoing("set", MessageEndpoints.public_scan_baseline(run.scan_id), message, expire_s=KEEP_S),
            Outgoing("set_and_publish", MessageEndpoints.scan_baseline(), message),
        )

    def _stop(self, stop: Document) -> None:
        run = self._runs.pop(str(stop.get("run_start")), None)
        if run is None:
            return
        by_document: dict[object, Ending] = {"success": "closed", "abort": "aborted", "fail": "aborted"}
        exit_status = stop.get("exit_status")
        status = self._ending or by_document.get(exit_status, "aborted")
        reason = self._reason
        if status in ("aborted", "halted") and reason is None:
            reason = "alarm" if exit_status == "fail" else "user"
        if stop.get("reason"):
            run.status.info["reason"] = str(stop["reason"])
        run.status.info["exit_status"] = exit_status
        run.status.info["repeated_readouts"] = run.repeated
        self._put_status(run, status=status, reason=reason)
        self._say_progress(run, done=True)

    def _put_status(self, run: _Run, *, status: ScanState, reason: Literal["user", "alarm"] | None) -> None:
        fields = {**run.status.content, "metadata": run.status.metadata}
        fields.update(
            status=status,
            reason=reason,
            num_monitored_readouts=run.announced,
            info=dict(run.status.info),
            timestamp=utc_s(),
        )
        run.status = ScanStatusMessage(**fields)
        self._say_status(run.status)

    def _say_status(self, status: ScanStatusMessage) -> None:
        ended = status.status not in ("open", "paused")
        kept = MessageEndpoints.public_scan_info(status.scan_id or "")
        self._sender.put(
            Outgoing("set", kept, status, expire_s=KEEP_S if ended else None),
            Outgoing("set_and_publish", MessageEndpoints.scan_status(), status),
        )

    def _say_progress(self, run: _Run, *, done: bool) -> None:
        most = run.status.num_points or 0
        message = ProgressMessage(
            metadata={"scan_id": run.scan_id, "scan_number": run.status.scan_number, "RID": run.order.rid},
            value=float(run.announced),
            max_value=float(most or run.announced),
            done=done,
        )
        self._sender.put_latest(Outgoing("set_and_publish", MessageEndpoints.scan_progress(), message))


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, (list, tuple)) else []


def _data(event: Document, keys: Mapping[str, Sequence[str]]) -> Data:
    values = cast("Mapping[str, object]", event["data"])
    times = cast("Mapping[str, object]", event["timestamps"])
    return {
        device: {
            signal: {"value": plain(values[signal]), "timestamp": times.get(signal)}
            for signal in signals
            if signal in values
        }
        for device, signals in keys.items()
    }


def _rows(page: Document) -> list[Document]:
    """Take an event page apart; rows keep the order of the page."""
    data = cast("Mapping[str, Sequence[object]]", page["data"])
    times = cast("Mapping[str, Sequence[object]]", page["timestamps"])
    seq_nums = cast("Sequence[int]", page["seq_num"])
    return [
        {
            "descriptor": page["descriptor"],
            "seq_num": seq_num,
            "data": {key: column[row] for key, column in data.items()},
            "timestamps": {key: column[row] for key, column in times.items()},
        }
        for row, seq_num in enumerate(seq_nums)
    ]


def plain(value: object) -> object:
    """Turn numpy numbers into Python's and tuples into lists, inside and out; arrays stay arrays."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
