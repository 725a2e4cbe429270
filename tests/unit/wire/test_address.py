"""Addresses: what is understood, and what is refused with a sentence that helps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labspine.errors import ConfigError
from labspine.wire import Address, parse_address
from labspine.wire.address import Cluster, Sentinels, TlsFiles


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("localhost:6379", Address(host="localhost", port=6379)),
        ("[::1]:6380", Address(host="::1", port=6380)),
        ("redis://h", Address(host="h", port=6379)),
        ("redis://[::1]:7/3", Address(host="::1", port=7, database=3)),
        ("rediss://h:1", Address(host="h", port=1, tls=True)),
        (
            "redis://al%40ice:p%2Fw@h:1/2",
            Address("h", 1, "", False, "al@ice", "p/w", 2),
        ),
        ("redis://:pw@h:1", Address("h", 1, "", False, None, "pw")),
        ("unix:///tmp/a.sock", Address(path="/tmp/a.sock")),
        ("unix:/tmp/a.sock", Address(path="/tmp/a.sock")),
        ("unix:///tmp/a.sock?db=2", Address(path="/tmp/a.sock", database=2)),
        (["host:1"], Address(host="host", port=1)),
        (
            "rediss://h:1/3?ssl_ca_certs=%2Fetc%2Fca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            Address("h", 1, tls=True, database=3, tls_files=TlsFiles("/etc/ca.pem", "/c.pem", "/k.pem")),
        ),
        ("rediss://h:1?ssl_cert_reqs=none", Address("h", 1, tls=True, tls_files=TlsFiles(is_verified=False))),
        (
            "redis+sentinel://a:1,[::1]:2,c/mymaster",
            Address(sentinels=Sentinels((("a", 1), ("::1", 2), ("c", 26379)), "mymaster")),
        ),
        (
            "redis+sentinel://me:p%2Fw@a/mymaster/2?replicas=1&sentinel_username=s&sentinel_password=t",
            Address(
                username="me",
                password="p/w",  # noqa: S106 - of nobody
                database=2,
                sentinels=Sentinels((("a", 26379),), "mymaster", 1, "s", "t"),
            ),
        ),
        (
            "rediss+sentinel://a/m?ssl_ca_certs=/ca.pem",
            Address(tls=True, tls_files=TlsFiles("/ca.pem"), sentinels=Sentinels((("a", 26379),), "m")),
        ),
    ],
)
def test_addresses_are_understood(text: object, wanted: Address) -> None:
    assert parse_address(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "localhost",
        "localhost:",
        "localhost:abc",
        "",
        " ",
        "host:0",
        "host:70000",
        "host:-1",
        "::1:6379",
        "a b:1",
        "redis://",
        "redis://h:0",
        "redis://h:99999",
        "redis://h:1/x",
        "http://h:1",
        "unix://relative",
        "redis://h:1?ssl_ca_certs=/ca.pem",
        "rediss://h:1?ssl_ca_cert=/ca.pem",
        "rediss://h:1?ssl_cert_reqs=optional",
        "redis://h:1?timeout=3",
        "unix:///s?database=1",
        "redis+sentinel://a:1",
        "redis+sentinel:///mymaster",
        "redis+sentinel://a:x/mymaster",
        "redis+sentinel://a,,b/mymaster",
        "redis+sentinel://a/mymaster/x",
        "redis+cluster://",
        "redis+cluster://a,,b",
        "redis+cluster://a:x",
        "redis+cluster://a/1",
        "redis+cluster://a?replicas=1000",
        "redis+cluster://a?ssl_ca_certs=/ca.pem",
        "redis+sentinel://a/mymaster?replicas=-1",
        "redis+sentinel://a/mymaster?replicas=1000",
        "redis+sentinel://a/mymaster?ssl_ca_certs=/ca.pem",
        "unix:///" + "x" * 120,
        None,
        5,
        ["a:1", "b:1"],
    ],
)
def test_wrong_addresses_are_refused(text: object) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_the_nodes_of_a_cluster_are_read() -> None:
    address = parse_address("rediss+cluster://me:pw@[::1]:7000,b?replicas=2&ssl_ca_certs=/ca.pem")
    assert address.cluster == Cluster((("::1", 7000), ("b", 6379)), replicas=2)
    assert (address.is_cluster, address.replicas, address.tls) == (True, 2, True)
    assert (address.username, address.password, address.tls_files.ca_file) == ("me", "pw", "/ca.pem")
    assert str(address) == "rediss+cluster://[::1]:7000,b:6379"
    node = replace(address, host="b", port=6379)
    assert not node.is_cluster
    assert str(node) == "rediss://b:6379"


def test_an_unknown_option_names_the_near_one() -> None:
    with pytest.raises(ConfigError, match='did you mean "ssl_ca_certs"'):
        parse_address("rediss://h:1?ssl_ca_cert=/ca.pem")


def test_no_secret_is_shown() -> None:
    address = parse_address("redis://me:hunter2@h:1")
    assert "hunter2" not in f"{address} {address!r}"
    with pytest.raises(ConfigError) as caught:
        parse_address("redis://me:hunter2@h:0")
    assert "hunter2" not in str(caught.value)
    sentinel = parse_address("redis+sentinel://me:hunter2@h/m?sentinel_password=hunter3")
    assert "hunter" not in f"{sentinel} {sentinel!r}"
    with pytest.raises(ConfigError) as caught:
        parse_address("redis+sentinel://me:hunter2@h/m?sentinel_password=hunter3&nonsense=1")
    assert "hunter" not in str(caught.value)
