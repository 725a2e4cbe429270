"""``labspine acl``: its output goes into a real server as it is, and no password is ever shown."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import PermissionDenied

SECRET = "correct horse"  # noqa: S105 - of users that live for one test


def acl(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labspine", "acl", *arguments],
        input=stdin,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_line_goes_through_redis_cli_into_a_server(redis_process: Any) -> None:
    server = redis_process()
    done = acl("--role", "user", "--user", "alice", "--password-stdin", stdin=f"{SECRET}\n")
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    cli = shutil.which("redis-cli")
    assert cli is not None
    told = subprocess.run(
        [cli, "-p", str(server.port)],
        input=done.stdout,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert told.stdout.strip() == "OK"
    with RedisConnector(server.url, username="alice", password=SECRET) as bus:
        assert bus.get(MessageEndpoints.scan_status()) is None
        with pytest.raises(PermissionDenied):
            bus.delete(MessageEndpoints.scan_status())


def test_json_has_the_rules_one_by_one() -> None:
    done = acl("--role", "observer", "--profile", "bec4", "--json", LABSPINE_ACL_PASSWORD=SECRET)
    told = json.loads(done.stdout)
    assert told["user"] == "observer"
    assert told["roles"] == ["observer"]
    assert told["rules"][:2] == ["reset", "on"]
    assert "#" + hashlib.sha256(SECRET.encode()).hexdigest() in told["rules"]


def test_a_hash_is_taken_as_it_is() -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    assert f" #{digest} " in acl("--role", "observer", "--password-stdin", stdin=digest).stdout


def test_without_a_password_the_user_is_off() -> None:
    done = acl("--role", "observer", LABSPINE_ACL_PASSWORD="")
    assert done.stdout.startswith("ACL SETUSER observer reset off ")
    assert "stays off" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--role", "obsever"], 'did you mean "observer"'),
        (["--role", "user"], "--user NAME is needed"),
        (["--role", "observer", "--role", "user"], "--user NAME is needed"),
        (["--role", "observer", "--profile", "bec3"], 'use "seed" or "bec4"'),
        (["--role", "user", "--user", "a b"], "not allowed"),
        (["--role", "user", "--user", "*"], "wildcard"),
        (["--role", "observer", "--password-stdin"], "nothing came from stdin"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], sentence: str) -> None:
    done = acl(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not done.stdout
