"""Make the messages that tell people something, from what callers have at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import InvalidArgument, InvalidMessage, shown
from ..messages import (
    BoolMetric,
    DynamicMetricMessage,
    FloatMetric,
    IntMetric,
    MessagingServiceContent,
    MessagingServiceTextContent,
    NotificationMessage,
    StrMetric,
)

__all__ = ["ALARM_EVENTS", "ClientSource", "MetricValue", "metrics_message", "notification_message"]

ClientSource = Literal[
    "bec_ipython_client", "scan_server", "device_server", "scan_bundler", "file_writer", "scihub", "dap"
]
MetricValue = int | float | bool | Mapping[str, Any]
ALARM_EVENTS = ("alarm_warning", "alarm_minor", "alarm_major")


def notification_message(event: str, message: str | Sequence[MessagingServiceContent]) -> NotificationMessage:
    """
    Make a notification.

    Args:
        event: What happened, such as ``new_scan``.
        message: Text, or contents for the messaging services.
    """
    text = [MessagingServiceTextContent(content=message)] if isinstance(message, str) else message
    contents: list[MessagingServiceContent] = list(text)
    return NotificationMessage(event=event, message=contents)


def metrics_message(metrics: Mapping[str, MetricValue], separator: str) -> DynamicMetricMessage:
    """
    Make a message of figures.

    Args:
        metrics: Name to figure; a dict for a text with ``value`` and ``possible_values``.
        separator: Put before each name, because who stores them puts the name of the group before that.

    Raises:
        InvalidArgument: If a figure is none.
    """
    return DynamicMetricMessage(
        metrics={separator + name: _metric(name, value) for name, value in metrics.items()}
    )


def _metric(name: str, value: object) -> StrMetric | IntMetric | FloatMetric | BoolMetric:
    if isinstance(value, bool):
        return BoolMetric(value=value)
    if isinstance(value, int):
        return IntMetric(value=value)
    if isinstance(value, float):
        return FloatMetric(value=value)
    if isinstance(value, Mapping):
        try:
            return StrMetric(**value)
        except (TypeError, ValueError, InvalidMessage) as error:
            raise InvalidArgument(f"metric {shown(name)}: {error}") from error
    raise InvalidArgument(
        f"metric {shown(name)}={shown(value)}: give a number or a truth value; for a word give a dict of "
        "value and possible_values"
    )
