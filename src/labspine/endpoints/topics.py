"""Topics by the convention of seed 004; what is said there travels in OpenTera's own bytes (ADR 0024)."""

from __future__ import annotations

from typing import TypeVar

from ..messages import Message
from ..messages.opentera import RPCMessage, RPCReply, TeraEvent, TeraModuleMessage
from .definition import SEND
from .definition import EndpointDefinition as E

__all__ = ["TopicEndpoints"]

M = TypeVar("M", bound=Message)


def _topic(message_type: type[M], name: str, doc: str) -> E[M]:
    """Make the entry of a topic; its name is the same in every profile."""
    return E(message_type, SEND, bec4=name, seed=name, doc=doc)


class TopicEndpoints:
    """Topics by the convention of OpenTera; names of modules may hold dots."""

    # fmt: off
    module_messages = _topic(TeraModuleMessage, "module.{module_name}.messages",
        "Messages of a module, such as `TeraServer.UserManagerModule`.")
    module_events = _topic(TeraEvent, "module.{module_name}.events",
        "Events for a module and whoever else wants to know.")
    module_events_of = _topic(TeraEvent, "module.{module_name}.events.{subtopic}",
        "Events of one kind of object, or for one client.")
    module_rpc = _topic(RPCMessage, "module.{module_name}.rpc",
        "Calls of the procedures of a module.")
    service_messages = _topic(TeraModuleMessage, "service.{service_key}.messages",
        "Messages of a service.")
    service_events = _topic(TeraEvent, "service.{service_key}.events",
        "Events for a service and whoever else wants to know.")
    service_rpc = _topic(RPCMessage, "service.{service_key}.rpc",
        "Calls of the procedures of a service.")
    websocket_user_events = _topic(TeraEvent, "websocket.user.{user_uuid}.events",
        "Events for one connected user.")
    websocket_device_events = _topic(TeraEvent, "websocket.device.{device_uuid}.events",
        "Events for one connected device.")
    websocket_participant_events = _topic(TeraEvent, "websocket.participant.{participant_uuid}.events",
        "Events for one connected participant.")
    rpc_replies = _topic(RPCReply, "labspine.rpc.{client_id}",
        "Replies to the calls of one client of ours.")
    rpc_replies_opentera = _topic(RPCReply, "RedisRPCClient.{client_id}",
        "Replies to the calls of one client of OpenTera.")
    # fmt: on
