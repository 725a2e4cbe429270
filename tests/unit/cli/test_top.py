"""The bookkeeping of ``labspine top``."""

from __future__ import annotations

import pytest

from labspine.cli.top import Rates, _is_of


def test_rates_are_those_since_the_last_look() -> None:
    rates = Rates(now_mono_s=100.0)
    rates.count("scan_segment", "a", now_mono_s=101.0)
    rates.count("log", "b", now_mono_s=101.5, more=10)

    first = rates.look(now_mono_s=102.0)
    rates.count("scan_segment", "a", now_mono_s=103.0)
    second = rates.look(now_mono_s=104.0)

    assert [(row.topic, row.per_s, row.total, row.silent_s) for row in first] == [
        ("b", 5.0, 10, 0.5),
        ("a", 0.5, 1, 1.0),
    ]
    assert [(row.topic, row.per_s, row.total, row.silent_s) for row in second] == [
        ("a", 0.5, 2, 1.0),
        ("b", 0.0, 10, 2.5),
    ]


def test_very_many_topics_are_counted_together() -> None:
    rates = Rates(now_mono_s=0.0)
    for number in range(10_050):
        rates.count("device_read", f"device{number}", now_mono_s=0.5)

    rows = rates.look(now_mono_s=1.0)

    assert len(rows) == 10_001
    assert rows[0].topic == "(others)"
    assert rows[0].total == 50


@pytest.mark.parametrize(
    ("topic", "is_of"),
    [("info/devices/samx", True), ("info/devices/samx/limits", False), ("info/devices", False)],
)
def test_a_star_stands_for_one_segment(topic: str, is_of: bool) -> None:
    assert _is_of(topic, "info/devices/*") is is_of
