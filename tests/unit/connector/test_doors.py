"""The two doors are the same door."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from labspine.connector import AsyncConnector, AsyncPipeline, ConnectorOptions, Pipeline, RedisConnector
from labspine.errors import ConfigError, InvalidArgument

SCRIPT = Path(__file__).parents[3] / "scripts" / "unasync.py"


def test_the_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("one", "other"), [(RedisConnector, AsyncConnector), (Pipeline, AsyncPipeline)])
def test_both_doors_have_the_same_methods_and_parameters(one: type, other: type) -> None:
    def public(kind: type) -> dict[str, list[tuple[str, object, object]]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
            for name, method in methods
            if not name.startswith("_")
        }

    assert public(one) == public(other)
    assert len(public(one)) > 10


@pytest.mark.parametrize("kind", [RedisConnector, AsyncConnector])
def test_options_are_checked_when_the_connector_is_made(kind: type) -> None:
    with pytest.raises(ConfigError, match="profile"):
        kind("h:1", profile="bec3")
    with pytest.raises(InvalidArgument, match="not known"):
        kind("h:1", passwort="x")
    with pytest.raises(InvalidArgument, match="timeout_s"):
        kind("h:1", timeout_s=0)
    with pytest.raises(InvalidArgument, match="queue_size"):
        kind("h:1", queue_size=0)
    with pytest.raises(ConfigError):
        kind("localhost")


def test_no_secret_is_shown() -> None:
    login = {"username": "me", "password": "hunter2"}
    connector = RedisConnector("redis://h:1", **login)
    assert "hunter2" not in f"{connector!r} {connector.options!r} {ConnectorOptions(**login)}"
    assert connector.address.password == login["password"]
