"""
The base of all messages: immutable, validated, and known by name.

A message class is a frozen ``msgspec.Struct`` of which each field is one line. Constructing one validates
it: the arguments are converted to the declared types, unknown fields are refused, and the error names the
path of the field.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, dataclass_transform, get_type_hints

import msgspec
import numpy as np

from ..errors import InvalidMessage
from .arrays import plain_numbers, to_array

__all__ = ["Message", "MessageMeta", "message_class", "message_classes"]

M = TypeVar("M", bound="Message")
_PACKAGE = __name__.rpartition(".")[0]
_registry: dict[str, type[Message]] = {}
_CLOSED_FIELDS = frozenset({str, int, float, bool, bytes, type(None), np.ndarray})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class MessageMeta(msgspec.StructMeta):
    """Makes each subclass of `Message` frozen, strict, registered by its name, and validated when called."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        """Build the struct class; the options that all messages share need not be repeated."""
        if str(namespace["__module__"]).startswith(_PACKAGE + "."):
            namespace["__module__"] = _PACKAGE if bases[0] is not msgspec.Struct else _PACKAGE + ".base"
        options = {"frozen": True, "kw_only": True, "forbid_unknown_fields": True, "gc": True, **options}
        return super().__new__(mcls, name, bases, namespace, **options)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
        """Enter the class into the closed list of types that can be decoded."""
        super().__init__(name, bases, namespace)
        if bases and name != "Message":
            _registry[name] = cls  # type: ignore[assignment]

    def __call__(cls: type[M], *args: Any, **fields: Any) -> M:  # type: ignore[misc]  # cls is the message class
        """
        Construct and validate a message.

        Raises:
            InvalidMessage: If a field is missing, unknown, or not of its type; the text names the path.
        """
        if args:
            raise InvalidMessage(
                f"{cls.__name__} takes its fields by name, as in {cls.__name__}(metadata={{}})"
            )
        try:
            return msgspec.convert(fields, cls, dec_hook=to_array)
        except (msgspec.ValidationError, TypeError) as error:
            return cls.from_loose(fields, error)


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

    metadata: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        """
        The fields of the message without its metadata.

        Returns:
            A new dict; changing it does not change the message.
        """
        return {name: getattr(self, name) for name in self.__struct_fields__ if name != "metadata"}

    @classmethod
    def from_loose(cls: type[M], fields: dict[str, Any], first_error: Exception) -> M:
        """
        Try once more with numpy numbers replaced by Python's; arrays stay.

        Args:
            fields: The fields as they were given.
            first_error: What the strict attempt said.

        Returns:
            The message.

        Raises:
            InvalidMessage: If it still does not fit; the text names the path of the field.
        """
        try:
            return msgspec.convert(plain_numbers(fields), cls, dec_hook=to_array)
        except (msgspec.ValidationError, TypeError, ValueError, RecursionError):
            raise InvalidMessage(f"{cls.__name__}: {_sentence(first_error, cls)}") from None


def _sentence(error: Exception, cls: type[Message]) -> str:
    text = str(error).replace("Object missing required field", "missing field")
    text = text.replace("Object contains unknown field", "unknown field").replace("`$.", "`")
    if "unknown field" in text or "missing field" in text:
        text += f"; fields are {', '.join(cls.__struct_fields__)}"
    return text


def loose_fields(cls: type[Message]) -> tuple[str, ...]:
    """Name the fields of a class whose values may hold sets, enumerations or other messages."""
    if cls.plain:
        return ()
    hints = get_type_hints(cls)
    return tuple(name for name in cls.__struct_fields__ if not _is_closed(hints[name]))


def _is_closed(annotation: Any) -> bool:
    if annotation in _CLOSED_FIELDS:
        return True
    arguments = getattr(annotation, "__args__", ())
    if not arguments:
        return False
    return all(isinstance(a, (str, int)) or _is_closed(a) for a in arguments)


def message_class(name: str) -> type[Message] | None:
    """Look up a registered message class by its name on the wire; None if there is none."""
    return _registry.get(name)


def message_classes() -> tuple[type[Message], ...]:
    """List all registered message classes, ordered by name."""
    return tuple(_registry[name] for name in sorted(_registry))
