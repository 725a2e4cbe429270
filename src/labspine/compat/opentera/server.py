"""
Serve procedures by OpenTera's convention, so that its unmodified clients call them.

A request is published on the topic of the service, so that everybody who serves the topic executes it:
run one instance. Each request gets exactly one answer, at once when there is no such procedure.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import queue
import threading
from types import TracebackType
from typing import Any

from ...connector import MessageObject, RedisConnector
from ...endpoints import EndpointInfo, MessageEndpoints
from ...errors import ConfigError, InvalidArgument, LabspineError, NoSuchProcedure, ServiceBusy, did_you_mean
from ...flows import checks
from ...messages import encode
from ...messages.opentera import RPCMessage, RPCReply
from ...service.procedures import Procedure, find_procedures

__all__ = ["RpcServer"]

_log = logging.getLogger("labspine.opentera")
_LONGEST_END_S = 5.0
_LONGEST_TEXT = 10_000
_Job = tuple[RPCMessage, str]


class RpcServer:
    """
    Answer calls on ``service.<key>.rpc``, ``service.<uuid>.rpc`` or ``module.<name>.rpc``.

    Arguments are checked against the type hints of the function; results are what JSON can say, and numpy's
    numbers and arrays. A function may be a coroutine function; a generator gives a list.

    Args:
        connector: The bus; it stays yours, and is closed by you.
        targets: Functions, or objects whose methods are marked with `labspine.service.procedure`.
        key: Key of the service.
        uuid: Its uuid; OpenTera calls services by both.
        module: Name of a module, if this is one.
        threads: How many calls are executed at a time.
        max_waiting: How many more may wait; what comes then is refused at once.

    Raises:
        InvalidArgument: If neither key, uuid nor module is given, or a number is out of range.
        ConfigError: If there are no procedures, or two of one name.
    """

    def __init__(
        self,
        connector: RedisConnector,
        *targets: object,
        key: str | None = None,
        uuid: str | None = None,
        module: str | None = None,
        threads: int = 8,
        max_waiting: int = 1000,
    ) -> None:
        self._connector = connector
        self._topics = _topics(key, uuid, module)
        self.procedures = _procedures(targets)
        self._count = checks.count_above_zero("threads", threads)
        most = checks.count_above_zero("max_waiting", max_waiting)
        self._jobs: queue.Queue[_Job | None] = queue.Queue(most + threads)
        self._threads: list[threading.Thread] = []

    def start(self) -> RpcServer:
        """
        Begin to answer; returns when the broker has confirmed.

        Raises:
            NotConnected: If there is no connection.
            PermissionDenied: If the login may not listen to a topic.
        """
        if not self._threads:
            for number in range(self._count):
                name = f"labspine-opentera-{number}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
            try:
                self._connector.register(self._topics, cb=self._take)
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """Hear no more calls, refuse those that wait, and finish those that were begun, within 5 s."""
        if not self._threads:
            return
        self._connector.unregister(self._topics, self._take)
        threads, self._threads = self._threads, []
        with contextlib.suppress(queue.Empty):
            while (job := self._jobs.get_nowait()) is not None:
                self._answer(*job, error=ServiceBusy(f"{job[1]} is being stopped; try again later"))
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(_LONGEST_END_S)

    def __enter__(self) -> RpcServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _take(self, message: MessageObject) -> None:
        request = message.value
        if not isinstance(request, RPCMessage):
            return  # a gap: these calls are lost, and their callers learn it by their time limit
        try:
            self._jobs.put_nowait((request, message.topic))
        except queue.Full:
            refusal = ServiceBusy(f"{message.topic} has {self._jobs.maxsize} calls waiting; try again later")
            self._answer(request, message.topic, error=refusal)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            request, topic = job
            try:
                result = self._execute(request)
            except BaseException as error:  # whatever a procedure raises is its caller's to know
                if not isinstance(error, LabspineError):
                    _log.warning("%s %s failed", topic, request.method, exc_info=error)
                self._answer(request, topic, error=error)
            else:
                self._answer(request, topic, result=result)

    def _execute(self, request: RPCMessage) -> object:
        procedure = self.procedures.get(request.method)
        if procedure is None:
            hint = did_you_mean(request.method, self.procedures)
            raise NoSuchProcedure(f'no procedure "{request.method}"{hint}', procedure=request.method)
        args, kwargs = procedure.bind(request.args, {})
        result = procedure.function(*args, **kwargs)
        if procedure.is_stream:
            items = asyncio.run(_listed(result)) if procedure.is_async else result
            return [procedure.checked_result(item) for item in items]
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return procedure.checked_result(result)

    def _answer(
        self, request: RPCMessage, topic: str, *, result: object = None, error: BaseException | None = None
    ) -> None:
        if not request.reply_to:
            return
        try:
            payload = encode(_reply(request, topic, result, error))
        except LabspineError as unsendable:
            payload = encode(_reply(request, topic, None, unsendable))
        try:
            self._connector.raw_send(request.reply_to, payload)
        except LabspineError as failed:
            _log.warning("the reply to %s on %s was not sent: %s", request.method, topic, failed)


def _reply(request: RPCMessage, topic: str, result: object, error: BaseException | None) -> RPCReply:
    told = None if error is None else {"type": type(error).__name__, "message": _text_of(error)}
    return RPCReply(
        method=request.method,
        id=request.id,
        pattern=topic,
        status="OK" if error is None else "Error",
        return_value=result,
        error=told,
    )


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:_LONGEST_TEXT]
    except Exception:  # an exception may be as broken as what raised it
        return ""


def _topics(key: str | None, uuid: str | None, module: str | None) -> list[EndpointInfo[RPCMessage]]:
    names = dict.fromkeys(name for name in (key, uuid) if name is not None)
    topics = [MessageEndpoints.service_rpc(name) for name in names]
    if module is not None:
        topics.append(MessageEndpoints.module_rpc(module))
    if not topics:
        raise InvalidArgument("under which name? Give key=, uuid= or module=")
    return topics


def _procedures(targets: tuple[object, ...]) -> dict[str, Procedure]:
    found: dict[str, Procedure] = {}
    for target in targets:
        for procedure in find_procedures(target):
            if procedure.name in found:
                raise ConfigError(f'two procedures have the name "{procedure.name}": rename one')
            found[procedure.name] = procedure
    if not found:
        raise ConfigError("nothing to serve: give functions, or objects with methods marked with @procedure")
    return found


async def _listed(items: Any) -> list[Any]:
    return [item async for item in items]
