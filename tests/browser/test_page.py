"""What a person sees: a scan that is painted, states that are honest, buttons that work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labspine import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.gateway import Gateway
from labspine.messages import AlarmMessage, ErrorInfo, FileMessage

pytestmark = pytest.mark.browser
KEY = "a-key-for-the-browser-tests"
Visitor = Callable[..., Any]

INK = """
(() => {
  const canvas = document.querySelector("#plot canvas");
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  const name = getComputedStyle(document.documentElement).getPropertyValue("--curve").trim();
  const curve = [1, 3, 5].map((at) => parseInt(name.slice(at, at + 2), 16));
  const columns = new Set();
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const near = curve.every((value, k) => Math.abs(data[i + k] - value) < 40);
    if (near && data[i + 3] > 200) { count += 1; columns.add((i / 4) % width); }
  }
  return { count, columns: columns.size, width };
})()
"""


def ink(visit: Any) -> dict[str, int]:
    """Count the pixels of the curve's colour, and the columns in which there are any."""
    found = visit.page.evaluate(INK)
    return {name: int(value) for name, value in found.items()}


def wait_until(condition: Callable[[], object], visit: Any, timeout_s: float = 10.0) -> None:
    """Wait with the browser's events going on."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        visit.page.wait_for_timeout(20)


def test_a_scan_is_painted_while_it_runs(gateway: Gateway, scan_server: Any, visit: Visitor) -> None:
    # Given an open page and no scan yet
    open_page = visit(gateway.url)
    open_page.wait_text("connection", "connected")
    assert open_page.text("scan-title") == "No scan yet"
    assert "k=" not in open_page.page.url
    empty = ink(open_page)
    # When half of a scan has run
    scan_server.begin(101, user_metadata={"sample": "LaB6"})
    scan_server.points(range(51))
    open_page.wait_points(51)
    # Then it is there in words and in pixels
    open_page.wait_text("scan-title", "#7 scan")
    assert "LaB6" in open_page.text("scan-sub")
    assert open_page.text("scan-status") == "running"
    open_page.wait_text("progress-text", "51 of 101 points · 50 %")
    half = ink(open_page)
    assert half["count"] > empty["count"] + 300
    assert half["columns"] > half["width"] // 2
    rows = open_page.page.locator("#points-body tr")
    assert rows.count() == 20
    assert rows.first.inner_text().split()[0] == "50"
    # When it is done
    scan_server.points(range(51, 101))
    scan_server.say("closed")
    open_page.wait_text("scan-status", "done")
    open_page.wait_points(101)
    # Then the figures of the peak are right
    open_page.wait_text("peak-max", "1000")
    assert open_page.text("peak-at") == "0.5"
    assert float(open_page.text("peak-centre")) == pytest.approx(0.5, abs=1e-3)
    assert float(open_page.text("peak-fwhm")) == pytest.approx(2.3548, rel=2e-3)
    assert open_page.points() == list(range(101))
    # and nothing was asked from elsewhere, and nothing complained
    assert open_page.errors == []
    own = (gateway.address, gateway.address.replace("http://", "ws://"))
    assert open_page.requests
    assert [url for url in open_page.requests if not url.startswith(own)] == []


def test_a_page_that_is_opened_in_the_middle_shows_all_points(
    gateway: Gateway, scan_server: Any, visit: Visitor
) -> None:
    first = visit(gateway.url)
    scan_server.begin(101)
    scan_server.points(range(40))
    first.wait_points(40)
    second = visit(gateway.url)
    second.wait_points(40)
    scan_server.points(range(40, 60))
    for opened in (first, second):
        opened.wait_points(60)
        assert opened.points() == list(range(60))


def test_a_gateway_that_starts_in_the_middle_shows_all_points(
    fresh_broker_url: str, scan_server: Any, visit: Visitor
) -> None:
    scan_server.begin(101)
    scan_server.points(range(70))
    with Gateway(fresh_broker_url, port=0) as late:
        opened = visit(late.url)
        opened.wait_points(70)
        scan_server.points(range(70, 80))
        opened.wait_points(80)
        assert opened.points() == list(range(80))


def test_points_that_the_history_has_lost_are_found_by_name(
    fresh_broker_url: str, scan_server: Any, visit: Visitor
) -> None:
    # Given a scan of which the first half was only stored, never announced
    scan_server.begin(20)
    for number in range(10):
        scan_server.store(number, {"x": float(number), "det": 1.0})
    for number in range(10, 20):
        scan_server.point(number, {"x": float(number), "det": 1.0})
    with Gateway(fresh_broker_url, port=0) as late:
        opened = visit(late.url)
        opened.wait_points(20)
        assert opened.points() == list(range(20))


def test_after_a_restart_of_the_gateway_each_point_is_there_once(
    fresh_broker_url: str, scan_server: Any, visit: Visitor
) -> None:
    # Given a page on a gateway that goes away in the middle of a scan
    gateway = Gateway(fresh_broker_url, port=0, key=KEY)
    gateway.start()
    opened = visit(gateway.url)
    scan_server.begin(101)
    scan_server.points(range(30))
    opened.wait_points(30)
    gateway.stop()
    opened.wait_text("connection", "reconnecting")
    assert opened.page.locator("#abort").is_disabled()
    scan_server.points(range(30, 60))
    # When it comes back on the same port
    with Gateway(fresh_broker_url, port=gateway.port, key=KEY) as again:
        assert again.port == gateway.port
        opened.wait_points(60, timeout_s=15)
        scan_server.points(range(60, 70))
        opened.wait_points(70)
        # Then the same page goes on, with each point once
        assert opened.points() == list(range(70))
        opened.wait_text("connection", "connected")


def test_a_break_of_the_socket_brings_only_what_was_missed(
    gateway: Gateway, scan_server: Any, visit: Visitor
) -> None:
    opened = visit(gateway.url)
    scan_server.begin(101)
    scan_server.points(range(30))
    opened.wait_points(30)
    opened.page.context.set_offline(True)
    opened.page.evaluate("window.labspine.socket.socket.io.engine.close()")
    opened.wait_text("connection", "reconnecting")
    scan_server.points(range(30, 50))
    opened.page.evaluate("window.labspine.counted = 0")
    opened.page.evaluate(
        """window.labspine.socket.socket.on("update", (update) => {
             window.labspine.counted += update.points?.point_ids.length ?? 0;
           })"""
    )
    opened.page.context.set_offline(False)
    opened.wait_points(50, timeout_s=15)
    assert opened.page.evaluate("window.labspine.counted") == 20


def test_the_states_are_honest(broker_process: Any, visit: Visitor, played: Callable[[str], Any]) -> None:
    # Given a broker of our own, without a scan server
    with Gateway(broker_process.url, port=0) as gateway:
        opened = visit(gateway.url)
        opened.wait_text("connection", "no scan server")
        assert "No scan server has reported" in opened.text("notice")
        # When one appears
        server = played(broker_process.url)
        server.live()
        opened.wait_text("connection", "connected")
        server.begin(11)
        server.points(range(3))
        opened.wait_points(3)
        opened.wait("!document.getElementById('pause').disabled")
        # When it falls silent, it is missed after 3 s, and stopping can still be tried
        server.fall_silent()
        opened.wait_text("connection", "no scan server")
        assert opened.page.locator("#pause").is_disabled()
        assert "No scan server" in opened.text("why")
        assert not opened.page.locator("#abort").is_disabled()
        # When the broker dies
        server.close()
        broker_process.close()
        opened.wait_text("connection", "broker down")
        assert opened.page.locator("#abort").is_disabled()
        assert "broker" in opened.text("why")
        assert opened.points() == [0, 1, 2]


def test_the_page_starts_before_its_broker(tmp_path: Any, visit: Visitor) -> None:
    with Gateway(f"unix://{tmp_path}/none.sock", port=0) as gateway:
        opened = visit(gateway.url)
        opened.wait_text("connection", "broker down")


def test_a_session_that_ends_is_told_and_a_new_one_helps_all_tabs(
    fresh_broker_url: str, visit: Visitor
) -> None:
    with Gateway(fresh_broker_url, port=0, key=KEY, session_s=4.0) as gateway:
        opened = visit(gateway.url)
        opened.wait("window.labspine?.page.link === 'connected'")
        opened.wait_text("connection", "session ended")
        assert "Open the address" in opened.text("notice")
        opened.page.context.new_page().goto(gateway.url)
        opened.wait("window.labspine.page.link === 'connected'")


def test_the_wrong_key_shows_a_page_that_says_what_to_do(gateway: Gateway, visit: Visitor) -> None:
    opened = visit(gateway.address + "?k=wrong")
    assert "This page needs its key" in opened.page.content()
    assert opened.page.locator("#abort").count() == 0


def test_another_origin_cannot_open_the_socket(gateway: Gateway, visit: Visitor, tmp_path: Path) -> None:
    # Given a person who is logged in, and who opens another page of this machine in the same browser
    opened = visit(gateway.url)
    opened.wait_text("connection", "no scan server")
    with Gateway(f"unix://{tmp_path}/none.sock", port=0) as other:
        stranger = opened.page.context.new_page()
        stranger.goto(other.address + "static/favicon.svg")
        address = gateway.address.replace("http", "ws") + "socket.io/?EIO=4&transport=websocket"
        ended = stranger.evaluate(
            """(address) => new Promise((tell) => {
                 const socket = new WebSocket(address);
                 socket.onopen = () => tell("open");
                 socket.onerror = () => tell("refused");
               })""",
            address,
        )
    assert ended == "refused"


def test_the_buttons_send_what_they_say(gateway: Gateway, scan_server: Any, visit: Visitor) -> None:
    opened = visit(gateway.url)
    opened.wait_text("why", "No scan is running")
    assert all(opened.page.locator(f"#{name}").is_disabled() for name in ("pause", "resume", "abort"))
    scan_id = scan_server.begin(101)
    scan_server.points(range(10))
    opened.wait_points(10)
    # Pause
    opened.page.get_by_role("button", name="Pause").click()
    wait_until(lambda: len(scan_server.heard) == 1, opened)
    opened.wait_text("answer", "Pause requested")
    scan_server.say("paused")
    opened.wait_text("scan-status", "paused")
    assert opened.page.locator("#pause").is_disabled()
    # Resume
    opened.page.get_by_role("button", name="Resume").click()
    wait_until(lambda: len(scan_server.heard) == 2, opened)
    scan_server.say("open")
    opened.wait_text("scan-status", "running")
    # Abort asks first; no sends nothing, and gives the focus back
    opened.page.get_by_role("button", name="Abort…").click()
    assert "Abort scan 7 after 10 points?" in opened.text("confirm-text")
    opened.page.keyboard.press("Escape")
    assert opened.page.locator("#confirm").is_hidden()
    assert opened.page.evaluate("document.activeElement.id") == "abort"
    opened.page.get_by_role("button", name="Abort…").click()
    opened.page.get_by_role("button", name="Abort the scan").click()
    wait_until(lambda: len(scan_server.heard) == 3, opened)
    scan_server.say("aborted", reason="user")
    opened.wait_text("scan-status", "aborted by user")
    assert [(m.action, m.scan_id) for m in scan_server.heard] == [
        ("deferred_pause", scan_id), ("continue", scan_id), ("abort", scan_id),
    ]  # fmt: skip
    assert opened.errors == []


def test_a_request_that_nobody_hears_is_told(
    fresh_broker_url: str, gateway: Gateway, visit: Visitor, played: Any
) -> None:
    deaf = played(fresh_broker_url)
    deaf.begin(10)
    deaf.points(range(2))
    opened = visit(gateway.url)
    opened.wait_points(2)
    opened.page.get_by_role("button", name="Abort…").click()
    opened.page.get_by_role("button", name="Abort the scan").click()
    opened.wait_text("answer", "Nobody received the request")


def test_a_new_scan_replaces_the_old_one(gateway: Gateway, scan_server: Any, visit: Visitor) -> None:
    opened = visit(gateway.url)
    scan_server.begin(11, scan_number=1)
    scan_server.points(range(11), count=11)
    scan_server.say("closed")
    opened.wait_points(11)
    scan_server.begin(101, scan_number=2)
    opened.wait_text("scan-title", "#2")
    opened.wait_points(0)
    scan_server.points(range(5))
    opened.wait_points(5)
    assert opened.points() == list(range(5))


def test_a_single_point_and_no_number_at_all_are_no_trouble(
    gateway: Gateway, scan_server: Any, visit: Visitor
) -> None:
    opened = visit(gateway.url)
    scan_server.begin(3)
    opened.wait_text("scan-title", "#7")
    before = ink(opened)["count"]
    scan_server.point(0, {"x": 1.0, "det": 42.0})
    opened.wait_points(1)
    opened.wait_text("peak-max", "42")
    assert ink(opened)["count"] > before + 20
    scan_server.point(1, {"x": 2.0, "det": math.nan})
    scan_server.point(2, {"x": 3.0, "det": 43.0})
    opened.wait_points(3)
    opened.wait_text("peak-max", "43")
    assert "\u2013" in opened.page.locator("#points-body tr").nth(1).inner_text()
    assert opened.errors == []


def test_there_and_back_is_drawn_over_the_whole_width(
    gateway: Gateway, scan_server: Any, visit: Visitor
) -> None:
    # Given a scan that goes from -5 to 5 and back: drawn as one ascending curve, half of it would be cut off
    opened = visit(gateway.url)
    scan_server.begin(101)
    xs = [-5 + 0.2 * i for i in range(51)] + [5 - 0.2 * i for i in range(1, 51)]
    for number, x in enumerate(xs):
        scan_server.point(number, {"x": x, "det": 100 * math.exp(-x * x) + (20 if number > 50 else 0)})
    opened.wait_points(101)
    opened.wait_text("peak-of", "sweep 2")
    shown = ink(opened)
    assert shown["columns"] > 0.8 * shown["width"]
    assert opened.text("peak-max") == "120"


def test_what_is_drawn_can_be_chosen(gateway: Gateway, scan_server: Any, visit: Visitor) -> None:
    opened = visit(gateway.url)
    scan_server.begin(101)
    scan_server.points(range(20))
    opened.wait_points(20)
    opened.page.select_option("#y-select", "i0")
    opened.page.select_option("#x-select", "point")
    opened.wait_text("peak-of", "i0 against point")
    assert opened.text("peak-max") == "5"
    opened.page.mouse.move(500, 400)
    scan_server.points(range(20, 25))
    opened.wait_points(25)
    assert opened.page.locator("#y-select").input_value() == "i0"


def test_file_and_alarm_are_shown(gateway: Gateway, scan_server: Any, visit: Visitor) -> None:
    opened = visit(gateway.url)
    opened.wait_text("connection", "connected")
    connector: RedisConnector = scan_server.connector
    done = FileMessage(file_path="/data/0007_scan.nxs", done=True, successful=True, is_master_file=True)
    connector.set_and_publish(MessageEndpoints.file_event("master"), done)
    opened.wait_text("file", "/data/0007_scan.nxs")
    text = "<b>x</b> did not arrive"
    error = ErrorInfo(error_message=text, exception_type="DeviceError", device="x")
    connector.set_and_publish(MessageEndpoints.alarm(), AlarmMessage(severity=2, info=error))
    opened.wait_text("alarm", text)
    assert opened.page.locator("#alarm b").count() == 0


def test_it_fits_on_a_phone(gateway: Gateway, scan_server: Any, visit: Visitor) -> None:
    opened = visit(gateway.url)
    opened.page.set_viewport_size({"width": 390, "height": 844})
    scan_server.begin(101)
    scan_server.points(range(30))
    opened.wait_points(30)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert ink(opened)["columns"] > 150
    assert opened.page.locator("#progress").bounding_box()["height"] >= 6


def test_ten_thousand_points_arrive_in_batches(gateway: Gateway, scan_server: Any, visit: Visitor) -> None:
    opened = visit(gateway.url)
    opened.wait_text("connection", "connected")
    scan_server.begin(10_000)
    opened.wait_text("scan-title", "#7")
    opened.page.evaluate("window.labspine.updates = 0")
    opened.page.evaluate(
        "window.labspine.socket.socket.on('update', () => { window.labspine.updates += 1; })"
    )
    begun_s = time.monotonic()
    scan_server.points(range(10_000), count=10_000)
    opened.wait_points(10_000, timeout_s=20)
    took_s = time.monotonic() - begun_s
    assert opened.page.evaluate("window.labspine.updates") <= 20 * took_s + 2
    assert opened.points() == list(range(10_000))
