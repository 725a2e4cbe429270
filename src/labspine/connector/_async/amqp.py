"""
A door to RabbitMQ; the blocking one is generated from the asyncio one.

It is the connector of the bus with another way for events: what is said goes through RabbitMQ, what is kept
(values, streams, lists, sets) goes to the Redis beside it, if there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

from ...endpoints import EndpointInfo
from ...errors import (
    AuthenticationError,
    DeadlinePassed,
    DeliveryUnknown,
    InvalidArgument,
    InvalidOperation,
    NotConnected,
    TooLarge,
    shown,
)
from ...flows import Flow, Recording
from ...messages import MAX_PAYLOAD_BYTES
from ...wire import Address
from ...wire.amqp import AmqpAddress, AsyncAmqpWire, parse_amqp, routing_key
from ..amqp_events import (
    EXCHANGE,
    TRANSIENT,
    Letter,
    letter,
    needs_store,
    no_replay,
    settled,
    store_value,
    unsettled,
)
from ..amqp_feed import AmqpFeed, EventExchange
from ..amqp_subscription import AmqpRegistration
from ..batch import Batch
from ..callbacks import Callback
from ..registering import Endpoints, chosen_endpoints
from ..subscriptions import Subscription
from .connector import AsyncConnector
from .delivery import AsyncDelivery
from .pipeline import AsyncPipeline
from .workers import MAY_BE_COROUTINE, new_lock

__all__ = ["AsyncAmqpConnector"]

Endpoint = EndpointInfo[Any]
_NO_STORE = Address()


class AsyncAmqpReader:
    """
    Hand subscriptions to the feed, as the reader of a Redis does.

    Args:
        wire: To RabbitMQ.
        feed: Lives on its link.
    """

    def __init__(self, wire: AsyncAmqpWire, feed: AmqpFeed) -> None:
        self._wire = wire
        self._feed = feed
        self._is_used = False

    def subscriptions(self) -> list[Subscription]:
        """List the subscriptions."""
        return self._feed.subscriptions()

    async def add(self, subscriptions: Sequence[Subscription]) -> None:
        """Listen; returns when the broker has confirmed."""
        self._is_used = True
        await self._wire.ask(lambda link: self._feed.add(link, subscriptions))

    async def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Stop listening."""
        if subscriptions:
            await self._wire.ask(lambda link: self._feed.remove(link, subscriptions))

    async def close(self) -> None:
        """Stop everything."""
        if self._is_used:
            self._is_used = False
            await self._wire.ask(self._feed.close)


