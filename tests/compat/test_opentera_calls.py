"""Calls by OpenTera's convention, both ways, with its real package on the other side (seed 004)."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import redis

from labspine import AsyncConnector, RedisConnector
from labspine.compat.opentera import AsyncRpcClient, RpcClient, RpcServer
from labspine.errors import (
    CallTimeout,
    ConfigError,
    InvalidArgument,
    InvalidMessage,
    InvalidName,
    NoSuchProcedure,
    NoSuchService,
    RemoteError,
    ServiceBusy,
)
from labspine.service import Rpc, Service, procedure
from labspine.testing.waiting import wait_until

UUID = "7c3f4f2e-58aa-4cc2-9d3c-7a21a8a1c001"
PEER_UUID = "00000000-0000-4000-8000-000000000001"
PEER_MODULE = "TeraServer.PeerModule"


class Chiller:
    """A service of ours."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.began = threading.Semaphore(0)

    @procedure
    def add(self, a: int, b: int) -> int:
        return a + b

    @procedure
    def kinds(self, a: bool, b: float, c: int, d: str, e: bytes) -> list[str]:
        """Show the types and values of the five kinds of arguments."""
        return [f"{type(v).__name__} {v!r}" for v in (a, b, c, d, e)]

    @procedure
    def nothing(self) -> None:
        return None

    @procedure
    def fail(self) -> None:
        raise ValueError("hot")

    @procedure
    def leave(self) -> None:
        raise SystemExit(3)

    @procedure
    async def soon(self, value: str) -> str:
        await asyncio.sleep(0)
        return value

    @procedure
    def steps(self, count: int) -> Iterator[int]:
        yield from range(count)

    @procedure
    def spectrum(self) -> Any:
        return {"counts": np.arange(3), "peak": np.float64(1.5)}

    @procedure
    def unsendable(self) -> Any:
        return object()

    @procedure
    def fail_badly(self) -> None:
        class Broken(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        raise Broken

    @procedure
    def much(self) -> str:
        return "x" * 17 * 1024 * 1024

    @procedure
    def hold(self) -> str:
        self.began.release()
        self.held.wait(20)
        return "released"


@pytest.fixture
def chiller(bus: RedisConnector) -> Iterator[Chiller]:
    target = Chiller()
    with RpcServer(
        bus, target, key="chiller", uuid=UUID, module="Lab.ChillerModule", threads=4, max_waiting=2
    ):
        yield target
        target.held.set()


@pytest.fixture
def rpc(bus: RedisConnector) -> Iterator[RpcClient]:
    with RpcClient(bus) as client:
        yield client


# --- their client, our service ---------------------------------------------------------------------------


def test_their_client_calls_our_service_with_all_five_kinds_of_arguments(
    chiller: Chiller, opentera: Any
) -> None:
    args = [True, 2.5, -(2**63), "é\n", {"bytes": b"\x00\xff{".hex()}]

    for name in ("chiller", UUID):
        assert opentera.call_service(name, "kinds", args, 5.0) == [
            "bool True", "float 2.5", f"int {-(2**63)}", "str 'é\\n'", "bytes b'\\x00\\xff{'",
        ]  # fmt: skip
    assert opentera.call("Lab.ChillerModule", "add", [20, 22], 5.0) == 42


def test_their_client_gets_what_json_can_say(chiller: Chiller, opentera: Any) -> None:
    def call(name: str, *args: object) -> Any:
        return opentera.call_service("chiller", name, list(args), 5.0)

    assert call("nothing") is None
    assert call("soon", "x") == "x"
    assert call("steps", 3) == [0, 1, 2]
    assert call("spectrum") == {"counts": [0, 1, 2], "peak": 1.5}


@pytest.mark.parametrize("name", ["fail", "leave", "unsendable", "no_such", "add"])
def test_their_client_is_answered_at_once_whatever_goes_wrong(
    chiller: Chiller, opentera: Any, name: str
) -> None:
    begin = time.monotonic()

    assert opentera.call_service("chiller", name, [], 20.0) is None

    assert time.monotonic() - begin < 10.0  # their client would wait 20 s without an answer


# --- our client, their service ---------------------------------------------------------------------------


def test_our_client_calls_their_service_under_key_and_uuid(opentera: Any, rpc: RpcClient) -> None:
    for name in ("PeerService", PEER_UUID):
        assert rpc.call_service(name, "add", 20, 22) == 42
        assert rpc.call_service(name, "session_type_config", 1) == {}
    assert rpc.call(PEER_MODULE, "add", 20, 22) == 42
    assert rpc.call_service("PeerService", "table") == {
        "online": ["a", "é"], "count": 2, "ratio": 0.5, "none": None,
    }  # fmt: skip


def test_all_five_kinds_of_arguments_reach_their_service(opentera: Any, rpc: RpcClient) -> None:
    args = (True, False, 2.5, -0.0, 0, -(2**63), 2**63 - 1, 2**64 - 1, "é", "", b"42", b"", b"\xff")

    assert rpc.call_service("PeerService", "echo", *args) == [
        [type(a).__name__, a.hex() if isinstance(a, bytes) else a] for a in args
    ]


def test_none_is_a_value_and_a_failure_of_theirs_is_an_error(opentera: Any, rpc: RpcClient) -> None:
    assert rpc.call_service("PeerService", "nothing") is None
    with pytest.raises(RemoteError, match=r"PeerService\.fail failed: the service does not say why"):
        rpc.call_service("PeerService", "fail")
    with pytest.raises(CallTimeout, match=r"no reply within 0.3 s; it may have been executed") as late:
        rpc.call_service("PeerService", "no_such", timeout_s=0.3)
    assert (late.value.service, late.value.procedure) == ("PeerService", "no_such")


def test_a_late_reply_of_theirs_answers_no_other_call(opentera: Any, rpc: RpcClient) -> None:
    with pytest.raises(CallTimeout):
        rpc.call_service("PeerService", "slow", 0.5, timeout_s=0.05)

    assert rpc.call_service("PeerService", "add", 20, 22) == 42
    wait_until(lambda: rpc.late_replies == 1, timeout_s=10.0, what="the late reply")


def test_threads_share_a_client_and_each_gets_its_own_answer(opentera: Any, rpc: RpcClient) -> None:
    def call(number: int) -> bool:
        return bool(rpc.call_service("PeerService", "add", number, 1) == number + 1)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call, range(600)))


