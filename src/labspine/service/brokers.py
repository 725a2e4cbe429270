"""Which transport serves a connector: the only place that knows the brokers apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..connector import AsyncConnector, RedisConnector
from ..errors import InvalidArgument
from ..wire import AsyncioWire, SyncWire
from ._async.calls import AsyncRedisCalls
from ._sync.calls import RedisCalls
from .redis import RedisCallServer, SpreadCallServer
from .transport import AsyncCallTransport, CallServer, CallTransport, Serving

if TYPE_CHECKING:
    from ..connector import AmqpConnector, AsyncAmqpConnector
    from ..wire.amqp import AmqpWire

__all__ = ["async_transport", "blocking_transport", "server_for"]


def blocking_transport(connector: object) -> CallTransport:
    """
    Make the caller's side for a blocking connector; it has connections of its own.

    Raises:
        InvalidArgument: If it is not a connector.
    """
    if isinstance(connector, RedisConnector):
        if connector.broker_name == "rabbitmq":
            from ._sync.amqp import AmqpCalls

            return AmqpCalls(_amqp_wire(connector))
        options = connector.options
        wire = SyncWire.made_for(connector.address, options.wire(), options.tls)
        return RedisCalls(wire, lambda: _prefix(connector))
    raise _refused(connector, "RedisConnector")


def async_transport(connector: object) -> AsyncCallTransport:
    """
    Make the caller's side for an asyncio connector; it has connections of its own.

    Raises:
        InvalidArgument: If it is not a connector.
    """
    if isinstance(connector, AsyncConnector):
        if connector.broker_name == "rabbitmq":
            from ..wire.amqp import AsyncAmqpWire
            from ._async.amqp import AsyncAmqpCalls

            amqp = cast("AsyncAmqpConnector", connector)
            return AsyncAmqpCalls(AsyncAmqpWire(amqp.broker, amqp.options.wire(), amqp.amqp.tls))
        options = connector.options
        wire = AsyncioWire.made_for(connector.address, options.wire(), options.tls)
        return AsyncRedisCalls(wire, lambda: _prefix(connector))
    raise _refused(connector, "AsyncConnector")


def server_for(connector: object, serving: Serving) -> CallServer:
    """
    Make the serving side of one instance; it has connections of its own.

    Raises:
        InvalidArgument: If it is not a connector.
    """
    if isinstance(connector, (RedisConnector, AsyncConnector)):
        if connector.broker_name == "rabbitmq":
            from .amqp_server import AmqpCallServer

            return AmqpCallServer(serving, _amqp_wire(connector))
        options = connector.options
        kind = SpreadCallServer if connector.address.is_cluster else RedisCallServer
        return kind(serving, connector.address, options=options.wire(), context=options.tls)
    raise _refused(connector, "RedisConnector")


def _amqp_wire(connector: RedisConnector | AsyncConnector) -> AmqpWire:
    """Make a blocking link of its own; the library of RabbitMQ is loaded for its users only."""
    from ..wire.amqp import AmqpWire

    amqp = cast("AmqpConnector", connector)
    return AmqpWire(amqp.broker, amqp.options.wire(), amqp.amqp.tls)


def _prefix(connector: RedisConnector | AsyncConnector) -> str:
    """Begin the name of a reply list with the user's, so that access rules can keep others away."""
    return f"{connector.address.username or 'default'}/"


def _refused(connector: object, wanted: str) -> InvalidArgument:
    return InvalidArgument(f"a {wanted} is needed, got `{type(connector).__name__}`")
