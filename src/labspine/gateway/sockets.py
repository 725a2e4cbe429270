"""The Socket.IO side: who listens, what they are sent, and the buttons that they press."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import socketio

from labspine.clock import mono_s, utc_s
from labspine.errors import LabspineError, shown
from labspine.ids import new_token
from labspine.messages import ScanQueueModificationMessage

from .access import Session
from .commands import ACTIONS, Action, reasons, request_for
from .live import LiveModel
from .pace import PERIOD_S, BrowserPace
from .web import HANG_UP, SESSION

__all__ = ["MOST_BYTES_IN", "Sockets"]

MOST_BYTES_IN = 16 * 1024
"""Largest message from a browser; what it has to say fits in a hundred bytes."""

Answer = dict[str, object]
HangUp = Callable[[], Awaitable[None]]
SendRequest = Callable[[ScanQueueModificationMessage], Awaitable[int]]
_log = logging.getLogger(__name__)
_MOST_REFUSED = 200
_DEADLINE_S = 5.0
_GOODBYE_S = 0.2
_SAID: dict[Action, str] = {
    "pause": "Pause requested: the scan stops after the point that is being measured.",
    "resume": "Resume requested.",
    "abort": "Abort requested.",
}


class Sockets:
    """
    Serve the browsers that are connected.

    Args:
        model: The present picture.
        send_request: Publishes a request for the scan server and tells how many receivers it had.
        origins: Origins whose scripts may connect.
    """

    def __init__(self, model: LiveModel, send_request: SendRequest, *, origins: list[str]) -> None:
        self._model = model
        self._send_request = send_request
        self._browsers: dict[str, BrowserPace] = {}
        self._hang_up: dict[str, HangUp] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self.server = socketio.AsyncServer(
            async_mode="asgi",
            transports=["websocket"],
            cors_allowed_origins=origins,
            max_http_buffer_size=MOST_BYTES_IN,
            ping_interval=10,
            ping_timeout=5,
            json=_Json,
            logger=_silent,
            engineio_logger=_silent,
        )
        self.server.on("connect", self._connected)
        self.server.on("disconnect", self._disconnected)
        self.server.on("resume", self._answering(self._resume))
        self.server.on("command", self._answering(self._command))
        self.server.on("*", self._unknown)

    def __len__(self) -> int:
        """Count the browsers that are connected."""
        return len(self._browsers)

    async def serve(self) -> None:
        """Send updates until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_S)
            for sid, browser in list(self._browsers.items()):
                await self._serve_one(sid, browser, mono_s())

    async def close(self) -> None:
        """Let all browsers go; they try to come back by themselves."""
        for sid in list(self._browsers):
            self._send_away(sid)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2 * _GOODBYE_S)

    def _send_away(self, sid: str) -> None:
        goodbye = asyncio.create_task(self._say_goodbye(sid, self._hang_up.pop(sid, None)))
        self._browsers.pop(sid, None)
        self._leaving.add(goodbye)
        goodbye.add_done_callback(self._left)

    async def _say_goodbye(self, sid: str, hang_up: HangUp | None) -> None:
        # The library would leave the link open, or wait until all was read.
        async with asyncio.timeout(_GOODBYE_S):
            await self.server.disconnect(sid)
            if hang_up is not None:
                await hang_up()

    def _left(self, goodbye: asyncio.Task[None]) -> None:
        self._leaving.discard(goodbye)
        if not goodbye.cancelled() and not isinstance(goodbye.exception(), TimeoutError | None):
            _log.warning("a browser could not be sent away: %r", goodbye.exception())

    async def _serve_one(self, sid: str, browser: BrowserPace, now_mono_s: float) -> None:
        now_utc_s = utc_s()
        if browser.session.expires_utc_s <= now_utc_s or browser.is_stuck(now_mono_s):
            self._send_away(sid)
            return
        update = browser.next_update(self._model, now_utc_s, now_mono_s)
        if update is not None:

            def read(*_: object) -> None:
                browser.acknowledge()

            await self.server.emit("update", update, to=sid, callback=read)

    # --- what browsers say

    async def _connected(self, sid: str, environ: dict[str, Any], _auth: object = None) -> None:
        scope = environ["asgi.scope"]
        session = scope.get(SESSION)
        if not isinstance(session, Session):
            raise socketio.exceptions.ConnectionRefusedError("no session")
        self._browsers[sid] = BrowserPace(session)
        self._hang_up[sid] = scope[HANG_UP]

    async def _disconnected(self, sid: str, *_reason: object) -> None:
        self._browsers.pop(sid, None)
        self._hang_up.pop(sid, None)

    async def _resume(self, browser: BrowserPace, said: dict[str, object]) -> Answer:
        browser.resume(
            self._model, epoch=said.get("epoch"), scan_id=said.get("scan_id"), have=said.get("have")
        )
        return {"ok": True}

    async def _command(self, browser: BrowserPace, said: dict[str, object]) -> Answer:
        action = next((name for name in ACTIONS if name == said.get("action")), None)
        if action is None:
            return _problem("E-ARG", f"no such action; there are {', '.join(ACTIONS)}")
        now = self._model.situation(mono_s())
        if now.scan_id is None or said.get("scan_id") != now.scan_id:
            return _problem("E-OP", "Another scan is shown by now; nothing was sent.")
        why_not = reasons(now)[action]
        if why_not is not None:
            return _problem("E-OP", why_not)
        request = request_for(action, now.scan_id, pressed_by=browser.session.name)
        async with asyncio.timeout(_DEADLINE_S):
            receivers = await self._send_request(request)
        if receivers == 0:
            return _problem(
                "E-NOSERVER", "Nobody received the request: no scan server listens on this broker."
            )
        return {"ok": True, "text": _SAID[action]}

    async def _unknown(self, event: str, sid: str, *_said: object) -> Answer:
        browser = self._browsers.get(sid)
        if browser is not None and not browser.bucket.take(mono_s()):
            return self._too_many(sid, browser)
        problem = _problem("E-ARG", f"no such event: {shown(event)}")
        await self.server.emit("problem", problem, to=sid)
        return problem

    def _answering(
        self, handler: Callable[[BrowserPace, dict[str, object]], Awaitable[Answer]]
    ) -> Callable[..., Awaitable[Answer]]:
        """Wrap a handler so that each event gets exactly one answer, whatever happens inside."""

        async def answer(sid: str, *said: object) -> Answer:
            browser = self._browsers.get(sid)
            if browser is None:
                return _problem("E-PERM", "not connected")
            if not browser.bucket.take(mono_s()):
                return self._too_many(sid, browser)
            if len(said) != 1 or not isinstance(said[0], dict):
                return _problem("E-ARG", "this event takes one object")
            try:
                return await handler(browser, said[0])
            except LabspineError as error:
                return _problem(error.code, str(error))
            except TimeoutError:
                return _problem("E-TIME", f"the broker did not answer within {_DEADLINE_S:.0f} s")
            except Exception:
                reference = new_token(4)
                _log.exception("a browser's event failed, reference %s", reference)
                return _problem("E-LAB", f"the gateway failed; reference {reference} in its log")

        return answer

    def _too_many(self, sid: str, browser: BrowserPace) -> Answer:
        if browser.bucket.refused > _MOST_REFUSED:
            self._send_away(sid)
        return _problem("E-SIZE", "too many events; wait a second")


class _Json:
    """What python-socketio needs of a JSON module; a batch of 2,000 points takes it a tenth of the time."""

    @staticmethod
    def dumps(value: object, **_: object) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_: object) -> object:
        try:
            return msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise ValueError(f"not JSON: {error}") from None


def _problem(code: str, text: str) -> Answer:
    return {"ok": False, "code": code, "text": text}


# python-socketio logs foreign payloads and writes to stderr by default; the errors that matter are ours.
_silent = logging.getLogger(f"{__name__}.library")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False
_silent.setLevel(logging.CRITICAL)
