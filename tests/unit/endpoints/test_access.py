"""Who may do what: the table, and the rules made from it, without a server."""

from __future__ import annotations

import pytest

from labspine.endpoints import MessageEndpoints as E
from labspine.endpoints import Profile
from labspine.endpoints.access import ROLES, is_allowed, rules_for
from labspine.errors import InvalidArgument, InvalidName

PROFILES: tuple[Profile, Profile] = ("seed", "bec4")


@pytest.mark.parametrize(
    ("role", "endpoint", "operation", "wanted"),
    [
        ("observer", E.scan_segment(), "register", True),
        ("observer", E.scan_segment(), "send", False),
        ("observer", E.device_read("samx"), "get", True),
        ("observer", E.device_read("samx"), "set_and_publish", False),
        ("observer", E.scan_queue_request(), "send", False),
        ("observer", E.scan_queue_request(), "register", False),
        ("observer", E.device_read("samx"), "keys", False),
        ("user", E.scan_queue_request("alice"), "send", True),
        ("user", E.scan_queue_request("bob"), "send", True),  # profile seed: one channel for all
        ("user", E.scan_queue_request("bob").at("bec4"), "send", False),
        ("user", E.scan_queue_request("alice").at("bec4"), "send", True),
        ("user", E.scan_queue_modification_request(), "send", True),
        ("user", E.scan_queue_insert(), "send", False),
        ("user", E.scan_status(), "set_and_publish", False),
        ("user", E.alarm(), "set_and_publish", False),
        ("user", E.alarm(), "register", True),
        ("scan_server", E.scan_queue_request("bob").at("bec4"), "register", True),
        ("scan_server", E.scan_queue_waiting("primary"), "blocking_list_pop", True),
        ("scan_server", E.device_read("samx"), "set_and_publish", False),
        ("device_server", E.device_read("samx"), "set_and_publish", True),
        ("device_server", E.scan_status(), "set_and_publish", False),
        ("file_writer", E.file_event("master"), "set_and_publish", True),
        ("file_writer", E.public_scan_segment("s", 1), "set", False),
        ("scan_server", E.public_scan_segment("s", 1), "set", True),
        ("scan_server", E.file_event("master"), "set_and_publish", False),
        ("gateway", E.scan_queue_request("bob").at("bec4"), "send", True),
        ("gateway", E.scan_status(), "set_and_publish", False),
        ("observer", E.work_queue("reconstruct"), "peek", True),
        ("observer", E.work_queue("reconstruct"), "put", False),
        ("observer", E.work_queue("reconstruct"), "claim", False),
        ("user", E.work_queue("reconstruct"), "claim", True),
        ("file_writer", E.work_queue("reconstruct"), "put", True),
        ("admin", E.scan_status(), "set_and_publish", True),
        ("admin", E.scan_status(), "lpush", False),  # the endpoint does not have it
    ],
)
def test_the_table_says(role: str, endpoint: object, operation: str, wanted: bool) -> None:
    assert is_allowed(role, endpoint, operation, user="alice") is wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_the_rules_begin_from_nothing_and_never_take_away(role: str, profile: Profile) -> None:
    rules = rules_for(role, profile=profile, user="alice")
    assert rules[:3] == ["reset", "on", "resetchannels"]
    words = " ".join(rules).replace("(", " ").replace(")", " ").split()
    assert not [word for word in words if word.startswith(("-", "+@"))]
    assert not {"~*", "&*", "%R~*", "%W~*", "allkeys", "allchannels", "nopass"} & set(words)
    for rule in rules:
        if "&" in rule:
            assert rule.startswith("(resetchannels "), "a server may be set up to allow all channels"


@pytest.mark.parametrize("role", [role for role in ROLES if role != "admin"])
def test_a_history_holds_nothing_that_its_readers_or_writers_may_not_read_or_write(role: str) -> None:
    """A history is one stream for a family: whoever may write into it could forge each of its events."""
    families: dict[str, list[str]] = {}
    for definition in E.definitions():
        if definition.history:
            families.setdefault(definition.history, []).append(definition.name)
    for operation, other in (("register", "register"), ("send", "set_and_publish")):
        for family, names in families.items():
            made = [E.definition(n)(*["alice"] * len(E.definition(n).parameters)).at("bec4") for n in names]
            may = {
                e.name: is_allowed(role, e, operation, user="alice")
                or is_allowed(role, e, other, user="alice")
                for e in made
            }
            assert len(set(may.values())) == 1, (family, may)


def test_several_roles_are_joined() -> None:
    both = rules_for(["scan_server", "device_server"])
    for role in ("scan_server", "device_server"):
        for rule in rules_for(role):
            wanted = set(rule.strip("()").split())
            assert any(wanted <= set(other.strip("()").split()) for other in both)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='did you mean "observer"'):
        rules_for("obsever")
    with pytest.raises(InvalidArgument, match="no role"):
        rules_for([])
    with pytest.raises(InvalidArgument, match="name of the person"):
        rules_for("user")
    with pytest.raises(InvalidName):
        rules_for("user", user="al*ce")
    with pytest.raises(InvalidName):
        rules_for("user", user="a b) +@all (")
    with pytest.raises(InvalidArgument, match="no role"):
        is_allowed("nobody", E.scan_status(), "get")
