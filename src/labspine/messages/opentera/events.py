"""
What OpenTera tells on its topics: events of the kinds that it documents, in a `TeraEvent` each.

The fields of a kind stand here in the order of their numbers, which begin with 1; so the layout of each is
read off its class. Numbers of enumerations that are not known stay numbers, as proto3 wants it.

Source:
    Seed 004; the messages of OpenTera 1.3 (``opentera.protobuf``).
"""

import enum
import functools
from typing import Any, ClassVar, Self, get_type_hints

import msgspec

from ...clock import utc_s
from ...errors import DecodeError, InvalidMessage, shown
from ..base import Part
from ..foreign import ForeignMessage
from . import protobuf as pb

__all__ = [
    "ArchiveEvent",
    "ArchiveStatus",
    "DatabaseEvent",
    "DatabaseEventType",
    "DeviceEvent",
    "DeviceEventType",
    "JoinReply",
    "JoinSessionEvent",
    "JoinSessionReplyEvent",
    "LeaveSessionEvent",
    "LogEvent",
    "LogLevel",
    "LoginEvent",
    "LoginStatus",
    "LoginType",
    "ParticipantEvent",
    "ParticipantEventType",
    "StopSessionEvent",
    "TeraEvent",
    "TeraModuleMessage",
    "UnknownEvent",
    "UserEvent",
    "UserEventType",
]

_TYPE_URL = "type.googleapis.com/opentera.protobuf."
_INT32_MASK = 2**32 - 1


class UserEventType(enum.IntEnum):
    """What happened to a user."""

    UNKNOWN, CONNECTED, DISCONNECTED, DELETED, ADDED, UPDATED, JOINED_SESSION, LEFT_SESSION = range(8)


class ParticipantEventType(enum.IntEnum):
    """What happened to a participant."""

    UNKNOWN, CONNECTED, DISCONNECTED, DELETED, ADDED, JOINED_SESSION, LEFT_SESSION = range(7)


class DeviceEventType(enum.IntEnum):
    """What happened to a device."""

    UNKNOWN, CONNECTED, DISCONNECTED, DELETED, ADDED, JOINED_SESSION, LEFT_SESSION, STATUS_CHANGED = range(8)


class JoinReply(enum.IntEnum):
    """The answer to an invitation."""

    UNKNOWN, ACCEPTED, DENIED, BUSY, TIMEOUT = range(5)


class DatabaseEventType(enum.IntEnum):
    """What was done to a record."""

    UNKNOWN, CREATE, UPDATE, DELETE = range(4)


class LogLevel(enum.IntEnum):
    """How grave a log entry is; the gravest has the smallest number."""

    UNKNOWN, FATAL, ERROR, CRITICAL, WARNING, INFO, DEBUG, TRACE = range(8)


class LoginType(enum.IntEnum):
    """How somebody logged in."""

    UNKNOWN, TOKEN, PASSWORD, CERTIFICATE = range(4)


class LoginStatus(enum.IntEnum):
    """How a login ended."""

    UNKNOWN = 0
    SUCCESS = 1
    FAILED_WITH_WRONG_PASSWORD = 2
    FAILED_WITH_WRONG_USERNAME = 3
    FAILED_WITH_MAX_ATTEMPTS_REACHED = 4
    FAILED_WITH_ALREADY_LOGGED_IN = 5
    FAILED_WITH_INVALID_TOKEN = 6
    FAILED_WITH_DISABLED_ACCOUNT = 7
    FAILED_WITH_EXPIRED_TOKEN = 8


class ArchiveStatus(enum.IntEnum):
    """How far an archive is."""

    PENDING, INPROGRESS, COMPLETED, CANCELLED, DELETED = range(5)


class UserEvent(Part, kw_only=True):
    """Something happened to a user; ``type`` is a `UserEventType`."""

    user_uuid: str = ""
    type: int = 0
    user_fullname: str = ""


class ParticipantEvent(Part, kw_only=True):
    """Something happened to a participant; ``type`` is a `ParticipantEventType`."""

    participant_uuid: str = ""
    type: int = 0
    participant_name: str = ""
    participant_project_name: str = ""
    participant_site_name: str = ""


class DeviceEvent(Part, kw_only=True):
    """Something happened to a device; ``type`` is a `DeviceEventType`, ``device_status`` JSON."""

    device_uuid: str = ""
    type: int = 0
    device_name: str = ""
    device_status: str = ""


class JoinSessionEvent(Part, kw_only=True):
    """Somebody is invited to a session; ``session_parameters`` is JSON."""

    session_url: str = ""
    session_creator_name: str = ""
    session_uuid: str = ""
    session_participants: list[str] = []
    session_users: list[str] = []
    session_devices: list[str] = []
    join_msg: str = ""
    session_parameters: str = ""
    service_uuid: str = ""


