"""
Read messages in the MessagePack layout of bec_lib.

msgspec reads the inner map straight into the typed struct. Only when the body itself holds codec maps
(arrays, sets, nested messages) is it read into plain values first and then converted; parts above 32 KiB are
opened in place, so that an array lies over the received bytes and is not copied.

Decoding is closed: only registered message classes and the encoders in `_READERS` are known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn

import msgspec

from ..errors import DecodeError, InvalidMessage, TooLarge, shown
from .arrays import LARGE_ARRAY_BYTES, read_array, read_complex, read_scalar
from .base import Message, convert_received, message_class, read_custom
from .encoding import CODEC, DATA, HEAD
from .foreign import ForeignMessage
from .limits import MAX_DEPTH, WALK_ABOVE_BYTES, check_limits
from .proxies import PROXY_MARK, read_with_proxies
from .service import BECStatus
from .stamp import STAMP_SIZE_BYTES, read_stamp

__all__ = ["decode"]

_HEAD_AT = 1 + len(HEAD)
_CODEC_BYTES = CODEC.encode()
_FIRST_KEY = 2

_decoders: dict[type[Message], Callable[[Any], Any]] = {}
_known_types: dict[bytes, type[Message]] = {}
_short_cuts: dict[type[Message] | None, Callable[[bytes], Any]] = {}


def _refuse_extension(code: int, data: memoryview) -> NoReturn:
    raise DecodeError(f"extension type {code} of {len(data)} bytes: extension types are not accepted")


class _Bundle(msgspec.Struct):
    messages: list[msgspec.Raw]
    metadata: dict[str, Any] = {}


_decode_any = msgspec.msgpack.Decoder(ext_hook=_refuse_extension).decode
_decode_map = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw]).decode
_decode_list = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_view = msgspec.msgpack.Decoder(memoryview).decode
_decode_bundle = msgspec.msgpack.Decoder(_Bundle).decode


def decode(payload: bytes, expected: type[Message] | None = None) -> Any:
    """
    Decode what came from the wire.

    Args:
        payload: One MessagePack document, stamped or not; or JSON, as foreign publishers send it.
        expected: The class that the endpoint declares; `Message` stands for every class; None accepts
            plain values too.

    Returns:
        The message; a list of messages for a bundle; a plain value if it is not a message and nothing
        is expected; a `RawMessage` for JSON.

    Raises:
        DecodeError: If it is not a message of a known (or of the expected) type.
        TooLarge: If it exceeds the limits on bytes or parts.
    """
    try:
        decode_whole = _short_cuts[expected]
    except KeyError:
        decode_whole = _learn_short_cut(expected)
    if len(payload) > WALK_ABOVE_BYTES:
        check_limits(payload)
    elif payload.rfind(_CODEC_BYTES) == _FIRST_KEY:
        # The usual case on its own: one message, nothing in it that is written as a codec map.
        try:
            return decode_whole(payload).codec.data
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # the long way tells what is wrong
    return _checked(_decode_long(payload, expected), expected)


def _decode_long(payload: bytes, expected: type[Message] | None) -> Any:
    if expected is not None and issubclass(expected, ForeignMessage):
        return expected.read_payload(payload)
    end = len(payload)
    if payload[:1] == b"\x82" and read_stamp(payload):
        end -= STAMP_SIZE_BYTES
    if payload.startswith(HEAD, 1):
        cls, body_at = _read_head(payload)
        if cls is not None:
            has_codec = payload.find(_CODEC_BYTES, body_at) >= 0
            return _decode_body(cls, memoryview(payload)[body_at:end], expected, has_codec=has_codec)
    return _decode_document(payload)


def _learn_short_cut(cls: type[Message] | None) -> Callable[[bytes], Any]:
    """Make the decoder of a whole payload, so that msgspec reads the envelope as well."""
    if cls is None or cls is Message:
        _short_cuts[cls] = _no_short_cut
        return _no_short_cut
    fields = [("encoder_name", Literal["BECMessage"]), ("type_name", Literal[cls.__name__]), ("data", cls)]
    codec = msgspec.defstruct("Codec", fields, gc=False)
    whole = msgspec.defstruct("Whole", [("codec", codec)], rename={"codec": CODEC}, gc=False)
    decoder = msgspec.msgpack.Decoder(whole, dec_hook=read_custom, ext_hook=_refuse_extension)
    _short_cuts[cls] = decoder.decode
    return decoder.decode


def _no_short_cut(_payload: bytes) -> NoReturn:
    raise ValueError


def _decoder_of(cls: type[Message]) -> Callable[[Any], Any]:
    found = _decoders.get(cls)
    if found is None:
        decoder = msgspec.msgpack.Decoder(cls, dec_hook=read_custom, ext_hook=_refuse_extension)
        found = _decoders[cls] = decoder.decode
    return found


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
    if payload[stop : stop + 5] != DATA:
        return None, 0
    name = payload[start:stop]
    cls = _known_types.get(name)
    if cls is None:
        cls = _known_types[name] = _require_class(name.decode("utf-8", "replace"))
    return cls, stop + 5


def _require_class(name: str) -> type[Message]:
    cls = message_class(name)
    if cls is None:
        raise DecodeError(f'message type "{shown(name)}" is not known here')
    return cls


def _decode_body(
    cls: type[Message], body: memoryview, expected: type[Message] | None, *, has_codec: bool
) -> Any:
    try:
        if cls.__name__ == "BundleMessage":
            return _decode_parts(body, expected)
        return _build(cls, _read(body)) if has_codec else _decoder_of(cls)(body)
    except msgspec.ValidationError as error:
        raise DecodeError(f"{cls.__name__}: {_where(error)}") from error
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, (DecodeError, TooLarge)):
            raise
        raise DecodeError(f"{cls.__name__}: {error}") from error


def _decode_parts(body: memoryview, expected: type[Message] | None) -> list[Any]:
    """Decode each message of a bundle on its own, so that the usual ones take the short cut."""
    parts = [decode(bytes(memoryview(raw)), expected) for raw in _decode_bundle(body).messages]
    for index, part in enumerate(parts):
        if not isinstance(part, Message):
            raise DecodeError(f"BundleMessage: messages[{index}] is a {type(part).__name__}, not a message")
    return parts


def _where(error: Exception) -> str:
    text = str(error).replace("`$.", "`")
    return f"{text} (is the sender newer?)" if "unknown field" in text else text


def _read(document: bytes | memoryview) -> Any:
    """Read one document into plain values, arrays and messages."""
    try:
        return _open(document, 0)
    except msgspec.DecodeError:
        if PROXY_MARK not in bytes(document):
            raise
    return _resolved(read_with_proxies(bytes(document)), 0)


def _decode_document(payload: bytes) -> Any:
    """Read any MessagePack document, with the keys of codec maps in any order; JSON if it is not one."""
    try:
        return _read(payload)
    except msgspec.ValidationError as error:
        raise DecodeError(_where(error)) from error
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, (DecodeError, TooLarge)):
            raise
        return _decode_json(payload, error)


def _decode_json(payload: bytes, first_error: Exception) -> Any:
    try:
        data = msgspec.json.decode(payload)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise DecodeError(f"neither MessagePack nor JSON: {first_error}") from first_error
    return msgspec.convert({"data": data}, _require_class("RawMessage"))


def _checked(value: Any, expected: type[Message] | None) -> Any:
    if expected is None or isinstance(value, expected):
        return value
    if isinstance(value, list) and all(isinstance(item, expected) for item in value):
        return value
    raise DecodeError(f"expected {expected.__name__}, got {type(value).__name__}")


def _build(cls: type[Message], fields: Any) -> Any:
    if not isinstance(fields, dict):
        raise DecodeError(f"{cls.__name__}: its data is not a map")
    try:
        message: Any = convert_received(fields, cls)
    except InvalidMessage as error:
        raise DecodeError(f"{cls.__name__}: {error}") from error
    return list(message.messages) if cls.__name__ == "BundleMessage" else message


def _open(document: bytes | memoryview | msgspec.Raw, depth: int) -> Any:
    """Read a document; what is large is opened item by item, so that arrays in it are not copied."""
    view = memoryview(document)
    if len(view) < LARGE_ARRAY_BYTES:
        return _resolved(_decode_any(view), depth)
    if depth > MAX_DEPTH:
        raise DecodeError(f"nested deeper than {MAX_DEPTH}")
    tag = view[0]
    if tag & 0xF0 == 0x90 or tag in (0xDC, 0xDD):
        return [_open(item, depth + 1) for item in _decode_list(view)]
    if tag & 0xF0 != 0x80 and tag not in (0xDE, 0xDF):
        return _decode_any(view)
    items = _decode_map(view)
    if CODEC in items:
        return _open_codec(_decode_map(items[CODEC]), depth)
    return {key: _open(item, depth + 1) for key, item in items.items()}


def _open_codec(codec: dict[Any, msgspec.Raw], depth: int) -> Any:
    head = {key: _decode_any(item) for key, item in codec.items() if key != "data"}
    data = codec.get("data")
    if data is None:
        return _read_codec(head, depth)
    if head.get("encoder_name") == "ndarray":
        fields = _decode_map(data)
        if (raw := fields.get(b"data")) is not None and memoryview(raw)[0] == 0xC6:
            array = {key: _decode_any(item) for key, item in fields.items() if key != b"data"}
            return read_array({**array, b"data": _decode_view(raw)})
    return _read_codec({**head, "data": _open(data, depth + 1)}, depth)


def _resolved(value: Any, depth: int) -> Any:
    """Replace each codec map inside by what it stands for."""
    kind = type(value)
    if kind is dict:
        if depth > MAX_DEPTH:
            raise DecodeError(f"nested deeper than {MAX_DEPTH}")
        if CODEC in value:
            codec = value[CODEC]
            if isinstance(codec, dict) and codec.get("encoder_name") in _NESTING:
                codec = {**codec, "data": _resolved(codec.get("data"), depth + 1)}
            return _read_codec(codec, depth)
        return {_key(k): _resolved(v, depth + 1) for k, v in value.items()}
    if kind is list:
        if depth > MAX_DEPTH:
            raise DecodeError(f"nested deeper than {MAX_DEPTH}")
        return [_resolved(v, depth + 1) for v in value]
    return value


def _key(key: Any) -> Any:
    if isinstance(key, (str, bytes)):
        return key
    raise DecodeError(f"key {shown(key)} of type `{type(key).__name__}`: keys are text")


def _read_codec(codec: Any, depth: int) -> Any:
    """Read a codec map of which the data has been resolved where it can hold codec maps itself."""
    if not isinstance(codec, dict) or not isinstance(codec.get("encoder_name"), str):
        raise DecodeError("a codec map without an encoder name")
    encoder, name, data = codec["encoder_name"], str(codec.get("type_name")), codec.get("data")
    if encoder == "BECMessage":
        cls = _require_class(name)
        try:
            return _build(cls, data)
        except msgspec.ValidationError as error:
            raise DecodeError(f"{name}: {_where(error)}") from error
    reader = _READERS.get(encoder)
    if reader is None:
        raise DecodeError(f'encoder "{shown(encoder)}" is not accepted')
    return reader(name, data)


def _read_set(_name: str, data: Any) -> set[Any]:
    try:
        return set(data)
    except TypeError as error:
        raise DecodeError(f"not a set: {error}") from error


def _read_enum(name: str, data: Any) -> Any:
    """Give back a `BECStatus` as bec_lib does; other enumerations travel as their value."""
    try:
        return BECStatus(data) if name == "BECStatus" else data
    except ValueError as error:
        raise DecodeError(f"not a BECStatus: {shown(data)}") from error


_NESTING = frozenset({"BECMessage", "set", "BaseModel", "ndarray"})
_READERS: dict[str, Callable[[str, Any], Any]] = {
    "ndarray": lambda _, data: read_array(data),
    "number": lambda _, data: read_scalar(data),
    "bool": lambda _, data: read_scalar(data),
    "bool_": lambda _, data: read_scalar(data),
    "complex": lambda _, data: read_complex(data),
    "set": _read_set,
    "Enum": _read_enum,
    "BaseModel": lambda _, data: data,
    "EndpointInfo": lambda _, data: data,
    "DeviceBase": lambda _, data: str(data),
}
