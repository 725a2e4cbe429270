"""What the broker is and how it is set up; what of that would lose data is found here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from ..errors import ConfigError, LabspineError
from .cluster_report import ClusterReport, cluster_report, judged_cluster, worst_of
from .exchange import Exchange, Flow, read

__all__ = [
    "ServerFinding",
    "ServerReport",
    "access_list",
    "access_of",
    "check_server",
    "refuse_unsafe",
    "server_report",
]

_FLOORS = {"redis": (7, 0), "valkey": (7, 2)}
_BEGIN = re.compile(rb"# Server\r\n")


class ServerReport(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a broker tells about itself.

    Args:
        name: ``valkey`` or ``redis``.
        version: Its version, such as ``9.1.2``.
        utc_s: Its wall clock, in seconds since 1970.
        append_only: Whether it writes each change into a file; None if it does not say.
        eviction_policy: What it drops when memory is full; empty if it does not say.
        clients: Number of connections.
        used_memory_bytes: Memory of its data.
        replicas: Number of connected replicas.
        memory_limit_bytes: Above this it drops or refuses; 0 for no limit.
        role: ``master``, ``slave`` or empty if it does not say.
        master: Host and port of its master, for a replica.
        is_master_reached: Whether a replica has its master; None for a master.
        snapshots: When it saves a snapshot, as ``save`` of its configuration; None if it does not say.
        last_write_failed: What it could not write to disk the last time; empty if all is well.
        is_cluster: Whether it is a node of a Redis Cluster.
        cluster: How the cluster is, if the address is that of one; the rest is the worst of its masters.
    """

    name: str
    version: str
    utc_s: float
    append_only: bool | None
    eviction_policy: str
    clients: int
    used_memory_bytes: int
    replicas: int
    memory_limit_bytes: int = 0
    role: str = ""
    master: str = ""
    is_master_reached: bool | None = None
    snapshots: str | None = None
    last_write_failed: str = ""
    is_cluster: bool = False
    cluster: ClusterReport | None = None


class ServerFinding(msgspec.Struct, frozen=True):
    """
    One thing that was looked at.

    Args:
        topic: One word, such as ``memory``.
        level: A ``problem`` can lose data or stop the work; a ``warning`` is worth knowing.
        text: What is so.
        fix: What to do; empty when all is well.
    """

    topic: str
    level: Literal["ok", "warning", "problem"]
    text: str
    fix: str = ""


def server_report(*, in_cluster: bool = False) -> Flow[ServerReport]:
    """
    Ask the broker what it is.

    Args:
        in_cluster: Whether the broker is a Redis Cluster, whose masters answer INFO together.

    Asks:
        INFO and TIME; CONFIG GET where that is allowed; on a cluster CLUSTER SLOTS and CLUSTER INFO.

    Returns:
        The report.
    """
    info, (seconds, microseconds) = yield Exchange((("INFO",), ("TIME",)), readonly=True)
    snapshots = yield from _setting("save")
    policy = "" if b"maxmemory_policy:" in info else (yield from _setting("maxmemory-policy")) or ""
    told_utc_s = int(seconds) + int(microseconds) / 1e6
    reports = [
        _report(_facts(part), told_utc_s, policy, snapshots) for part in _BEGIN.split(info) if part.strip()
    ]
    return worst_of(reports, (yield from cluster_report())) if in_cluster else reports[0]


def _report(facts: dict[str, str], told_utc_s: float, policy: str, snapshots: str | None) -> ServerReport:
    is_replica = facts.get("role") == "slave"
    is_valkey = "valkey_version" in facts
    return ServerReport(
        name="valkey" if is_valkey else "redis",
        version=facts.get("valkey_version") or facts.get("redis_version", "unknown"),
        utc_s=told_utc_s,
        append_only={"1": True, "0": False}.get(facts.get("aof_enabled", "")),
        eviction_policy=facts.get("maxmemory_policy") or policy,
        clients=int(facts.get("connected_clients", "0")),
        used_memory_bytes=int(facts.get("used_memory", "0")),
        replicas=int(facts.get("connected_slaves", "0")),
        memory_limit_bytes=int(facts.get("maxmemory", "0")),
        role=facts.get("role", ""),
        master=f"{facts.get('master_host')}:{facts.get('master_port')}" if is_replica else "",
        is_master_reached=facts.get("master_link_status") == "up" if is_replica else None,
        snapshots=snapshots,
        last_write_failed=_failed_write(facts),
        is_cluster=facts.get("cluster_enabled") == "1",
    )


def access_list() -> Flow[list[str]]:
    """
    List the users and their rules, one text each, as an administrator may.

    Asks:
        ACL LIST.
    """
    (rules,) = yield read("ACL", "LIST")
    return [rule.decode("utf-8", "replace") for rule in rules]


def access_of(user: str) -> Flow[dict[str, object] | None]:
    """
    Read the rules of one user, as an administrator may.

    Asks:
        ACL GETUSER.

    Returns:
        What the server tells: flags, passwords (hashes), commands, keys, channels, selectors; None if there
        is no such user.
    """
    (told,) = yield read("ACL", "GETUSER", user)
    return None if told is None else dict(_pairs(told))


def _pairs(told: list[object]) -> Iterator[tuple[str, object]]:
    for at in range(0, len(told) - 1, 2):
        yield str(_text(told[at])), _text(told[at + 1])


