"""
The base of all messages: immutable, validated, and known by name.

A message class is a frozen ``msgspec.Struct`` of which each field is one line. Constructing one validates
it: the arguments are converted to the declared types, unknown fields are refused, and the error names the
path of the field. A `Part` is a piece of a message with the same rules; it has no place in the registry.
"""

from __future__ import annotations

import enum
import functools
import sys
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform, get_type_hints

import msgspec

from ..errors import InvalidMessage
from .arrays import Array

__all__ = [
    "Message",
    "MessageMeta",
    "Part",
    "StrictMeta",
    "Timestamp",
    "message_class",
    "message_classes",
    "read_custom",
]

S = TypeVar("S", bound=msgspec.Struct)
Timestamp = Annotated[float, msgspec.Meta(ge=0, lt=1e11)]
"""Seconds since 1970 UTC. NaN, and milliseconds, which would be in a far future, are refused."""

_PACKAGE = __name__.rpartition(".")[0]
_registry: dict[str, type[Message]] = {}
_CLOSED_FIELDS = frozenset({str, int, float, bool, bytes, type(None), Array})


def read_custom(target: type, value: object) -> object:
    """
    Convert for a field whose type msgspec does not know (its ``dec_hook``).

    Args:
        target: The type of the field; it may bring a class method ``read_field(value)``.
        value: What was given.

    Returns:
        An instance of the type.

    Raises:
        TypeError: If the value does not fit.
    """
    read = getattr(target, "read_field", None)
    converted: object = value if read is None else read(value)
    if isinstance(converted, target):
        return converted
    raise TypeError(f"Expected `{target.__name__}`, got `{type(value).__name__}`")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class StrictMeta(msgspec.StructMeta):
    """Makes a struct class frozen, strict, and validated when called."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        """Build the struct class; the options that all messages share need not be repeated."""
        if str(namespace["__module__"]).startswith(_PACKAGE + "."):
            package = str(namespace["__module__"]).rpartition(".")[0]
            namespace["__module__"] = package if bases[0] is not msgspec.Struct else _PACKAGE + ".base"
        options = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, "gc": True, **options}
        return super().__new__(mcls, name, bases, namespace, **options)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
        """Take no options; they have been used by now."""
        super().__init__(name, bases, namespace)

    def __call__(cls: type[S], *args: Any, **fields: Any) -> S:  # type: ignore[misc]  # cls is the struct class
        """
        Construct and validate.

        Raises:
            InvalidMessage: If a field is missing, unknown, or not of its type; the text names the path.
        """
        if args:
            raise InvalidMessage(
                f"{cls.__name__} takes its fields by name, as in {cls.__name__}(field=value)"
            )
        try:
            return msgspec.convert(fields, cls, dec_hook=read_custom)
        except (msgspec.ValidationError, TypeError):
            return _convert_loosely(fields, cls)


class MessageMeta(StrictMeta):
    """Registers each subclass of `Message` by its name."""

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:  # noqa: N805  # a metaclass
        """Enter the class into the closed list of types that can be decoded."""
        super().__init__(name, bases, namespace)
        if bases and name != "Message" and not cls.is_foreign:  # type: ignore[attr-defined]
            _registry[name] = cls  # type: ignore[assignment]


class Part(msgspec.Struct, metaclass=StrictMeta):
    """A piece of a message that is no message itself, validated in the same way."""


class Message(msgspec.Struct, metaclass=MessageMeta):
    """
    What is said: an immutable, validated, typed value with `content` and `metadata`.

    Args:
        metadata: Anything that describes the message and is not its content; text keys.

    Raises:
        InvalidMessage: On construction, if a field is missing, unknown or not of its declared type.

    Source:
        Seed 000 (BECMessage classes).
    """

    msg_type: ClassVar[str] = "message"
    plain: ClassVar[bool] = False
    """True for classes on hot paths whose free-form fields hold only what MessagePack knows, or arrays."""
    is_foreign: ClassVar[bool] = False
    """True for classes that travel in another system's bytes; see `labspine.messages.foreign`."""

    metadata: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """
        The fields of the message without its metadata.

        Returns:
            A new dict; changing it does not change the message.
        """
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "metadata"}


def convert_received(fields: dict[str, Any], cls: type[S]) -> S:
    """
    Build a struct from decoded fields; numpy numbers are taken where numbers are needed.

    Raises:
        msgspec.ValidationError: If a field is missing, unknown, or not of its type.
    """
    try:
        return msgspec.convert(fields, cls, dec_hook=read_custom)
    except (msgspec.ValidationError, TypeError):
        return msgspec.convert(_with_plain_fields(fields, cls), cls, dec_hook=read_custom)


def _convert_loosely(fields: dict[str, Any], cls: type[S]) -> S:
    """Try once more with plain values in the fields that do not fit."""
    try:
        return msgspec.convert(_with_plain_fields(fields, cls), cls, dec_hook=read_custom)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        raise InvalidMessage(f"{cls.__name__}: {_sentence(error, cls)}") from None


def _with_plain_fields(fields: dict[str, Any], cls: type[msgspec.Struct]) -> dict[str, Any]:
    """Replace numpy numbers, enumerations and parts by plain values in the fields that do not fit."""
    hints = _hints(cls)
    changed = {}
    for name, value in fields.items():
        try:
            changed[name] = msgspec.convert(value, hints.get(name, Any), dec_hook=read_custom)
        except (msgspec.ValidationError, TypeError):
            changed[name] = _plain_values(value)
    return changed


@functools.cache
def _hints(cls: type[msgspec.Struct]) -> dict[str, Any]:
    return get_type_hints(cls)


def _plain_values(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dict):
        return {_plain_values(k): _plain_values(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_values(v) for v in value]
    if isinstance(value, Part):
        return {name: _plain_values(item) for name, item in part_items(value).items()}
    return value


def part_items(part: Part) -> dict[str, Any]:
    """Return the fields of a part as they travel, its tag first."""
    config = part.__struct_config__
    tag = {config.tag_field: config.tag} if config.tag_field else {}
    return {**tag, **{name: getattr(part, name) for name in part.__struct_fields__}}


def _sentence(error: Exception, cls: type[msgspec.Struct]) -> str:
    text = str(error).replace("Object missing required field", "missing field")
    text = text.replace("Object contains unknown field", "unknown field").replace("`$.", "`")
    if "unknown field" in text or "missing field" in text:
        text += f"; fields are {', '.join(cls.__struct_fields__)}"
    return text


def loose_fields(cls: type[Message]) -> tuple[str, ...]:
    """Name the fields of a class whose values may hold sets, enumerations or other messages."""
    if cls.plain:
        return ()
    hints = _hints(cls)
    return tuple(name for name in cls.__struct_fields__ if not _is_closed(hints[name]))


def _is_closed(annotation: Any) -> bool:
    if annotation in _CLOSED_FIELDS or (isinstance(annotation, type) and issubclass(annotation, Part)):
        return True
    arguments = getattr(annotation, "__args__", ())
    if not arguments:
        return False
    return all(isinstance(a, (str, int)) or a is Ellipsis or _is_closed(a) for a in arguments)


def message_class(name: str) -> type[Message] | None:
    """Look up a registered message class by its name on the wire; None if there is none."""
    return _registry.get(name)


def message_classes() -> tuple[type[Message], ...]:
    """List all registered message classes, ordered by name."""
    return tuple(_registry[name] for name in sorted(_registry))
