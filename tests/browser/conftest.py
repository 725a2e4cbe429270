"""A real browser, a real gateway and a real broker for the tests of the page."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from labspine import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.gateway import Gateway
from labspine.ids import new_uid
from labspine.messages import (
    BECStatus,
    ScanMessage,
    ScanQueueModificationMessage,
    ScanStatusMessage,
    StatusMessage,
)

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
KEY = "a-key-for-the-browser-tests"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium, headless; Playwright holds an event loop in this thread until the module ends."""
    if not CHROMIUM.exists():
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS, headless=True)
        yield browser
        browser.close()


@dataclass
class Visit:
    """An open page and what went on in it."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Collect errors and requests."""

        def said(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.errors.append(message.text)

        def asked(request: Request) -> None:
            self.requests.append(request.url)

        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", asked)
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))

    def text(self, element: str) -> str:
        """The text of an element by its id."""
        return self.page.locator(f"#{element}").inner_text()

    def points(self) -> list[int]:
        """The numbers of the points that the page has, in its order."""
        found = self.page.evaluate("Array.from(window.labspine.store.ids.view())")
        return [int(number) for number in found]

    def wait(self, condition: str, timeout_s: float = 10.0) -> None:
        """Wait until a JavaScript condition holds."""
        # Not wait_for_function: it evaluates text inside the page, which the page's security policy forbids.
        deadline_s = time.monotonic() + timeout_s
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline_s, f"not true within {timeout_s:g} s: {condition}"
            self.page.wait_for_timeout(20)

    def wait_points(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait until the page has so many points and has drawn them."""
        ours = "window.labspine"
        drawn = f"{ours}.drawn.version === {ours}.store.version"
        self.wait(f"{ours} && {ours}.store.length === {count} && {drawn}", timeout_s)

    def wait_text(self, element: str, text: str, timeout_s: float = 10.0) -> None:
        """Wait until an element contains a text."""
        self.wait(f"document.getElementById('{element}').textContent.includes('{text}')", timeout_s)


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Open pages, each in a browser profile of its own."""
    contexts = []

    def open_page(url: str, **options: Any) -> Visit:
        context = chromium.new_context(viewport={"width": 1200, "height": 760}, **options)
        contexts.append(context)
        context.set_default_timeout(10_000)
        found = Visit(context.new_page())
        found.watch()
        found.page.goto(url)
        return found

    yield open_page
    for context in contexts:
        context.close()


class PlayedScanServer:
    """Says on the bus what a scan server says, at the moments that a test wants."""

    def __init__(self, broker: str) -> None:
        self.connector = RedisConnector(broker, name="played-scan-server")
        self.heard: list[ScanQueueModificationMessage] = []
        self.scan_id = ""
        self._fields: dict[str, Any] = {}
        self._silent = threading.Event()
        self._thread: threading.Thread | None = None

    def live(self) -> None:
        """Give signs of life, and listen to requests."""
        self.connector.register(
            MessageEndpoints.scan_queue_modification_request(), cb=lambda m: self.heard.append(m.value)
        )
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self) -> None:
        endpoint = MessageEndpoints.service_status("scan_server")
        message = StatusMessage(name="scan_server", status=BECStatus.RUNNING, info={})
        while not self._silent.is_set():
            self.connector.set_and_publish(endpoint, message, expire_s=3.0)
            self._silent.wait(0.5)

    def fall_silent(self) -> None:
        """Give no more signs of life."""
        self._silent.set()
        if self._thread is not None:
            self._thread.join(3.0)

    def begin(self, num_points: int, **fields: Any) -> str:
        """Open a scan."""
        self.scan_id = new_uid()
        self._fields = {
            "scan_number": 7, "scan_name": "scan", "num_points": num_points, "scan_report_devices": ["x"],
            **fields,
        }  # fmt: skip
        self.say("open")
        return self.scan_id

    def say(self, status: Literal["open", "paused", "closed", "aborted"], **fields: Any) -> None:
        """Announce a status of the scan."""
        message = ScanStatusMessage(
            scan_id=self.scan_id, status=status, **{"info": {}, **self._fields, **fields}
        )
        self.connector.set_and_publish(MessageEndpoints.scan_status(), message)

    def point(self, number: int, values: dict[str, float]) -> None:
        """Announce one point: a value for each device."""
        data = {name: {name: {"value": v, "timestamp": 1.7e9 + number}} for name, v in values.items()}
        message = ScanMessage(point_id=number, scan_id=self.scan_id, data=data)
        self.connector.send(MessageEndpoints.scan_segment(), message)

    def store(self, number: int, values: dict[str, float]) -> None:
        """Keep one point under its name without announcing it."""
        data = {name: {name: {"value": v, "timestamp": 1.7e9 + number}} for name, v in values.items()}
        message = ScanMessage(point_id=number, scan_id=self.scan_id, data=data)
        self.connector.set(MessageEndpoints.public_scan_segment(self.scan_id, number), message)

    def points(self, numbers: range, count: int = 101) -> None:
        """Announce points of a peak at 0.5 with a width of one."""
        for number in numbers:
            x = -5.0 + 10.0 * number / (count - 1)
            self.point(number, {"x": x, "det": 1000.0 * math.exp(-((x - 0.5) ** 2) / 2.0), "i0": 5.0})

    def close(self) -> None:
        """End."""
        self.fall_silent()
        self.connector.shutdown()


@pytest.fixture
def played() -> Iterator[Callable[[str], PlayedScanServer]]:
    """Make played scan servers for any broker; they are silent at first."""
    servers = []

    def make(broker: str) -> PlayedScanServer:
        servers.append(PlayedScanServer(broker))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def scan_server(fresh_broker_url: str) -> Iterator[PlayedScanServer]:
    """Play a scan server on an empty broker."""
    server = PlayedScanServer(fresh_broker_url)
    server.live()
    yield server
    server.close()


@pytest.fixture
def gateway(fresh_broker_url: str) -> Iterator[Gateway]:
    """Serve the page for that broker."""
    with Gateway(fresh_broker_url, port=0, key=KEY) as running:
        yield running
