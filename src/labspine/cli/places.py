"""Which endpoint a person means: its name in the catalogue and the names in its channel, as words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidArgument

if TYPE_CHECKING:
    from ..endpoints import EndpointInfo
    from ..messages import Message

__all__ = ["ProfileOption", "chosen_place", "chosen_places", "message_from_json"]

ProfileOption = Annotated[
    str, typer.Option("--profile", help="Naming scheme of the channels: seed, or bec4 for a BEC Redis.")
]
_WILDCARDS = frozenset("*?[]")


def chosen_place(endpoint: str, names: Sequence[str] | None) -> EndpointInfo[Any]:
    """
    Find the one endpoint that is meant.

    Args:
        endpoint: Its name, such as ``device_read``; the names may follow in the same word.
        names: The names in its channel, such as ``samx``.

    Raises:
        InvalidArgument: If there is none, a name is missing, or a name is a pattern.
        InvalidName: If a name breaks the grammar.
    """
    from ..endpoints import MessageEndpoints

    name, *given = [*endpoint.split(), *(names or ())]
    definition = MessageEndpoints.definition(name)
    if any(_WILDCARDS.intersection(word) for word in given):
        raise InvalidArgument(f"{' '.join([name, *given])}: one place is needed here, and this is a pattern")
    return definition(*given)


def chosen_places(endpoint: str, names: Sequence[str] | None) -> EndpointInfo[Any]:
    """
    Find the endpoint or the pattern that is meant: names that are left out are any.

    Args:
        endpoint: Its name; the names may follow in the same word, as in ``"device_read samx*"``.
        names: The names in its channel; ``*`` and ``?`` are wildcards.

    Raises:
        InvalidArgument: If there is no such endpoint, or there are too many names.
        InvalidName: If a name breaks the grammar.
    """
    from ..endpoints import MessageEndpoints

    name, *given = [*endpoint.split(), *(names or ())]
    definition = MessageEndpoints.definition(name)
    has_wildcard = any(_WILDCARDS.intersection(word) for word in given)
    left_out = len(given) < len(definition.parameters) and not definition.defaults
    if len(given) > len(definition.parameters) or not (has_wildcard or left_out):
        return definition(*given)
    return definition.pattern(**dict(zip(definition.parameters, given, strict=False)))


def message_from_json(info: EndpointInfo[Any], text: str) -> Message:
    """
    Make the message of an endpoint from JSON, as ``labspine get --json`` prints it.

    Args:
        info: Where it is to be said.
        text: An object with the fields; for a message of one field its bare value will do.

    Returns:
        The message, validated.

    Raises:
        InvalidArgument: If it is not JSON, or the class is not known or not said.
        InvalidMessage: If a field is wrong, missing or unknown.
    """
    import json

    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(
            f"the message is not JSON: {error}; write for example '{{\"value\": 5}}'"
        ) from None
    cls = info.message_type
    own = [name for name in cls.__struct_fields__ if name != "metadata"]
    if not isinstance(data, dict):
        if len(own) != 1:
            fields = ", ".join(cls.__struct_fields__)
            raise InvalidArgument(f"{cls.__name__} needs an object with fields; there are: {fields}")
        data = {own[0]: data}
    if "type" in data and "type" not in own:
        data = dict(data)
        cls = _class_named(data.pop("type"))
    elif not own:
        raise InvalidArgument(
            f"{info.name} takes messages of any class: say which, as in "
            '{"type": "VariableMessage", "value": 5}'
        )
    message: Message = cls(**data)
    info.check(message)
    return message


def _class_named(name: object) -> type[Message]:
    from ..errors import did_you_mean, shown
    from ..messages import message_class, message_classes

    found = message_class(name) if isinstance(name, str) else None
    if found is None:
        known = [cls.__name__ for cls in message_classes()]
        raise InvalidArgument(f'no message class "{shown(name)}"{did_you_mean(str(name), known)}')
    return found


def _refuse_constant(word: str) -> object:
    raise ValueError(f"{word} is not JSON")
