"""
What OpenTera's calls of procedures look like: a request in protobuf, a reply in JSON.

The request tells the channel of the reply. The layouts are those of its ``RPCMessage.proto`` and of what its
services answer; ``error`` in the reply is ours, and its clients pass over it.
"""

import dataclasses
import json
import math
from typing import Any, ClassVar, Self

import msgspec

from ...clock import utc_s
from ...errors import DecodeError, InvalidMessage, TooLarge, shown
from ..foreign import ForeignMessage
from ..limits import MAX_PAYLOAD_BYTES
from . import protobuf as pb

__all__ = ["Argument", "RPCMessage", "RPCReply"]

Argument = bool | float | int | str | bytes

_DOUBLE, _FLOAT, _INT, _UINT, _BOOL, _BYTES, _TEXT = 1, 2, 3, 4, 5, 6, 7
_WIRE_TYPES = {
    _DOUBLE: pb.FIXED64,
    _FLOAT: pb.FIXED32,
    _INT: pb.VARINT,
    _UINT: pb.VARINT,
    _BOOL: pb.VARINT,
    _BYTES: pb.BYTES,
    _TEXT: pb.BYTES,
}
_METHOD, _REPLY_TO, _ID, _TIMESTAMP, _ARGS = 1, 2, 3, 4, 5
_REQUEST_TYPES = {
    _METHOD: pb.BYTES,
    _REPLY_TO: pb.BYTES,
    _ID: pb.VARINT,
    _TIMESTAMP: pb.FIXED64,
    _ARGS: pb.BYTES,
}


