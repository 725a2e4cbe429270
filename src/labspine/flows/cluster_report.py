"""What a Redis Cluster tells about itself, and what of that needs somebody's attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from ..errors import LabspineError
from .exchange import Exchange, Flow
from .slots import SLOTS

if TYPE_CHECKING:
    from .server import ServerReport

__all__ = ["ClusterReport", "cluster_report", "judged_cluster", "worst_of"]

Level: TypeAlias = Literal["ok", "warning", "problem"]
_POLICY_THAT_KEEPS = "noeviction"


class ClusterReport(msgspec.Struct, frozen=True):
    """
    Who serves what.

    Args:
        is_well: Whether it says so itself.
        masters: Number of masters with slots.
        replicas: Number of replicas that are well.
        bare_masters: ``host:port`` of the masters without a replica.
        slots: How many of the 16384 slots have a master.
    """

    is_well: bool
    masters: int
    replicas: int
    bare_masters: tuple[str, ...]
    slots: int


def cluster_report() -> Flow[ClusterReport]:
    """
    Ask a node how its cluster is.

    Asks:
        CLUSTER SLOTS; CLUSTER INFO where that is allowed.
    """
    (rows,) = yield Exchange((("CLUSTER", "SLOTS"),), readonly=True)
    try:
        (info,) = yield Exchange((("CLUSTER", "INFO"),), readonly=True)
        is_well = b"cluster_state:ok" in info
    except LabspineError:
        is_well = True  # not everybody may ask; the slots tell the worst of it
    replicas: dict[str, set[str]] = {}
    for _, _, master, *others in rows:
        replicas.setdefault(_named(master), set()).update(map(_named, others))
    return ClusterReport(
        is_well,
        len(replicas),
        len(set().union(*replicas.values())),
        tuple(sorted(name for name, its in replicas.items() if not its)),
        sum(int(last) - int(first) + 1 for first, last, *_ in rows),
    )


def _named(node: Sequence[object]) -> str:
    host = node[0].decode() if isinstance(node[0], bytes) else ""
    return f"{host}:{node[1]}"


def worst_of(reports: Sequence[ServerReport], cluster: ClusterReport) -> ServerReport:
    """
    Make one report of all masters: what is wrong with one of them is wrong.

    Args:
        reports: One a master.
        cluster: Who serves what.

    Returns:
        The report; counts are sums, the memory limit is that of the fullest.
    """
    first, *_ = reports
    policies = sorted((report.eviction_policy for report in reports), key=_POLICY_THAT_KEEPS.__eq__)
    written = [report.append_only for report in reports]
    fullest = max(reports, key=lambda r: r.used_memory_bytes / (r.memory_limit_bytes or 2**62))
    return msgspec.structs.replace(
        first,
        version=min((report.version for report in reports), key=_version_numbers),
        append_only=False if False in written else first.append_only,
        eviction_policy=policies[0],
        clients=sum(report.clients for report in reports),
        used_memory_bytes=fullest.used_memory_bytes,
        memory_limit_bytes=fullest.memory_limit_bytes,
        replicas=cluster.replicas,
        last_write_failed=next((r.last_write_failed for r in reports if r.last_write_failed), ""),
        cluster=cluster,
    )


def _version_numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def judged_cluster(report: ClusterReport) -> tuple[Level, str, str]:
    """
    Judge how a cluster is.

    Args:
        report: What it tells.

    Returns:
        Level, what is so, and what to do.
    """
    said = f"Redis Cluster, {report.masters} masters and {report.replicas} replicas"
    if report.slots < SLOTS:
        text = f"{said}: {SLOTS - report.slots} of {SLOTS} slots have no master, their names cannot be used"
        return "problem", text, "redis-cli --cluster check host:port, then --cluster fix"
    if not report.is_well:
        return "problem", f"{said}: it says that it is down", "redis-cli --cluster check host:port"
    if report.bare_masters:
        text = f"{said}: {', '.join(report.bare_masters)} without a replica, whose end stops the work"
        return "warning", text, "redis-cli --cluster add-node host:port host:port --cluster-slave"
    return "ok", f"{said}, all {SLOTS} slots are served", ""
