"""What each browser gets, and when."""

from __future__ import annotations

from typing import Any

import pytest

from labspine.gateway.access import Session
from labspine.gateway.live import LiveModel
from labspine.gateway.pace import LIMIT_ROWS, UNREAD_S, BrowserPace, Bucket
from labspine.messages import ScanMessage, ScanStatusMessage


def model_with(points: int, scan_id: str = "s", at: float = 1.0, model: LiveModel | None = None) -> LiveModel:
    """A model that shows a scan with so many points."""
    model = model or LiveModel("epoch")
    model.scan_status(ScanStatusMessage(scan_id=scan_id, status="open", info={}, timestamp=at))
    for i in range(points):
        add(model, i, scan_id)
    return model


def add(model: LiveModel, number: int, scan_id: str = "s") -> None:
    """Add a point."""
    data = {"x": {"x": {"value": number, "timestamp": 1.0}}}
    model.scan_segment(ScanMessage(point_id=number, scan_id=scan_id, data=data), 0.0)


def browser(model: LiveModel, **said: Any) -> BrowserPace:
    """A browser that has said what it has."""
    pace = BrowserPace(Session("me", 1e12))
    pace.resume(model, **{"epoch": None, "scan_id": None, "have": 0, **said})
    return pace


def points_of(update: dict[str, Any] | None) -> list[int]:
    """The point numbers of an update."""
    assert update is not None
    return update["points"]["point_ids"] if update["points"] else []


def test_nothing_is_sent_before_the_browser_has_spoken() -> None:
    assert BrowserPace(Session("me", 1e12)).next_update(model_with(3), 0.0, 0.0) is None


def test_one_update_is_on_its_way_and_the_next_holds_everything_since() -> None:
    model = model_with(3)
    pace = browser(model)
    assert points_of(pace.next_update(model, 0.0, 0.0)) == [0, 1, 2]
    for i in range(3, 10):
        add(model, i)
        assert pace.next_update(model, 0.0, i * 0.05) is None
    pace.acknowledge()
    assert points_of(pace.next_update(model, 0.0, 1.0)) == list(range(3, 10))
    pace.acknowledge()
    assert pace.next_update(model, 0.0, 1.1) is None


def test_the_state_comes_each_second_without_changes() -> None:
    model = model_with(1)
    pace = browser(model)
    pace.next_update(model, 0.0, 0.0)
    pace.acknowledge()
    assert pace.next_update(model, 0.0, 0.9) is None
    update = pace.next_update(model, 0.0, 1.0)
    assert update is not None
    assert update["points"] is None


def test_a_large_scan_comes_in_pieces() -> None:
    model = model_with(2 * LIMIT_ROWS + 5)
    pace = browser(model)
    sizes = []
    for n in range(3):
        sizes.append(len(points_of(pace.next_update(model, 0.0, float(n)))))
        pace.acknowledge()
    assert sizes == [LIMIT_ROWS, LIMIT_ROWS, 5]


def test_a_browser_that_was_away_gets_only_what_is_missing() -> None:
    model = model_with(10)
    pace = browser(model, epoch="epoch", scan_id="s", have=7)
    assert points_of(pace.next_update(model, 0.0, 0.0)) == [7, 8, 9]


@pytest.mark.parametrize(
    "said",
    [
        {"epoch": "other", "scan_id": "s", "have": 7}, {"epoch": "epoch", "scan_id": "t", "have": 7},
        {"epoch": "epoch", "scan_id": "s", "have": -1}, {"epoch": "epoch", "scan_id": "s", "have": True},
        {"epoch": "epoch", "scan_id": "s", "have": "7"}, {"epoch": ["epoch"], "scan_id": {}, "have": None},
    ],
)  # fmt: skip
def test_a_browser_of_another_time_or_with_nonsense_gets_everything(said: dict[str, Any]) -> None:
    model = model_with(3)
    assert points_of(browser(model, **said).next_update(model, 0.0, 0.0)) == [0, 1, 2]


def test_a_browser_that_claims_more_than_there_is_gets_nothing_twice() -> None:
    model = model_with(3)
    pace = browser(model, epoch="epoch", scan_id="s", have=10**9)
    assert points_of(pace.next_update(model, 0.0, 0.0)) == []


def test_a_new_scan_starts_at_its_first_point() -> None:
    model = model_with(5)
    pace = browser(model)
    pace.next_update(model, 0.0, 0.0)
    pace.acknowledge()
    model_with(2, "t", 2.0, model)
    update = pace.next_update(model, 0.0, 0.1)
    assert points_of(update) == [0, 1]
    assert update is not None
    assert update["points"]["scan_id"] == "t"  # type: ignore[index]


def test_who_does_not_read_is_stuck_and_gets_nothing_more() -> None:
    model = model_with(1)
    pace = browser(model)
    pace.next_update(model, 0.0, 0.0)
    assert not pace.is_stuck(UNREAD_S)
    assert pace.is_stuck(UNREAD_S + 1)


def test_the_bucket_allows_a_burst_and_then_the_rate() -> None:
    bucket = Bucket(rate=10.0, burst=30.0)
    assert sum(bucket.take(0.0) for _ in range(100)) == 30
    assert bucket.refused == 70
    assert sum(bucket.take(1.0) for _ in range(100)) == 10
