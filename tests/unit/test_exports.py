"""What the packages export exists, is documented, and costs nothing before it is used."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

PACKAGES = [
    "labspine",
    "labspine.messages",
    "labspine.messages.opentera",
    "labspine.compat.opentera",
    "labspine.endpoints",
    "labspine.flows",
    "labspine.wire",
    "labspine.wire.embedded",
    "labspine.wire.amqp",
    "labspine.connector",
    "labspine.engine",
    "labspine.service",
    "labspine.lab",
    "labspine.lab.client",
    "labspine.lab.plans",
    "labspine.lab.scans",
    "labspine.gateway",
    "labspine.testing",
]


@pytest.mark.parametrize("name", PACKAGES)
def test_each_exported_name_exists_and_is_documented(name: str) -> None:
    module = importlib.import_module(name)

    assert module.__doc__
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for export in module.__all__:
        value = getattr(module, export)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{export} has no docstring"


@pytest.mark.parametrize("name", PACKAGES)
def test_each_public_name_of_a_package_is_exported(name: str) -> None:
    module = importlib.import_module(name)
    own = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }

    assert own - {"import_module"} <= set(module.__all__)


def _loaded_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def test_the_package_itself_loads_nothing() -> None:
    loaded = _loaded_after("import labspine")

    assert not {"numpy", "msgspec", "hiredis", "asyncio", "labspine.messages"} & loaded


def test_the_help_of_the_command_loads_nothing_heavy() -> None:
    loaded = _loaded_after("import labspine.cli.main")

    assert not {"numpy", "msgspec", "hiredis", "bluesky", "h5py", "event_model", "socketio"} & loaded


def test_the_engine_loads_neither_bus_nor_bluesky() -> None:
    loaded = _loaded_after("from labspine import RunEngine; RunEngine().close()")

    assert not {"bluesky", "ophyd", "hiredis", "labspine.connector", "labspine.messages"} & loaded


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'RedisConector'"):
        importlib.import_module("labspine").RedisConector  # noqa: B018
