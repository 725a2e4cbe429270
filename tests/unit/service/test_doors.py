"""The two doors are the same door; the transports are what the protocols say."""

from __future__ import annotations

import inspect

import pytest

from labspine.errors import InvalidArgument
from labspine.service import AsyncCall, AsyncRpc, Call, Rpc
from labspine.service._async.calls import AsyncRedisCalls, AsyncRedisConversation
from labspine.service._sync.calls import RedisCalls, RedisConversation
from labspine.service.redis.server import RedisCallServer
from labspine.service.transport import (
    AsyncCallTransport,
    AsyncConversation,
    CallServer,
    CallTransport,
    Conversation,
)


def public(kind: type) -> dict[str, list[tuple[str, object, object]]]:
    return {
        name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("one", "other"), [(Rpc, AsyncRpc), (Call, AsyncCall), (RedisCalls, AsyncRedisCalls)]
)
def test_both_doors_have_the_same_methods_and_parameters(one: type, other: type) -> None:
    assert public(one) == public(other)
    assert len(public(one)) >= 4


@pytest.mark.parametrize(
    ("made", "protocol"),
    [
        (RedisCalls, CallTransport),
        (RedisConversation, Conversation),
        (RedisCallServer, CallServer),
        (AsyncRedisCalls, AsyncCallTransport),
        (AsyncRedisConversation, AsyncConversation),
    ],
)
def test_the_transports_of_redis_have_what_the_protocols_want(made: type, protocol: type) -> None:
    wanted = {name for name in vars(protocol) if not name.startswith("_")}
    assert wanted
    assert all(hasattr(made, name) for name in wanted)
    for name, parameters in public(protocol).items():
        assert public(made)[name] == parameters


def test_a_client_refuses_what_it_cannot_use() -> None:
    with pytest.raises(InvalidArgument, match="RedisConnector"):
        Rpc(object())  # type: ignore[arg-type]  # that is the point
    with pytest.raises(InvalidArgument, match="no option"):
        Rpc("localhost:1").with_options(speed=3)
    with pytest.raises(InvalidArgument, match="retries"):
        Rpc("localhost:1", retries="many")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(AttributeError):
        _ = Rpc("localhost:1")._private
