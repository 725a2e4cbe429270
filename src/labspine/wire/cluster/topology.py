"""Which node serves which slot, as a node of the cluster tells it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ...flows import Exchange
from ...flows.slots import SLOTS
from ..address import Address, Cluster

__all__ = ["QUESTION", "Place", "Topology", "known_places", "node_address", "read_topology", "remember"]

Place: TypeAlias = tuple[str, int]

QUESTION = Exchange((("CLUSTER", "SLOTS"),), readonly=True)
"""Newer servers have CLUSTER SHARDS too; this one is known by all of them."""

_MOST_KNOWN = 100
_known: dict[tuple[Place, ...], tuple[Place, ...]] = {}


@dataclass(frozen=True)
class Topology:
    """
    A picture of the cluster; a new one replaces it as a whole.

    Args:
        owners: The master of each slot; None where there is none.
        masters: All masters, in the order of their slots, so that a replica takes its master's place in it.
        replicas: Those that are well.
    """

    owners: tuple[Place | None, ...]
    masters: tuple[Place, ...]
    replicas: tuple[Place, ...]

    @property
    def nodes(self) -> tuple[Place, ...]:
        """All nodes."""
        return (*self.masters, *self.replicas)

    def moved(self, slot: int, place: Place) -> Topology:
        """Note that a slot has another master."""
        owners = list(self.owners)
        owners[slot] = place
        masters = self.masters if place in self.masters else (*self.masters, place)
        return Topology(tuple(owners), masters, self.replicas)


def read_topology(rows: list[Any], asked: Place) -> Topology:
    """
    Read the reply to `QUESTION`.

    Args:
        rows: First slot, last slot, the master, its replicas; a node is a list of host, port and more.
        asked: Who said it; a node that does not know its own name is there, too.

    Returns:
        The picture.
    """
    owners: list[Place | None] = [None] * SLOTS
    masters: dict[Place, None] = {}
    replicas: dict[Place, None] = {}
    for first, last, master, *others in sorted(rows, key=lambda row: int(row[0])):
        place = _place(master, asked)
        masters[place] = None
        replicas.update(dict.fromkeys(_place(other, asked) for other in others))
        owners[int(first) : int(last) + 1] = [place] * (int(last) - int(first) + 1)
    return Topology(tuple(owners), tuple(masters), tuple(replicas))


def _place(node: list[Any], asked: Place) -> Place:
    host = (node[0] or b"").decode("utf-8", "replace")
    return (asked[0] if host in ("", "?") else host), int(node[1])


def node_address(cluster: Address, place: Place) -> Address:
    """Make the address of one node, with the login and the certificates of the cluster."""
    return replace(cluster, host=place[0], port=place[1])


def remember(cluster: Cluster, topology: Topology) -> None:
    """Keep the names of all nodes, for who looks for any of them when the named ones are gone."""
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[cluster.places] = topology.nodes


def known_places(cluster: Cluster) -> list[Place]:
    """List the nodes that are known, the named ones at the end."""
    found = dict.fromkeys((*_known.get(cluster.places, ()), *cluster.places))
    return list(found)
