"""The asyncio door to services; the blocking one is generated from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

from ...clock import mono_s
from ...connector import AsyncConnector, connect_async
from ...endpoints import check_segment
from ...errors import CallCancelled, DeliveryUnknown, InvalidArgument, LabspineError, ServiceDied, shown
from ...flows import checks
from ..brokers import async_transport
from ..context import current_call
from ..envelope import FAILURE, ITEM, LAST, PROGRESS, VALUE, Reply, read_say, value_of, write_ask
from ..outcomes import CallProgress, error_of, limit_of, retry_pause_s, timed_out
from ..transport import AsyncConversation, Instance, Request
from .mailboxes import pause

__all__ = ["AsyncCall", "AsyncProcedureView", "AsyncRpc", "AsyncServiceView"]

OnProgress = Callable[[CallProgress], object]
_GLANCE_S = 0.25
_MOST_NAMES = 1000


class AsyncRpc:
    """
    Call the procedures of services; ``rpc.chiller.setpoint(celsius=18.5)`` is the short form.

    It can be used by all threads (or tasks) of a process. Each call ends in exactly one way: its result, of
    which None is one, or an error of `labspine.errors`.

    Args:
        connector: Tells where the broker is; connections of its own are made. An address will do, too.
        timeout_s: Longest wait for an answer in seconds, for calls that do not say.
        patient: Wait for a service that is not there (yet, or again) until the time limit ends.
        retries: How often a failed call is made again, if its error says that this does no harm; after
            the death of an instance only if the procedure is idempotent.
        on_progress: Called with each `CallProgress` that a procedure tells.

    Raises:
        InvalidArgument: If an option is wrong.
    """

    def __init__(
        self,
        connector: AsyncConnector | str,
        *,
        timeout_s: float = 10.0,
        patient: bool = False,
        retries: int = 0,
        on_progress: OnProgress | None = None,
    ) -> None:
        found = connect_async(connector) if isinstance(connector, str) else connector
        self._transport = async_transport(found)
        self._timeout_s = limit_of(timeout_s, None)
        self._patient = patient
        self._retries = checks.whole("retries", retries)
        self._on_progress = on_progress
        self._idempotent: dict[tuple[str, str], bool] = {}
        self._checked: set[tuple[str, str]] = set()

    def with_options(self, **options: Any) -> AsyncRpc:
        """
        Return the same client with other options, such as ``rpc.with_options(timeout_s=60)``.

        Args:
            options: As for the class; what is left out stays.

        Returns:
            A client that shares the connections of this one; only one of them is closed.

        Raises:
            InvalidArgument: If an option is wrong.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        for name, value in options.items():
            if name == "timeout_s":
                other._timeout_s = limit_of(value, None)
            elif name == "retries":
                other._retries = checks.whole("retries", value)
            elif name in ("patient", "on_progress"):
                setattr(other, f"_{name}", value)
            else:
                raise InvalidArgument(
                    f'no option "{shown(name)}": use timeout_s, patient, retries, on_progress'
                )
        return other

    @property
    def late_replies(self) -> int:
        """How many replies came for calls that nobody waits for any more; they were dropped."""
        return self._transport.late_replies

    # --- calls ---

    async def call_service(
        self, service: str, procedure: str, /, *args: Any, timeout_s: float | None = None, **kwargs: Any
    ) -> Any:
        """
        Call a procedure and wait for its result.

        Args:
            service: Name of the service.
            procedure: Name of the procedure.
            args: Its positional arguments: whatever a message may hold, messages and arrays too.
            timeout_s: Longest wait in seconds; None takes the client's. Inside a procedure it is never
                longer than what is left of that procedure's own time.
            kwargs: Its keyword arguments.

        Returns:
            The result; None is one.

        Raises:
            NoSuchService: If nobody serves it; told at once.
            NoSuchProcedure: If the service has no such procedure.
            InvalidArgument: If the arguments do not fit its signature.
            InvalidMessage: If an argument cannot travel; nothing was sent.
            TooLarge: If arguments or result are above 16 MiB.
            RemoteError: If the procedure raised, or its result cannot travel.
            ServiceDied: If who had the call died or froze.
            ServiceBusy: If too many calls wait there.
            CallTimeout: If the time limit ended first.
            CallCancelled: If the call was cancelled.
            NotConnected: If there is no broker.
            DeliveryUnknown: If the broker was lost, and what became of the call cannot be found out.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        call = self._made(service, procedure, args, kwargs, limit_s=limit_s)
        if self._retries:
            return await self._result_with_retries(call, (service, procedure, args, kwargs))
        return await call.result()

    async def _result_with_retries(
        self, call: AsyncCall, words: tuple[str, str, tuple[Any, ...], dict[str, Any]]
    ) -> Any:
        deadline_mono_s = call.deadline_mono_s
        await self._learn(words[0])
        for attempt in range(self._retries):
            try:
                return await call.result()
            except LabspineError as error:
                left_s = deadline_mono_s - mono_s()
                if left_s <= 0 or not self._may_retry(error, words[0], words[1]):
                    raise
            await pause(min(retry_pause_s(attempt), left_s))
            call = self._made(*words, limit_s=max(0.001, deadline_mono_s - mono_s()))
        return await call.result()

    async def call(
        self, module: str, function: str, /, *args: Any, timeout_s: float | None = None, **kwargs: Any
    ) -> Any:
        """Call a function of a module: the service ``module.<module>``; otherwise as `call_service`."""
        return await self.call_service(f"module.{module}", function, *args, timeout_s=timeout_s, **kwargs)

    async def begin(
        self, service: str, procedure: str, /, *args: Any, timeout_s: float | None = None, **kwargs: Any
    ) -> AsyncCall:
        """
        Send a request without waiting: ``call.result()`` waits for the result, ``call.cancel()`` gives it up.

        Args:
            service: Name of the service.
            procedure: Name of the procedure.
            args: Its positional arguments.
            timeout_s: Longest time until the result must be there, in seconds; None takes the client's.
            kwargs: Its keyword arguments.

        Returns:
            The call.

        Raises:
            NoSuchService: If nobody serves it; and what else can be known at once, see `call_service`.
        """
        call = self._made(
            service, procedure, args, kwargs, limit_s=self._timeout_s if timeout_s is None else timeout_s
        )
        await call.send()
        return call

    async def stream(
        self, service: str, procedure: str, /, *args: Any, timeout_s: float | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """
        Call a procedure that gives its results one by one; leaving the loop early cancels it.

        Args:
            service: Name of the service.
            procedure: Name of the procedure.
            args: Its positional arguments.
            timeout_s: Longest time for all results together, in seconds; None takes the client's.
            kwargs: Its keyword arguments.

        Returns:
            An iterator over the results.

        Raises:
            LabspineError: As `call_service`; it may come after some results.
        """
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        call = self._made(service, procedure, args, kwargs, limit_s=limit_s, is_stream=True)
        try:
            await call.send()
            while True:
                say = await call.next_reply()
                if say.kind == LAST:
                    return
                yield value_of(say)
        finally:
            await call.close()

    async def ask_all(
        self, service: str, procedure: str, /, *args: Any, window_s: float = 1.0, **kwargs: Any
    ) -> dict[str, Any]:
        """
        Call a procedure of every instance of a service.

        Args:
            service: Name of the service.
            procedure: Name of the procedure.
            args: Its positional arguments.
            window_s: How long to wait for all of them, in seconds.
            kwargs: Its keyword arguments.

        Returns:
            The result of each instance by its name; an error, not raised, where one failed or did not answer.
        """
        call = self._made(service, procedure, args, kwargs, limit_s=window_s)
        return await call.results_of_all()

    # --- who is there ---

    async def instances(self, service: str | None = None) -> list[Instance]:
        """
        List the live instances.

        Args:
            service: Of this service; None for all services.

        Returns:
            Instances with version, host, pid, ``since_utc_s`` and load, ordered by service.
        """
        if service is not None:
            check_segment(service, where="service")
        return await self._transport.instances(service)

    async def info(self, service: str, *, timeout_s: float | None = None) -> dict[str, Any]:
        """Ask a service what it can do: name, version, instance, procedures with JSON Schemas."""
        told: dict[str, Any] = await self.call_service(service, "info", timeout_s=timeout_s)
        return told

    # --- the short form ---

    def service(self, name: str) -> AsyncServiceView:
        """Return a service whose procedures are called like methods."""
        return AsyncServiceView(self, check_segment(name, where="service"))

    def __getattr__(self, name: str) -> AsyncServiceView:
        """Return a service by its name, as in ``rpc.chiller``."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.service(name)

    # --- life ---

    async def close(self) -> None:
        """End all connections; calls that wait get `NotConnected`. The connector stays open."""
        await self._transport.close()

    async def __aenter__(self) -> AsyncRpc:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- inside ---

    def _made(
        self,
        service: str,
        procedure: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        limit_s: object,
        is_stream: bool = False,
    ) -> AsyncCall:
        if (service, procedure) not in self._checked:
            check_segment(service, where="service")
            check_segment(procedure, where="procedure")
            if len(self._checked) < _MOST_NAMES:
                self._checked.add((service, procedure))
        present = current_call()
        limit = limit_of(limit_s, present)
        trail = () if present is None else present.trail
        body = write_ask(procedure, args, kwargs, trail=trail, is_stream=is_stream)
        request = Request(service=service, body=body, time_limit_s=limit, is_patient=self._patient)
        return AsyncCall(self._transport, request, procedure, trail=trail, on_progress=self._on_progress)

    async def _learn(self, service: str) -> None:
        """Ask which procedures may be executed again."""
        if (service, "") not in self._idempotent:
            plain = self.with_options(retries=0)
            try:
                told = await plain.info(service)
            except LabspineError:
                return
            self._idempotent[service, ""] = True
            for found in told["procedures"]:
                self._idempotent[service, found["name"]] = bool(found["idempotent"])

    def _may_retry(self, error: LabspineError, service: str, procedure: str) -> bool:
        if isinstance(error, (ServiceDied, DeliveryUnknown)):
            return self._idempotent.get((service, procedure), False)
        return bool(getattr(error, "retryable", False))


