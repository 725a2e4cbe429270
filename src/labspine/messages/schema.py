"""
JSON Schema (draft 2020-12) of the messages, as their fields look in JSON.

An array field has no JSON form of its own: it is described as the map that travels, see `ARRAY_SCHEMA`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from ..errors import InvalidArgument, did_you_mean
from .arrays import Array
from .base import Message, message_class, message_classes
from .messaging import MessagingServiceContent

__all__ = ["ARRAY_SCHEMA", "SCHEMA_DIALECT", "json_schema", "json_schemas", "published_classes"]

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
ARRAY_SCHEMA: dict[str, Any] = {
    "title": "ndarray",
    "description": "A numpy array: dtype in numpy's words, shape, and the bytes in C order (base64 in JSON).",
    "type": "object",
    "required": ["type", "shape", "data"],
    "properties": {
        "nd": {"const": True},
        "type": {"type": ["string", "array"]},
        "kind": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "string", "contentEncoding": "base64"},
    },
}


def published_classes() -> tuple[type[Message], ...]:
    """List the message classes of Labspine itself, ordered by name; classes of plugins are left out."""
    package = __name__.rpartition(".")[0]
    return tuple(cls for cls in message_classes() if cls.__module__ == package)


def json_schema(name: str) -> dict[str, Any]:
    """
    Describe one message class.

    Args:
        name: Name of the class, such as ``ScanMessage``.

    Returns:
        A JSON Schema document that stands for itself.

    Raises:
        InvalidArgument: If there is no such class; the text names the nearest.
    """
    cls = message_class(name)
    if cls is None:
        known = [known.__name__ for known in message_classes()]
        raise InvalidArgument(f'no message class "{name}"{did_you_mean(name, known)}')
    _, parts = json_schemas([cls], ref_template="#/$defs/{name}")
    own = parts.pop(cls.__name__)
    document = {"$schema": SCHEMA_DIALECT, "$id": f"urn:labspine:message:{cls.__name__}", **own}
    return {**document, "$defs": parts} if parts else document


def json_schemas(
    classes: Iterable[type[Message]], *, ref_template: str
) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
    """
    Describe several message classes and the parts that they share.

    Args:
        classes: Message classes.
        ref_template: Where a reference to a part points, with ``{name}`` for its name.

    Returns:
        The names of the classes, and the schemas of classes and parts by name.
    """
    wanted = tuple(classes)
    types = [*wanted, *_contents()]
    _, parts = msgspec.json.schema_components(
        types, schema_hook=_schema_hook(ref_template), ref_template=ref_template
    )
    schemas = {name: cast("dict[str, Any]", schema) for name, schema in parts.items()}
    for cls in wanted:
        schemas[cls.__name__] = {**schemas[cls.__name__], "x-msg-type": cls.msg_type}
    used = _reachable(schemas, [cls.__name__ for cls in wanted], ref_template)
    return tuple(cls.__name__ for cls in wanted), {name: schemas[name] for name in sorted(used)}


def _contents() -> list[type]:
    return list(MessagingServiceContent.__subclasses__())


def _schema_hook(ref_template: str) -> Any:
    def hook(kind: type) -> dict[str, Any]:
        if kind is Array:
            return dict(ARRAY_SCHEMA)
        if kind is MessagingServiceContent:
            return {"anyOf": [{"$ref": ref_template.format(name=c.__name__)} for c in _contents()]}
        raise NotImplementedError(kind)

    return hook


def _reachable(schemas: dict[str, dict[str, Any]], names: list[str], ref_template: str) -> set[str]:
    start = ref_template.partition("{name}")[0]
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            names += [ref.removeprefix(start) for ref in _references(schemas[name])]
    return found


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [ref for item in schema for ref in _references(item)]
    if not isinstance(schema, dict):
        return []
    # A discriminator repeats the references of its union.
    inner = [ref for key, item in schema.items() if key != "discriminator" for ref in _references(item)]
    return [*inner, schema["$ref"]] if isinstance(schema.get("$ref"), str) else inner
