"""The routing of a cluster, stepped by hand: what is sent where, and what each answer leads to."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from labspine.errors import (
    AuthenticationError,
    ConfigError,
    DeadlinePassed,
    DeliveryUnknown,
    InvalidOperation,
    NotConnected,
    PermissionDenied,
    ServerError,
)
from labspine.flows import Exchange
from labspine.flows.slots import slot_of
from labspine.wire import parse_address
from labspine.wire.cluster.routing import Router, Send
from labspine.wire.cluster.topology import QUESTION, known_places, read_topology
from labspine.wire.resp import settle
from labspine.wire.translate import ErrorReply

A, B, C = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)
ROWS = [
    [10923, 16383, [b"10.0.0.3", 3, b"id"]],
    [0, 5460, [b"10.0.0.1", 1, b"id"], [b"10.0.0.4", 4, b"id"]],
    [5461, 10922, [b"10.0.0.2", 2, b"id"]],
]
FOO, BAR = slot_of("foo"), slot_of("bar")  # on C and on A
GET_FOO, GET_BAR = Exchange((("GET", "foo"),), readonly=True), Exchange((("GET", "bar"),), readonly=True)
SET_FOO = Exchange((("SET", "foo", b"x"),))
EVENT = Exchange((("PUBLISH", "c", b"x"), ("XADD", "{foo}h", "*", "d", b"x")), transaction=True)


def refusal(words: str) -> ServerError:
    with pytest.raises(ServerError) as caught:
        settle(SET_FOO, [ErrorReply(words)])
    return caught.value


_numbers = itertools.count(1)


class Net:
    """Answer what a router sends, by the rules of the test; time goes on when it waits."""

    def __init__(self, patience_s: float = 2.0, seeds: str = "") -> None:
        self.now_s = 100.0
        self.sent: list[Send] = []
        self.rules: dict[Any, list[Any]] = {}
        seeds = (
            seeds or f"10.0.0.2:2,10.1.1.1:{next(_numbers)}"
        )  # what one test finds out, others must not know
        self.router = Router(
            parse_address(f"redis+cluster://{seeds}"), patience_s=patience_s, clock=lambda: self.now_s
        )

    def answers(self, place: Any, ask: Exchange, *results: Any) -> None:
        """Answer so, one after the other; the last one again and again."""
        self.rules[place, ask] = list(results)

    def do(self, *asks: Exchange) -> list[Any]:
        self.sent.clear()
        flow = self.router.perform(list(asks))
        try:
            step = next(flow)
            while True:
                if isinstance(step, float):
                    self.now_s += step
                    step = flow.send([])
                else:
                    step = flow.send([self._answered(send) for send in step])
        except StopIteration as end:
            results: list[Any] = end.value
            return results

    def _answered(self, send: Send) -> list[Any]:
        self.sent.append(send)
        return [self._answer(send.place, ask) for ask in send.asks]

    def _answer(self, place: Any, ask: Exchange) -> Any:
        if ask == QUESTION:
            default: Any = [ROWS]
        else:
            default = [f"{place[1]}:{command[0]}".encode() for command in ask.commands]
        rule = self.rules.get((place, ask), [default])
        return rule.pop(0) if len(rule) > 1 else rule[0]

    @property
    def places(self) -> list[Any]:
        return [send.place for send in self.sent if send.asks != (QUESTION,)]


@pytest.fixture
def net() -> Net:
    net = Net()
    assert net.do(GET_FOO) == [[b"3:GET"]]
    return net


def test_the_picture_is_read_in_the_order_of_the_slots() -> None:
    unnamed = [5461, 10922, [b"", 2, b"id"]]  # a node that does not know its name is the one that was asked
    topology = read_topology([ROWS[0], ROWS[1], unnamed], ("10.0.0.2", 2))
    assert topology.masters == (A, B, C)
    assert topology.replicas == (("10.0.0.4", 4),)
    assert (topology.owners[0], topology.owners[5461], topology.owners[16383]) == (A, B, C)


def test_the_first_exchange_asks_who_has_what_and_later_ones_do_not(net: Net) -> None:
    assert [send.asks for send in net.sent] == [(QUESTION,), (GET_FOO,)]
    net.do(GET_BAR)
    assert net.places == [A]
    assert len(net.sent) == 1
    assert net.router.quick_place(SET_FOO) == C
    assert {A, B, C} <= set(known_places(net.router.cluster))


def test_a_seed_that_is_dead_is_left_out() -> None:
    net = Net(seeds="10.9.9.9:9,10.0.0.2:2")
    net.answers(("10.9.9.9", 9), QUESTION, NotConnected("refused"))
    assert net.do(GET_FOO) == [[b"3:GET"]]


def test_when_nobody_answers_the_first_time_nobody_waits() -> None:
    net = Net(seeds="10.9.9.8:9")
    net.answers(("10.9.9.8", 9), QUESTION, NotConnected("refused"))
    with pytest.raises(NotConnected, match=r"10\.9\.9\.8:9: refused.*nothing was done"):
        net.do(GET_FOO)
    assert net.now_s == 100.0


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (AuthenticationError("wrong password"), AuthenticationError, "wrong password"),
        (PermissionDenied("no cluster|slots"), PermissionDenied, "cluster"),
        ([[]], NotConnected, "knows no masters"),
    ],
)
def test_what_the_seeds_refuse_is_said(answer: Any, error: type[Exception], text: str) -> None:
    net = Net(seeds="10.9.9.7:9")
    net.answers(("10.9.9.7", 9), QUESTION, answer)
    with pytest.raises(error, match=text):
        net.do(GET_FOO)


def test_a_server_that_is_no_node_is_a_mistake_in_the_address() -> None:
    net = Net(seeds="10.9.9.6:9")
    net.answers(("10.9.9.6", 9), QUESTION, refusal("ERR This instance has cluster support disabled"))
    with pytest.raises(ConfigError, match=r"10\.9\.9\.6:9 is not a node of a Redis Cluster: use redis://"):
        net.do(GET_FOO)


def test_moved_is_followed_at_once_and_remembered(net: Net) -> None:
    net.answers(C, SET_FOO, refusal(f"MOVED {FOO} 10.0.0.1:1"))
    net.answers(A, QUESTION, [[[FOO, FOO, [b"10.0.0.1", 1, b"id"]], *ROWS[1:]]])  # who got it knows it first
    before_s = net.now_s
    assert net.do(SET_FOO) == [[b"1:SET"]]
    assert net.now_s == before_s
    assert net.places == [C, A]
    assert net.router.quick_place(SET_FOO) == A


def test_moved_without_a_host_means_the_host_that_was_asked(net: Net) -> None:
    net.answers(C, SET_FOO, refusal(f"MOVED {FOO} :77"))
    for place in (*known_places(net.router.cluster), ("10.0.0.3", 77)):
        net.answers(place, QUESTION, NotConnected("gone"))
    (error,) = net.do(SET_FOO)
    assert type(error) is NotConnected
    assert net.router.topology is not None
    assert net.router.topology.owners[FOO] == ("10.0.0.3", 77)


def test_ask_is_followed_this_once_with_asking_before_it(net: Net) -> None:
    net.answers(C, SET_FOO, refusal(f"ASK {FOO} 10.0.0.1:1"), [b"again"])
    assert net.do(SET_FOO) == [[b"1:SET"]]
    assert net.sent[-1] == Send(A, (Exchange((("ASKING",), *SET_FOO.commands)),))
    assert net.do(SET_FOO) == [[b"again"]]
    assert net.places == [C]


def test_a_transaction_out_of_turn_stays_one(net: Net) -> None:
    net.answers(C, EVENT, refusal(f"ASK {FOO} 10.0.0.1:1"))
    assert net.do(EVENT) == [[b"1:PUBLISH", b"1:XADD"]]
    assert net.sent[-1].asks == (Exchange((("ASKING",),), readonly=True), EVENT)


@pytest.mark.parametrize(
    "words",
    [
        *("TRYAGAIN Multiple keys", "CLUSTERDOWN The cluster is down", "LOADING x"),
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "ERR Script attempted to access a non local key in a cluster node script: x, on @user_function:1.",
    ],
)
def test_what_time_may_help_is_waited_for(net: Net, words: str) -> None:
    net.answers(C, EVENT, refusal(words), refusal(words), [b"1", b"2"])
    before_s = net.now_s
    assert net.do(EVENT) == [[b"1", b"2"]]
    assert 0 < net.now_s - before_s < 1


def test_a_function_waits_until_its_slot_has_moved_because_it_reaches_for_keys_it_does_not_name(
    net: Net,
) -> None:
    step = Exchange(((b"FCALL", b"put", 1, b"foo", b"x"),))
    net.answers(C, step, refusal(f"ASK {FOO} 10.0.0.1:1"), refusal(f"MOVED {FOO} 10.0.0.1:1"))
    net.answers(A, QUESTION, [[[0, 16383, [b"10.0.0.1", 1, b"id"]]]])
    assert net.do(step) == [[b"1:b'FCALL'"]]
    assert net.places == [C, C, A]


@pytest.mark.parametrize("error", [NotConnected("refused"), refusal("CLUSTERDOWN x"), refusal("TRYAGAIN x")])
def test_patience_ends_with_nothing_was_done(net: Net, error: Exception) -> None:
    net.answers(C, EVENT, error)
    before_s = net.now_s
    (result,) = net.do(EVENT)
    assert type(result) is NotConnected
    assert 2.0 <= net.now_s - before_s < 3.0


def test_after_a_failover_the_new_master_is_asked(net: Net) -> None:
    net.answers(C, SET_FOO, NotConnected("refused"))
    new = [[0, 16383, [b"10.0.0.9", 9, b"id"]]]
    for place in known_places(net.router.cluster):
        net.answers(place, QUESTION, [ROWS], [new])
    assert net.do(SET_FOO) == [[b"9:SET"]]


@pytest.mark.parametrize("error", [DeliveryUnknown("?"), DeadlinePassed("?")])
def test_what_may_have_been_done_is_never_sent_again(net: Net, error: Exception) -> None:
    net.answers(C, SET_FOO, error)
    assert net.do(SET_FOO) == [error]
    assert net.places == [C]
    net.do(GET_BAR)
    assert net.sent[0].asks == (QUESTION,)  # but who is master is asked before the next one


def test_nothing_overtakes_what_is_unknown(net: Net) -> None:
    other = Exchange((("SET", "{foo}2", b"x"),))
    net.answers(C, SET_FOO, DeliveryUnknown("?"))
    net.answers(C, other, NotConnected("not sent"))
    first, second = net.do(SET_FOO, other)
    assert (type(first), type(second)) == (DeliveryUnknown, NotConnected)
    assert len(net.places) == 1


def test_what_was_done_stays_done_when_everything_else_is_lost(net: Net) -> None:
    net.answers(C, SET_FOO, NotConnected("refused"))
    for place in known_places(net.router.cluster):
        net.answers(place, QUESTION, NotConnected("gone"))
    done, not_done = net.do(Exchange((("SET", "bar", b"x"),)), SET_FOO)
    assert done == [b"1:SET"]
    assert type(not_done) is NotConnected


def test_who_is_closed_while_it_waits_ends_at_once(net: Net) -> None:
    net.answers(C, SET_FOO, NotConnected("refused"))
    flow = net.router.perform([Exchange((("SET", "bar", b"x"),)), SET_FOO])
    sends = next(flow)
    assert isinstance(sends, list)
    answers = [[[b"OK"]] if send.place == A else [NotConnected("refused")] for send in sends]
    step = flow.send(answers)
    while not isinstance(step, float):
        step = flow.send([[NotConnected("refused")]] if step[0].asks != (QUESTION,) else [[[ROWS]]])
    with pytest.raises(StopIteration) as end:
        flow.throw(NotConnected("closed"))
    done, error = end.value.value
    assert done == [b"OK"]
    assert str(error) == "closed"


def test_other_refusals_come_out_as_they_are(net: Net) -> None:
    error = refusal("OOM x")
    net.answers(C, SET_FOO, error)
    assert net.do(SET_FOO) == [error]
    assert net.do(Exchange((("SMOVE", "foo", "bar", b"x"),)))[0].__class__ is InvalidOperation


def test_a_pipeline_is_one_write_for_each_node_in_order(net: Net) -> None:
    asks = [GET_FOO, GET_BAR, SET_FOO, Exchange((("GET", "{bar}2"),), readonly=True)]
    assert net.do(*asks) == [[b"3:GET"], [b"1:GET"], [b"3:SET"], [b"1:GET"]]
    assert {send.place: send.asks for send in net.sent} == {C: (asks[0], asks[2]), A: (asks[1], asks[3])}
    assert len(net.sent) == 2


def test_values_are_collected_from_their_nodes(net: Net) -> None:
    ask = Exchange((("MGET", "foo", "bar"),), readonly=True)
    net.answers(C, Exchange((("MGET", "foo"),), readonly=True), [[b"f"]])
    net.answers(A, Exchange((("MGET", "bar"),), readonly=True), [[b"b"]])
    assert net.do(ask) == [[[b"f", b"b"]]]


def test_scan_goes_from_one_master_to_the_next(net: Net) -> None:
    def scan(cursor: str) -> Exchange:
        return Exchange((("SCAN", cursor, "MATCH", "*"),), readonly=True)

    for place, own in ((A, [b"5", [b"a"]]), (B, [b"0", [b"b"]]), (C, [b"0", [b"c"]])):
        net.answers(place, scan("0"), [own])
    net.answers(A, scan("5"), [[b"0", [b"a2"]]])
    found, cursor = [], b"0"
    for _ in range(4):
        (((cursor, names),),) = net.do(scan(cursor.decode()))
        found += names
    assert (found, cursor) == ([b"a", b"a2", b"b", b"c"], b"0")


def test_reports_come_from_every_master(net: Net) -> None:
    ask = Exchange((("INFO",), ("DBSIZE",)), readonly=True)
    for place in (A, B, C):
        net.answers(place, ask, [b"# Server\r\nport:%d\r\n" % place[1], 2])
    ((text, count),) = net.do(ask)
    assert (text.count(b"# Server"), count) == (3, 6)


def test_streams_of_several_slots_are_asked_for_until_the_time_is_over(net: Net) -> None:
    ask = Exchange((("XREAD", "BLOCK", 250, "STREAMS", "foo", "bar", "0", "0"),), False, True, 0.25)
    foo, bar = (Exchange((("XREAD", "STREAMS", key, "0"),), readonly=True) for key in ("foo", "bar"))
    net.answers(C, foo, [None])
    net.answers(A, bar, [None])
    before_s = net.now_s
    assert net.do(ask) == [[None]]
    assert 0.25 <= net.now_s - before_s < 0.35
    net.answers(A, bar, [None], [[[b"bar", []]]])
    assert net.do(ask) == [[[[b"bar", []]]]]


def test_going_in_circles_ends(net: Net) -> None:
    net.answers(C, SET_FOO, refusal(f"MOVED {FOO} 10.0.0.1:1"))
    net.answers(A, SET_FOO, refusal(f"MOVED {FOO} 10.0.0.3:3"))
    (result,) = net.do(SET_FOO)
    assert isinstance(result, NotConnected)
    assert len(net.places) < 60


class FakeLink:
    """What a subscriber holds, as far as the router sees it."""

    def __init__(self, place: Any) -> None:
        self.address = parse_address(f"redis://{place[0]}:{place[1]}")
        self.is_broken = False

    def abort(self) -> None:
        self.is_broken = True


def test_a_node_that_leaves_the_cluster_loses_its_subscribers(net: Net) -> None:
    links = {place: FakeLink(place) for place in (A, C, ("named", 7))}
    for link in links.values():
        net.router.watch(link)
    for place in known_places(net.router.cluster):
        net.answers(place, QUESTION, [[[0, 16383, [b"10.0.0.1", 1, b"id"]]]])
    net.now_s += 60  # from time to time somebody is asked, although nothing is wrong
    assert net.router.quick_place(GET_FOO) is None
    net.do(GET_FOO)
    assert [link.is_broken for link in links.values()] == [False, True, False]


def test_what_anybody_can_do_is_asked_of_another_master_when_one_is_dead(net: Net) -> None:
    ping = Exchange((("PING",),), readonly=True)
    net.answers(A, ping, NotConnected("refused"))
    net.answers(B, ping, NotConnected("refused"))
    assert net.do(ping) == [[b"3:PING"]]
