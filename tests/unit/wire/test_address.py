"""Addresses: what is understood, and what is refused with a sentence that helps."""

from __future__ import annotations

import pytest

from labspine.errors import ConfigError
from labspine.wire import Address, parse_address


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
        "unix:///" + "x" * 120,
        None,
        5,
        ["a:1", "b:1"],
    ],
)
def test_wrong_addresses_are_refused(text: object) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


@pytest.mark.parametrize("scheme", ["redis+sentinel", "redis+cluster"])
def test_what_comes_later_says_so(scheme: str) -> None:
    with pytest.raises(ConfigError, match="later version"):
        parse_address(f"{scheme}://h:1")


def test_no_secret_is_shown() -> None:
    address = parse_address("redis://me:hunter2@h:1")
    assert "hunter2" not in f"{address} {address!r}"
    with pytest.raises(ConfigError) as caught:
        parse_address("redis://me:hunter2@h:0")
    assert "hunter2" not in str(caught.value)
