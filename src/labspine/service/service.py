"""A service: procedures under a name, served by this process."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import socket
import threading
import types
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

from ..clock import utc_s
from ..connector import AsyncConnector, RedisConnector, connect
from ..endpoints import check_segment
from ..errors import ConfigError, InvalidArgument, InvalidOperation, LabspineError
from ..flows import checks
from ..ids import new_sender
from .brokers import server_for
from .procedures import RESERVED, Procedure, ProcedureOptions, find_procedures, procedure
from .serving import Crew, Handler, Stats
from .transport import CallServer, Delivery, Reply, Serving

__all__ = ["Service"]

_log = logging.getLogger("labspine.service")
F = TypeVar("F", bound=Callable[..., Any])
Hook = Callable[[], object]
_BEAT_S = 0.4
_PAUSE_S = 0.1


class Service:
    """
    Offer procedures to everybody on a broker.

    ``Service("chiller", Chiller(), url="redis://localhost").serve()`` serves until it is stopped. Several
    instances of one name share the calls. Every service also has the procedures ``ping``, ``info`` and
    ``stats``.

    Args:
        name: Under which name it is called; letters, digits and ``_-.``.
        targets: Objects with methods marked by `procedure`, or functions; more can be added by `procedure`.
        url: The broker; or give ``connector``.
        connector: A connector that tells where the broker is; it is not closed here.
        version: Of the service, for people.
        concurrency: How many procedures run at a time in this process.
        exclusive: Only one instance may live; a second one is refused.
        health: Returns what is wrong, or an empty text; shown to people.

    Raises:
        ConfigError: If procedures have the same name or hints that cannot travel.
        InvalidArgument: If an option is wrong.
        InvalidName: If the name is not allowed.
    """

    def __init__(
        self,
        name: str,
        *targets: object,
        url: str | None = None,
        connector: RedisConnector | AsyncConnector | None = None,
        version: str = "",
        concurrency: int = 8,
        exclusive: bool = False,
        health: Callable[[], str] | None = None,
    ) -> None:
        self.name = check_segment(name, where="service")
        self.version = version
        self.instance = f"{socket.gethostname()}-{os.getpid()}-{new_sender()[:8]}"
        self._concurrency = checks.count_above_zero("concurrency", concurrency)
        self._exclusive = exclusive
        self._health = health
        if (url is None) == (connector is None):
            raise InvalidArgument("a service needs a broker: give url= or connector=")
        self._connector = connector if connector is not None else connect(url)
        self._stats = Stats()
        self._since_utc_s = 0.0
        self._procedures: dict[str, Procedure] = {}
        self._hooks: list[tuple[Hook | None, Hook | None]] = []
        self._lock = threading.Lock()
        self._begin()
        for function in (self._ping, self._info, self._tell_stats):
            self._add(Procedure(function, ProcedureOptions(name=RESERVED[len(self._procedures)])))
        for target in targets:
            self.add(target)

    def _begin(self) -> None:
        self._started_hooks = 0
        self._server: CallServer | None = None
        self._crew: Crew | None = None
        self._handler: Handler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beating: threading.Thread | None = None
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._why_stopped: Exception | None = None

    # --- what it can do ---

    def add(self, target: object) -> None:
        """
        Offer the procedures of an object, or a function.

        If the object has methods ``on_start`` and ``on_stop``, they are called when the service starts and
        stops: starts in the order of adding, stops in reverse.

        Raises:
            ConfigError: If it has none, or a name is taken.
            InvalidOperation: If the service runs already.
        """
        made = target() if isinstance(target, type) else target
        for found in find_procedures(made):
            self._add(found)
        if not isinstance(made, types.ModuleType) and not inspect.isroutine(made):
            self._hooks.append((getattr(made, "on_start", None), getattr(made, "on_stop", None)))

    def procedure(self, function: F | None = None, /, **options: Any) -> Any:
        """
        Offer a function: ``@service.procedure``, or with options as `labspine.service.procedure` takes them.

        Returns:
            The function itself.
        """

        def offer(function: F) -> F:
            procedure(**options)(function)
            self._add(Procedure(function))
            return function

        return offer if function is None else offer(function)

    def on_start(self, hook: F) -> F:
        """Call a function before the first request is taken; if it raises, the service does not start."""
        self._hooks.append((hook, None))
        return hook

    def on_stop(self, hook: F) -> F:
        """Call a function after the last request is done; hooks run in reverse order."""
        self._hooks.append((None, hook))
        return hook

    def _add(self, found: Procedure) -> None:
        if self._server is not None:
            raise InvalidOperation(f'the service "{self.name}" runs: add procedures before it starts')
        if found.name in self._procedures:
            why = "is one of every service" if found.name in RESERVED else "is there already"
            raise ConfigError(f'service "{self.name}": a procedure "{found.name}" {why}')
        self._procedures[found.name] = found

    # --- life ---

    @property
    def is_running(self) -> bool:
        """Whether it takes requests."""
        return self._server is not None and not self._stopping.is_set()

    def start(self) -> None:
        """
        Begin to serve, in threads of its own; returns when it can be called.

        Raises:
            InvalidOperation: If it runs, or is exclusive and served elsewhere.
            NotConnected: If there is no broker.
            Exception: Whatever a start hook raises; hooks that had run are undone.
        """
        with self._lock:
            if self._server is not None:
                raise InvalidOperation(f'the service "{self.name}" runs already')
            self._begin()
            self._since_utc_s = utc_s()
            server = self._server = server_for(self._connector, self._serving())
        self._started_hooks = 0
        try:
            for hook, _ in self._hooks:
                if hook is not None:
                    hook()
                self._started_hooks += 1
            server.start()
        except BaseException:
            self._server = None
            self._run_stop_hooks()
            server.stop()
            raise
        self._handler = Handler(
            self.name,
            self.instance,
            self._procedures,
            stats=self._stats,
            send=lambda delivery, body: server.reply(Reply(delivery, body, False)),
        )
        self._crew = Crew(server, self._handler, concurrency=self._concurrency, loop=self._event_loop)
        self._crew.start()
        self._beating = threading.Thread(target=self._beat, name="labspine-service-beat", daemon=True)
        self._beating.start()
        _log.info("%s is served by %s", self.name, self.instance)

    def _serving(self) -> Serving:
        facts: dict[str, object] = {
            "version": self.version,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since_utc_s": self._since_utc_s,
        }
        return Serving(service=self.name, instance=self.instance, is_exclusive=self._exclusive, facts=facts)

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """
        Take no more requests, let those that run end, and vanish.

        Args:
            timeout_s: How long procedures that run may take, in seconds; then they are cancelled.
        """
        with self._lock:
            server, crew, handler = self._server, self._crew, self._handler
            if server is None or crew is None or handler is None or self._stopping.is_set():
                return
            self._stopping.set()
        if not crew.drain(checks.seconds("timeout_s", timeout_s)):
            handler.cancel_all()
            crew.drain(1.0)
        beating = self._beating
        server.wake()
        if beating is not None and beating is not threading.current_thread():
            beating.join(2.0)
        server.stop()
        self._end_loop()
        self._run_stop_hooks()
        self._server = None
        self._stopped.set()
        _log.info("%s is no longer served by %s", self.name, self.instance)

    def _run_stop_hooks(self) -> None:
        """Undo what was started, in reverse order."""
        for _, hook in reversed(self._hooks[: self._started_hooks]):
            try:
                if hook is not None:
                    hook()
            except Exception:
                _log.exception("a stop hook of %s failed", self.name)

    def serve(self) -> None:
        """
        Serve until `stop` is called, or Ctrl-C or SIGTERM comes; procedures that run may end first.

        Raises:
            InvalidOperation: If it is exclusive and served elsewhere, now or later.
            NotConnected: If there is no broker.
        """
        self.start()
        is_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGTERM, self._on_signal) if is_main else None
        try:
            while not self._stopped.wait(0.2):
                if self._stopping.is_set():
                    continue
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()
            if is_main:
                signal.signal(signal.SIGTERM, before)
        if self._why_stopped is not None:
            raise self._why_stopped

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def __enter__(self) -> Service:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    # --- coroutines ---

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop for coroutine functions; it is made when it is first needed."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="labspine-service-loop", daemon=True
                ).start()
            return self._loop

    def _end_loop(self) -> None:
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    # --- signs of life ---

    def _beat(self) -> None:
        """Tell that it lives, apart from its load, and listen for what it is told."""
        while not self._stopping.is_set():
            server, handler = self._server, self._handler
            if server is None or handler is None:
                return
            try:
                told = server.beat(
                    {**self._stats.load(handler.running), "health": self._present_health()}, wait_s=_BEAT_S
                )
            except LabspineError as error:
                if not self._stopping.is_set():
                    _log.warning("%s: no sign of life could be given: %s", self.name, error)
                    self._stopping.wait(_PAUSE_S)
                continue
            for control in told:
                if control.kind == "cancel":
                    handler.cancel(control.call_id)
                elif control.kind == "usurped":
                    self._give_up(control.call_id)
                elif control.delivery is not None:
                    self._take_aside(control.delivery)

    def _take_aside(self, delivery: Delivery) -> None:
        if self._crew is not None:
            self._crew.submit(delivery)

    def _give_up(self, usurper: str) -> None:
        self._why_stopped = InvalidOperation(
            f'the service "{self.name}" is exclusive, and {usurper} serves it now: {self.instance} was silent'
        )
        _log.error("%s", self._why_stopped)
        threading.Thread(target=self.stop, name="labspine-service-stop", daemon=True).start()

    def _present_health(self) -> str:
        if self._health is None:
            return ""
        try:
            return str(self._health() or "")
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    # --- what every service can do ---

    def _ping(self) -> str:
        """Answer with the name of the instance."""
        return self.instance

    def _info(self) -> dict[str, Any]:
        """Tell name, version, instance and procedures, with their JSON Schemas."""
        return {
            "name": self.name,
            "version": self.version,
            "instance": self.instance,
            "procedures": [found.describe() for found in self._procedures.values()],
        }

    def _tell_stats(self) -> dict[str, Any]:
        """Tell what was counted, and how the service is."""
        return {
            "name": self.name,
            "instance": self.instance,
            "since_utc_s": self._since_utc_s,
            "health": self._present_health(),
            **self._stats.report(0 if self._handler is None else self._handler.running),
        }

    def __repr__(self) -> str:
        return f"<Service {self.name} {'runs' if self.is_running else 'does not run'}>"
