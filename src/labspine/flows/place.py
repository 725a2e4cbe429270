"""Find the channel of an endpoint in the profile that a connector speaks."""

from __future__ import annotations

from typing import TypeVar

from ..endpoints import EndpointInfo, Profile
from ..errors import InvalidArgument, InvalidName, shown
from ..messages import Message

__all__ = ["located", "located_pattern"]

M = TypeVar("M", bound=Message)
_WILDCARDS = frozenset("*?[]")


def located(endpoint: EndpointInfo[M], profile: Profile, *, in_cluster: bool = False) -> EndpointInfo[M]:
    """
    Name an endpoint as the broker of this connector knows it.

    Args:
        endpoint: An endpoint of the catalogue, or one made by hand.
        profile: The naming scheme of the connector.
        in_cluster: Whether the broker is a Redis Cluster.

    Returns:
        The endpoint in that profile.

    Raises:
        InvalidArgument: If it is not an endpoint, or if it is a pattern.
        InvalidName: If its channel holds a wildcard without being a pattern.
    """
    if not isinstance(endpoint, EndpointInfo):
        raise InvalidArgument(
            f"expected an endpoint, got `{type(endpoint).__name__}` {shown(endpoint)}: "
            'write for example MessageEndpoints.device_read("samx")'
        )
    if endpoint.is_pattern:
        raise InvalidArgument(
            f'"{shown(endpoint.endpoint)}" is a pattern: it works in keys() and register(patterns=...) only'
        )
    if endpoint.definition is None and not _WILDCARDS.isdisjoint(endpoint.endpoint):
        raise InvalidName(
            f'the channel "{shown(endpoint.endpoint)}" holds a wildcard: use MessageEndpoints.pattern(...)'
        )
    if endpoint.profile != profile:
        endpoint = endpoint.at(profile)
    return endpoint.in_cluster() if in_cluster else endpoint


def located_pattern(
    endpoint: EndpointInfo[M], profile: Profile, *, in_cluster: bool = False
) -> EndpointInfo[M]:
    """
    Name a pattern, or a plain endpoint, as the broker of this connector knows it.

    Raises:
        InvalidArgument: If it is not an endpoint.
    """
    if isinstance(endpoint, EndpointInfo) and endpoint.is_pattern:
        if endpoint.profile != profile:
            endpoint = endpoint.at(profile)
        return endpoint.in_cluster() if in_cluster else endpoint
    if isinstance(endpoint, str):
        raise InvalidArgument(
            f'the pattern "{shown(endpoint)}" is text: write '
            'MessageEndpoints.pattern("device_read", device="sam*")'
        )
    return located(endpoint, profile, in_cluster=in_cluster)
