"""Messages to people outside: Signal, Teams, SciLog, and which event goes where."""

from typing import ClassVar, Literal

import msgspec

from .base import Message, Part

__all__ = [
    "AvailableMessagingServicesMessage",
    "MessagingConfig",
    "MessagingServiceContent",
    "MessagingServiceFileContent",
    "MessagingServiceGiphyContent",
    "MessagingServiceMessage",
    "MessagingServiceScopeConfig",
    "MessagingServiceStickerContent",
    "MessagingServiceTagsContent",
    "MessagingServiceTextContent",
    "NotificationConfigMessage",
    "NotificationMessage",
    "NotificationServiceTarget",
    "SciLogServiceInfo",
    "SignalServiceInfo",
    "TeamsServiceInfo",
]

ServiceName = Literal["signal", "teams", "scilog"]


class MessagingServiceContent:
    """Any of the contents below; on the wire a content is known by its fields, not by a tag."""

    __slots__ = ()

    @classmethod
    def read_field(cls, value: object) -> object:
        """Choose the class by the field that only it has."""
        if isinstance(value, dict):
            for mark, content in _CONTENTS.items():
                if mark in value:
                    return msgspec.convert(value, content)
            raise TypeError(f"Expected a map with one of {', '.join(_CONTENTS)}")
        return value


class MessagingServiceTextContent(Part, MessagingServiceContent, kw_only=True):
    """Text."""

    content: str


class MessagingServiceFileContent(Part, MessagingServiceContent, kw_only=True):
    """A file; width and height say how large an image is shown."""

    filename: str
    mime_type: str
    data: bytes
    width: int | str | None = None
    height: int | str | None = None


class MessagingServiceTagsContent(Part, MessagingServiceContent, kw_only=True):
    """Tags of an entry in a logbook."""

    tags: list[str]


class MessagingServiceStickerContent(Part, MessagingServiceContent, kw_only=True):
    """A sticker."""

    sticker_id: str


class MessagingServiceGiphyContent(Part, MessagingServiceContent, kw_only=True):
    """A moving image."""

    giphy_url: str


_CONTENTS: dict[str, type[Part]] = {
    "content": MessagingServiceTextContent,
    "filename": MessagingServiceFileContent,
    "tags": MessagingServiceTagsContent,
    "sticker_id": MessagingServiceStickerContent,
    "giphy_url": MessagingServiceGiphyContent,
}


class MessagingServiceMessage(Message, kw_only=True):
    """What is to be sent to people through a service."""

    msg_type: ClassVar[str] = "messaging_service_message"

    service_name: ServiceName
    message: list[MessagingServiceContent]
    scope: str | list[str] | None = None


class NotificationMessage(Message, kw_only=True):
    """An event of which people may want to know, such as ``new_scan`` or ``alarm_major``."""

    msg_type: ClassVar[str] = "notification_message"

    event: str
    message: list[MessagingServiceContent]


class NotificationServiceTarget(Part, kw_only=True):
    """A service, and whom it tells."""

    service_name: ServiceName
    scope: str | list[str] | None = None


class NotificationConfigMessage(Message, kw_only=True):
    """Which event goes to which services."""

    msg_type: ClassVar[str] = "notification_config_message"

    routes: dict[str, list[NotificationServiceTarget]] = msgspec.field(default_factory=dict)


class MessagingServiceScopeConfig(Part, kw_only=True):
    """Whether a service is used, and for whom when nobody is named."""

    enabled: bool
    default: str | list[str] | None = None


class MessagingConfig(Part, kw_only=True):
    """The settings of all services."""

    signal: MessagingServiceScopeConfig
    teams: MessagingServiceScopeConfig
    scilog: MessagingServiceScopeConfig


class SignalServiceInfo(Part, kw_only=True, tag_field="service_type", tag="signal"):
    """A group of Signal."""

    id: str
    scope: str
    enabled: bool
    name: str | None = None
    group_id: str | None = None
    group_link: str | None = None


class SciLogServiceInfo(Part, kw_only=True, tag_field="service_type", tag="scilog"):
    """A logbook."""

    id: str
    scope: str
    enabled: bool
    name: str | None = None
    logbook_id: str


class TeamsServiceInfo(Part, kw_only=True, tag_field="service_type", tag="teams"):
    """A channel of Teams."""

    id: str
    scope: str
    enabled: bool
    name: str | None = None
    workflow_webhook_url: str


AnyService = SignalServiceInfo | SciLogServiceInfo | TeamsServiceInfo


class AvailableMessagingServicesMessage(Message, kw_only=True):
    """The services of the deployment and of the present session."""

    msg_type: ClassVar[str] = "available_messaging_services_message"

    config: MessagingConfig
    deployment_services: list[AnyService] = msgspec.field(default_factory=list)
    session_services: list[AnyService] = msgspec.field(default_factory=list)
