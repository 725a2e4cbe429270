"""Trackers, queues and routes, without socket or thread."""

from __future__ import annotations

import random
from contextlib import nullcontext
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labspine import messages as m
from labspine.connector import Gap
from labspine.connector.routes import Routes
from labspine.connector.subscriptions import CATCH_UP, LAST_VALUE, State, Subscription, glob_expression
from labspine.connector.tracking import Tracker, Verdict, read_mark
from labspine.endpoints import MessageEndpoints
from labspine.errors import PermissionDenied
from labspine.wire import ErrorReply

SEGMENT = MessageEndpoints.scan_segment()
KEY = SEGMENT.endpoint.encode()


def stamped(number: int) -> bytes:
    return m.stamp(m.encode(m.ScanMessage(point_id=number, scan_id="s", data={})), "0123456789abcdef", number)


def subscription(*, source: str | None = "h", endpoint: Any = SEGMENT) -> Subscription:
    made = Subscription(endpoint, print, {}, source=source, lock=nullcontext())
    made.most_entries = 5
    return made


def live(made: Subscription) -> Subscription:
    made.link_ready((0, 0), is_again=False)
    assert made.take() is CATCH_UP or made.source is None
    made.settling()
    made.settled()
    assert made.take() is None
    return made


@given(st.permutations(range(1, 40)), st.lists(st.integers(1, 39), max_size=60))
def test_a_tracker_delivers_each_number_once_in_any_order(order: list[int], repeats: list[int]) -> None:
    tracker = Tracker()
    tracker.mark(b"c", b"s", 0)
    delivered = []
    for number in [*order, *repeats]:
        if tracker.judge(b"c", b"s", number) is not Verdict.SEEN:
            delivered.append(number)
            tracker.mark(b"c", b"s", number)
    assert sorted(delivered) == list(range(1, 40))


def test_a_tracker_tells_holes_and_closes_them() -> None:
    tracker = Tracker()
    assert tracker.judge(b"c", b"s", 7) is Verdict.NEW
    tracker.mark(b"c", b"s", 7)
    assert tracker.judge(b"c", b"s", 7) is Verdict.SEEN
    assert tracker.judge(b"c", b"s", 10) is Verdict.AFTER_HOLE
    assert tracker.close_holes(b"c", b"s", 10) == 2
    assert tracker.judge(b"c", b"s", 10) is Verdict.NEW
    assert tracker.judge(b"c", b"other", 10) is Verdict.NEW
    assert tracker.judge(b"d", b"s", 3) is Verdict.NEW


def test_a_tracker_forgets_the_oldest_senders() -> None:
    tracker = Tracker()
    for number in range(5000):
        tracker.mark(b"c", b"sender%d" % number, 1)
    assert not tracker.knows(b"c", b"sender0")
    assert tracker.knows(b"c", b"sender4999")


def test_the_next_event_of_a_known_sender_is_taken_in_one_step() -> None:
    tracker = Tracker()
    assert tracker.follows(KEY, stamped(1)) is False
    mark = read_mark(stamped(1))
    assert mark is not None
    tracker.mark(KEY, *mark)
    assert tracker.follows(KEY, stamped(2)) is True
    for wrong in (stamped(2), stamped(4), b"", stamped(3)[:-1]):
        assert tracker.follows(KEY, wrong) is False
    assert tracker.follows(b"another", stamped(3)) is False
    assert tracker.judge(KEY, mark[0], 2) is Verdict.SEEN
    assert tracker.follows(KEY, stamped(3)) is True
    assert read_mark(b"unstamped") is None


def test_only_the_first_message_wakes_a_worker() -> None:
    made = live(subscription())
    assert made.offer(KEY, stamped(1), 10) is True
    assert made.offer(KEY, stamped(2), 10) is False
    assert made.take() == [(KEY, stamped(1), 10), (KEY, stamped(2), 10)]
    assert made.take() is None
    assert made.offer(KEY, stamped(3), 10) is True


def test_a_full_queue_of_a_durable_endpoint_reads_the_history_instead() -> None:
    made = live(subscription())
    for number in range(1, 10):
        made.offer(KEY, stamped(number), 10)
    assert made.state is State.BEHIND
    assert [item[1] for item in made.take() or []] == [stamped(n) for n in range(1, 6)]
    assert made.take() is CATCH_UP


def test_a_full_queue_of_a_plain_endpoint_counts_and_tells() -> None:
    made = live(subscription(source=None))
    for number in range(1, 10):
        made.offer(KEY, b"x%d" % number, 10)
    assert len(made.take() or []) == 5
    assert made.take() == [(KEY, Gap(4), 0)]
    assert made.take() is None


def test_bytes_count_as_well_as_entries() -> None:
    made = live(subscription(source=None))
    made.most_bytes = 100
    for _ in range(3):
        made.offer(KEY, b"x", 60)
    assert made.take() == [(KEY, b"x", 60)]
    assert made.take() == [(KEY, Gap(2), 0)]