# --- outcomes --------------------------------------------------------------------------------------------


def test_nobody_there_is_known_at_once(rpc: RpcClient) -> None:
    begin = time.monotonic()

    with pytest.raises(NoSuchService, match=r'nobody serves "service\.no-one\.rpc"'):
        rpc.call_service("no-one", "add")

    assert time.monotonic() - begin < 5.0  # the limit of the call is 10 s


def test_each_outcome_of_our_service_is_its_own_error(chiller: Chiller, rpc: RpcClient) -> None:
    assert rpc.call_service("chiller", "nothing") is None
    with pytest.raises(NoSuchProcedure, match='no procedure "ad" — did you mean "add"'):
        rpc.call_service("chiller", "ad")
    with pytest.raises(InvalidArgument, match="argument b: Expected `int`, got `str`; it is called as add"):
        rpc.call_service("chiller", "add", 1, "x")
    with pytest.raises(InvalidArgument, match="missing a required argument"):
        rpc.call_service("chiller", "add", 1)
    with pytest.raises(RemoteError, match=r"chiller\.fail failed: ValueError: hot") as failed:
        rpc.call_service("chiller", "fail")
    assert (failed.value.remote_type, failed.value.remote_message) == ("ValueError", "hot")
    with pytest.raises(RemoteError, match="InvalidMessage: the result of unsendable is not JSON"):
        rpc.call_service("chiller", "unsendable")
    with pytest.raises(RemoteError, match=r"Broken: $"):
        rpc.call_service("chiller", "fail_badly")
    with pytest.raises(RemoteError, match=r"TooLarge: RPCReply has \d+ bytes: at most"):
        rpc.call_service("chiller", "much")
    with pytest.raises(RemoteError, match="SystemExit: 3"):
        rpc.call_service("chiller", "leave")
    assert rpc.call_service("chiller", "add", 1, 2) == 3


