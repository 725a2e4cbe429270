"""Choose the door by the address: a Redis or RabbitMQ, blocking or asyncio."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from ..wire.amqp import is_amqp
from ._async.connector import AsyncConnector
from ._sync.connector import RedisConnector

__all__ = ["connect", "connect_async"]


def connect(url: object, *, store: object = None, **options: Any) -> RedisConnector:
    """
    Make a connector for whatever broker an address means.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://``, ``"host:port"``, or ``amqp://``
            and ``amqps://`` for RabbitMQ.
        store: For RabbitMQ the address of a Redis that keeps values, streams, lists and sets; a Redis needs
            none.
        options: See `ConnectorOptions`.

    Returns:
        The connector; it connects when it is first used. For RabbitMQ an `AmqpConnector`.

    Raises:
        ConfigError: If an address cannot work, a store is given for a Redis, or aio-pika is missing.
        InvalidArgument: If an option is unknown or out of range.
    """
    if is_amqp(url):
        from ._sync.amqp import AmqpConnector

        return AmqpConnector(url, store=store, **options)
    _needs_no_store(store)
    return RedisConnector(url, **options)


def connect_async(url: object, *, store: object = None, **options: Any) -> AsyncConnector:
    """Make a connector for the tasks of an event loop; arguments and errors as `connect`."""
    if is_amqp(url):
        from ._async.amqp import AsyncAmqpConnector

        return AsyncAmqpConnector(url, store=store, **options)
    _needs_no_store(store)
    return AsyncConnector(url, **options)


def _needs_no_store(store: object) -> None:
    if store is not None:
        raise ConfigError("store= goes with amqp:// only: a Redis keeps values itself")
