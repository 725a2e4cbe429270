"""AMQP without a broker: addresses, names, properties."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labspine.connector import AsyncAmqpConnector, AsyncConnector, RedisConnector, connect, connect_async
from labspine.errors import ConfigError, InvalidArgument, InvalidName
from labspine.wire.amqp import (
    Properties,
    binding_key,
    channel_of,
    parse_amqp,
    routing_key,
    written_properties,
)
from labspine.wire.amqp.properties import read_properties, short


@pytest.mark.parametrize(
    ("url", "places", "vhost", "username"),
    [
        ("amqp://host", (("host", 5672),), "/", "guest"),
        ("amqps://host/", (("host", 5671),), "/", "guest"),
        ("amqp://me:p%40ss@host:1234/lab", (("host", 1234),), "lab", "me"),
        ("amqp://me:x@a,b:5673,[::1]:5674/%2Flab", (("a", 5672), ("b", 5673), ("::1", 5674)), "/lab", "me"),
    ],
)
def test_addresses(url: str, places: Any, vhost: str, username: str) -> None:
    address = parse_amqp(url)

    assert (address.places, address.vhost, address.username) == (places, vhost, username)
    assert "p@ss" not in str(address) + repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "amqp://",
        "amqp://me:secret@host:99999/",
        "amqp://me:secret@host/a/b",
        "amqp://me:secret@host/?heartbeat=3",
        "amqp://me:secret@host/?ssl_ca_certs=ca.pem",
        "amqp://me:secret@ho st/",
    ],
)
def test_addresses_that_cannot_work_are_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_amqp(url)

    assert "secret" not in str(caught.value)


def test_the_address_chooses_the_connector() -> None:
    assert type(connect("redis://127.0.0.1:1")) is RedisConnector
    assert isinstance(connect_async("amqp://127.0.0.1:1", store="redis://127.0.0.1:2"), AsyncAmqpConnector)
    assert type(connect_async("127.0.0.1:1")) is AsyncConnector
    with pytest.raises(ConfigError, match="store="):
        connect("redis://127.0.0.1:1", store="redis://127.0.0.1:2")


@given(st.text(min_size=1, max_size=60))
def test_each_channel_has_one_key_and_each_key_one_channel(channel: str) -> None:
    try:
        key = routing_key(channel)
    except InvalidName:
        return

    assert channel_of(key) == channel
    assert "*" not in key
    assert "#" not in key


def test_names_of_channels() -> None:
    assert routing_key("public/file_event/cam.1") == "public.file_event.cam@2E1"
    assert binding_key("public/file_event/sam*") == "public.file_event.*"
    with pytest.raises(InvalidName, match="255"):
        routing_key("x" * 256)


@given(
    st.builds(
        Properties,
        headers=st.dictionaries(st.text(max_size=10), st.integers(-5, 5), max_size=3),
        is_persistent=st.booleans(),
        priority=st.none() | st.integers(0, 9),
        correlation_id=st.text(max_size=60),
        reply_to=st.text(max_size=60),
        expiration_ms=st.none() | st.integers(0, 10**9),
        message_id=st.text(max_size=60),
        type=st.text(max_size=60),
    )
)
def test_properties_are_read_as_they_were_written(properties: Properties) -> None:
    assert read_properties(written_properties(properties)) == properties


def test_a_header_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="header"):
        written_properties(Properties(headers={"x": object()}))
    with pytest.raises(InvalidArgument, match="255"):
        short("ö" * 128)
