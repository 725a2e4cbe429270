"""
Who may say and hear what, and the access rules of a Redis server that hold everybody to it.

The catalogue does not know people. Two small tables do: who speaks on a branch of the catalogue, and who
hears. Branches are named as in profile ``bec4``, whose first segment is an access class: ``public`` and
``info`` are read by everybody, ``user`` is written by people, ``personal`` belongs to one person,
``internal`` to services, ``admin`` to the administrator.

The rules need selectors (Redis 7, Valkey): each selector allows some commands on some keys or channels, so
that hearing and speaking, reading and writing are told apart. Redis 6 cannot do that: there whoever may
listen on a channel may speak on it, too (ADR 0017).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from ..errors import InvalidArgument, did_you_mean, shown
from ..messages import Message
from .catalogue import MessageEndpoints
from .definition import EndpointDefinition
from .endpoint import EndpointInfo, MessageOp, Profile, cluster_tag
from .names import check_segment

__all__ = ["ROLES", "Role", "is_allowed", "rules_for"]

Role = Literal["observer", "user", "scan_server", "device_server", "file_writer", "gateway", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

_SERVICES = frozenset({"scan_server", "device_server", "file_writer", "gateway"})
_PEOPLE = frozenset({"user", "gateway"})
_EVERYBODY = frozenset({"observer", "user"}) | _SERVICES
_TOPICS = ("module.", "service.", "websocket.", "labspine.rpc.", "RedisRPCClient.")

# Who speaks on a branch; the longest that fits counts. "" stands for what nobody of ours serves.
_SPEAKERS: dict[str, frozenset[str]] = {
    "": frozenset(),
    "info/devices/": frozenset({"device_server"}),
    "info/queue/": frozenset({"scan_server"}),
    "info/scans/": frozenset({"scan_server"}),
    "info/public/": frozenset({"scan_server"}),
    "info/public/{scan_id}/file": frozenset({"file_writer"}),
    "info/public/file": frozenset({"file_writer"}),
    "user/": _PEOPLE,
    "user/client_info": _PEOPLE | _SERVICES,
    "user/scan_number": frozenset({"scan_server"}),
    "user/dataset_number": frozenset({"scan_server"}),
    "user/alarms": _SERVICES,
    "user/log": _SERVICES,
    "user/services/": _SERVICES,
    "personal/": _PEOPLE,
    "internal/": _SERVICES,
    "labspine/queue/": _PEOPLE | _SERVICES,
    "labspine/calls/": _SERVICES,
    **dict.fromkeys(_TOPICS, _SERVICES),
}
# Who hears on a branch.
_HEARERS: dict[str, frozenset[str]] = {
    "": _EVERYBODY,
    "personal/": frozenset({"scan_server"}),
    "user/queue/queue_modification_request": frozenset({"scan_server"}),
    "user/devices/config_request": frozenset({"device_server"}),
    "internal/": _SERVICES,
    "admin/": frozenset(),
    "labspine/calls/": _PEOPLE | _SERVICES,
    **dict.fromkeys(_TOPICS, _SERVICES),
}

_KINDS = {
    MessageOp.SET_PUBLISH: "value",
    MessageOp.KEY_VALUE: "value",
    MessageOp.STREAM: "stream",
    MessageOp.LIST: "list",
    MessageOp.SET: "set",
}
_READING = {
    "value": "+get +mget",
    "stream": "+xrange +xrevrange +xread +xlen +xinfo|stream",
    "list": "+lrange +llen +lindex",
    "set": "+smembers +sismember +scard",
    "queue": "+xlen +xrange +xpending +zcard +zrange +smembers",
    "history": "+xrange +xrevrange",
    # To call: put a request, find out who has it, take it back, read one's own replies; never take a request.
    "calls": "+exists +xadd +fcall +time +zcount +zscore +zrange +hgetall +xpending +xrange +xack +xdel +xlen"
    " +del +rpush +pexpire +blmpop +lrange",
}
_WRITING = {
    "value": "+set +del",
    "stream": "+xadd +xtrim +pexpire +del",
    "list": "+lpush +rpush +ltrim +lrem +lset +pexpire +del +lpop +rpop +blpop +brpop",
    "set": "+sadd +srem +pexpire +del",
    # A function does its commands with the rights of who calls it.
    "queue": "+fcall +time +xadd +xlen +xrange +xdel +xreadgroup +xack +xpending +xclaim +xinfo|consumers"
    " +xinfo|groups +xgroup|create +xgroup|setid +xgroup|delconsumer +zadd +zcard +zrange +zrangebyscore"
    " +zrem +hsetnx +hexists +hlen +sadd +rename +unlink",
    "history": "+xadd",
    "calls": "+xgroup|create +xgroup|delconsumer +xreadgroup +xclaim +xpending +xack +xdel +xlen +fcall +time"
    " +get +set +zadd +zrem +zcard +zscore +zrangebyscore +zremrangebyscore +hset +hdel +pexpire +del +rpush"
    " +blmpop +client|unblock",
}
_LISTENING = "+subscribe +psubscribe +unsubscribe +punsubscribe"
_BASIC = "+ping +client|setname +client|id +acl|whoami +multi +exec +discard"
_OF_CLUSTERS = "+cluster|slots +cluster|info +asking +pubsub|numsub"
_OF_SERVICES = "+info +time +role +wait +scan +function|load"

_READ_OPERATIONS = frozenset(
    {"get", "register", "register_stream", "xrange", "xread", "get_last", "llen", "lrange", "get_set_members"}
    | {"state", "peek", "dead", "call"}
)


def _by_branch(table: dict[str, frozenset[str]], definition: EndpointDefinition[Message]) -> frozenset[str]:
    channel = definition.templates["bec4"]
    return table[max((branch for branch in table if channel.startswith(branch)), key=len)]


def _may(role: str, definition: EndpointDefinition[Message], *, write: bool) -> bool:
    return role == "admin" or role in _by_branch(_SPEAKERS if write else _HEARERS, definition)


def is_allowed(
    role: str, endpoint: EndpointInfo[Message], operation: str, *, user: str | None = None
) -> bool:
    """
    Tell whether a role may do something; the rules of `rules_for` let a server decide the same.

    Args:
        role: One of `ROLES`.
        endpoint: Where; one of the catalogue.
        operation: The name of the connector's method.
        user: Who it is, for role ``user``: others' personal endpoints are refused.

    Returns:
        Whether it may. What the endpoint itself does not allow is refused for everybody.

    Raises:
        InvalidArgument: If there is no such role, or the endpoint is not of the catalogue.
    """
    _check_role(role)
    definition = endpoint.definition
    if definition is None:
        raise InvalidArgument(f'"{shown(endpoint.endpoint)}" is not an endpoint of the catalogue')
    if operation not in endpoint.message_op:
        return False
    if operation == "keys":
        return role == "admin" or role in _SERVICES
    if not _may(role, definition, write=operation not in _READ_OPERATIONS):
        return False
    if role != "user" or "{username}" not in definition.templates[endpoint.profile]:
        return True
    return endpoint.args[definition.parameters.index("username")] == user


def rules_for(
    roles: str | Sequence[str],
    *,
    profile: Profile = "seed",
    user: str | None = None,
    in_cluster: bool = False,
) -> list[str]:
    """
    Make the access rules of a service or person: what ``ACL SETUSER name`` is given.

    Args:
        roles: One of `ROLES`, or several for a process that does several jobs.
        profile: The naming scheme of the channels.
        user: The name of the person, for role ``user``.
        in_cluster: Whether the servers are the nodes of a Redis Cluster, each of which needs them.

    Returns:
        The rules, one text each; they begin from nothing and set no password.

    Raises:
        InvalidArgument: If there is no such role, or role ``user`` has no name.
        InvalidName: If the name of the person cannot stand in a channel.
    """
    chosen = [roles] if isinstance(roles, str) else list(roles)
    for role in chosen:
        _check_role(role)
    if not chosen:
        raise InvalidArgument(f"no role is given: use one or more of {', '.join(ROLES)}")
    if "user" in chosen:
        if not user:
            raise InvalidArgument('role "user" needs the name of the person')
        check_segment(user, where="user")
    if "admin" in chosen:
        return ["reset", "on", "~*", "&*", "+@all"]
    basic = _BASIC.split() + (_OF_SERVICES.split() if _SERVICES.intersection(chosen) else [])
    if in_cluster:
        basic += _OF_CLUSTERS.split()
    everything = MessageEndpoints.definitions()
    places = {
        is_write: [
            (d, channel)
            for d in everything
            for channel in _channels(d, chosen, profile=profile, user=user, write=is_write)
        ]
        for is_write in (False, True)
    }
    replies = f"labspine/replies/{user}/*" if chosen == ["user"] else "labspine/replies/*"
    selectors = [
        *_key_selectors(places[False], _READING, "%R", in_cluster=in_cluster, replies=replies),
        *_key_selectors(places[True], _WRITING, "%W", in_cluster=in_cluster, replies=replies),
        _selector(_spoken(places[False]), "&", f"resetchannels {_LISTENING}"),
        _selector(_spoken(places[True]), "&", "resetchannels +publish"),
    ]
    return ["reset", "on", "resetchannels", *basic, *filter(None, selectors)]


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise InvalidArgument(
            f'no role "{shown(role)}"{did_you_mean(role, ROLES)}; there are: {", ".join(ROLES)}'
        )


def _channels(
    definition: EndpointDefinition[Message],
    roles: Iterable[str],
    *,
    profile: Profile,
    user: str | None,
    write: bool,
) -> set[str]:
    """Name the channels of an endpoint that some roles may use: one pattern, or that of one person."""
    found = set()
    for role in roles:
        if _may(role, definition, write=write):
            names = dict.fromkeys(definition.parameters, "*")
            if role == "user" and user and "username" in names:
                names["username"] = user
            found.add(definition.templates[profile].format(**names))
    return found


def _key_selectors(
    places: list[tuple[EndpointDefinition[Message], str]],
    commands: dict[str, str],
    access: str,
    *,
    in_cluster: bool,
    replies: str,
) -> list[str]:
    keys: dict[str, list[str]] = {kind: [] for kind in commands}
    for definition, channel in places:
        if definition.message_op is MessageOp.QUEUE:
            keys["queue"] += (f"{channel}*", "labspine/queues")  # all its keys, and the list of queues
        elif definition.message_op is MessageOp.CALL:
            keys["calls"] += (f"{channel}*", replies, "labspine/services")
        elif definition.message_op in _KINDS:
            tag = cluster_tag(definition.history, definition.name) if in_cluster else ""
            keys[_KINDS[definition.message_op]].append(tag + channel)
        if definition.history is not None:
            keys["history"].append(definition.history)
    # A pop reads and removes, so that the server wants both rights for it; so do the functions of a queue.
    both = ("list", "queue", "calls") if access == "%W" else ("calls",)
    return [
        _selector(found, "~" if kind in both else f"{access}~", commands[kind])
        for kind, found in keys.items()
    ]


def _spoken(places: list[tuple[EndpointDefinition[Message], str]]) -> list[str]:
    return [c for d, c in places if d.message_op in (MessageOp.SEND, MessageOp.SET_PUBLISH)]


def _selector(patterns: Iterable[str], prefix: str, commands: str) -> str:
    words = [prefix + pattern for pattern in sorted(set(patterns))]
    return f"({commands} {' '.join(words)})" if words else ""