def test_newest_only_keeps_one() -> None:
    made = live(subscription(source=None))
    made.newest_only = True
    for number in range(10):
        made.offer(KEY, b"%d" % number, 1)
    assert made.take() == [(KEY, b"9", 1)]


def test_a_lost_link_stops_the_barrier_and_asks_for_the_history() -> None:
    made = live(subscription())
    made.reached((5, 0))
    made.link_lost()
    made.reached((9, 0))
    assert made.position == (5, 0)
    assert made.take() is None
    assert made.link_ready((8, 0), is_again=True) is True
    assert made.take() is CATCH_UP


def test_what_comes_while_settling_waits_and_large_ones_are_kept_for_their_place() -> None:
    made = subscription()
    made.link_ready((0, 0), is_again=False)
    assert made.take() is CATCH_UP
    large = m.stamp(m.encode(m.ScanMessage(point_id=1, scan_id="x" * 70_000, data={})), "0123456789abcdef", 1)
    made.offer(KEY, large, len(large))
    made.offer(KEY, stamped(2), 10)
    made.settling()
    made.offer(KEY, stamped(3), 10)
    assert made.take_held(large[-40:]) == large
    assert made.take_held(large[-40:]) is None
    made.settled()
    assert made.take() == [(KEY, stamped(3), 10)]


def test_a_closed_subscription_delivers_nothing_more() -> None:
    made = live(subscription())
    made.offer(KEY, stamped(1), 10)
    made.close()
    assert made.take() is None
    assert made.offer(KEY, stamped(2), 10) is False


def test_a_plain_value_endpoint_asks_for_its_value_after_a_reconnect() -> None:
    made = subscription(source=None, endpoint=MessageEndpoints.device_readback("samx"))
    assert made.link_ready((0, 0), is_again=False) is False
    made.link_lost()
    assert made.link_ready((0, 0), is_again=True) is True
    assert made.take() is LAST_VALUE
    assert made.take() is None


# --- routes ---


def test_a_barrier_moves_live_subscriptions_only_when_its_answer_comes() -> None:
    routes = Routes(lambda s: None)
    made = subscription()
    route, is_new = routes.add(made)
    assert is_new
    routes.ask_subscribe([route])
    routes.conclude([b"subscribe", KEY, 1])
    assert route.is_confirmed
    live_again = made
    assert live_again.take() is CATCH_UP
    made.settling()
    made.settled()
    routes.ask_ping()
    routes.ask_ping({"h": (7, 1)})
    routes.conclude([b"pong", b""])
    assert made.position == (0, 0)
    routes.conclude([b"pong", b"1"])
    assert made.position == (7, 1)


def test_a_refused_subscription_is_told_to_its_caller_and_not_to_others() -> None:
    routes = Routes(lambda s: None)
    answers: list[Any] = []
    first, _ = routes.add(subscription())
    second, _ = routes.add(subscription(endpoint=MessageEndpoints.scan_status()))
    first.waiters.append(answers.append)
    second.waiters.append(answers.append)
    routes.ask_subscribe([first, second])
    routes.conclude(ErrorReply("NOPERM no"))
    routes.conclude([b"subscribe", second.key, 1])
    assert isinstance(answers[0], PermissionDenied)
    assert answers[1] is None


def test_removing_the_last_subscription_frees_the_route() -> None:
    routes = Routes(lambda s: None)
    one, two = subscription(), subscription()
    routes.add(one)
    _, is_new = routes.add(two)
    assert not is_new
    assert routes.remove(one) is None
    assert routes.remove(two) is not None
    assert routes.remove(two) is None
    assert routes.all_routes() == []


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        (b"a/*/c", b"a/b/c", True),
        (b"a/*", b"a/b/c", True),
        (b"a/?", b"a/bc", False),
        (b"sam[xy]", b"samy", True),
        (b"sam[^x]", b"samx", False),
        (b"a\\*", b"a*", True),
        (b"a\\*", b"ab", False),
        (b"a.b", b"axb", False),
        (b"a[", b"a[", True),
    ],
)
def test_patterns_match_as_on_the_server(pattern: bytes, name: bytes, matches: bool) -> None:
    assert (glob_expression(pattern).fullmatch(name) is not None) is matches


def test_simple_patterns_match_like_fnmatch() -> None:
    source = random.Random(5)
    for _ in range(2000):
        pattern = "".join(source.choice("ab/*?.") for _ in range(source.randrange(6)))
        name = "".join(source.choice("ab/.") for _ in range(source.randrange(6)))
        found = glob_expression(pattern.encode()).fullmatch(name.encode()) is not None
        assert found is fnmatchcase(name, pattern), (pattern, name)