class RPCMessage(ForeignMessage, kw_only=True):
    """
    A request to execute a procedure.

    Args:
        method: Name of the procedure.
        reply_to: Channel on which the reply is expected; empty if none is.
        id: Number that the reply repeats.
        timestamp: When it was asked, in seconds since 1970 UTC. Never leave it at 0: a request without
            high bytes in it reaches OpenTera's services as text, and they do not answer it.
        args: The arguments: bool, float, int (-2**63 to 2**64 - 1), str, bytes.
    """

    msg_type: ClassVar[str] = "opentera_rpc_message"
    content_type: ClassVar[str] = "application/x-protobuf"

    method: str
    reply_to: str = ""
    id: int = 0
    timestamp: float = msgspec.field(default_factory=utc_s)
    args: list[Any] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse what cannot travel; nothing is left out silently."""
        if not 0 <= self.id < 2**64:
            raise ValueError(f"id={self.id}: must be from 0 to 2**64 - 1")
        for place, value in enumerate(self.args):
            if not isinstance(value, Argument):
                raise ValueError(  # noqa: TRY004  # msgspec adds the path to a ValueError only
                    f"args[{place}]={shown(value)} is a {type(value).__name__}: "
                    "bool, float, int, str and bytes can be sent"
                )
            if type(value) is int and not -(2**63) <= value < 2**64:
                raise ValueError(f"args[{place}]={shown(value)}: must be from -2**63 to 2**64 - 1")

    def write_payload(self) -> bytes:
        """See `ForeignMessage.write_payload`."""
        parts = []
        if self.method:
            parts.append(pb.write_sized(_METHOD, _utf8(self.method, "method")))
        if self.reply_to:
            parts.append(pb.write_sized(_REPLY_TO, _utf8(self.reply_to, "reply_to")))
        if self.id:
            parts += (pb.write_key(_ID, pb.VARINT), pb.write_varint(self.id))
        if self.timestamp or math.copysign(1.0, self.timestamp) < 0:
            parts.append(pb.write_double(_TIMESTAMP, self.timestamp))
        parts += [pb.write_sized(_ARGS, _write_value(value, n)) for n, value in enumerate(self.args)]
        return b"".join(parts)

    @classmethod
    def read_payload(cls, payload: bytes) -> Self:
        """See `ForeignMessage.read_payload`."""
        method, reply_to, call_id, timestamp = "", "", 0, 0.0
        args: list[Argument] = []
        for number, kind, value in pb.read_fields(payload):
            if _REQUEST_TYPES.get(number) != kind:
                continue
            if number == _METHOD:
                method = pb.text(value, "method")
            elif number == _REPLY_TO:
                reply_to = pb.text(value, "reply_to")
            elif number == _ID and isinstance(value, int):
                call_id = value
            elif number == _TIMESTAMP:
                timestamp = pb.double(value, "timestamp")
            elif isinstance(value, bytes):
                args.append(_read_value(value, f"args[{len(args)}]"))
        return cls(method=method, reply_to=reply_to, id=call_id, timestamp=timestamp, args=args)


def _write_value(value: Argument, place: int) -> bytes:
    if isinstance(value, bool):
        return pb.write_key(_BOOL, pb.VARINT) + (b"\x01" if value else b"\x00")
    if isinstance(value, float):
        return pb.write_double(_DOUBLE, value)
    if isinstance(value, int):
        number = _INT if value < 2**63 else _UINT
        return pb.write_key(number, pb.VARINT) + pb.write_varint(value)
    if isinstance(value, str):
        return pb.write_sized(_TEXT, _utf8(value, f"args[{place}]"))
    return pb.write_sized(_BYTES, value)


def _read_value(payload: bytes, where: str) -> Argument:
    found: Argument | None = None
    for number, kind, value in pb.read_fields(payload):
        if _WIRE_TYPES.get(number) != kind:
            continue
        if isinstance(value, int):
            found = bool(value) if number == _BOOL else value if number == _UINT else pb.signed(value)
        elif number == _TEXT:
            found = pb.text(value, where)
        else:
            found = value if number == _BYTES else pb.double(value, where)
    if found is None:
        raise DecodeError(f"{where}: an argument without a value")
    return found


def _utf8(value: str, where: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage(f"{where}={shown(value)}: not valid Unicode text") from error


class RPCReply(ForeignMessage, kw_only=True):
    """
    What a service answers to an `RPCMessage`.

    Args:
        method: Name of the procedure.
        id: Number of the request.
        pattern: Topic on which the request came.
        status: ``OK``, or ``Error`` when it failed.
        return_value: The result: what JSON can say.
        error: What went wrong, ``type`` and ``message``; OpenTera's own services do not tell it.
    """

    msg_type: ClassVar[str] = "opentera_rpc_reply"
    content_type: ClassVar[str] = "application/json"

    method: str = ""
    id: int = 0
    pattern: str = ""
    status: str = "OK"
    return_value: Any = None
    error: dict[str, str] | None = None

    def write_payload(self) -> bytes:
        """See `ForeignMessage.write_payload`; numpy's numbers are written as numbers."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "metadata"}
        if self.error is None:
            del fields["error"]
        try:
            return json.dumps(fields, default=_in_json).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidMessage(f"the result of {shown(self.method)} is not JSON: {error}") from error

    @classmethod
    def read_payload(cls, payload: bytes) -> Self:
        """See `ForeignMessage.read_payload`."""
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise TooLarge(f"a reply of {len(payload)} bytes: at most {MAX_PAYLOAD_BYTES} are accepted")
        try:
            fields = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"a reply that is not JSON: {error}") from error
        if not isinstance(fields, dict):
            raise DecodeError(f"a reply that is a {type(fields).__name__}, not a map")
        known = {
            name: fields[name] for name in cls.__struct_fields__ if name in fields and name != "metadata"
        }
        try:
            return cls(**known)
        except InvalidMessage as error:
            raise DecodeError(str(error)) from error


def _in_json(value: object) -> object:
    tolist = getattr(value, "tolist", None)  # numpy's numbers and arrays
    if callable(tolist):
        return tolist()
    if isinstance(value, msgspec.Struct) or dataclasses.is_dataclass(value):
        return msgspec.to_builtins(value, enc_hook=_in_json)
    raise InvalidMessage(f"a {type(value).__name__} cannot be sent as JSON")
