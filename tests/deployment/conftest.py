"""Real redis-servers of Debian on free ports, and certificates made for the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.errors import LabspineError
from labspine.flows import Exchange
from labspine.testing.doors import connecting
from labspine.testing.redis_cluster import RedisCluster
from labspine.testing.waiting import wait_until


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(door: str) -> Iterator[Callable[..., Any]]:
    """Give a function that makes connectors of the door under test; all are closed at the end."""
    with connecting(door) as connect_it:
        yield connect_it


def free_port() -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisProcess:
    """One redis-server (or redis-sentinel) of the test."""

    def __init__(self, directory: Path, options: tuple[str, ...], *, port: int, program: str) -> None:
        self.port = port
        self.directory = directory
        self._options = options
        self._program = program
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *more: str) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, *self._options, *more], cwd=self.directory, stdout=log, stderr=log
            )
        wait_until(self.answers, timeout_s=15.0, what=f"the port {self.port} of {self._program}")

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def end(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            if number in (signal.SIGKILL, signal.SIGTERM):
                os.kill(self.process.pid, signal.SIGCONT)
                self.process.wait(10)


@pytest.fixture
def redis_process(tmp_path: Path) -> Iterator[Callable[..., RedisProcess]]:
    """Give a function that starts a redis-server; all are killed at the end."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    made: list[RedisProcess] = []

    def make(*options: str, tls: bool = False) -> RedisProcess:
        port = free_port()
        directory = tmp_path / f"redis-{port}"
        directory.mkdir()
        ports = ("--port", "0", "--tls-port", str(port)) if tls else ("--port", str(port))
        fixed = (*ports, "--bind", "127.0.0.1", "--save", "", "--dir", str(directory))
        server = RedisProcess(directory, (*fixed, *options), port=port, program=program)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.end()


@pytest.fixture
def redis_sentinel(tmp_path: Path) -> Iterator[Callable[[str], RedisProcess]]:
    """Give a function that starts a redis-sentinel with a configuration; all are killed at the end."""
    program = shutil.which("redis-sentinel")
    if program is None:
        pytest.skip("needs redis-sentinel")
    made: list[RedisProcess] = []

    def make(configuration: str) -> RedisProcess:
        port = free_port()
        place = tmp_path / f"sentinel-{port}"
        place.mkdir()
        file = place / "sentinel.conf"
        file.write_text(f"bind 127.0.0.1\ndir {place}\n{configuration.format(port=port)}")
        made.append(RedisProcess(place, (str(file),), port=port, program=program))
        made[-1].start()
        return made[-1]

    yield make
    for process in made:
        process.end()


