"""How the reader of streams tells what was trimmed, without a broker."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from labspine.connector import Gap
from labspine.connector.streams_followed import FollowedStreams
from labspine.connector.subscriptions import Subscription
from labspine.endpoints import MessageEndpoints
from labspine.flows import BEGINNING
from labspine.flows.streams import StreamPlace

LOG = MessageEndpoints.log()
KEY = LOG.endpoint


def place(first: int, last: int, length: int, added: int | None) -> StreamPlace:
    return StreamPlace((first, 0) if first else BEGINNING, (last, 0), length, added)


def following(start: StreamPlace) -> tuple[FollowedStreams, Subscription]:
    subscription = Subscription(LOG, print, {}, source=KEY, lock=nullcontext())
    followed = FollowedStreams(lambda _: None)
    followed.add([subscription], {KEY: start})
    assert subscription.may_read()
    subscription.settling()
    subscription.settled()
    return followed, subscription


def told(subscription: Subscription) -> list[Any]:
    work = subscription.take()
    return [item for _, item, _ in work] if isinstance(work, list) else []


@pytest.mark.parametrize(
    ("start", "now", "gaps"),
    [
        pytest.param(place(1, 5, 5, 5), place(1, 5, 5, 5), [], id="nothing happened"),
        pytest.param(place(1, 5, 5, 5), place(5, 9, 5, 9), [], id="trimmed up to what was read"),
        pytest.param(place(1, 5, 5, 5), place(6, 9, 4, 9), [], id="trimmed just what was read"),
        pytest.param(place(1, 5, 5, 5), place(8, 9, 2, 9), [Gap(2)], id="two are gone"),
        pytest.param(place(1, 5, 5, 5), place(0, 9, 0, 9), [Gap(4)], id="all four are gone"),
        pytest.param(place(1, 5, 5, None), place(8, 9, 2, 9), [Gap(None)], id="nobody counted before"),
        pytest.param(place(1, 5, 5, 5), place(8, 9, 2, None), [Gap(None)], id="nobody counts now"),
        pytest.param(place(1, 5, 5, 5), place(8, 9, 2, 2), [Gap(None)], id="deleted and begun anew"),
        pytest.param(place(1, 5, 5, 5), place(1, 3, 3, 3), [Gap(None)], id="the server has lost two"),
    ],
)
def test_what_is_gone_is_told(start: StreamPlace, now: StreamPlace, gaps: list[Gap]) -> None:
    followed, subscription = following(start)

    followed.resumed(KEY, now)

    assert told(subscription) == gaps


def test_the_count_goes_on_after_a_gap() -> None:
    followed, subscription = following(place(1, 5, 5, 5))
    followed.resumed(KEY, place(8, 9, 2, 9))
    followed.heard(KEY, [((8, 0), [b"data", b"\x01"]), ((9, 0), [b"data", b"\x02"])])
    followed.resumed(KEY, place(8, 9, 2, 9))

    assert told(subscription)[0] == Gap(2)
    followed.resumed(KEY, place(12, 12, 1, 12))
    assert told(subscription) == [Gap(2)]


def test_a_stream_that_went_back_is_read_from_there() -> None:
    followed, subscription = following(place(1, 5, 5, 5))

    followed.resumed(KEY, place(1, 3, 3, 3))

    assert followed.positions() == {KEY: (3, 0)}
    assert subscription.position == (3, 0)


def test_a_stream_that_nobody_follows_is_left_alone() -> None:
    followed, subscription = following(place(1, 5, 5, 5))
    followed.remove([subscription])

    followed.resumed(KEY, place(8, 9, 2, 9))

    assert followed.positions() == {}
