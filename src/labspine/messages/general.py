"""Messages that any service may use: bundles, variables, resources, progress, requests to services."""

from typing import Any, ClassVar, Literal

import msgspec

from .base import Message, Part

__all__ = [
    "AvailableResourceMessage",
    "BoolConfigDefaultFalse",
    "BundleMessage",
    "EndpointInfoMessage",
    "ObserverMessage",
    "ProcessedDataMessage",
    "ProgressMessage",
    "RawMessage",
    "ServiceRequestMessage",
    "ServiceResponseMessage",
    "VariableMessage",
]


class BundleMessage(Message, kw_only=True):
    """Several messages in one; it is received as a list."""

    msg_type: ClassVar[str] = "bundle_message"

    messages: list[Any] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse anything but messages."""
        for index, item in enumerate(self.messages):
            if not isinstance(item, Message):
                raise ValueError(f"messages[{index}] is a {type(item).__name__}, not a message")  # noqa: TRY004  # msgspec adds the path to a ValueError only


class VariableMessage(Message, kw_only=True):
    """One value of any kind."""

    msg_type: ClassVar[str] = "var_message"

    value: Any


class AvailableResourceMessage(Message, kw_only=True):
    """What exists, such as plans, devices or plugins: a map, a list of maps, or messages."""

    msg_type: ClassVar[str] = "available_resource_message"

    resource: Any

    def __post_init__(self) -> None:
        """Refuse what is neither a map nor a message, nor a list of these."""
        described = self.resource if isinstance(self.resource, list) else [self.resource]
        for item in described:
            if not isinstance(item, (dict, Message, Part)):
                raise ValueError(f"resource: a {type(item).__name__} is neither a map nor a message")  # noqa: TRY004  # see above


class ProgressMessage(Message, kw_only=True):
    """How far something is: ``value`` of ``max_value``."""

    msg_type: ClassVar[str] = "progress_message"

    value: float
    max_value: float
    done: bool


class ProcessedDataMessage(Message, kw_only=True):
    """What was computed from data."""

    msg_type: ClassVar[str] = "processed_data_message"

    data: dict[str, Any] | list[dict[str, Any]]


class ObserverMessage(Message, kw_only=True):
    """What is watched, and what is to be done when it changes."""

    msg_type: ClassVar[str] = "observer_message"

    observer: list[dict[str, Any]]


class ServiceRequestMessage(Message, kw_only=True):
    """A request to all services."""

    msg_type: ClassVar[str] = "service_request_message"

    action: Literal["restart", "reload_scans"]


class ServiceResponseMessage(Message, kw_only=True):
    """The answer of one service to a request."""

    msg_type: ClassVar[str] = "service_response_message"

    response: dict[str, Any]


class BoolConfigDefaultFalse(Message, kw_only=True):
    """A setting that is on or off; off unless said otherwise."""

    msg_type: ClassVar[str] = "bool_config_default_false"

    value: bool = False


class EndpointInfoMessage(Message, kw_only=True):
    """The name of an endpoint."""

    msg_type: ClassVar[str] = "endpoint_info_message"

    endpoint: str


class RawMessage(Message, kw_only=True):
    """What a foreign publisher sent as JSON."""

    msg_type: ClassVar[str] = "raw_message"

    data: Any
