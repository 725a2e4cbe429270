"""A topic of the bus as something that an engine's suspender can follow; the engine itself knows no bus."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..connector import Gap, RedisConnector
from ..endpoints import EndpointInfo

__all__ = ["TopicSource"]


class TopicSource:
    """
    Follow an endpoint with a function of plain values.

    Args:
        connector: Where to listen.
        endpoint: What to listen to; where it keeps its last message, that one comes first.
        value: Gets the value out of a message; by default the message itself.
    """

    def __init__(
        self,
        connector: RedisConnector,
        endpoint: EndpointInfo[Any],
        *,
        value: Callable[[Any], Any] | None = None,
    ) -> None:
        self.name = endpoint.endpoint
        self._connector = connector
        self._endpoint = endpoint
        self._value = value or _itself

    def subscribe(self, function: Callable[[Any], object]) -> Callable[[], object]:
        """
        Call a function with each value from now on, and with the last one that is known.

        Args:
            function: Called off the reader thread, one call at a time.

        Returns:
            A function that ends this.
        """

        has_heard = threading.Event()

        def heard(message: Any) -> None:
            if not isinstance(message.value, Gap):
                has_heard.set()
                function(self._value(message.value))

        self._connector.register(self._endpoint, heard)
        if "get" in self._endpoint.message_op:
            last = self._connector.get(self._endpoint)
            # What came meanwhile is newer.
            if last is not None and not has_heard.is_set():
                function(self._value(last))
        return lambda: self._connector.unregister(self._endpoint, heard)


def _itself(message: Any) -> Any:
    return message
