"""
Write messages in the MessagePack layout of bec_lib.

A message is one map, ``{"__bec_codec__": {"encoder_name": "BECMessage", "type_name": ..., "data": {...}}}``.
The outer bytes of a class never change, so they are made once, and msgspec writes the fields behind them.
Only when a free-form field holds what msgspec would write differently (sets, enumerations, nested messages)
is it prepared first; and only when a large array is met is everything written in one piece instead.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any, NoReturn, cast

import msgspec

from ..errors import InvalidMessage, TooLarge, shown
from .arrays import LargeArray, encode_numpy
from .base import Message, Part, loose_fields, part_items
from .foreign import ForeignMessage
from .limits import MAX_DEPTH, MAX_NODES, MAX_PAYLOAD_BYTES

__all__ = ["CODEC", "DATA", "HEAD", "encode"]

CODEC = "__bec_codec__"
HEAD = b"\xad__bec_codec__\x83\xacencoder_name\xaaBECMessage\xa9type_name"
DATA = b"\xa4data"
_MOST_BODY_BYTES = MAX_PAYLOAD_BYTES - 256
_SIMPLE = frozenset({str, int, float, bool, bytes, type(None)})
_FAILURES = (TypeError, OverflowError, ValueError, RecursionError)
_NOT_SENT = (datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID, frozenset)

_plans: dict[type, tuple[bytes, tuple[str, ...]]] = {}


def _enc_hook(value: object) -> object:
    return float(value) if isinstance(value, float) else _described(value, large=False)


def _enc_hook_whole(value: object) -> object:
    return float(value) if isinstance(value, float) else _described(value, large=True)


def _described(value: object, *, large: bool) -> object:
    return str(value) if isinstance(value, str) else encode_numpy(value, large=large)


_encode_plain = msgspec.msgpack.Encoder(enc_hook=_enc_hook).encode
_encode_whole = msgspec.msgpack.Encoder(enc_hook=_enc_hook_whole).encode


def encode(value: object) -> bytes:
    """
    Encode a message, or a plain value, for the wire.

    Args:
        value: A message; or text, bytes, a number, a list or a dict, which travel as they are.

    Returns:
        One MessagePack document, byte for byte what bec_lib writes for the same message.

    Raises:
        InvalidMessage: If a part of it cannot be sent.
        TooLarge: If it has more than 16 MiB; a single array above that is refused before it is copied.

    Source:
        bec_lib 4.3 wire layout; ADR 0003.
    """
    cls = type(value)
    try:
        plan = _plans.get(cls)
        if plan is None:
            return _encode_new(value)
        prefix, loose = plan
        for name in loose:
            part = getattr(value, name)
            kind = type(part)
            if kind is dict:
                for key, item in part.items():
                    if type(key) is not str or (type(item) not in _SIMPLE and not _is_simple(item, 1)):
                        return _encode_prepared(cast("Message", value), prefix)
            elif kind is bytes or kind is str:
                if len(part) > MAX_PAYLOAD_BYTES:  # said before it is copied
                    _refuse_size(cls, len(part))
            elif kind not in _SIMPLE and not _is_simple(part, 0):
                return _encode_prepared(cast("Message", value), prefix)
        body = _encode_plain(value)
    except LargeArray:
        return _encode_large(cls, value)
    except _FAILURES as error:
        raise _refusal(value, error) from error
    if len(body) > _MOST_BODY_BYTES and len(prefix) + len(body) > MAX_PAYLOAD_BYTES:
        _refuse_size(cls, len(prefix) + len(body))
    return prefix + body


def _encode_large(cls: type, value: object) -> bytes:
    try:
        payload = _encode_whole(_envelope(cls, value))
    except _FAILURES as error:
        raise _refusal(value, error) from error
    return payload if len(payload) <= MAX_PAYLOAD_BYTES else _refuse_size(cls, len(payload))


def _refusal(value: object, error: Exception) -> Exception:
    if isinstance(error, TooLarge):
        return error
    place = (_failing_place(value, "", set(), 0) or "").removeprefix(".")
    where = f" - at `{shown(place)}`" if place else ""
    if isinstance(error, InvalidMessage):
        return InvalidMessage(f"{error}{where}")
    reason = "a value that contains itself" if isinstance(error, RecursionError) else error
    return InvalidMessage(f"{type(value).__name__} cannot be encoded: {reason}{where}")


def _failing_place(value: Any, place: str, seen: set[int], depth: int) -> str | None:
    """Find the first part that cannot be sent; None if all can."""
    if isinstance(value, (Message, Part)):
        inner = [(f".{name}", getattr(value, name)) for name in value.__struct_fields__]
    elif isinstance(value, dict):
        if not all(isinstance(key, (str, bytes)) for key in value):
            return place
        inner = [(f".{key!s}", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        inner = [(f"[{index}]", item) for index, item in enumerate(value)]
    else:
        try:
            _encode_whole(_prepared(value, 0))
        except _FAILURES:
            return place
        return None
    if id(value) in seen or len(seen) > MAX_NODES or depth > MAX_DEPTH:
        return place
    seen.add(id(value))
    for step, item in inner:
        found = _failing_place(item, place + step, seen, depth + 1)
        if found:
            return found
    return None


def _refuse_size(cls: type, size_bytes: int) -> NoReturn:
    raise TooLarge(f"{cls.__name__} has {size_bytes} bytes: at most {MAX_PAYLOAD_BYTES} can be sent")


def _learn(cls: type[Message]) -> tuple[bytes, tuple[str, ...]]:
    _plans[cls] = (b"\x81" + HEAD + _encode_plain(cls.__name__) + DATA, loose_fields(cls))
    return _plans[cls]


def _encode_new(value: object) -> bytes:
    """Encode a plain value, or the first message of a class."""
    if isinstance(value, ForeignMessage):
        payload = value.write_payload()
        return payload if len(payload) <= MAX_PAYLOAD_BYTES else _refuse_size(type(value), len(payload))
    if isinstance(value, Message):
        _learn(type(value))
        return encode(value)
    payload = _encode_whole(_prepared(value, 0))
    return payload if len(payload) <= MAX_PAYLOAD_BYTES else _refuse_size(type(value), len(payload))


def _encode_prepared(message: Message, prefix: bytes) -> bytes:
    cls = type(message)
    fields = {name: _prepared(getattr(message, name), 0) for name in cls.__struct_fields__}
    try:
        payload = prefix + _encode_plain(fields)
    except LargeArray:
        payload = _encode_whole(_envelope(cls, fields))
    return payload if len(payload) <= MAX_PAYLOAD_BYTES else _refuse_size(cls, len(payload))


def _envelope(cls: type, fields: object) -> dict[str, Any]:
    return _codec_map("BECMessage", cls.__name__, fields)


def _is_simple(value: Any, depth: int) -> bool:
    """Tell whether msgspec alone writes a value as bec_lib would."""
    kind = type(value)
    if depth > MAX_DEPTH:
        return False
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or (type(item) not in _SIMPLE and not _is_simple(item, depth + 1)):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:  # noqa: SIM110  # a generator for all() costs more than most lists
            if type(item) not in _SIMPLE and not _is_simple(item, depth + 1):
                return False
        return True
    return kind in _SIMPLE or kind.__module__ == "numpy"


def _prepared(value: Any, depth: int) -> Any:
    """Replace what msgspec would write differently: sets, enumerations, nested messages; refuse odd keys."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if depth > MAX_DEPTH:
        raise InvalidMessage(f"nested deeper than {MAX_DEPTH}, or a value that contains itself")
    if kind is dict:
        return {_key(k): _prepared(v, depth + 1) for k, v in value.items()}
    if kind is list or kind is tuple:
        return [_prepared(v, depth + 1) for v in value]
    if isinstance(value, ForeignMessage):
        raise InvalidMessage(f"a {kind.__name__} travels alone, not in a list or in another message")
    if isinstance(value, Message):
        return msgspec.Raw(encode(value))
    if isinstance(value, set):
        return _codec_map("set", "set", [_prepared(v, depth + 1) for v in value])
    if isinstance(value, enum.Enum) and not isinstance(value, (str, int)):
        return _codec_map("Enum", kind.__name__, value.value)
    if isinstance(value, Part):
        return {name: _prepared(item, depth + 1) for name, item in part_items(value).items()}
    if isinstance(value, _NOT_SENT):
        raise InvalidMessage(f"a {kind.__name__} cannot be sent: use seconds, numbers, text or lists")
    return value


def _codec_map(encoder: str, type_name: str, data: object) -> dict[str, Any]:
    return {CODEC: {"encoder_name": encoder, "type_name": type_name, "data": data}}


def _key(key: object) -> object:
    if isinstance(key, (str, bytes)):
        return key
    raise InvalidMessage(f"key {shown(key)} of type `{type(key).__name__}`: keys are text")