class JoinSessionReplyEvent(Part, kw_only=True):
    """Somebody answers an invitation; ``join_reply`` is a `JoinReply`."""

    session_uuid: str = ""
    user_uuid: str = ""
    participant_uuid: str = ""
    device_uuid: str = ""
    join_reply: int = 0
    reply_msg: str = ""


class LeaveSessionEvent(Part, kw_only=True):
    """Some leave a session."""

    session_uuid: str = ""
    service_uuid: str = ""
    leaving_participants: list[str] = []
    leaving_users: list[str] = []
    leaving_devices: list[str] = []


class StopSessionEvent(Part, kw_only=True):
    """A session has ended."""

    session_uuid: str = ""
    service_uuid: str = ""


class DatabaseEvent(Part, kw_only=True):
    """A record has changed; ``type`` is a `DatabaseEventType`, ``object_value`` JSON."""

    type: int = 0
    object_type: str = ""
    object_value: str = ""


class LogEvent(Part, kw_only=True):
    """An entry of the log; ``level`` is a `LogLevel`, ``timestamp`` in seconds since 1970 UTC."""

    level: int = 0
    timestamp: float = 0.0
    sender: str = ""
    message: str = ""


class LoginEvent(Part, kw_only=True):
    """Somebody logged in, or tried to; see `LoginType` and `LoginStatus`."""

    log_header: LogEvent | None = None
    login_type: int = 0
    login_status: int = 0
    client_name: str = ""
    client_version: str = ""
    client_ip: str = ""
    os_name: str = ""
    os_version: str = ""
    user_uuid: str = ""
    participant_uuid: str = ""
    device_uuid: str = ""
    service_uuid: str = ""
    server_endpoint: str = ""


class ArchiveEvent(Part, kw_only=True):
    """How far an archive is; ``status`` is an `ArchiveStatus`."""

    archive_uuid: str = ""
    owner_uuid: str = ""
    status: int = 0
    archive_url: str = ""


class UnknownEvent(Part, kw_only=True):
    """An event of another kind, kept as it came, so that passing it on loses nothing."""

    type_url: str = ""
    value: bytes = b""


KINDS: dict[str, type[Part]] = {
    kind.__name__: kind
    for kind in (
        UserEvent,
        ParticipantEvent,
        DeviceEvent,
        JoinSessionEvent,
        JoinSessionReplyEvent,
        LeaveSessionEvent,
        StopSessionEvent,
        DatabaseEvent,
        LogEvent,
        LoginEvent,
        ArchiveEvent,
    )
}


