"""
Encode and decode messages in the MessagePack layout of bec_lib.

A message is one map, ``{"__bec_codec__": {"encoder_name": "BECMessage", "type_name": ..., "data": {...}}}``.
The outer bytes of a class never change, so they are made once; msgspec writes and reads the inner map
straight from and into the typed struct. Only when the body itself holds codec maps (arrays, sets, nested
messages) is it read into plain values first and then converted.

Decoding is closed: only registered message classes and the encoders in `_READERS` are known.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, cast

import msgspec
import numpy as np

from ..errors import DecodeError, InvalidMessage, TooLarge, shown
from .arrays import encode_numpy, read_array, read_complex, read_scalar, to_array
from .base import Message, loose_fields, message_class
from .limits import MAX_DEPTH, MAX_PAYLOAD_BYTES, WALK_ABOVE_BYTES, check_limits
from .stamp import STAMP_SIZE_BYTES, has_mark, read_stamp

__all__ = ["decode", "encode"]

_HEAD = b"\xad__bec_codec__\x83\xacencoder_name\xaaBECMessage\xa9type_name"
_HEAD_AT = 1 + len(_HEAD)
_DATA = b"\xa4data"
_CODEC = "__bec_codec__"
_CODEC_BYTES = b"__bec_codec__"
_SCALARS = frozenset({str, int, float, bool, bytes, type(None), np.ndarray, np.float64, np.int64})

_prefixes: dict[type[Message], bytes] = {}
_loose: dict[type[Message], tuple[str, ...]] = {}
_decoders: dict[type[Message], msgspec.msgpack.Decoder[Any]] = {}
_known_types: dict[bytes, type[Message]] = {}
_ShortCut = tuple[bytes, int, Callable[[bytes], Any]]
_short_cuts: dict[type[Message], _ShortCut] = {}


def _enc_hook(value: object) -> object:
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str(value)
    return encode_numpy(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_enc_hook)
_any_decoder = msgspec.msgpack.Decoder()


# --- writing ---------------------------------------------------------------------------------------------


def encode(value: object) -> bytes:
    """
    Encode a message, or a plain value, for the wire.

    Args:
        value: A message; or text, bytes, a number, a list or a dict, which travel as they are.

    Returns:
        One MessagePack document, byte for byte what bec_lib writes for the same message.

    Raises:
        InvalidMessage: If a part of it cannot be sent.
        TooLarge: If it has more than 16 MiB.

    Source:
        bec_lib 4.3 wire layout; ADR 0003.
    """
    try:
        payload = (
            _encode_message(value) if isinstance(value, Message) else _encoder.encode(_prepared(value, 0))
        )
    except (TypeError, OverflowError, ValueError, RecursionError) as error:
        if isinstance(error, (InvalidMessage, TooLarge)):
            raise
        raise InvalidMessage(f"{type(value).__name__} cannot be encoded: {error}") from error
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooLarge(
            f"{type(value).__name__} has {len(payload)} bytes: at most {MAX_PAYLOAD_BYTES} can be sent"
        )
    return payload


def _encode_message(message: Message) -> bytes:
    cls = type(message)
    prefix = _prefixes.get(cls)
    if prefix is None:
        prefix = _learn(cls)
    for name in _loose[cls]:
        value = getattr(message, name)
        if value and type(value) not in _SCALARS:
            fields = {f: _prepared(getattr(message, f), 0) for f in cls.__struct_fields__}
            return prefix + _encoder.encode(fields)
    return prefix + _encoder.encode(message)


def _learn(cls: type[Message]) -> bytes:
    prefix = b"\x81" + _HEAD + _encoder.encode(cls.__name__) + _DATA
    _loose[cls] = loose_fields(cls)
    _prefixes[cls] = prefix
    return prefix


def _prepared(value: Any, depth: int) -> Any:
    """Replace what msgspec would write differently: sets, enumerations, nested messages; refuse odd keys."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth > MAX_DEPTH:
        raise InvalidMessage(f"nested deeper than {MAX_DEPTH}, or a value that contains itself")
    if kind is dict:
        return {_key(k): _prepared(v, depth + 1) for k, v in value.items()}
    if kind is list or kind is tuple:
        return [_prepared(v, depth + 1) for v in value]
    if isinstance(value, Message):
        return msgspec.Raw(_encode_message(value))
    if isinstance(value, set):
        return _codec_map("set", "set", [_prepared(v, depth + 1) for v in value])
    if isinstance(value, enum.Enum) and not isinstance(value, (str, int)):
        return _codec_map("Enum", kind.__name__, value.value)
    return value


