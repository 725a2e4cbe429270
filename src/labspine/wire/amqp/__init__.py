"""Our own lean connection to RabbitMQ (AMQP 0-9-1), for asyncio; a thread with a loop serves the rest."""

from .address import AmqpAddress, is_amqp, parse_amqp
from .channel import Channel, ChannelRefused, Delivery
from .connection import AmqpConnection, open_connection
from .fields import Properties, written_properties
from .link import AmqpLink, Resident
from .names import binding_key, channel_of, routing_key
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
    "binding_key",
    "channel_of",
    "is_amqp",
    "open_connection",
    "parse_amqp",
    "routing_key",
    "translated",
    "written_properties",
]