def _text(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return [_text(item) for item in value] if isinstance(value, list) else value


def _setting(name: str) -> Flow[str | None]:
    try:
        ((_, value),) = yield read("CONFIG", "GET", name)
    except (LabspineError, ValueError):
        return None  # not everybody may look at the configuration
    return bytes(value).decode()


def _facts(info: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines() if ":" in line)
    return {key: value for key, _, value in pairs}


def _failed_write(facts: dict[str, str]) -> str:
    names = {
        "rdb_last_bgsave_status": "snapshot",
        "aof_last_write_status": "append-only file",
        "aof_last_bgrewrite_status": "rewrite of the append-only file",
    }
    return ", ".join(what for name, what in names.items() if facts.get(name, "ok") != "ok")


def check_server(report: ServerReport) -> list[ServerFinding]:
    """
    Judge whether a broker can be trusted with the lab's data.

    Args:
        report: What it tells about itself.

    Returns:
        One finding a topic: version, role, memory, persistence; on a cluster also cluster.
    """
    found = [_version(report), _role(report), _memory(report), _persistence(report)]
    if report.cluster is not None:
        found.append(ServerFinding("cluster", *judged_cluster(report.cluster)))
    return found


def refuse_unsafe(report: ServerReport) -> list[ServerFinding]:
    """
    Insist on a broker that does not lose data, as a service does at its start.

    Args:
        report: What it tells about itself.

    Returns:
        The warnings.

    Raises:
        ConfigError: If there is a problem; the text says what and what to do.
    """
    findings = check_server(report)
    problems = [f"{finding.text}: {finding.fix}" for finding in findings if finding.level == "problem"]
    if problems:
        raise ConfigError(f"this broker cannot be used: {'; '.join(problems)}")
    return [finding for finding in findings if finding.level == "warning"]


def _version(report: ServerReport) -> ServerFinding:
    said = f"{report.name} {report.version}"
    found = re.match(r"(\d+)\.(\d+)", report.version)
    floor = _FLOORS[report.name]
    wanted = f"{floor[0]}.{floor[1]}"
    if found is None:
        return ServerFinding(
            "version", "warning", f"{said}: the version is not a number", f"{wanted} is needed"
        )
    if (int(found[1]), int(found[2])) < floor:
        return ServerFinding(
            "version", "problem", f"{said} is too old", f"install {report.name} {wanted} or newer"
        )
    if report.is_cluster and report.cluster is None:
        return ServerFinding(
            "version",
            "problem",
            f"{said} is a node of a Redis Cluster, and has only some of the data",
            "give the address of the cluster: redis+cluster://host1:6379,host2:6379",
        )
    return ServerFinding("version", "ok", said)


def _role(report: ServerReport) -> ServerFinding:
    if report.role == "slave":
        lost = "" if report.is_master_reached else ", which it has lost"
        return ServerFinding(
            "role",
            "problem",
            f"this server is a read-only replica of {report.master}{lost}",
            "give the address of the master, or redis+sentinel://host1,host2,host3/name, which finds it",
        )
    if report.cluster is not None:
        return ServerFinding("role", "ok", f"{report.cluster.masters} masters answer")
    count = report.replicas
    return ServerFinding("role", "ok", f"master with {count} replica{'' if count == 1 else 's'}")


def _memory(report: ServerReport) -> ServerFinding:
    used = f"{report.used_memory_bytes / 1e6:.1f} MB used"
    if not report.eviction_policy:
        return ServerFinding(
            "memory",
            "warning",
            f"{used}; this user may not see what the server drops when memory is full",
            "look as the administrator: CONFIG GET maxmemory-policy must say noeviction",
        )
    limit = report.memory_limit_bytes
    if report.eviction_policy != "noeviction":
        fix = "CONFIG SET maxmemory-policy noeviction, and in the configuration file"
        if limit:
            text = f"{used}; above {limit / 1e6:.0f} MB it drops data ({report.eviction_policy})"
            return ServerFinding("memory", "problem", text, fix)
        text = f"{used}; no limit now, but with one it would drop data ({report.eviction_policy})"
        return ServerFinding("memory", "warning", text, fix)
    if limit and report.used_memory_bytes > 0.9 * limit:
        text = f"{used} of {limit / 1e6:.0f} MB: above that it refuses changes"
        return ServerFinding("memory", "warning", text, "raise maxmemory, or find out what fills it")
    return ServerFinding("memory", "ok", f"{used}, {f'limit {limit / 1e6:.0f} MB' if limit else 'no limit'}")


def _persistence(report: ServerReport) -> ServerFinding:
    if report.last_write_failed:
        text = f"the last {report.last_write_failed} could not be written"
        return ServerFinding("persistence", "problem", text, "is the disk full? Look into the server's log")
    if report.append_only:
        return ServerFinding("persistence", "ok", "each change goes into the append-only file")
    if report.append_only is None:
        return ServerFinding("persistence", "warning", "the server does not say whether it writes to disk")
    fix = "CONFIG SET appendonly yes, and in the configuration file"
    if report.snapshots:
        text = f"snapshots only ({report.snapshots}): a crash loses what came after the last one"
    else:
        text = "nothing is written to disk: a restart loses the queue and all histories"
    return ServerFinding("persistence", "warning", text, fix)