def _codec_map(encoder: str, type_name: str, data: object) -> dict[str, Any]:
    return {_CODEC: {"encoder_name": encoder, "type_name": type_name, "data": data}}


def _key(key: object) -> object:
    if isinstance(key, (str, bytes)):
        return key
    raise InvalidMessage(f"key {shown(key)} of type `{type(key).__name__}`: keys are text")


# --- reading ---------------------------------------------------------------------------------------------


def decode(payload: bytes, expected: type[Message] | None = None) -> Any:
    """
    Decode what came from the wire.

    Args:
        payload: One MessagePack document, stamped or not; or JSON, as foreign publishers send it.
        expected: The class that the endpoint declares; None accepts every registered class.

    Returns:
        The message; a list of messages for a bundle; a plain value if it is not a message and nothing
        is expected; a `RawMessage` for JSON.

    Raises:
        DecodeError: If it is not a message of a known (or of the expected) type.
        TooLarge: If it exceeds the limits on bytes or parts.
    """
    end = len(payload)
    if end > WALK_ABOVE_BYTES:
        check_limits(payload)
    elif expected is not None:
        # The usual case on its own: the class that the endpoint declares, in bec_lib's own order of keys.
        head, at, decode_body = _short_cuts.get(expected) or _learn_short_cut(expected)
        if payload.startswith(head, 1) and payload.find(_CODEC_BYTES, at) < 0:
            stop = end - STAMP_SIZE_BYTES if has_mark(payload) else end
            try:
                return decode_body(payload[at:stop])
            except (msgspec.MsgspecError, RecursionError):
                pass  # the long way tells what is wrong
    if payload[:1] == b"\x82" and read_stamp(payload):
        end -= STAMP_SIZE_BYTES
    if payload.startswith(_HEAD, 1):
        cls, body_at = _read_head(payload)
        if cls is not None:
            return _checked(_decode_body(cls, payload, body_at, end), expected)
    return _checked(_decode_slowly(payload, expected), expected)


def _learn_short_cut(cls: type[Message]) -> _ShortCut:
    prefix = _prefixes.get(cls) or _learn(cls)
    decoder = _decoders.setdefault(cls, msgspec.msgpack.Decoder(cls, dec_hook=to_array))
    _short_cuts[cls] = (prefix[1:], len(prefix), decoder.decode)
    return _short_cuts[cls]


def _read_head(payload: bytes) -> tuple[type[Message] | None, int]:
    """Find the class and the offset of its fields when the map is in bec_lib's own order."""
    if len(payload) < _HEAD_AT + 8:
        return None, 0
    tag = payload[_HEAD_AT]
    if tag & 0xE0 == 0xA0:
        start, size = _HEAD_AT + 1, tag & 0x1F
    elif tag == 0xD9:
        start, size = _HEAD_AT + 2, payload[_HEAD_AT + 1]
    else:
        return None, 0
    stop = start + size
    if payload[stop : stop + 5] != _DATA:
        return None, 0
    name = payload[start:stop]
    cls = _known_types.get(name)
    if cls is None:
        cls = _require_class(name.decode("utf-8", "replace"))
        _known_types[name] = cls
    return cls, stop + 5


def _require_class(name: str) -> type[Message]:
    cls = message_class(name)
    if cls is None:
        raise DecodeError(f'message type "{shown(name)}" is not known here')
    return cls


