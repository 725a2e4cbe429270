"""A link to RabbitMQ that comes back, on the protocol of aio-pika; a thread serves the blocking door."""

from importlib import import_module
from typing import TYPE_CHECKING

from .address import AmqpAddress, is_amqp, parse_amqp
from .names import binding_key, channel_of, routing_key

if TYPE_CHECKING:
    from .channel import Channel, ChannelRefused, Delivery
    from .connection import AmqpConnection, open_connection
    from .link import AmqpLink, Resident
    from .properties import Properties, Written, written_properties
    from .translate import translated
    from .wires import AmqpWire, AsyncAmqpWire

__all__ = [
    "AmqpAddress",
    "AmqpConnection",
    "AmqpLink",
    "AmqpWire",
    "AsyncAmqpWire",
    "Channel",
    "ChannelRefused",
    "Delivery",
    "Properties",
    "Resident",
    "Written",
    "binding_key",
    "channel_of",
    "is_amqp",
    "open_connection",
    "parse_amqp",
    "routing_key",
    "translated",
    "written_properties",
]

_HOMES = {
    "channel": ("Channel", "ChannelRefused", "Delivery"),
    "connection": ("AmqpConnection", "open_connection"),
    "link": ("AmqpLink", "Resident"),
    "properties": ("Properties", "Written", "written_properties"),
    "translate": ("translated",),
    "wires": ("AmqpWire", "AsyncAmqpWire"),
}


def __getattr__(name: str) -> object:
    """Load what needs the library when it is first used: most programs never speak to RabbitMQ."""
    for home, names in _HOMES.items():
        if name in names:
            try:
                value = getattr(import_module(f".{home}", __name__), name)
            except ModuleNotFoundError as error:
                from ...errors import ConfigError

                raise ConfigError(
                    f"RabbitMQ needs the package {error.name}: pip install 'labspine[amqp]'"
                ) from error
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
