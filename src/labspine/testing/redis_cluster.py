"""A real Redis Cluster of three masters and three replicas on this computer, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from ..flows import Exchange
from ..flows.slots import SLOTS
from ..wire import SyncConnection, WireOptions, parse_address, settle
from .waiting import wait_until

__all__ = ["ClusterNode", "RedisCluster"]

_MASTERS = 3
_NODE_TIMEOUT_MS = 1200
_LONGEST_S = 30.0


class ClusterNode:
    """
    One redis-server in cluster mode.

    Args:
        directory: Where its files go; it is made.
        program: The server.
        options: More of its command line.
        ca_file: Who signed its certificate, if it speaks TLS only; the options name the certificate.
    """

    def __init__(
        self, directory: Path, program: str, options: tuple[str, ...] = (), *, ca_file: str = ""
    ) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.port = _free_port()
        self._ca_file = ca_file
        tls = ("--port", "0", "--tls-cluster", "yes", "--tls-replication", "yes", "--tls-port")
        place = (*(tls if ca_file else ("--port",)), str(self.port), "--bind", "127.0.0.1")
        self._command = (
            *(program, *place, "--save", "", "--dir", str(directory)),
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(_NODE_TIMEOUT_MS)),
            *("--cluster-announce-ip", "127.0.0.1", "--repl-diskless-sync-delay", "0"),
            *("--repl-ping-replica-period", "1"),  # a replica is only listed when it has heard something
            *options,
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, without the cluster."""
        if self._ca_file:
            return f"rediss://127.0.0.1:{self.port}?ssl_ca_certs={self._ca_file}"
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it without waiting."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command, cwd=self.directory, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers, timeout_s=15.0, what=f"the port {self.port}")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "log").read_text()[-2000:]
        try:
            return bool(self.say("PING"))
        except Exception:
            return False

    def say(self, *words: str | int) -> Any:
        """Send one command to this node and give its reply."""
        link = SyncConnection(parse_address(self.url), WireOptions(client_name="harness"))
        try:
            ask = Exchange((words,))
            (reply,) = settle(ask, link.exchange(ask))
            return reply
        finally:
            link.close()

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; wait for its end if that ends it."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)
            if number in (signal.SIGKILL, signal.SIGTERM):
                os.kill(self.process.pid, signal.SIGCONT)
                self.process.wait(10)


class RedisCluster:
    """
    Three masters, each with a third of the slots and one replica.

    Args:
        directory: Where all files go.
        options: More of the command line of each server.
        ca_file: Who signed their certificates, if they speak TLS only.
    """

    def __init__(self, directory: Path, *options: str, ca_file: str = "") -> None:
        self._scheme = "rediss" if ca_file else "redis"
        program = shutil.which("redis-server") or "redis-server"
        self.nodes = [
            ClusterNode(directory / f"node-{number}", program, options, ca_file=ca_file)
            for number in range(2 * _MASTERS)
        ]

    @property
    def url(self) -> str:
        """The address that names all nodes."""
        return f"{self._scheme}+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes)}"

    def start(self) -> None:
        """Start all nodes, make the cluster, and return when it is whole."""
        # Written beforehand: to make the nodes acquainted one by one takes three times as long.
        for node in self.nodes:
            (node.directory / "nodes.conf").write_text(self._acquaintances(node))
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_ready()
        self.wait_whole()

    def _acquaintances(self, node: ClusterNode) -> str:
        """Write what a node knows of the others, as the server itself does."""
        lines = []
        for number, other in enumerate(self.nodes):
            me = "myself," if other is node else ""
            head = f"{_name(number)} 127.0.0.1:{other.port}@{other.port + 10_000}"
            if number < _MASTERS:
                first, behind = SLOTS * number // _MASTERS, SLOTS * (number + 1) // _MASTERS
                lines.append(f"{head} {me}master - 0 0 {number + 1} connected {first}-{behind - 1}")
            else:
                its = number - _MASTERS
                lines.append(f"{head} {me}slave {_name(its)} 0 0 {its + 1} connected")
        return "\n".join([*lines, f"vars currentEpoch {_MASTERS} lastVoteEpoch 0", ""])

    def name(self, node: ClusterNode) -> str:
        """Give the name by which the nodes know one of them."""
        return str(node.say("CLUSTER", "MYID").decode())

    def wait_whole(self) -> None:
        """Wait until every node knows three masters that are well, each with a replica that is."""
        wait_until(self.is_whole, timeout_s=_LONGEST_S, what="a whole cluster", pause_s=0.05)

    def is_whole(self) -> bool:
        """Tell whether every node knows three masters that are well, each with a replica that is."""
        try:
            return all(self._is_content(node) for node in self.nodes)
        except Exception:
            return False

    def _is_content(self, node: ClusterNode) -> bool:
        info = node.say("INFO", "replication")
        is_synced = b"role:master" not in info or b"state=online" in info
        is_followed = b"role:slave" not in info or b"master_link_status:up" in info
        rows = node.say("CLUSTER", "SLOTS")
        is_known = len({tuple(row[2][:2]) for row in rows}) == _MASTERS and all(len(row) == 4 for row in rows)
        return is_synced and is_followed and is_known and b"cluster_state:ok" in node.say("CLUSTER", "INFO")

    def owner(self, slot: int) -> ClusterNode:
        """Find the master of a slot, as a node that lives tells it."""
        for node in self.nodes:
            if node.process is None or node.process.poll() is not None:
                continue
            for first, last, master, *_ in node.say("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(n for n in self.nodes if n.port == master[1])
        raise LookupError(f"nobody has slot {slot}")

    def move(self, slot: int, target: ClusterNode, *, between: Any = None) -> None:
        """
        Move a slot with its keys, as ``redis-cli --cluster reshard`` does.

        Args:
            slot: Which.
            target: Whereto; a master.
            between: Called when the slot is open on both sides, and again after each key.
        """
        source = self.owner(slot)
        target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", self.name(source))
        source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", self.name(target))
        between = between or (lambda: None)
        between()
        while keys := source.say("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.say("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            between()
        for node in (target, source):
            node.say("CLUSTER", "SETSLOT", slot, "NODE", self.name(target))

    def end(self) -> None:
        """Kill all nodes."""
        for node in self.nodes:
            node.end()


def _name(number: int) -> str:
    return f"{number + 1:040x}"


def _free_port() -> int:
    """Find a port that is free, and whose partner for the talk of the nodes (10000 above) is, too."""
    while True:
        with socket.socket() as probe, socket.socket() as partner:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            try:
                partner.bind(("127.0.0.1", port - 10_000))
            except OSError:
                continue
            return port - 10_000