class AsyncAmqpConnector(AsyncConnector):
    """
    Say and hear messages on RabbitMQ.

    Events (`send`, `set_and_publish`, `register`) go through RabbitMQ: confirmed, each delivered once, in
    order per sender; after a loss a `Gap` is delivered, never silence. Everything that is kept goes to the
    store.

    Args:
        url: ``amqp://user:password@host:port/vhost`` or ``amqps://``; several hosts with commas.
        store: Address of a Redis for values, streams, lists and sets; None if nothing of it is needed.
        options: See `ConnectorOptions`; ``username`` and ``password`` are those of RabbitMQ.

    Raises:
        ConfigError: If an address or the profile cannot work.
        InvalidArgument: If an option is unknown or out of range.
    """

    broker_name = "rabbitmq"

    def __init__(self, url: object, *, store: object = None, **options: Any) -> None:
        where = parse_amqp(url)
        username, password = options.pop("username", None), options.pop("password", None)
        if username is not None:
            where = replace(where, username=username)
        if password is not None:
            where = replace(where, password=password)
        options["history"] = False  # RabbitMQ records nothing that could be read again
        tls = options.pop("tls", None) if where.tls else None
        super().__init__(_NO_STORE if store is None else store, **options)
        self.broker: AmqpAddress = where
        self.store: Address | None = None if store is None else self.address
        self.amqp = AsyncAmqpWire(where, self.options.wire(), tls)
        delivery = AsyncDelivery(self._perform, self.counters)
        self._registration = AmqpRegistration(
            self.options, new_lock, delivery.work, may_be_coroutine=MAY_BE_COROUTINE
        )
        self._has_exchange = False
        feed = AmqpFeed(
            self._workers.wake, self.counters, most=self.options.queue_size, has_store=store is not None
        )
        self._reader: Any = AsyncAmqpReader(self.amqp, feed)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.broker)!r}, store={self._store_name()})"

    def _store_name(self) -> str:
        return "None" if self.store is None else repr(str(self.store))

    @property
    def host(self) -> str:
        """The host of RabbitMQ."""
        return self.broker.host

    @property
    def port(self) -> int:
        """The port of RabbitMQ."""
        return self.broker.port

    # --- life ---

    async def connect(self) -> None:
        """
        Make sure that RabbitMQ answers, and the store if there is one.

        Raises:
            NotConnected: If one does not.
            AuthenticationError: If one does not accept the login.
        """
        await self.amqp.connect()
        if self.store is not None:
            await super().connect()

    async def can_connect(self) -> bool:
        """Tell whether RabbitMQ and the store answer and accept the logins, without raising."""
        try:
            await self.connect()
        except (NotConnected, AuthenticationError):
            return False
        return True

    async def authenticate(self, *, username: str = "default", password: str | None = None) -> None:
        """
        Refuse: a connection to RabbitMQ keeps its login.

        Raises:
            InvalidOperation: Always.
        """
        raise InvalidOperation(
            f'a connection to RabbitMQ keeps its login: make a new connector for "{shown(username)}"'
        )

    async def close(self) -> None:
        """End all subscriptions and connections; closing twice does nothing, and a callback may do it."""
        await super().close()
        await self.amqp.close()

    # --- events ---

    async def send(self, endpoint: Endpoint, message: object, *, pipe: Batch | None = None) -> int:
        """
        Publish an event, and return when RabbitMQ has confirmed it.

        Args:
            endpoint: Where.
            message: A message, or a list of them, which travels as a bundle.
            pipe: Must be None: RabbitMQ has no pipelines.

        Returns:
            1 if somebody listens, 0 if nobody does; RabbitMQ does not tell how many.

        Raises:
            InvalidOperation: If the endpoint does not allow it, or with a pipeline.
            InvalidMessage: If the message is of another type.
            TooLarge: If it is above 16 MiB.
            NotConnected: If nothing was sent.
            DeliveryUnknown: If the link broke and did not come back in time; see `repeat`.
            DeadlinePassed: If no confirmation came in time; see `repeat`.
        """
        self._no_pipeline(pipe)
        return await self._publish(letter(self._at(endpoint), message, "send", self._senders.current()))

    async def raw_send(self, channel: str, payload: str | bytes, *, pipe: Batch | None = None) -> int:
        """Publish bytes as they are on any channel, unchecked; tells whether somebody listens."""
        self._no_pipeline(pipe)
        if not isinstance(channel, str) or not channel:
            raise InvalidArgument(f"channel={shown(channel)}: a channel is text that is not empty")
        if not isinstance(payload, (str, bytes)):
            raise InvalidArgument(f"`{type(payload).__name__}` cannot be sent raw: give text or bytes")
        body = payload.encode() if isinstance(payload, str) else payload
        if len(body) > MAX_PAYLOAD_BYTES:
            raise TooLarge(f"{len(body)} bytes for {shown(channel)}: at most {MAX_PAYLOAD_BYTES} can be sent")
        key = routing_key(channel)
        return int(await self.amqp.publish(EXCHANGE, key, body, properties=TRANSIENT, mandatory=True))

    async def set_and_publish(
        self,
        endpoint: Endpoint,
        message: object,
        *,
        expire_s: float | None = None,
        pipe: Batch | None = None,
    ) -> None:
        """
        Keep a message in the store, then publish it; arguments and errors as `send`.

        Who hears it finds this value or a newer one in the store. If publishing fails after it was kept, the
        error is `DeliveryUnknown` or `DeadlinePassed`, and `repeat` says it.

        Raises:
            InvalidOperation: Also if there is no store.
        """
        self._no_pipeline(pipe)
        place = self._at(endpoint)
        place.require("set_and_publish")
        if self.store is None:
            raise needs_store("set_and_publish", self.broker)
        written = letter(place, message, "set_and_publish", self._senders.current())
        await self._perform(store_value(written, expire_s))
        try:
            await self._publish(written)
        except NotConnected as error:
            told = DeliveryUnknown(f"the value is in the store, but was not published: {error}")
            raise unsettled(told, written) from error

    async def repeat(self, error: BaseException) -> int:
        """
        Say an event again whose outcome is not known; who heard it the first time does not hear it twice.

        Args:
            error: The `DeliveryUnknown` or `DeadlinePassed` that `send` or `set_and_publish` raised.

        Returns:
            1 if somebody listens, else 0.

        Raises:
            InvalidArgument: If the error does not come from an event.
            NotConnected: If there is no connection; repeat later with the same error.
            DeliveryUnknown: If the outcome is not known again; `DeadlinePassed` likewise.
        """
        return await self._publish(settled(error), is_repeat=True)

    async def _publish(self, written: Letter, *, is_repeat: bool = False) -> int:
        await self._make_exchange()
        try:
            return int(
                await self.amqp.publish(
                    EXCHANGE, written.key, written.payload, properties=written.properties, mandatory=True
                )
            )
        except NotConnected:
            if not is_repeat:
                self._senders.current().give_back(written.channel, written.number)
            raise
        except (DeliveryUnknown, DeadlinePassed) as error:
            raise unsettled(error, written) from error

    async def _make_exchange(self) -> None:
        """Declare the exchange before the first event; the broker keeps it for ever."""
        if not self._has_exchange:
            await self.amqp.move_in(EventExchange())
            self._has_exchange = True

    async def register(
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
        Call a function for each message; returns when RabbitMQ has confirmed. See `AsyncConnector.register`.

        What is said while the link is broken (or the broker restarts) for less than two minutes is delivered
        afterwards, once. What is lost is told as a `Gap`: with its count where numbers are missing, with None
        where nobody can know. There is no replay.

        Raises:
            InvalidOperation: If an endpoint does not allow it, is a stream and there is no store, or if a
                replay of events is wanted.
        """
        chosen = chosen_endpoints(topics, patterns, self.options)
        if self.store is None and any(e.message_op.name == "STREAM" for e in chosen):
            raise needs_store("listening to a stream", self.broker)
        if from_start or since_utc_s is not None:
            no_replay(chosen, self.broker)
        await super().register(
            topics,
            cb,
            patterns=patterns,
            from_start=from_start,
            since_utc_s=since_utc_s,
            newest_only=newest_only,
            start_thread=start_thread,
            **kwargs,
        )

    subscribe = register

    # --- what is kept ---

    def pipeline(self) -> AsyncPipeline:
        """
        Collect calls to the store and send them in one write; events cannot be among them.

        Raises:
            InvalidOperation: If there is no store.
        """
        if self.store is None:
            raise needs_store("a pipeline", self.broker)
        return AsyncPipeline(self._wire, self.options, self._refuse_events)

    def _refuse_events(self) -> Recording | None:
        self._no_events_in_pipelines()

    def _no_pipeline(self, pipe: Batch | None) -> None:
        if pipe is not None:
            self._no_events_in_pipelines()

    def _no_events_in_pipelines(self) -> NoReturn:
        raise InvalidOperation(
            "events cannot be part of a pipeline on RabbitMQ, which has none: send them one by one"
        )

    async def _perform(self, flow: Flow[Any]) -> Any:
        if self.store is None:
            flow.close()
            raise needs_store(getattr(flow, "__name__", "this"), self.broker)
        return await super()._perform(flow)
