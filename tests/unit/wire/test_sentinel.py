"""Who is asked for the master, and what is made of the answers; no I/O."""

from __future__ import annotations

import pytest

from labspine.errors import AuthenticationError, ConfigError
from labspine.wire import ConnectionLost, parse_address
from labspine.wire.sentinel import Answer, question, search


def asked(url: str, answers: list[Answer]) -> tuple[list[str], str]:
    """Give a search its answers; tell who was asked, and what came out."""
    flow = search(parse_address(url))
    places = [str(next(flow))]
    try:
        for answer in answers:
            places.append(str(flow.send(answer)))
    except StopIteration as end:
        return places, str(end.value)
    raise AssertionError(f"asked on: {places}")


def test_the_first_that_knows_is_believed_and_asked_first_the_next_time() -> None:
    url = "redis+sentinel://me:pw@a:1,b:2,c:3/first-that-knows/4"
    found: Answer = [[b"10.0.0.1", b"6379"]]
    places, master = asked(url, [ConnectionLost("dead", sent=False), [None], found])
    assert places == ["redis://a:1", "redis://b:2", "redis://c:3"]
    assert master == "redis://10.0.0.1:6379"
    assert asked(url, [found])[0] == ["redis://c:3"]


def test_the_login_and_the_database_are_for_the_master_only() -> None:
    address = parse_address("redis+sentinel://me:pw@a:1/login/4?sentinel_username=s&sentinel_password=t")
    flow = search(address)
    sentinel = next(flow)
    assert (sentinel.username, sentinel.password, sentinel.database) == ("s", "t", 0)
    with pytest.raises(StopIteration) as end:
        flow.send([[b"h", b"1"]])
    master = end.value.value
    assert (master.username, master.password, master.database) == ("me", "pw", 4)
    assert master.sentinels is None
    assert question(address).commands == (("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "login"),)


def test_nobody_knows_is_told_from_nobody_answers() -> None:
    with pytest.raises(ConfigError, match='knows a master called "nobody-knows"'):
        asked("redis+sentinel://a:1,b:2/nobody-knows", [[None], [None]])
    dead = ConnectionLost("dead", sent=False)
    with pytest.raises(ConnectionLost, match="a:1 says dead; b:2 says None"):
        asked("redis+sentinel://a:1,b:2/nobody-answers", [dead, [None]])
    with pytest.raises(AuthenticationError, match="no"):
        asked("redis+sentinel://a:1,b:2/refused", [dead, AuthenticationError("no")])
