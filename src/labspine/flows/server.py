"""What the broker is and how it is set up, for the doctor."""

from __future__ import annotations

import msgspec

from ..errors import LabspineError
from .exchange import Exchange, Flow, read

__all__ = ["ServerReport", "server_report"]


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
    """

    name: str
    version: str
    utc_s: float
    append_only: bool | None
    eviction_policy: str
    clients: int
    used_memory_bytes: int
    replicas: int


def server_report() -> Flow[ServerReport]:
    """
    Ask the broker what it is.

    Asks:
        INFO and TIME; CONFIG GET where that is allowed.

    Returns:
        The report.
    """
    info, (seconds, microseconds) = yield Exchange((("INFO",), ("TIME",)), readonly=True)
    facts = _facts(info)
    policy = facts.get("maxmemory_policy", "")
    if not policy:
        policy = yield from _eviction_policy()
    is_valkey = "valkey_version" in facts
    return ServerReport(
        name="valkey" if is_valkey else "redis",
        version=facts.get("valkey_version") or facts.get("redis_version", "unknown"),
        utc_s=int(seconds) + int(microseconds) / 1e6,
        append_only={"1": True, "0": False}.get(facts.get("aof_enabled", "")),
        eviction_policy=policy,
        clients=int(facts.get("connected_clients", "0")),
        used_memory_bytes=int(facts.get("used_memory", "0")),
        replicas=int(facts.get("connected_slaves", "0")),
    )


def _eviction_policy() -> Flow[str]:
    try:
        ((_, policy),) = yield read("CONFIG", "GET", "maxmemory-policy")
    except (LabspineError, ValueError):
        return ""  # not everybody may look at the configuration
    return bytes(policy).decode()


def _facts(info: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in info.decode("utf-8", "replace").splitlines() if ":" in line)
    return {key: value for key, _, value in pairs}
