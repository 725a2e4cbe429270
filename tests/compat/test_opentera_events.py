"""Events and variables by OpenTera's conventions, with its real package on the other side (seed 004)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from labspine import RedisConnector
from labspine.compat import opentera as ot
from labspine.compat.opentera import OPENTERA_VARIABLES, tera_event, tera_message
from labspine.endpoints import MessageEndpoints
from labspine.errors import DecodeError, InvalidMessage, InvalidName
from labspine.messages import VariableMessage
from labspine.messages.opentera import KINDS
from labspine.testing.waiting import wait_until
from labspine.variables import Variables

EXAMPLES: dict[str, dict[str, Any]] = {
    "UserEvent": {"user_uuid": "u", "type": 1, "user_fullname": "Ada"},
    "ParticipantEvent": {
        "participant_uuid": "p",
        "type": 5,
        "participant_name": "n",
        "participant_site_name": "s",
    },
    "DeviceEvent": {"device_uuid": "d", "type": 7, "device_name": "n", "device_status": '{"on": true}'},
    "JoinSessionEvent": {"session_uuid": "s", "session_users": ["a", "b"], "session_url": "https://x"},
    "JoinSessionReplyEvent": {"session_uuid": "s", "join_reply": 1, "reply_msg": "yes"},
    "LeaveSessionEvent": {"session_uuid": "s", "leaving_users": ["a"]},
    "StopSessionEvent": {"session_uuid": "s", "service_uuid": "v"},
    "DatabaseEvent": {"type": 2, "object_type": "user", "object_value": "{}"},
    "LogEvent": {"level": 5, "timestamp": 1.5, "sender": "me", "message": "é"},
    "ArchiveEvent": {"archive_uuid": "a", "status": 2},
    "LoginEvent": {"login_type": 2, "login_status": 1, "client_ip": "::1"},
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_their_service_hears_each_kind_of_our_events(bus: RedisConnector, opentera: Any, kind: str) -> None:
    topic = MessageEndpoints.service_events("PeerService")
    before = len(opentera.heard())

    assert bus.send(topic, tera_event(topic, KINDS[kind](**EXAMPLES[kind]))) >= 1

    wait_until(lambda: len(opentera.heard()) > before, timeout_s=10.0, what="the event")
    found = opentera.heard()[before]
    assert found["header"]["topic"] == "service.PeerService.events"
    (event,) = found["events"]
    assert event == {"@type": f"type.googleapis.com/opentera.protobuf.{kind}", **EXAMPLES[kind]}


@pytest.mark.parametrize("kind", list(KINDS))
def test_we_hear_each_kind_of_their_events(bus: RedisConnector, opentera: Any, kind: str) -> None:
    heard: list[Any] = []
    come = threading.Event()

    def hear(message: Any) -> None:
        heard.append(message)
        come.set()

    bus.register(MessageEndpoints.module_events("TeraServer.UserManagerModule"), cb=hear)

    opentera.send_event("module.TeraServer.UserManagerModule.events", kind, EXAMPLES[kind])

    assert come.wait(10)
    assert heard[0].topic == "module.TeraServer.UserManagerModule.events"
    assert heard[0].value.topic == heard[0].topic
    assert heard[0].value.events == [KINDS[kind](**EXAMPLES[kind])]


def test_messages_of_modules_go_both_ways(bus: RedisConnector, opentera: Any) -> None:
    heard: list[Any] = []
    mine = MessageEndpoints.service_messages("chiller")
    bus.register(mine, cb=heard.append)
    before = len(opentera.heard())

    opentera.send_message(mine.endpoint, "UserEvent", EXAMPLES["UserEvent"])
    theirs = MessageEndpoints.service_messages("PeerService")
    bus.send(theirs, tera_message(theirs, ot.UserEvent(user_uuid="u", type=2), source=mine.endpoint))

    wait_until(lambda: heard and len(opentera.heard()) > before, timeout_s=10.0, what="both messages")
    assert heard[0].value.source == "service.PeerService.messages"
    assert heard[0].value.data == [ot.UserEvent(**EXAMPLES["UserEvent"])]
    found = opentera.heard()[before]
    assert found["head"]["source"] == "service.chiller.messages"
    assert found["data"][0]["type"] == ot.UserEventType.DISCONNECTED


def test_events_for_one_client_and_by_pattern(bus: RedisConnector, opentera: Any) -> None:
    heard: list[Any] = []
    bus.register(patterns=MessageEndpoints.pattern("websocket_user_events"), cb=heard.append)
    topic = MessageEndpoints.websocket_user_events("7c3f4f2e-58aa-4cc2-9d3c-7a21a8a1c001")
    before = len(opentera.heard())

    bus.send(topic, tera_event(topic, ot.StopSessionEvent(session_uuid="s")))

    wait_until(lambda: heard and len(opentera.heard()) > before, timeout_s=10.0, what="the event")
    assert heard[0].topic == topic.endpoint
    assert heard[0].value.events == [ot.StopSessionEvent(session_uuid="s")]


def test_the_topics_are_those_of_the_convention() -> None:
    at = MessageEndpoints
    assert [
        at.module_messages("a.b").endpoint, at.module_events("a.b").endpoint, at.module_rpc("a.b").endpoint,
        at.module_events_of("TeraServer.DatabaseModule", "user").endpoint,
        at.service_messages("k").endpoint, at.service_events("k").endpoint, at.service_rpc("k").endpoint,
        at.websocket_user_events("1").endpoint, at.websocket_device_events("1").endpoint,
        at.websocket_participant_events("1").endpoint,
    ] == [
        "module.a.b.messages", "module.a.b.events", "module.a.b.rpc", "module.TeraServer.DatabaseModule.events.user",
        "service.k.messages", "service.k.events", "service.k.rpc",
        "websocket.user.1.events", "websocket.device.1.events", "websocket.participant.1.events",
    ]  # fmt: skip
    assert at.service_events("k").at("bec4").endpoint == "service.k.events"
    for wrong in ("a*", "a b", "", ".", "a/b"):
        with pytest.raises(InvalidName):
            at.module_events(wrong)


def test_another_message_is_refused_before_it_is_sent(bus: RedisConnector) -> None:
    with pytest.raises(InvalidMessage, match="takes TeraEvent, got VariableMessage"):
        bus.send(MessageEndpoints.service_events("k"), VariableMessage(value=1))
    with pytest.raises(InvalidMessage, match="a TeraEvent travels alone"):
        bus.send(MessageEndpoints.service_events("k"), [ot.TeraEvent(), ot.TeraEvent()])
    with pytest.raises(InvalidMessage, match="a TeraEvent travels alone"):
        bus.set(MessageEndpoints.global_vars("k"), VariableMessage(value={"a": ot.TeraEvent()}))


def test_bytes_that_are_no_event_are_counted_and_the_next_one_comes(bus: RedisConnector) -> None:
    heard: list[Any] = []
    topic = MessageEndpoints.service_events("noisy")
    bus.register(topic, cb=heard.append)

    for payload in (b"\xff\xff", b"{}", b"\x12\x05ab"):
        bus.raw_send(topic.endpoint, payload)
    bus.send(topic, tera_event(topic, ot.UserEvent(user_uuid="u")))

    wait_until(lambda: bool(heard), timeout_s=10.0, what="the good event")
    assert heard[0].value.events == [ot.UserEvent(user_uuid="u")]
    assert bus.counters.undecodable == 3


def test_variables_are_shared_with_opentera(bus: RedisConnector, opentera: Any) -> None:
    variables = Variables(bus, OPENTERA_VARIABLES)
    declared = variables.catalogue
    key = declared["ServiceTokenAPIKey"]
    attempts = declared["UserLoginAttempts.{user_uuid}"].of(user_uuid="u")
    ticket = declared["{session_id}"].of(session_id="abc")

    assert variables.get(key) == opentera.get("ServiceTokenAPIKey") == "a-secret-of-thirty-two-characters"
    opentera.set("UserLoginAttempts.u", "3", 120)
    assert variables.get(attempts) == 3
    variables.set(attempts, 4)
    assert opentera.get("UserLoginAttempts.u") == "4"
    variables.set(ticket, "u")
    assert opentera.get("abc") == "u"
    assert [variables.take(ticket), variables.take(ticket), opentera.get("abc")] == ["u", None, None]
    opentera.set("UserLoginAttempts.u", "many", None)
    with pytest.raises(DecodeError, match=r"UserLoginAttempts\.u holds something else"):
        variables.get(attempts)
