"""The HTTP side: the files of the page, the exchange of the key for a session, and the guard in front."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from .access import Access, Session

__all__ = ["HANG_UP", "MOST_HEADER_BYTES", "SESSION", "SOCKET_PATH", "Guard", "pages"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SOCKET_PATH = "/socket.io/"
SESSION = "labspine.session"
HANG_UP = "labspine.hang_up"
"""What the guard adds to the scope of a socket: who it is, and how to end it without the library's help."""
MOST_HEADER_BYTES = 16 * 1024
PAGE = Path(__file__).parent / "page"

# Everything comes from this server, and no script stands in a document: nothing foreign can run or be called.
_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]


def pages(access: Access) -> Starlette:
    """
    Make the application that serves the page.

    Args:
        access: Who may come in.

    Returns:
        An ASGI application; put a `Guard` in front.
    """

    async def index(request: Request) -> Response:
        key = request.query_params.get("k")
        if key is not None:
            token = access.exchange(key)
            if token is None:
                return _refusal()
            # The redirect takes the key out of the address bar and the history.
            response: Response = RedirectResponse("/", status_code=303)
            response.set_cookie(access.cookie, token, path="/", httponly=True, samesite="lax")
        elif access.session(request.headers.get("cookie")) is None:
            return _refusal()
        else:
            response = FileResponse(PAGE / "index.html", media_type="text/html")
        response.headers["cache-control"] = "no-store"
        return response

    async def session(request: Request) -> Response:
        is_known = access.session(request.headers.get("cookie")) is not None
        return JSONResponse(
            {"session": is_known}, status_code=200 if is_known else 401, headers={"cache-control": "no-store"}
        )

    return Starlette(
        routes=[
            Route("/", index, methods=["GET"]),
            Route("/session", session, methods=["GET"]),
            Mount("/static", StaticFiles(directory=PAGE)),
        ]
    )


class Guard:
    """
    Let in only requests that name this host and, for the socket, come from this page with a session.

    A socket is refused before it is accepted, so nobody without a session can hold one open.

    Args:
        inner: The application behind.
        access: Who may come in.
        most_sockets: How many sockets may be open at once.
    """

    def __init__(self, inner: App, access: Access, *, most_sockets: int = 32) -> None:
        self._inner = inner
        self._access = access
        self._most_sockets = most_sockets
        self._open_sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or socket (ASGI)."""
        if scope["type"] == "http":
            refusal = self._refused_request(scope)
            await (refusal or self._inner)(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            session = self._socket_session(scope)
            if session is None:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
                return
            self._open_sockets += 1
            try:
                ours = {SESSION: session, HANG_UP: partial(send, {"type": "websocket.close", "code": 1000})}
                await self._inner({**scope, **ours}, receive, send)
            finally:
                self._open_sockets -= 1

    def _socket_session(self, scope: Scope) -> Session | None:
        headers = _headers(scope["headers"])
        if (
            scope["path"] != SOCKET_PATH
            or not self._access.knows_host(headers.get("host"))
            or not self._access.knows_origin(headers.get("origin"))
            or self._open_sockets >= self._most_sockets
        ):
            return None
        return self._access.session(headers.get("cookie"))

    def _refused_request(self, scope: Scope) -> Response | None:
        size = sum(len(name) + len(value) for name, value in scope["headers"])
        if size + len(scope["path"]) + len(scope["query_string"]) > MOST_HEADER_BYTES:
            return PlainTextResponse("the address or the headers are too long\n", status_code=431)
        headers = _headers(scope["headers"])
        if not self._access.knows_host(headers.get("host")):
            return PlainTextResponse("this page does not answer under that name\n", status_code=421)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("only GET here\n", status_code=405, headers={"allow": "GET, HEAD"})
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return PlainTextResponse("no body here\n", status_code=413, headers={"connection": "close"})
        if scope["path"].startswith(SOCKET_PATH):
            return PlainTextResponse("only WebSocket here\n", status_code=400)
        return None


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        # Two Host or Origin headers contradict each other: joined, they match nothing.
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_HEADERS]}
        await send(message)

    return sending


def _refusal() -> Response:
    # One text for all reasons: a visitor learns nothing about what was nearly right.
    return FileResponse(
        PAGE / "refused.html", status_code=401, media_type="text/html", headers={"cache-control": "no-store"}
    )