def _decode_body(cls: type[Message], payload: bytes, start: int, end: int) -> Any:
    try:
        body = memoryview(payload)[start:end]
        if payload.find(_CODEC_BYTES, start) < 0:
            decoder = _decoders.get(cls)
            if decoder is None:
                decoder = _decoders[cls] = msgspec.msgpack.Decoder(cls, dec_hook=to_array)
            return decoder.decode(body)
        return _build(cls, _any_decoder.decode(body), 0)
    except msgspec.ValidationError as error:
        raise DecodeError(f"{cls.__name__}: {str(error).replace('`$.', '`')}") from error
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, (DecodeError, TooLarge)):
            raise
        raise DecodeError(f"{cls.__name__}: {error}") from error


def _decode_slowly(payload: bytes, expected: type[Message] | None) -> Any:
    """Read any MessagePack document, with the keys of codec maps in any order; JSON if it is not one."""
    try:
        value = _any_decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError) as error:
        if payload[:1] in b'{["' and payload:
            return _decode_json(payload)
        raise DecodeError(f"not a MessagePack document: {error}") from error
    return _resolved(value, 0)


def _decode_json(payload: bytes) -> Any:
    try:
        data = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(f"neither MessagePack nor JSON: {error}") from error
    return msgspec.convert({"data": data}, _require_class("RawMessage"))


def _checked(value: Any, expected: type[Message] | None) -> Any:
    if expected is None or isinstance(value, expected):
        return value
    if isinstance(value, list) and all(isinstance(item, expected) for item in value):
        return value
    raise DecodeError(f"expected {expected.__name__}, got {type(value).__name__}")


def _build(cls: type[Message], fields: Any, depth: int) -> Any:
    if not isinstance(fields, dict):
        raise DecodeError(f"{cls.__name__}: its data is not a map")
    values = {key: _resolved(value, depth + 1) for key, value in fields.items()}
    message = msgspec.convert(values, cls, dec_hook=to_array)
    return list(cast("Any", message).messages) if cls.__name__ == "BundleMessage" else message


def _resolved(value: Any, depth: int) -> Any:
    """Replace each codec map inside by what it stands for."""
    kind = type(value)
    if kind is dict:
        if depth > MAX_DEPTH:
            raise DecodeError(f"nested deeper than {MAX_DEPTH}")
        if _CODEC in value:
            return _read_codec(value[_CODEC], depth)
        return {k: _resolved(v, depth + 1) for k, v in value.items()}
    if kind is list:
        if depth > MAX_DEPTH:
            raise DecodeError(f"nested deeper than {MAX_DEPTH}")
        return [_resolved(v, depth + 1) for v in value]
    return value


def _read_codec(codec: Any, depth: int) -> Any:
    if not isinstance(codec, dict) or not isinstance(codec.get("encoder_name"), str):
        raise DecodeError("a codec map without an encoder name")
    encoder, data = codec["encoder_name"], codec.get("data")
    if encoder == "BECMessage":
        return _build_named(str(codec.get("type_name")), data, depth)
    reader = _READERS.get(encoder)
    if reader is None:
        raise DecodeError(f'encoder "{shown(encoder)}" is not accepted')
    return reader(_resolved(data, depth + 1) if encoder in _NESTING else data)


def _build_named(name: str, data: Any, depth: int) -> Any:
    cls = _require_class(name)
    try:
        return _build(cls, data, depth)
    except msgspec.ValidationError as error:
        raise DecodeError(f"{name}: {str(error).replace('`$.', '`')}") from error


def _read_set(data: Any) -> set[Any]:
    try:
        return set(data)
    except TypeError as error:
        raise DecodeError(f"not a set: {error}") from error


_NESTING = frozenset({"set", "BaseModel", "ndarray"})
_READERS: dict[str, Callable[[Any], Any]] = {
    "ndarray": lambda data: data if isinstance(data, np.ndarray) else read_array(data),
    "number": read_scalar,
    "bool": read_scalar,
    "bool_": read_scalar,
    "complex": read_complex,
    "set": _read_set,
    "Enum": lambda data: data,
    "BaseModel": lambda data: data,
    "DeviceBase": str,
}
