"""The page that says how to set up a broker: its configuration is run, its addresses and units are read."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labspine.connector import RedisConnector
from labspine.flows import check_server
from labspine.wire import parse_address

PAGE = (Path(__file__).parents[2] / "docs/how-to/deploy.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def options(block: str, **changes: str) -> list[str]:
    """Turn lines of a configuration file into options of the command, some of them changed."""
    words: list[str] = []
    for line in block.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            words += [f"--{name}", *changes.get(name.replace("-", "_"), value).split(" ")]
    return words


def test_the_first_configuration_makes_the_doctor_content(redis_process: Any) -> None:
    server = redis_process(*options(blocks("conf")[0].replace("port 6379\n", "")))
    with RedisConnector(server.url) as bus:
        assert [f for f in check_server(bus.server_report()) if f.level != "ok"] == []


def test_the_encrypted_configuration_and_its_address_work(redis_process: Any, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    making = next(block for block in blocks("bash") if "openssl" in block).replace("broker.lab", "localhost")
    subprocess.run(["bash", "-euc", making], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    block = blocks("conf")[1].replace("/etc/labspine/tls", str(tmp_path))
    kept = re.sub(r"^(bind|port|tls-port) .*\n", "", block, flags=re.MULTILINE)
    server = redis_process(*options(kept), tls=True)
    with RedisConnector(f"rediss://localhost:{server.port}?ssl_ca_certs={tmp_path}/ca.pem") as bus:
        bus.connect()


def test_the_configuration_of_a_cluster_makes_a_node(redis_process: Any, say: Any) -> None:
    first, node = blocks("conf")[0].replace("port 6379\n", ""), blocks("conf")[-1]
    server = redis_process(*options(first), *options(node, cluster_announce_ip="127.0.0.1"))
    assert b"cluster_known_nodes:1" in say(server.url, "CLUSTER", "INFO")


def test_all_addresses_are_understood() -> None:
    found = re.findall(r"\b(?:rediss?(?:\+(?:sentinel|cluster))?|unix)://[^`\s\x22]{6,}", PAGE)
    assert len(found) >= 6
    for address in found:
        parse_address(address.replace("...", "x"))


def test_units_and_compose_file_can_be_read() -> None:
    for unit in blocks("ini"):
        parser = configparser.ConfigParser()
        parser.optionxform = str  # type: ignore[assignment, method-assign]  # names of units are case-sensitive
        parser.read_string(unit)
        assert parser["Service"]["ExecStart"].startswith("/")
    (compose,) = blocks("yaml")
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    assert set(yaml.safe_load(compose)["services"]) == {"broker", "lab"}


def test_the_acl_lines_name_roles_that_exist() -> None:
    lines = [
        line for block in blocks("bash") for line in block.splitlines() if line.startswith("labspine acl")
    ]
    assert len(lines) == 2
    for line in lines:
        words = line.partition(" | ")[0].split()[1:]
        done = subprocess.run(
            [sys.executable, "-m", "labspine", *words],
            input="pw\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