class _Envelope(ForeignMessage, kw_only=True):
    """A head and some events."""

    content_type: ClassVar[str] = "application/x-protobuf"
    _head: ClassVar[tuple[str, ...]] = ()
    _body: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Refuse what is not an event."""
        for place, event in enumerate(getattr(self, self._body)):
            if not isinstance(event, (*KINDS.values(), UnknownEvent)):
                raise ValueError(  # noqa: TRY004  # msgspec adds the path to a ValueError only
                    f"{self._body}[{place}] is a {type(event).__name__}; events are: {', '.join(KINDS)}"
                )

    def write_payload(self) -> bytes:
        """See `ForeignMessage.write_payload`."""
        hints = _layout(type(self))
        head = b"".join(
            _write_field(number, getattr(self, name), hints[name], where=name)
            for number, name in enumerate(self._head, 1)
        )
        events = (pb.write_sized(2, _write_any(event)) for event in getattr(self, self._body))
        return pb.write_sized(1, head) + b"".join(events)

    @classmethod
    def read_payload(cls, payload: bytes) -> Self:
        """See `ForeignMessage.read_payload`."""
        fields: dict[str, Any] = dict.fromkeys(cls._head)
        hints = _layout(cls)
        events: list[Part] = []
        for number, _, value in pb.read_fields(payload):
            if number == 1 and isinstance(value, bytes):
                _read_into(fields, value, {n: (name, hints[name]) for n, name in enumerate(cls._head, 1)})
            elif number == 2 and isinstance(value, bytes):
                events.append(_read_any(value))
        fields = {name: _EMPTY[hints[name]] if v is None else v for name, v in fields.items()}
        try:
            return cls(**{**fields, cls._body: events})
        except InvalidMessage as error:
            raise DecodeError(str(error)) from error


class TeraEvent(_Envelope, kw_only=True):
    """
    Some events on a topic that ends with ``events``.

    Args:
        events: What happened; see `KINDS`.
        topic: On which topic; the receivers of OpenTera read it.
        time: When, in seconds since 1970 UTC.
        version: Of the layout; 1.
    """

    msg_type: ClassVar[str] = "opentera_event"
    _head: ClassVar[tuple[str, ...]] = ("version", "time", "topic")
    _body: ClassVar[str] = "events"

    version: int = 1
    time: float = msgspec.field(default_factory=utc_s)
    topic: str = ""
    events: list[Any] = msgspec.field(default_factory=list)


class TeraModuleMessage(_Envelope, kw_only=True):
    """
    Some events for one module or service, on its topic that ends with ``messages``.

    Args:
        data: What happened; see `KINDS`.
        source: Topic of the sender.
        dest: Topic of the receiver.
        seq: Number of the message.
        time: When, in seconds since 1970 UTC.
        version: Of the layout; 1.
    """

    msg_type: ClassVar[str] = "opentera_module_message"
    _head: ClassVar[tuple[str, ...]] = ("version", "time", "seq", "source", "dest")
    _body: ClassVar[str] = "data"

    version: int = 1
    time: float = msgspec.field(default_factory=utc_s)
    seq: int = 0
    source: str = ""
    dest: str = ""
    data: list[Any] = msgspec.field(default_factory=list)


_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0}
_WIRE_TYPES = {str: pb.BYTES, float: pb.FIXED64, int: pb.VARINT}


@functools.cache
def _layout(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {name: hints[name] for name in cls.__struct_fields__ if name != "metadata"}  # type: ignore[attr-defined]


@functools.cache
def _numbered(cls: type[Part]) -> dict[int, tuple[str, Any]]:
    return dict(enumerate(_layout(cls).items(), 1))


def _write(event: Part) -> bytes:
    where = type(event).__name__
    return b"".join(
        _write_field(number, getattr(event, name), hint, where=f"{where}.{name}")
        for number, (name, hint) in _numbered(type(event)).items()
    )


def _write_field(number: int, value: Any, hint: Any, *, where: str) -> bytes:
    if hint == list[str]:
        return b"".join(pb.write_sized(number, _utf8(item, where)) for item in value)
    if isinstance(value, Part):
        return pb.write_sized(number, _write(value))
    if not value and str(value) != "-0.0":
        return b""  # defaults do not travel
    if hint is str:
        return pb.write_sized(number, _utf8(value, where))
    if hint is float:
        return pb.write_double(number, value)
    if not -(2**31) <= value < 2**32:
        raise InvalidMessage(f"{where}={value}: must fit into 32 bits")
    return pb.write_key(number, pb.VARINT) + pb.write_varint(value)


def _utf8(value: str, where: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage(f"{where}={shown(value)}: not valid Unicode text") from error


def _write_any(event: Part) -> bytes:
    if isinstance(event, UnknownEvent):
        url, value = event.type_url, event.value
    else:
        url, value = _TYPE_URL + type(event).__name__, _write(event)
    body = pb.write_sized(2, value) if value else b""
    return (pb.write_sized(1, _utf8(url, "type_url")) if url else b"") + body


def _read_any(payload: bytes) -> Part:
    url, value = "", b""
    for number, _, found in pb.read_fields(payload):
        if number == 1:
            url = pb.text(found, "type_url")
        elif number == 2 and isinstance(found, bytes):
            value = found
    kind = KINDS.get(url.rpartition("/")[2].removeprefix("opentera.protobuf."))
    return UnknownEvent(type_url=url, value=value) if kind is None else _read(kind, value)


def _read(kind: type[Part], payload: bytes) -> Part:
    fields: dict[str, Any] = {}
    _read_into(fields, payload, _numbered(kind))
    try:
        return kind(**fields)
    except InvalidMessage as error:
        raise DecodeError(str(error)) from error


def _read_into(fields: dict[str, Any], payload: bytes, layout: dict[int, tuple[str, Any]]) -> None:
    for number, kind, value in pb.read_fields(payload):
        name, hint = layout.get(number, ("", None))
        if hint == list[str] and kind == pb.BYTES:
            fields.setdefault(name, []).append(pb.text(value, name))
        elif hint == LogEvent | None and isinstance(value, bytes):
            fields[name] = _read(LogEvent, value)
        elif _WIRE_TYPES.get(hint) == kind:
            fields[name] = _read_scalar(value, hint, name)


def _read_scalar(value: int | bytes, hint: Any, where: str) -> str | float:
    if hint is str:
        return pb.text(value, where)
    if isinstance(value, bytes):
        return pb.double(value, where)
    low = value & _INT32_MASK  # enumerations have 32 bits; negative ones come as 64
    return low - 2**32 if value >= 2**63 else low
