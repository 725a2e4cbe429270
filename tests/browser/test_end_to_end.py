"""The main job, seen from the page: a real scan server runs a real scan, and a person steers it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labspine import RedisConnector
from labspine.gateway import Gateway
from labspine.lab import LabHost, connect, simulated_beamline

pytestmark = pytest.mark.browser


def test_a_person_follows_pauses_resumes_and_aborts_a_scan(
    fresh_broker_url: str, tmp_path: Path, visit: Callable[..., Any]
) -> None:
    # Given a whole lab with a page
    pages: list[Gateway] = []

    def make_page(connector: RedisConnector) -> Gateway:
        pages.append(Gateway(connector, port=0))
        return pages[0]

    host = LabHost(fresh_broker_url, simulated_beamline(), data_dir=tmp_path, extras=[make_page])
    with host, connect(fresh_broker_url) as lab:
        opened = visit(pages[0].url)
        opened.wait_text("connection", "connected")
        # When a scan is requested
        report = lab.scans.scan(lab.devices.det, lab.devices.x, -5, 5, 400)
        # Then it is seen
        opened.wait("window.labspine.store.length >= 5")
        opened.wait_text("scan-status", "running")
        assert opened.page.locator("#x-select").input_value() == "x"
        assert opened.page.locator("#y-select").input_value() == "det"
        opened.wait_text("progress-text", "of 400 points")
        # Pause: no more points come
        opened.page.get_by_role("button", name="Pause").click()
        opened.wait_text("scan-status", "paused")
        assert report.status == "paused"
        points = opened.points()
        opened.wait_text("progress-text", "paused")
        assert opened.points() == points == list(range(len(points)))
        # Resume: they go on
        opened.page.get_by_role("button", name="Resume").click()
        opened.wait_text("scan-status", "running")
        opened.wait(f"window.labspine.store.length > {len(points)}")
        # Abort: it ends, and the file is named
        opened.page.get_by_role("button", name="Abort…").click()
        opened.page.get_by_role("button", name="Abort the scan").click()
        opened.wait_text("scan-status", "aborted")
        report.wait(10.0)
        assert report.status == "aborted"
        opened.wait_text("file", str(tmp_path))
        assert opened.points() == list(range(len(opened.points())))
        assert opened.errors == []