def test_the_wish_for_none_is_granted(chiller: Chiller, bus: RedisConnector) -> None:
    with RpcClient(bus, failures="none") as rpc:
        assert rpc.call_service("chiller", "fail") is None
        assert rpc.call_service("chiller", "no_such") is None
        assert rpc.call_service("no-one", "add") is None
        assert rpc.call_service("chiller", "hold", timeout_s=0.05) is None
        with pytest.raises(InvalidMessage):
            rpc.call_service("chiller", "add", None)


def test_a_call_that_cannot_be_asked_is_refused_before_anything_is_sent(
    chiller: Chiller, rpc: RpcClient
) -> None:
    for wrong in (None, [1], {"a": 1}, object(), np.float32(1)):
        with pytest.raises(InvalidMessage, match=r"args\[1\]"):
            rpc.call_service("chiller", "add", 1, wrong)
    for number in (2**64, -(2**63) - 1):
        with pytest.raises(InvalidMessage, match=r"must be from -2\*\*63 to 2\*\*64 - 1"):
            rpc.call_service("chiller", "add", 1, number)
    with pytest.raises(InvalidMessage, match="not valid Unicode"):
        rpc.call_service("chiller", "soon", "\ud800")
    for name in ("*", "", "a b", "chiller\r\n"):
        with pytest.raises(InvalidName):
            rpc.call_service(name, "add")
        with pytest.raises(InvalidName):
            rpc.call_service("chiller", name)
    for timeout_s in (-1, 0, float("nan"), "1"):
        with pytest.raises(InvalidArgument, match="timeout_s"):
            rpc.call_service("chiller", "add", 1, 2, timeout_s=timeout_s)  # type: ignore[arg-type]
    assert rpc.call_service("chiller", "add", 1, 2, timeout_s=1e9) == 3


def test_a_service_that_has_too_much_to_do_says_so_and_goes_on(chiller: Chiller, rpc: RpcClient) -> None:
    with ThreadPoolExecutor(6) as pool:
        held = [pool.submit(rpc.call_service, "chiller", "hold") for _ in range(4)]
        for _ in held:
            assert chiller.began.acquire(timeout=10)
        for _ in range(6):  # so many may wait: max_waiting and threads
            with pytest.raises(CallTimeout):
                rpc.call_service("chiller", "add", 1, 2, timeout_s=0.05)
        with pytest.raises(ServiceBusy):
            rpc.call_service("chiller", "add", 1, 2)
        chiller.held.set()
        assert {future.result(10) for future in held} == {"released"}
    wait_until(lambda: rpc.late_replies >= 2, timeout_s=10.0, what="the replies that came too late")
    assert rpc.call_service("chiller", "add", 1, 2) == 3


def test_bytes_that_are_no_request_harm_nobody(chiller: Chiller, bus: RedisConnector, rpc: RpcClient) -> None:
    for payload in (b"", b"\xff" * 50, b"{}", b"\x0a\xff\xff\xff\xff\x0f", b"\x2a\x00" * 20_000, b"\x00"):
        bus.raw_send("service.chiller.rpc", payload)

    assert rpc.call_service("chiller", "add", 1, 2) == 3


