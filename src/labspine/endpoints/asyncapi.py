"""AsyncAPI 3.0 description of the catalogue: channels, operations and messages in one profile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..messages import Message
from ..messages.foreign import ForeignMessage
from ..messages.schema import json_schemas, published_classes
from .catalogue import MessageEndpoints
from .definition import EndpointDefinition
from .endpoint import MessageOp, Profile

__all__ = ["asyncapi_document"]

_WRITING = {
    MessageOp.SET_PUBLISH: "set_and_publish",
    MessageOp.SEND: "send",
    MessageOp.STREAM: "xadd",
    MessageOp.LIST: "rpush",
    MessageOp.KEY_VALUE: "set",
    MessageOp.SET: "blocking_list_pop_to_set_add",
    MessageOp.QUEUE: "put",
    MessageOp.CALL: "call",
}
_READING = {
    MessageOp.SET_PUBLISH: "register",
    MessageOp.SEND: "register",
    MessageOp.STREAM: "xread",
    MessageOp.LIST: "lrange",
    MessageOp.KEY_VALUE: "get",
    MessageOp.SET: "get_set_members",
    MessageOp.QUEUE: "claim",
    MessageOp.CALL: "serve",
}
_STORED = "kept on the broker"
_ABOUT = (
    "Every place where something is said, and what is said there. A payload is one MessagePack document in "
    "the layout of bec_lib 4; the schemas describe its fields as they look in JSON."
)


def asyncapi_document(profile: Profile, *, version: str) -> dict[str, Any]:
    """
    Describe the whole catalogue for other tools.

    Args:
        profile: The naming scheme of the channels.
        version: Version of the description, that of the package.

    Returns:
        An AsyncAPI 3.0.0 document as plain data.

    Source:
        https://www.asyncapi.com/docs/reference/specification/v3.0.0
    """
    definitions = MessageEndpoints.definitions()
    operations: dict[str, Any] = {}
    for definition in definitions:
        operations |= _operations(definition)
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:labspine:catalogue:{profile}",
        "info": {"title": f"Labspine, profile {profile}", "version": version, "description": _ABOUT},
        "defaultContentType": "application/msgpack",
        "channels": {definition.name: _channel(definition, profile) for definition in definitions},
        "operations": operations,
        "components": _components(definitions),
    }


def _channel(definition: EndpointDefinition[Message], profile: Profile) -> dict[str, Any]:
    address = definition.templates[profile]
    names = [name for name in definition.parameters if f"{{{name}}}" in address]
    channel: dict[str, Any] = {
        "address": address.replace("{{", "{", 1).replace("}}}", "}}"),  # the outer braces are meant as such
        "description": definition.__doc__,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(definition)},
        "x-operations": definition.message_op.value,
        "x-delivery": _delivery(definition),
    }
    if names:
        channel["parameters"] = {name: _parameter(definition, name) for name in names}
    return channel


def _parameter(definition: EndpointDefinition[Message], name: str) -> dict[str, Any]:
    about = {"description": f"The {name.replace('_', ' ')}: letters, digits and _-. are allowed."}
    return {**about, "default": definition.defaults[name]} if name in definition.defaults else about


def _delivery(definition: EndpointDefinition[Message]) -> str:
    if definition.message_op in (MessageOp.SET_PUBLISH, MessageOp.SEND):
        return "durable" if definition.history else "plain"
    return _STORED


def _message_names(definition: EndpointDefinition[Message]) -> list[str]:
    if definition.message_type is Message:
        return [cls.__name__ for cls in published_classes()]
    return [definition.message_type.__name__]


def _operations(definition: EndpointDefinition[Message]) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{definition.name}"}
    write, read = _WRITING[definition.message_op], _READING[definition.message_op]
    return {
        f"{definition.name}.{write}": {
            "action": "send",
            "channel": channel,
            "summary": f"{write} on {definition.signature}",
        },
        f"{definition.name}.{read}": {
            "action": "receive",
            "channel": channel,
            "summary": f"{read} on {definition.signature}",
        },
    }


def _components(definitions: Iterable[EndpointDefinition[Message]]) -> dict[str, Any]:
    used = {name for definition in definitions for name in _message_names(definition)}
    foreign = {d.message_type for d in definitions if issubclass(d.message_type, ForeignMessage)}
    classes = [cls for cls in published_classes() if cls.__name__ in used]
    classes += sorted(foreign, key=lambda cls: cls.__name__)
    content_types = {cls.__name__: cls.content_type for cls in foreign}
    names, schemas = json_schemas(classes, ref_template="#/components/schemas/{name}")
    messages = {
        name: {
            "name": name,
            "summary": (schemas[name].get("description") or name).partition("\n")[0],
            "contentType": content_types.get(name, "application/msgpack"),
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
        for name in names
    }
    return {"messages": messages, "schemas": {name: _as_asyncapi(schema) for name, schema in schemas.items()}}


def _as_asyncapi(schema: Any) -> Any:
    """Take out OpenAPI's discriminators: AsyncAPI uses the word for another thing; the tags say enough."""
    if isinstance(schema, list):
        return [_as_asyncapi(item) for item in schema]
    if isinstance(schema, dict):
        return {key: _as_asyncapi(item) for key, item in schema.items() if key != "discriminator"}
    return schema
