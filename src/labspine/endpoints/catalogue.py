"""
The catalogue: every place where something is said, one entry each.

Channels of profile ``bec4`` are the names of bec_lib 4.3, so that one setting of the connector makes us a
citizen of an existing BEC Redis; those of ``seed`` follow the examples in seeds 000 and 001, and
`definition.seed_of` continues their scheme (ADR 0004, 0013). Entries with a ``history`` family are recorded
in its stream: delivery survives interruptions. Heartbeats, values of which only the last one counts, and
what no service of ours depends on are plain.
"""

from __future__ import annotations

from ..errors import InvalidArgument, did_you_mean
from ..messages import Message
from .definition import EndpointDefinition as E
from .devices import DeviceEndpoints
from .endpoint import EndpointInfo
from .people import PeopleEndpoints
from .programs import ProgramEndpoints
from .scans import ScanEndpoints
from .services import ServiceEndpoints
from .topics import TopicEndpoints

__all__ = ["MessageEndpoints"]


class MessageEndpoints(
    DeviceEndpoints, ScanEndpoints, ServiceEndpoints, ProgramEndpoints, PeopleEndpoints, TopicEndpoints
):
    """
    The endpoints of the laboratory; each is called with the names in its channel.

    ``MessageEndpoints.file_event("samx")`` is the endpoint of file events of samx.

    Source:
        Seeds 000 and 001.
    """

    @classmethod
    def pattern(cls, name: str, **names: str | int) -> EndpointInfo[Message]:
        """
        Make a pattern over the channels of one endpoint, for `register(patterns=...)` and `keys`.

        Args:
            name: The name of the endpoint, such as ``device_read``.
            names: What stands in the channel; ``*`` and ``?`` are wildcards, what is left out is ``*``.

        Returns:
            An endpoint whose channel is a pattern.

        Raises:
            InvalidArgument: If there is no such endpoint or name.
            InvalidName: If a name breaks the grammar of patterns.
        """
        return cls.definition(name).pattern(**names)

    @classmethod
    def definition(cls, name: str) -> E[Message]:
        """
        Look up an entry of the catalogue by its name.

        Raises:
            InvalidArgument: If there is none; the text names the nearest.
        """
        found = getattr(cls, name, None)
        if not isinstance(found, E):
            known = [d.name for d in cls.definitions()]
            raise InvalidArgument(f'no endpoint "{name}"{did_you_mean(name, known)}')
        return found

    @classmethod
    def definitions(cls) -> tuple[E[Message], ...]:
        """List all entries, in the order of the catalogue."""
        return tuple(
            value for family in cls.__bases__ for value in vars(family).values() if isinstance(value, E)
        )
