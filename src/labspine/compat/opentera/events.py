"""Make the envelopes in which OpenTera's events travel; `connector.send` and `register` do the rest."""

from __future__ import annotations

from ...endpoints import EndpointInfo
from ...messages.base import Part
from ...messages.opentera import TeraEvent, TeraModuleMessage

__all__ = ["tera_event", "tera_message"]


def tera_event(topic: EndpointInfo[TeraEvent], *events: Part) -> TeraEvent:
    """
    Put events into the envelope for their topic.

    Args:
        topic: Where it will be sent, such as ``MessageEndpoints.service_events("chiller")``.
        events: What happened, such as a `UserEvent`.

    Returns:
        What `connector.send` takes for this topic.

    Raises:
        InvalidMessage: If one is not an event.
    """
    return TeraEvent(topic=topic.endpoint, events=list(events))


def tera_message(dest: EndpointInfo[TeraModuleMessage], *events: Part, source: str) -> TeraModuleMessage:
    """
    Put events into a message for one module or service.

    Args:
        dest: Where it will be sent, such as ``MessageEndpoints.module_messages("TeraServer.LoginModule")``.
        events: What happened.
        source: Topic of the sender, such as ``service.chiller.messages``.

    Returns:
        What `connector.send` takes for this topic.

    Raises:
        InvalidMessage: If one is not an event.
    """
    return TeraModuleMessage(source=source, dest=dest.endpoint, data=list(events))
