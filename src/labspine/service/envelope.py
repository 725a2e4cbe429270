"""
What travels in a call: a request and its replies, each one MessagePack array.

Arguments and results are written in the one wire format, so that messages and arrays travel in them as they
do everywhere. New fields are added at the end and have defaults.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..errors import DecodeError, TooLarge
from ..messages import decode, encode

__all__ = [
    "FAILURE",
    "ITEM",
    "LAST",
    "PROGRESS",
    "VALUE",
    "Ask",
    "Failure",
    "Reply",
    "Say",
    "read_ask",
    "read_say",
    "read_value",
    "value_of",
    "write_ask",
    "write_failure",
    "write_say",
]

VALUE: Final = 0
"""The result; nothing follows."""
ITEM: Final = 1
"""One of several results."""
LAST: Final = 2
"""The end of several results."""
PROGRESS: Final = 3
"""How far it is: ``[done, total, text]``."""
FAILURE: Final = 4
"""It failed; nothing follows."""

_MARK = b"__bec_codec__"
_SMALL_BYTES = 32 * 1024
MOST_TEXT = 64_000


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """
    Why a call failed.

    Args:
        kind: Which of the outcomes: the name of the class of `labspine.errors`.
        text: The sentence.
        remote_type: Type of what the procedure raised, with its module unless it is a builtin.
        traceback: Where it was raised.
        code: Its ``code``, if it has one.
        is_retryable: Whether calling again can help and does no harm.
    """

    kind: str
    text: str
    remote_type: str = ""
    traceback: str = ""
    code: str = ""
    is_retryable: bool = False


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """
    A request.

    Args:
        procedure: Its name.
        values: Positional and keyword arguments, ``[[...], {...}]``, encoded.
        trail: The calls in which it is nested, outermost first, as ``service.procedure``.
        is_stream: The caller takes several results.
        sender: Who asks, for people.
    """

    procedure: str
    values: msgspec.Raw
    trail: tuple[str, ...] = ()
    is_stream: bool = False
    sender: str = ""


class Say(msgspec.Struct, frozen=True, array_like=True):
    """
    A reply.

    Args:
        kind: `VALUE`, `ITEM`, `LAST`, `PROGRESS` or `FAILURE`.
        value: The result, encoded; nil for a failure.
        number: Counts the items from 0.
        instance: Who says it.
        failure: Why it failed.
    """

    kind: int
    value: msgspec.Raw
    number: int = 0
    instance: str = ""
    failure: Failure | None = None


class _PlainAsk(msgspec.Struct, frozen=True, array_like=True):
    """`Ask` with values that MessagePack knows by itself."""

    procedure: str
    values: tuple[list[Any], dict[str, Any]]
    trail: tuple[str, ...] = ()
    is_stream: bool = False
    sender: str = ""


class _PlainSay(msgspec.Struct, frozen=True, array_like=True):
    """`Say` with a value that MessagePack knows by itself."""

    kind: int
    value: Any
    number: int = 0
    instance: str = ""
    failure: Failure | None = None


_SIMPLE = frozenset({str, int, float, bool, bytes, type(None)})
_SIZED = frozenset({str, bytes})
_encode = msgspec.msgpack.Encoder().encode
_read_plain_ask = msgspec.msgpack.Decoder(_PlainAsk).decode
_read_plain_say = msgspec.msgpack.Decoder(_PlainSay).decode
_read_ask = msgspec.msgpack.Decoder(Ask).decode
_read_say = msgspec.msgpack.Decoder(Say).decode
_read_plain = msgspec.msgpack.Decoder().decode
_NIL = msgspec.Raw(b"\xc0")


def write_ask(
    procedure: str,
    args: tuple[object, ...],
    kwargs: dict[str, Any],
    *,
    trail: tuple[str, ...] = (),
    is_stream: bool = False,
    sender: str = "",
) -> bytes:
    """
    Encode a request.

    Raises:
        InvalidMessage: If an argument cannot travel; the text names its place.
        TooLarge: If the arguments are above the limit.
    """
    if _SIMPLE.issuperset(map(type, args)) and _SIMPLE.issuperset(map(type, kwargs.values())):
        try:
            body = _encode(_PlainAsk(procedure, (args, kwargs), trail, is_stream, sender))  # type: ignore[arg-type]  # a tuple is written as a list
        except (TypeError, OverflowError, ValueError):
            pass  # the long way says what is wrong
        else:
            if len(body) <= _SMALL_BYTES:
                return body
    values = msgspec.Raw(encode([list(args), kwargs]))
    return _encode(Ask(procedure, values, trail, is_stream, sender))


def read_ask(body: bytes) -> tuple[Ask | _PlainAsk, list[Any], dict[str, Any]]:
    """
    Decode a request.

    Returns:
        The request, and its arguments by position and by name.

    Raises:
        DecodeError: If it is none.
        TooLarge: If it exceeds the limits on bytes or parts.
    """
    try:
        if len(body) <= _SMALL_BYTES and _MARK not in body:
            plain = _read_plain_ask(body)
            return plain, *plain.values
        ask = _read_ask(body)
        args, kwargs = read_value(ask.values)
        return ask, list(args), dict(kwargs)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, (DecodeError, TooLarge)):
            raise
        raise DecodeError(f"not a request: {error}") from error


def read_value(raw: msgspec.Raw) -> Any:
    """
    Decode a value, messages and arrays in it included.

    Raises:
        DecodeError: If it is not one.
        TooLarge: If it exceeds the limits on bytes or parts.
    """
    view = memoryview(raw)
    if len(view) > _SMALL_BYTES or _MARK in bytes(view):
        return decode(bytes(view))
    try:
        return _read_plain(view)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a value: {error}") from error


def write_say(kind: int, value: object = None, *, number: int = 0, instance: str = "") -> bytes:
    """
    Encode a result.

    Raises:
        InvalidMessage: If it cannot travel.
        TooLarge: If it is above the limit.
    """
    kind_of = type(value)
    if kind_of in _SIMPLE and not (kind_of in _SIZED and len(value) > _SMALL_BYTES):  # type: ignore[arg-type]  # str, bytes
        try:
            body = _encode(_PlainSay(kind, value, number, instance))
        except (OverflowError, ValueError):
            pass  # the long way says what is wrong
        else:
            if len(body) <= _SMALL_BYTES:
                return body
    return _encode(Say(kind, msgspec.Raw(encode(value)), number, instance))


def write_failure(failure: Failure, *, instance: str = "") -> bytes:
    """Encode a failure; texts are cut, and always encodable."""
    cut = Failure(
        failure.kind,
        _text(failure.text),
        _text(failure.remote_type),
        _text(failure.traceback),
        failure.code,
        failure.is_retryable,
    )
    return _encode(Say(FAILURE, _NIL, 0, instance, cut))


def _text(text: str) -> str:
    if len(text) > MOST_TEXT:
        text = text[: MOST_TEXT // 2] + "\n…\n" + text[-MOST_TEXT // 2 :]
    return text.encode("utf-8", "backslashreplace").decode()


def read_say(body: bytes) -> Say | _PlainSay:
    """
    Decode a reply; `value_of` gives its value.

    Raises:
        DecodeError: If it is none.
    """
    try:
        if len(body) <= _SMALL_BYTES and _MARK not in body:
            return _read_plain_say(body)
        return _read_say(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"not a reply: {error}") from error


def value_of(say: Say | _PlainSay) -> Any:
    """Return the value of a reply; raises as `read_value`."""
    return say.value if type(say) is _PlainSay else read_value(say.value)


Reply = Say | _PlainSay
"""A reply as `read_say` gives it."""
