# Generated from connector/_async/connector.py by scripts/unasync.py: change the source and run it.
"""The blocking door to the bus."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Literal

from ...endpoints import EndpointInfo, MessageEndpoints
from ...errors import AuthenticationError, DeadlinePassed, InvalidArgument, NotConnected
from ...flows import Recording, ServerReport, checks, events, server
from ...messages import AlarmMessage, ClientInfoMessage, ErrorInfo, MessagingServiceContent
from ...wire import SyncConnection, SyncWire
from ..batch import Batch
from ..callbacks import Callback
from ..counters import Counters
from ..notes import ALARM_EVENTS, ClientSource, MetricValue, metrics_message, notification_message
from ..options import ConnectorOptions, checked_options
from ..registering import Endpoints, Registration, chosen_endpoints, matching, not_yet_there
from .delivery import Delivery
from .operations import Operations
from .pipeline import Pipeline
from .reader import Reader
from .stream_reader import StreamReader
from .workers import MAY_BE_COROUTINE, Senders, Workers, new_lock

__all__ = ["RedisConnector"]

Endpoint = EndpointInfo[Any]
_MOST_NOTES = 100


class RedisConnector(Operations):
    """
    Say and hear messages on a broker.

    It connects when it is first used, and comes back by itself when the link breaks.

    Args:
        bootstrap: ``"host:port"``, ``"[::1]:port"``, ``redis://``, ``rediss://`` or ``unix://`` URL.
        options: See `ConnectorOptions`: name, profile, username, password, timeout_s, history ...

    Raises:
        ConfigError: If the address or profile cannot work.
        InvalidArgument: If an option is unknown or out of range.
    """

    broker_name: ClassVar[Literal["redis", "rabbitmq"]] = "redis"
    """What kind of broker is behind it."""

    def __init__(self, bootstrap: object = "localhost:6379", **options: Any) -> None:
        try:
            chosen = ConnectorOptions(**options)
        except TypeError as error:
            raise InvalidArgument(f"an option of the connector is not known: {error}") from error
        self.address = checked_options(bootstrap, chosen)
        self.counters = Counters()
        if chosen.switch_interval_s is not None:
            sys.setswitchinterval(chosen.switch_interval_s)
        super().__init__(SyncWire.made_for(self.address, chosen.wire(), chosen.tls), chosen)
        self._senders = Senders()
        self._workers = Workers()
        delivery = Delivery(self._perform, self.counters)
        self._registration = Registration(
            self.options, new_lock, delivery.work, may_be_coroutine=MAY_BE_COROUTINE
        )
        self._reader = Reader(
            self._open_reader,
            self._perform,
            self._workers,
            distrust=self._wire.distrust,
            counters=self.counters,
            timeout_s=self.options.timeout_s,
            in_cluster=self.options.in_cluster,
        )
        self._streams = StreamReader(self._perform, self._workers, break_off=self._wire.break_off)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r}, profile={self._profile!r})"

    @property
    def host(self) -> str:
        """The host of the broker; empty for a unix socket."""
        return self.address.host

    @property
    def port(self) -> int:
        """The port of the broker."""
        return self.address.port

    @property
    def username(self) -> str:
        """Who is logged in; ``default`` if nobody in particular."""
        return self.address.username or "default"

    # --- life ---

    def connect(self) -> None:
        """
        Make sure that the broker answers; the first call of any other method does it too.

        Raises:
            NotConnected: If it does not.
            AuthenticationError: If it does not accept the login.
        """
        self._wire.connect()

    def can_connect(self) -> bool:
        """Tell whether the broker answers and accepts the login, without raising when it does not."""
        try:
            self._wire.connect()
        except (NotConnected, AuthenticationError):
            return False
        return True

    def redis_server_is_running(self) -> bool:
        """Tell whether a server answers, even one that does not accept the login."""
        try:
            self._wire.connect()
        except AuthenticationError:
            return True
        except (NotConnected, DeadlinePassed):
            return False
        return True

    def ping(self) -> bool:
        """Ask for a sign of life; True when it came, `NotConnected` or `DeadlinePassed` when not."""
        self._wire.connect()
        return True

    def authenticate(self, *, username: str = "default", password: str | None = None) -> None:
        """
        Go on as another user; subscriptions survive.

        The server is asked first: if it refuses, everything goes on with the login of before. Durable
        subscriptions miss nothing; a plain one may miss what is said in the milliseconds of the change.

        Args:
            username: Who.
            password: The secret; None for a user without one.

        Raises:
            AuthenticationError: If the server does not accept user or password.
            PermissionDenied: If the user may not listen to what is registered here.
            NotConnected: If there is no connection.
        """
        address = replace(self.address, username=username, password=password)
        self._wire.log_in(address, self._reader.ask_whether_allowed())
        self.address = address
        self._reader.renew()

    def close(self) -> None:
        """End all subscriptions and connections; closing twice does nothing, and a callback may do it."""
        self._reader.close()
        self._streams.close()
        self._workers.close()
        self._wire.close()

    def shutdown(self) -> None:
        """Do the same as `close`."""
        self.close()

    def __enter__(self) -> RedisConnector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- events ---

    def send(self, endpoint: Endpoint, message: object, *, pipe: Batch | None = None) -> int:
        """
        Publish an event.

        Args:
            endpoint: Where.
            message: A message, or a list of them, which travels as a bundle.
            pipe: Put the call into this pipeline instead.

        Returns:
            How many connections heard it.

        Raises:
            InvalidOperation: If the endpoint does not allow it.
            InvalidMessage: If the message is of another type.
            TooLarge: If it is above 16 MiB.
            NotConnected: If nothing was sent.
            DeliveryUnknown: If the link broke and the outcome could not be found out; see `repeat`.
            DeadlinePassed: If no answer came in time; see `repeat`.
        """
        return self._do(events.send(self._at(endpoint), message, self._recording()), pipe)

    def raw_send(self, channel: str, payload: str | bytes, *, pipe: Batch | None = None) -> int:
        """Publish bytes as they are on any channel, plainly and unchecked; tells how many heard it."""
        return self._do(events.raw_send(channel, payload), pipe)

    def set_and_publish(
        self,
        endpoint: Endpoint,
        message: object,
        *,
        expire_s: float | None = None,
        pipe: Batch | None = None,
    ) -> None:
        """Store a message and publish it in one atomic step; arguments and errors as `set` and `send`."""
        flow = events.set_and_publish(self._at(endpoint), message, self._recording(), expire_s=expire_s)
        self._do(flow, pipe)

    def repeat(self, error: BaseException) -> int:
        """
        Say an event again whose outcome is not known; who heard it the first time does not hear it twice.

        It has the stamp of the first time, by which our receivers and the history know it. Repeat before you
        send the next event, so that the order holds.

        Args:
            error: The `DeliveryUnknown` or `DeadlinePassed` that `send` or `set_and_publish` raised.

        Returns:
            How many connections heard it now; 0 if it had been done before.

        Raises:
            InvalidArgument: If the error does not come from a durable event.
            NotConnected: If there is no connection; repeat later with the same error.
            DeliveryUnknown: If the outcome is not known again; `DeadlinePassed` likewise.
        """
        return self._perform(events.repeat(error))

    def register(
        self,
        topics: Endpoints | None = None,
        cb: Callback | None = None,
        *,
        patterns: Endpoints | None = None,
        from_start: bool = False,
        since_utc_s: float | None = None,
        newest_only: bool = False,
        start_thread: bool = True,
        **kwargs: Any,
    ) -> None:
        """
        Call a function for each message; returns when the server has confirmed.

        The callback is called as ``cb(message_object, **kwargs)``, off the reader, one call at a time and in
        order; see `MessageObject`. Durable endpoints survive interruptions: what was missed is delivered,
        once; what cannot be read again is told as a `Gap`. Registering the same callback with equal kwargs
        again does nothing.

        Args:
            topics: An endpoint or a list of them.
            cb: The function; lambdas and bound methods are kept alive.
            patterns: A pattern of the catalogue or a list of them.
            from_start: Deliver first what is recorded, then go on live: each message once, in order.
            since_utc_s: The same from this time on, in seconds since 1970 UTC.
            newest_only: Keep only the newest message while the callback is busy.
            start_thread: False keeps the messages until `poll_messages` is called, and calls there.
            kwargs: Handed to each call.

        Raises:
            InvalidArgument: If the callback or the options cannot work.
            InvalidOperation: If an endpoint does not allow it.
            PermissionDenied: If the server's rules refuse a channel.
            NotConnected: If there is no connection.
        """
        chosen = chosen_endpoints(topics, patterns, self.options)
        made = self._registration.subscriptions(
            chosen,
            cb,
            kwargs,
            from_start=from_start,
            since_utc_s=since_utc_s,
            newest_only=newest_only,
        )
        for subscription in made:
            subscription.is_polled = not start_thread
        new = not_yet_there(made, self._reader.subscriptions() + self._streams.subscriptions())
        events_wanted = [s for s in new if not s.is_stream]
        streams_wanted = [s for s in new if s.is_stream]
        if events_wanted:
            self._reader.add(events_wanted)
        if streams_wanted:
            self._streams.add(streams_wanted)

    subscribe = register

    def poll_messages(self, timeout_s: float | None = None) -> bool:
        """
        Call here, in the caller's thread or task, the callbacks registered with ``start_thread=False``.

        Args:
            timeout_s: Longest wait for the first message in seconds; None waits without limit.

        Returns:
            True after callbacks were called; False when the connector was closed before.

        Raises:
            DeadlinePassed: If nothing came in time.
        """
        return self._workers.poll(None if timeout_s is None else checks.seconds("timeout_s", timeout_s))

    def unregister(
        self,
        topics: Endpoints | None = None,
        cb: Callback | None = None,
        *,
        patterns: Endpoints | None = None,
    ) -> bool:
        """
        Stop calling a function.

        Args:
            topics: Where; None, without patterns, means everywhere.
            cb: Which function; None means all of them.
            patterns: Where, as patterns.

        Returns:
            Whether anything was registered like that.

        Raises:
            InvalidArgument: If neither places nor a function are given.
        """
        if topics is None and patterns is None and cb is None:
            raise InvalidArgument("unregister what? Give an endpoint, a pattern or a callback")
        places = None
        if topics is not None or patterns is not None:
            places = chosen_endpoints(topics, patterns, self.options)
        found = matching(self._reader.subscriptions() + self._streams.subscriptions(), places, cb)
        self._reader.remove([s for s in found if not s.is_stream])
        self._streams.remove([s for s in found if s.is_stream])
        return bool(found)

    def any_stream_is_registered(self, topics: Endpoints, cb: Callback) -> bool:
        """
        Tell whether a function is registered on one of some streams.

        Args:
            topics: A stream or a list of them; others never count.
            cb: The function.
        """
        places = chosen_endpoints(topics, None, self.options)
        return bool(matching(self._streams.subscriptions(), places, cb))

    # --- notes to people ---

    def raise_alarm(self, severity: int, info: ErrorInfo, metadata: dict[str, Any] | None = None) -> None:
        """
        Tell everybody that something went wrong, as an alarm and as a notification.

        The last alarm can be read by `get`, too.

        Args:
            severity: 0 warning, 1 minor, 2 major.
            info: What went wrong.
            metadata: Whatever else belongs to it.
        """
        alarm = AlarmMessage(severity=severity, info=info, metadata=metadata or {})
        self.set_and_publish(MessageEndpoints.alarm(), alarm)
        text = info.compact_error_message or info.error_message or info.exception_type
        self.notify(ALARM_EVENTS[min(max(severity, 0), 2)], text)

    def notify(
        self, event: str, message: str | Sequence[MessagingServiceContent], *, pipe: Batch | None = None
    ) -> None:
        """
        Tell the messaging services that something happened.

        Args:
            event: What, such as ``"new_scan"`` or ``"alarm_major"``.
            message: Text, or contents for the services.
            pipe: Put the call into this pipeline instead.
        """
        self.send(MessageEndpoints.notification(event), notification_message(event, message), pipe=pipe)

    def publish_metrics(
        self, group_name: str, metrics: Mapping[str, MetricValue], separator: str = "_"
    ) -> None:
        """
        Publish figures under names of one's own choice.

        Args:
            group_name: What they belong to.
            metrics: Name to figure; a dict for a text with ``value`` and ``possible_values``.
            separator: Put before each name.

        Raises:
            InvalidArgument: If a figure is none.
        """
        message = metrics_message(metrics, separator)
        self.set_and_publish(MessageEndpoints.dynamic_metric(group_name), message)

    def send_client_info(
        self,
        message: str,
        *,
        show_asap: bool = False,
        source: ClientSource | None = None,
        severity: int = 0,
        expire: float = 60.0,
        scope: str | None = None,
        rid: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """
        Leave a note for the people at the clients; the newest hundred are kept.

        Args:
            message: The text.
            show_asap: Show it at once and not only when the next result comes.
            source: The service that says it, such as ``"scan_server"``.
            severity: 0 for a plain note; higher is worse.
            expire: Seconds for which it is worth showing.
            scope: What it is about.
            rid: The request that it belongs to.
            metadata: Whatever else belongs to it.
        """
        note = ClientInfoMessage(
            message=message,
            show_asap=show_asap,
            source=source,
            severity=severity,
            expire=expire,
            scope=scope,
            RID=rid,
            metadata=metadata or {},
        )
        self.xadd(MessageEndpoints.client_info(), note, max_size=_MOST_NOTES)

    # --- the broker itself ---

    def server_report(self) -> ServerReport:
        """Ask the broker for its version, clock, persistence and memory policy."""
        return self._perform(server.server_report(in_cluster=self.options.in_cluster))

    def acl_list(self) -> list[str]:
        """List the users of the server and their rules; `PermissionDenied` unless you administer it."""
        return self._perform(server.access_list())

    def acl_getuser(self, username: str) -> dict[str, object] | None:
        """Read the rules of one user of the server; None if there is none; `PermissionDenied` as above."""
        return self._perform(server.access_of(username))

    # --- many at once ---

    def pipeline(self) -> Pipeline:
        """
        Collect calls and send them in one write.

        Returns:
            A context manager with the names of these methods, and ``execute``.
        """
        return Pipeline(self._wire, self.options, self._recording)

    def execute_pipeline(self, pipeline: Pipeline) -> list[Any]:
        """Do the same as ``pipeline.execute()``: one result a call."""
        return pipeline.execute()

    # --- inside ---

    def _recording(self) -> Recording | None:
        if not self.options.history:
            return None
        return Recording(self._senders.current(), self.options.history_cap)

    def _open_reader(self) -> SyncConnection:
        return self._wire.open_link()
