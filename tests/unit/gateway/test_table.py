"""The points of one scan: any order and any repetition in, the same columns out."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from labspine.gateway.table import ScanTable

Data = dict[str, dict[str, dict[str, object]]]


def reading(**values: object) -> Data:
    """One signal a device, named like the device."""
    return {name: {name: {"value": value, "timestamp": 1000.0}} for name, value in values.items()}


@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=60),
    data=st.data(),
)
def test_any_order_and_any_repetition_give_the_same_columns(values: list[float], data: st.DataObject) -> None:
    # Given the points of a scan, arriving in any order, each at least once
    numbers = list(range(len(values)))
    repeated = data.draw(st.lists(st.sampled_from(numbers), max_size=20)) if numbers else []
    arrival = data.draw(st.permutations(numbers + repeated))
    table = ScanTable()
    # When they are added
    accepted = [table.add(i, reading(x=float(i), det=values[i])) for i in arrival]
    # Then each is there once, in order, with nothing where there is no finite number
    ids, columns = table.in_order()
    assert ids == numbers
    assert sum(accepted) == len(values)
    if values:
        assert columns["x"] == [float(i) for i in numbers]
        assert columns["det"] == [v if math.isfinite(v) else None for v in values]
    assert table.missing(0, 1000) == []


@given(st.lists(st.integers(0, 400), max_size=200), st.integers(1, 50), st.integers(1, 40))
def test_reading_on_from_any_row_gives_every_row_once(arrival: list[int], cap: int, limit: int) -> None:
    # Given a reader that asks now and then, at most `limit` rows at a time, of a table that keeps `cap`
    table = ScanTable(max_points=cap)
    have, seen = 0, []
    for point in arrival:
        table.add(point, reading(x=point))
        rows = table.rows(have, limit)
        assert rows.start >= have
        assert rows.columns["x"] == [float(i) for i in rows.point_ids]
        have = rows.end
        seen.extend(rows.point_ids)
        assert len(table) <= cap
    while have < table.end:
        rows = table.rows(have, limit)
        have = rows.end
        seen.extend(rows.point_ids)
    # Then no row came twice, and what did not come is what the table no longer had
    assert len(seen) == len(set(seen))
    assert table.end == table.dropped + len(table)
    assert len(seen) >= len(table)


def test_a_column_that_appears_later_is_empty_before() -> None:
    table = ScanTable()
    table.add(0, reading(x=1.0))
    table.add(1, reading(x=2.0, det=5.0))
    table.add(2, reading(det=6.0))
    assert table.in_order()[1] == {"x": [1.0, 2.0, None], "det": [None, 5.0, 6.0]}


def test_columns_are_named_by_signal_and_know_their_device() -> None:
    table = ScanTable()
    one = {"value": 1, "timestamp": 5.0}
    table.add(0, {"samx": {"samx": one, "samx_setpoint": one}, "eiger": {"counts": one}})
    assert table.names == {"samx": "samx", "samx_setpoint": "samx", "eiger_counts": "eiger"}


def test_what_is_not_one_number_is_left_out() -> None:
    table = ScanTable()
    image = np.zeros((4, 4))
    values = reading(a=np.float32(1.5), b=np.array([7]), c=True, d="text", e=image, f=None, g=10**400)
    strange = {"h": 5, "i": {"i": 5}, "j": {"j": {}}}
    assert table.add(0, {**values, **strange})  # type: ignore[dict-item]
    assert table.in_order()[1] == {"a": [1.5], "b": [7.0], "c": [1.0]}


def test_columns_are_bounded_and_the_rest_is_named() -> None:
    table = ScanTable(max_columns=3)
    table.add(0, reading(a=1, b=2, c=3, d=4, e=5))
    assert set(table.names) == {"a", "b", "c"}
    assert table.hidden == {"d", "e"}


def test_a_point_that_was_dropped_does_not_come_back() -> None:
    table = ScanTable(max_points=10)
    for i in range(11):
        table.add(i, reading(x=i))
    assert table.dropped == 1
    assert not table.add(0, reading(x=0))
    assert not table.add(5, reading(x=5))
    assert not table.add(-1, reading(x=5))
    assert not table.add(2**60, reading(x=5))
    assert table.in_order()[0] == list(range(1, 11))


def test_missing_names_the_holes_and_the_end() -> None:
    table = ScanTable()
    for i in (0, 1, 4):
        table.add(i, reading(x=i))
    assert table.missing(0, 10) == [2, 3]
    assert table.missing(7, 10) == [2, 3, 5, 6]
    assert table.missing(7, 1) == [2]


def test_the_time_of_a_row_is_its_newest_reading() -> None:
    table = ScanTable()
    table.add(0, {"a": {"a": {"value": 1, "timestamp": 3.0}}, "b": {"b": {"value": 1, "timestamp": 9.0}}})
    table.add(1, {"a": {"a": {"value": 1}}})
    assert table.rows(0, 10).times_utc_s == [9.0, None]