def test_a_stopped_service_is_gone_and_refuses_what_waits(bus: RedisConnector, rpc: RpcClient) -> None:
    target = Chiller()
    server = RpcServer(bus, target, key="short", threads=1, max_waiting=5).start()
    with ThreadPoolExecutor(2) as pool:
        begun = pool.submit(rpc.call_service, "short", "hold")
        assert target.began.acquire(timeout=10)
        waiting = pool.submit(rpc.call_service, "short", "add", 1, 2)
        wait_until(lambda: server._jobs.qsize() == 1, timeout_s=10.0, what="the second call")
        threading.Timer(0.1, target.held.set).start()
        server.stop()
        assert begun.result(10) == "released"
        with pytest.raises(ServiceBusy, match="is being stopped"):
            waiting.result(10)

    with pytest.raises(NoSuchService):
        rpc.call_service("short", "add", 1, 2)
    server.stop()


def test_one_object_is_served_in_both_ways(bus: RedisConnector, opentera: Any) -> None:
    target = Chiller()
    with RpcServer(bus, target, key="both"), Service("both", target, connector=bus), Rpc(bus) as rpc:
        assert opentera.call_service("both", "add", [20, 22], 5.0) == 42
        assert rpc.call_service("both", "add", 20, 22) == 42


def test_a_server_without_name_or_procedures_is_refused(bus: RedisConnector) -> None:
    with pytest.raises(InvalidArgument, match="under which name"):
        RpcServer(bus, Chiller())
    with pytest.raises(ConfigError, match="nothing to serve"):
        RpcServer(bus, key="x")
    with pytest.raises(ConfigError, match='two procedures have the name "add"'):
        RpcServer(bus, Chiller(), Chiller(), key="x")
    with pytest.raises(InvalidArgument, match='use "raise" or "none"'):
        RpcClient(bus, failures="None")  # type: ignore[arg-type]


# --- asyncio, connections, processes ---------------------------------------------------------------------


def test_tasks_share_a_client(chiller: Chiller, opentera: Any, tcp_port: int) -> None:
    async def main() -> None:
        async with AsyncConnector(f"redis://127.0.0.1:{tcp_port}") as bus, AsyncRpcClient(bus) as rpc:
            calls = [rpc.call_service("PeerService", "add", n, 1) for n in range(1000)]
            assert await asyncio.gather(*calls) == list(range(1, 1001))
            assert await rpc.call("Lab.ChillerModule", "add", 20, 22) == 42
            with pytest.raises(NoSuchService):
                await rpc.call_service("no-one", "add")
            with pytest.raises(RemoteError, match="hot"):
                await rpc.call_service("chiller", "fail")
            with pytest.raises(CallTimeout):
                await rpc.call_service("chiller", "hold", timeout_s=0.05)
            chiller.held.set()
            while not rpc.late_replies:
                await asyncio.sleep(0.01)
            assert await rpc.call_service("chiller", "nothing") is None

    asyncio.run(asyncio.wait_for(main(), 30))


def test_many_calls_leave_no_connection_behind(opentera: Any, rpc: RpcClient, bus: RedisConnector) -> None:
    assert rpc.call_service("PeerService", "add", 1, 1) == 2
    with redis.Redis(port=bus.port) as probe:
        before = probe.info("stats")["total_connections_received"]
        for number in range(300):
            assert rpc.call_service("PeerService", "add", number, 1) == number + 1
        assert probe.info("stats")["total_connections_received"] == before


def test_a_forked_child_hears_its_own_replies_only(chiller: Chiller, rpc: RpcClient) -> None:
    assert rpc.call_service("chiller", "add", 1, 1) == 2
    child = os.fork()
    if child == 0:
        code = 1
        try:
            answers = [rpc.call_service("chiller", "add", number, 1000) for number in range(100)]
            code = 0 if answers == list(range(1000, 1100)) else 2
        finally:
            os._exit(code)

    assert [rpc.call_service("chiller", "add", number, 0) for number in range(100)] == list(range(100))
    assert os.waitpid(child, 0)[1] == 0