class AsyncCall:
    """One call that was begun; made by `AsyncRpc.begin`."""

    __slots__ = (
        "_conversation",
        "_expected",
        "_is_cancelled",
        "_is_done",
        "_on_progress",
        "_procedure",
        "_request",
        "_trail",
        "_transport",
        "deadline_mono_s",
    )

    def __init__(
        self,
        transport: Any,
        request: Request,
        procedure: str,
        *,
        trail: tuple[str, ...],
        on_progress: OnProgress | None,
    ) -> None:
        self._transport = transport
        self._request = request
        self._procedure = procedure
        self._trail = trail
        self._on_progress = on_progress
        self.deadline_mono_s = mono_s() + request.time_limit_s
        self._conversation: AsyncConversation | None = None
        self._expected = 0
        self._is_done = False
        self._is_cancelled = False

    async def send(self) -> None:
        """Send the request, once."""
        if self._conversation is None:
            self._conversation = await self._transport.open(self._request)

    async def result(self) -> Any:
        """
        Wait for the result.

        Raises:
            LabspineError: As `AsyncRpc.call_service`.
        """
        try:
            await self.send()
            say = await self.next_reply()
            return value_of(say)
        finally:
            await self.close()

    async def cancel(self) -> None:
        """Give the call up: the procedure is told, and who waits for the result gets `CallCancelled`."""
        self._is_cancelled = True
        if self._conversation is not None and not self._is_done:
            await self._conversation.close(cancel=True)

    async def close(self) -> None:
        """End it; a request that has no answer yet is taken back or cancelled."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await conversation.close(cancel=not self._is_done)

    async def next_reply(self) -> Reply:
        """Wait for the next result; raises what went wrong."""
        service, procedure = self._request.service, self._procedure
        while True:
            body = await self._received()
            if body is None:
                raise timed_out(service, procedure, limit_s=self._request.time_limit_s, trail=self._trail)
            say = read_say(body)
            if say.kind == ITEM:
                if self._is_next(say):
                    return say
                continue
            if say.kind == PROGRESS:
                if self._on_progress is not None:
                    self._on_progress(CallProgress(*value_of(say)))
                continue
            self._is_done = True
            if say.kind == FAILURE and say.failure is not None:
                raise error_of(say.failure, service, procedure)
            if say.kind == LAST:
                self._is_next(say)
            return say

    async def _received(self) -> bytes | None:
        while self._conversation is not None and not self._is_cancelled:
            left_s = self.deadline_mono_s - mono_s()
            body = await self._conversation.receive(max(0.0, min(left_s, _GLANCE_S)))
            if body is not None or left_s <= _GLANCE_S:
                return body
        raise CallCancelled(
            f"{self._request.service}.{self._procedure} was cancelled here",
            service=self._request.service,
            procedure=self._procedure,
        )

    def _is_next(self, say: Reply) -> bool:
        """Tell whether a result is new: after a death the procedure may have begun again."""
        if say.number < self._expected:
            return False
        if say.number > self._expected:
            raise DeliveryUnknown(
                f"{self._request.service}.{self._procedure}: results from {self._expected} to "
                f"{say.number - 1} got lost"
            )
        self._expected += 1
        return True

    async def results_of_all(self) -> dict[str, Any]:
        """Send the request to every instance, and wait for each."""
        service, procedure = self._request.service, self._procedure
        conversation, names = await self._transport.open_all(self._request)
        late = timed_out(service, procedure, limit_s=self._request.time_limit_s, trail=self._trail)
        results: dict[str, Any] = dict.fromkeys(names, late)
        missing = set(names)
        try:
            while missing and (left_s := self.deadline_mono_s - mono_s()) > 0:
                body = await conversation.receive(left_s)
                if body is None:
                    break
                say = read_say(body)
                if say.kind not in (VALUE, FAILURE):
                    continue
                missing.discard(say.instance)
                if say.failure is not None:
                    results[say.instance] = error_of(say.failure, service, procedure)
                else:
                    results[say.instance] = value_of(say)
        finally:
            await conversation.close()
        return results


class AsyncServiceView:
    """A service whose procedures are called like methods: ``rpc.chiller.setpoint(celsius=18.5)``."""

    def __init__(self, rpc: AsyncRpc, name: str) -> None:
        self._rpc = rpc
        self._name = name

    def __getattr__(self, procedure: str) -> AsyncProcedureView:
        """Return a procedure by its name."""
        if procedure.startswith("_"):
            raise AttributeError(procedure)
        return AsyncProcedureView(self._rpc, self._name, procedure)

    def __repr__(self) -> str:
        return f"<service {self._name}>"


class AsyncProcedureView:
    """A procedure of a service; call it, or ``stream`` its results."""

    def __init__(self, rpc: AsyncRpc, service: str, procedure: str) -> None:
        self._rpc = rpc
        self._service = service
        self._procedure = procedure

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; see `AsyncRpc.call_service`."""
        return await self._rpc.call_service(self._service, self._procedure, *args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Take its results one by one; see `AsyncRpc.stream`."""
        return self._rpc.stream(self._service, self._procedure, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<procedure {self._service}.{self._procedure}>"