class SentinelGroup:
    """Three data nodes and three sentinels that watch them."""

    name = "mymaster"

    def __init__(self, directory: Path, redis: str, sentinel: str) -> None:
        self._directory = directory
        self._sentinel = sentinel
        self.sentinels: list[RedisProcess] = []
        self.nodes: list[RedisProcess] = []
        for _ in range(3):
            port = free_port()
            place = directory / f"node-{port}"
            place.mkdir()
            options = (
                *("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(place)),
                *("--min-replicas-to-write", "1", "--repl-diskless-sync-delay", "0"),
            )
            self.nodes.append(RedisProcess(place, options, port=port, program=redis))

    def start(self) -> None:
        first, *others = self.nodes
        first.start()
        for node in others:
            node.start("--replicaof", "127.0.0.1", str(first.port))
        for _ in range(3):
            self.sentinels.append(self._new_sentinel(first.port))
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_whole()

    def _new_sentinel(self, master_port: int) -> RedisProcess:
        port = free_port()
        place = self._directory / f"sentinel-{port}"
        place.mkdir()
        (place / "sentinel.conf").write_text(
            f"port {port}\nbind 127.0.0.1\ndir {place}\n"
            f"sentinel monitor {self.name} 127.0.0.1 {master_port} 2\n"
            f"sentinel down-after-milliseconds {self.name} 1500\n"
            f"sentinel failover-timeout {self.name} 1000\n"
            f"sentinel parallel-syncs {self.name} 2\n"
        )
        return RedisProcess(place, (str(place / "sentinel.conf"),), port=port, program=self._sentinel)

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{self.name}?replicas=1"

    def master(self) -> RedisProcess:
        """Find the node that the first sentinel names."""
        _, port = say(self.sentinels[0].url, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
        return next(node for node in self.nodes if node.port == int(port))

    def wait_whole(self) -> None:
        """Wait until the master has two replicas, and every sentinel knows that."""
        wait_until(self._is_whole, timeout_s=40, what="a master with two replicas", pause_s=0.05)

    def _is_whole(self) -> bool:
        try:
            info = say(self.master().url, "INFO", "replication")
            states = [self._state(sentinel) for sentinel in self.sentinels]
        except LabspineError:
            return False
        is_replicated = b"connected_slaves:2" in info and info.count(b"state=online") == 2
        return is_replicated and all(
            state[b"flags"] == b"master" and int(state[b"num-other-sentinels"]) == 2 for state in states
        )

    def _state(self, sentinel: RedisProcess) -> dict[bytes, bytes]:
        said = say(sentinel.url, "SENTINEL", "MASTER", self.name)
        replicas = say(sentinel.url, "SENTINEL", "REPLICAS", self.name)
        state = dict(zip(said[::2], said[1::2], strict=True))
        good = [dict(zip(one[::2], one[1::2], strict=True)) for one in replicas]
        if sum(one[b"flags"] == b"slave" and one[b"master-link-status"] == b"ok" for one in good) < 1:
            state[b"flags"] = b"no replica"
        return state

    def end(self) -> None:
        for process in [*self.sentinels, *self.nodes]:
            process.end()


@pytest.fixture
def sentinel_group(tmp_path: Path) -> Iterator[SentinelGroup]:
    """Give a group that is whole; everything is killed at the end."""
    redis, sentinel = shutil.which("redis-server"), shutil.which("redis-sentinel")
    if redis is None or sentinel is None:
        pytest.skip("needs redis-server and redis-sentinel")
    group = SentinelGroup(tmp_path, redis, sentinel)
    try:
        group.start()
        yield group
    finally:
        group.end()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Give a cluster that all tests share; whoever breaks it must wait until it is whole again."""
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


@pytest.fixture
def whole_cluster(redis_cluster: RedisCluster) -> Iterator[RedisCluster]:
    """Give the cluster, and mend it afterwards."""
    yield redis_cluster
    for node in redis_cluster.nodes:
        node.end(signal.SIGCONT)
        if node.process is not None and node.process.poll() is not None:
            node.start()
    redis_cluster.wait_whole()


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True, timeout=30)


class Certificates:
    """A small authority, made with the openssl command."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority("ca")

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def authority(self, name: str) -> str:
        new_key = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN=test {name}")
        _openssl(self.directory, *new_key, *files)
        return self.path(f"{name}.pem")

    def server(self, name: str, alternative: str, *, days: str = "2") -> tuple[str, str]:
        """Make a certificate for a name; negative days make one that has expired."""
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        _openssl(self.directory, "req", *curve, *files)
        (self.directory / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        signed = (
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
        )
        _openssl(self.directory, *signed, "-out", f"{name}.pem", "-days", days, "-extfile", f"{name}.ext")
        return self.path(f"{name}.pem"), self.path(f"{name}.key")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Give an authority; skips where there is no openssl command."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    return Certificates(tmp_path_factory.mktemp("certificates"))


def say(url: str, *words: str, **options: Any) -> Any:
    """Send one command to a server and give its reply."""

    def flow() -> Any:
        (reply,) = yield Exchange((words,))
        return reply

    with RedisConnector(url, **options) as admin:
        return admin._perform(flow())


@pytest.fixture(name="say")
def say_fixture() -> Callable[..., Any]:
    """Give `say`."""
    return say


@pytest.fixture(name="free_port")
def free_port_fixture() -> Callable[[], int]:
    """Give `free_port`."""
    return free_port


@pytest.fixture
def is_gone() -> Callable[[Callable[[], Any]], bool]:
    """Tell whether a call is refused by one of our errors."""

    def check(call: Callable[[], Any]) -> bool:
        try:
            call()
        except LabspineError:
            return True
        return False

    return check
