"""Which pages of a history are shared."""

from __future__ import annotations

from labspine.connector.pages import PageKey, SharedPages
from labspine.flows.history import Page


def page(number: int, *, is_last: bool = False) -> Page:
    return Page([], (number, 0), is_last, False, 1000)


def key(number: int, ended: int = 9) -> PageKey:
    return ("history", (ended, 0), (number, 0), 1000)


def test_a_page_with_more_behind_it_is_shared_on_the_same_link() -> None:
    pages = SharedPages()
    pages.begin("one")
    pages.put(key(1), page(1))
    pages.put(key(2), page(2, is_last=True))

    assert pages.get(key(1)) == page(1)
    assert pages.get(key(1, ended=8)) is None
    assert pages.get(key(2)) is None, "the end must be read afresh"


def test_the_oldest_goes_and_nothing_is_kept_when_nobody_reads() -> None:
    pages = SharedPages()
    one, two = object(), object()
    pages.begin(one)
    pages.begin(two)
    for number in range(24):
        pages.put(key(number), page(number))
    pages.end(one)

    assert [number for number in range(24) if pages.get(key(number))] == list(range(8, 24))
    pages.end(two)
    assert not any(pages.get(key(number)) for number in range(24))
