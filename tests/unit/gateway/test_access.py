"""Who is let in: keys, sessions, hosts, origins."""

from __future__ import annotations

import jwt
import pytest

from labspine.errors import ConfigError
from labspine.gateway.access import Access, named_hosts

KEY = "k" * 24


class Clock:
    """A clock that is moved by hand."""

    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


def cookie(access: Access, token: str) -> str:
    """A Cookie header."""
    return f"other=1; {access.cookie}={token}"


def test_the_right_key_gives_a_session_until_it_ends() -> None:
    clock = Clock()
    access = Access(8600, ["127.0.0.1"], key=KEY, session_s=60.0, now_utc_s=clock)
    token = access.exchange(KEY)
    assert token is not None
    session = access.session(cookie(access, token))
    assert session is not None
    assert session.expires_utc_s == clock.now_s + 60
    clock.now_s += 61
    assert access.session(cookie(access, token)) is None


@pytest.mark.parametrize("wrong", ["", "x", KEY[:-1], KEY + "k", KEY.upper(), "\ud800", "é" * 24])
def test_a_wrong_key_gives_nothing(wrong: str) -> None:
    assert Access(8600, ["127.0.0.1"], key=KEY).exchange(wrong) is None


def test_a_session_is_of_its_gateway_only() -> None:
    mine, other = Access(8600, ["h"], key=KEY), Access(8600, ["h"], key="z" * 24)
    again = Access(8600, ["h"], key=KEY)
    token = mine.exchange(KEY) or ""
    assert other.session(cookie(other, token)) is None
    assert again.session(cookie(again, token)) is not None, "the same key knows its browsers after a restart"
    assert Access(8601, ["h"], key=KEY).session(cookie(mine, token)) is None, "cookies do not know ports"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "somebody"}, {"iss": "somebody"}, {"aud": None}, {"iss": None}, {"exp": None}, {"sub": None},
        {"iat": None}, {"exp": 1}, {"exp": "soon"},
    ],
)  # fmt: skip
def test_forged_claims_are_refused_even_when_well_signed(change: dict[str, object]) -> None:
    access = Access(8600, ["h"], key=KEY)
    token = access.exchange(KEY) or ""
    claims = jwt.decode(token, options={"verify_signature": False})
    claims = {name: value for name, value in {**claims, **change}.items() if value is not None}
    forged = jwt.encode(claims, access._secret, algorithm="HS256")
    assert access.session(cookie(access, forged)) is None


def test_other_algorithms_and_broken_tokens_are_refused() -> None:
    access = Access(8600, ["h"], key=KEY)
    good = access.exchange(KEY) or ""
    claims = jwt.decode(good, options={"verify_signature": False})
    head, body, tail = good.split(".")
    unsigned = jwt.encode(claims, None, algorithm="none")
    longer = jwt.encode(claims, access._secret * 2, algorithm="HS512")
    for token in (
        unsigned,
        longer,
        f"{head}.{body}.",
        f"{head}.{body}.{tail[:-2]}xx",
        "",
        "...",
        "a.b.c",
        "\x00",
    ):
        assert access.session(cookie(access, token)) is None
    for header in (None, "", "=;=", "\x00", f"{access.cookie}", "a" * 10_000):
        assert access.session(header) is None


@pytest.mark.parametrize(
    "key", ["short", "with space in it, long", "ümlaut-is-not-url-safe", "a/b/c/d/e/f/g/h/i/j"]
)
def test_a_bad_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Access(8600, ["h"], key=key)
    assert key not in str(refused.value)


def test_keys_that_are_made_are_long_and_differ() -> None:
    first, second = Access(1, ["h"]).key, Access(1, ["h"]).key
    assert first != second
    assert len(first) >= 32


def test_hosts_and_origins_are_exact() -> None:
    access = Access(8600, named_hosts("127.0.0.1", []), key=KEY)
    for host in ("127.0.0.1:8600", "localhost:8600", "LOCALHOST:8600", "[::1]:8600"):
        assert access.knows_host(host), host
    for host in (None, "", "127.0.0.1", "127.0.0.1:8601", "evil.example:8600", "localhost:8600.evil.example"):
        assert not access.knows_host(host), host
    assert access.knows_origin("http://127.0.0.1:8600")
    for origin in (None, "", "null", "https://127.0.0.1:8600", "http://127.0.0.1:8601", "http://evil.example",
                   "http://127.0.0.1:8600.evil.example", "http://evil#http://127.0.0.1:8600"):  # fmt: skip
        assert not access.knows_origin(origin), origin


def test_an_open_address_needs_named_hosts() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::"):
        with pytest.raises(ConfigError, match="allowed_hosts"):
            named_hosts(host, [])
    assert named_hosts("0.0.0.0", ["Lab.example"]) == ("lab.example",)
    assert named_hosts("10.0.0.1", ["lab"]) == ("10.0.0.1", "lab")
    assert "localhost" in named_hosts("::1", [])
