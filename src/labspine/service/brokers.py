"""Which transport serves a connector: the only place that knows the brokers apart."""

from __future__ import annotations

from ..connector import AmqpConnector, AsyncAmqpConnector, AsyncConnector, RedisConnector
from ..errors import InvalidArgument, InvalidOperation
from ..wire import Address, AsyncioWire, SyncWire
from ..wire.amqp import AmqpWire, AsyncAmqpWire
from ._async.amqp import AsyncAmqpCalls
from ._async.calls import AsyncRedisCalls
from ._sync.amqp import AmqpCalls
from ._sync.calls import RedisCalls
from .amqp_server import AmqpCallServer
from .redis import RedisCallServer
from .transport import AsyncCallTransport, CallServer, CallTransport, Serving

__all__ = ["async_transport", "blocking_transport", "server_for"]


def blocking_transport(connector: object) -> CallTransport:
    """
    Make the caller's side for a blocking connector; it has connections of its own.

    Raises:
        InvalidArgument: If it is not a connector.
        InvalidOperation: If its broker is a Redis Cluster.
    """
    if isinstance(connector, AmqpConnector):
        return AmqpCalls(AmqpWire(connector.broker, connector.options.wire(), connector.amqp.tls))
    if isinstance(connector, RedisConnector):
        _refuse_cluster(connector.address)
        options = connector.options
        wire = SyncWire.made_for(connector.address, options.wire(), options.tls)
        return RedisCalls(wire, lambda: _prefix(connector))
    raise _refused(connector, "RedisConnector")


def async_transport(connector: object) -> AsyncCallTransport:
    """
    Make the caller's side for an asyncio connector; it has connections of its own.

    Raises:
        InvalidArgument: If it is not a connector.
        InvalidOperation: If its broker is a Redis Cluster.
    """
    if isinstance(connector, AsyncAmqpConnector):
        return AsyncAmqpCalls(AsyncAmqpWire(connector.broker, connector.options.wire(), connector.amqp.tls))
    if isinstance(connector, AsyncConnector):
        _refuse_cluster(connector.address)
        options = connector.options
        wire = AsyncioWire.made_for(connector.address, options.wire(), options.tls)
        return AsyncRedisCalls(wire, lambda: _prefix(connector))
    raise _refused(connector, "AsyncConnector")


def server_for(connector: object, serving: Serving) -> CallServer:
    """
    Make the serving side of one instance; it has connections of its own.

    Raises:
        InvalidArgument: If it is not a connector.
        InvalidOperation: If its broker is a Redis Cluster.
    """
    if isinstance(connector, (AmqpConnector, AsyncAmqpConnector)):
        wire = AmqpWire(connector.broker, connector.options.wire(), connector.amqp.tls)
        return AmqpCallServer(serving, wire)
    if isinstance(connector, (RedisConnector, AsyncConnector)):
        _refuse_cluster(connector.address)
        options = connector.options
        return RedisCallServer(serving, connector.address, options=options.wire(), context=options.tls)
    raise _refused(connector, "RedisConnector")


def _refuse_cluster(address: Address) -> None:
    """A call is one write on the keys of a service and of a caller, which a cluster has on two nodes."""
    if address.is_cluster:
        raise InvalidOperation(
            f"{address}: services are not offered on a Redis Cluster: "
            "use one server, redis+sentinel:// or amqp:// for them"
        )


def _prefix(connector: RedisConnector | AsyncConnector) -> str:
    """Begin the name of a reply list with the user's, so that access rules can keep others away."""
    return f"{connector.address.username or 'default'}/"


def _refused(connector: object, wanted: str) -> InvalidArgument:
    return InvalidArgument(f"a {wanted} is needed, got `{type(connector).__name__}`")
