"""A broker that could lose data is refused by services and explained by the doctor; real servers."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.endpoints.access import rules_for
from labspine.errors import ConfigError
from labspine.flows import ServerReport, check_server, refuse_unsafe
from labspine.lab import LabHost, ScanServer, default_plans, simulated_beamline
from labspine.testing.waiting import wait_until

GOOD = ServerReport(
    name="redis",
    version="7.0.15",
    utc_s=0.0,
    append_only=True,
    eviction_policy="noeviction",
    clients=1,
    used_memory_bytes=1_000_000,
    replicas=0,
    role="master",
    snapshots="",
)


def judged(**changes: Any) -> list[tuple[str, str]]:
    import msgspec

    found = check_server(msgspec.structs.replace(GOOD, **changes))
    return [(f.topic, f.level) for f in found if f.level != "ok"]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"version": "7.2.4"}, []),
        ({"version": "6.2.14"}, [("version", "problem")]),
        ({"version": "unknown"}, [("version", "warning")]),
        ({"name": "valkey", "version": "9.1.2"}, []),
        ({"name": "valkey", "version": "7.0.0"}, [("version", "problem")]),
        ({"is_cluster": True}, [("version", "problem")]),
        ({"role": "slave", "master": "h:1", "is_master_reached": True}, [("role", "problem")]),
        ({"eviction_policy": "allkeys-lru", "memory_limit_bytes": 10**9}, [("memory", "problem")]),
        ({"eviction_policy": "volatile-ttl", "memory_limit_bytes": 10**9}, [("memory", "problem")]),
        ({"eviction_policy": "allkeys-lru"}, [("memory", "warning")]),
        ({"eviction_policy": ""}, [("memory", "warning")]),
        ({"memory_limit_bytes": 1_050_000}, [("memory", "warning")]),
        ({"memory_limit_bytes": 10**9}, []),
        ({"append_only": False}, [("persistence", "warning")]),
        ({"append_only": False, "snapshots": "3600 1"}, [("persistence", "warning")]),
        ({"append_only": None}, [("persistence", "warning")]),
        ({"last_write_failed": "snapshot"}, [("persistence", "problem")]),
    ],
)
def test_each_fact_is_judged(changes: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    assert judged(**changes) == wanted


def test_each_problem_says_what_to_do() -> None:
    import msgspec

    bad = msgspec.structs.replace(
        GOOD, version="6.0.0", role="slave", eviction_policy="allkeys-lru", memory_limit_bytes=1
    )
    assert all(f.fix for f in check_server(bad) if f.level != "ok")
    with pytest.raises(ConfigError, match=r"too old.*read-only replica.*noeviction"):
        refuse_unsafe(bad)


def report_of(url: str) -> ServerReport:
    with RedisConnector(url) as bus:
        return bus.server_report()


def test_the_embedded_broker_is_good(fresh_broker_url: str) -> None:
    assert [f for f in check_server(report_of(fresh_broker_url)) if f.level != "ok"] == []


def start_lab(url: str, directory: Any) -> None:
    with LabHost(url, simulated_beamline(speed=200.0, seed=1), data_dir=directory):
        pass


def test_a_broker_that_drops_data_is_refused(redis_process: Any, tmp_path: Any) -> None:
    server = redis_process("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    assert report_of(server.url).memory_limit_bytes == 100 * 1024 * 1024
    with pytest.raises(
        ConfigError, match=r"drops data \(allkeys-lru\): CONFIG SET maxmemory-policy noeviction"
    ):
        start_lab(server.url, tmp_path)
    with RedisConnector(server.url) as bus:
        alone = ScanServer(bus, simulated_beamline(), default_plans())
        with pytest.raises(ConfigError, match="cannot be used"):
            alone.start()
        alone.stop()


def test_a_replica_is_refused(redis_process: Any, tmp_path: Any) -> None:
    master = redis_process("--repl-diskless-sync-delay", "0")
    replica = redis_process("--replicaof", "127.0.0.1", str(master.port))
    wait_until(lambda: report_of(replica.url).is_master_reached, timeout_s=20)
    with pytest.raises(ConfigError, match=f"read-only replica of 127.0.0.1:{master.port}: give the address"):
        start_lab(replica.url, tmp_path)
    assert report_of(master.url).replicas == 1


def test_missing_persistence_is_a_warning(
    redis_process: Any, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    start_lab(redis_process().url, tmp_path)
    assert caplog.text.count("nothing is written to disk") == 1


def doctor(url: str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labspine", "doctor", *more],
        env={**os.environ, "LABSPINE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_doctor_tells_a_problem_what_to_do_and_ends_with_1(redis_process: Any) -> None:
    server = redis_process("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    done = doctor(server.url)
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("✘")]
    assert "memory" in line
    assert "→ CONFIG SET maxmemory-policy noeviction" in line
    assert done.stdout.splitlines()[-1].startswith("1 problem, ")
    found = [json.loads(line) for line in doctor(server.url, "--json").stdout.splitlines()]
    by_topic = {one["topic"]: one for one in found}
    assert by_topic["memory"]["level"] == "problem"
    assert by_topic["memory"]["fix"].startswith("CONFIG SET")
    assert by_topic["persistence"]["level"] == "warning"
    assert by_topic["protection"]["level"] == "warning"
    assert {
        "labspine",
        "packages",
        "disk",
        "broker",
        "version",
        "role",
        "clock",
        "service",
    } <= by_topic.keys()


def test_the_doctor_is_content_with_a_good_broker_and_ends_with_0(broker_url: str) -> None:
    done = doctor(broker_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no problems" in done.stdout


def test_the_doctor_says_that_nobody_is_there(free_port: Any) -> None:
    done = doctor(f"redis://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "✘ broker" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_doctor_of_an_observer_says_what_it_may_not_see(redis_process: Any, say: Any) -> None:
    server = redis_process("--appendonly", "yes")
    say(server.url, "ACL", "SETUSER", "eve", *rules_for("observer"), ">pw")
    done = doctor(f"redis://eve:pw@127.0.0.1:{server.port}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'user "eve" may not look at the server' in done.stdout
    assert "may not list the services" in done.stdout
