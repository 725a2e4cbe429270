"""``labspine set`` and ``labspine pub``: store a message, or say it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidArgument, InvalidOperation
from .context import JsonOption, UrlOption, connected, say, say_json
from .places import ProfileOption, chosen_place, message_from_json

if TYPE_CHECKING:
    from ..endpoints import EndpointInfo
    from ..messages import Message

EndpointWord = Annotated[str, typer.Argument(help="Name of the endpoint, as in: scan_number, device_read")]
Words = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAMES]... JSON",
        help="The names in its channel, then the message as JSON; - reads the JSON from standard input.",
    ),
]
ExpireOption = Annotated[float | None, typer.Option("--expire", help="Seconds until the value vanishes.")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("set")(set_message)
    app.command("pub")(publish_message)


def set_message(
    endpoint: EndpointWord,
    words: Words,
    expire: ExpireOption = None,
    profile: ProfileOption = "seed",
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store a message; who listens is not told (see pub)."""
    info, message = _said(endpoint, words)
    _require(info, "set", "labspine pub says it" if "register" in info.message_op else "")
    with connected(url, name="set", profile=profile) as lab:
        lab.connector.set(info, message, expire_s=expire)
    _tell(info, "set", as_json=as_json)


def publish_message(
    endpoint: EndpointWord,
    words: Words,
    expire: ExpireOption = None,
    profile: ProfileOption = "seed",
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say a message: publish it, publish and store it, or add it to a stream, as the endpoint allows."""
    info, message = _said(endpoint, words)
    allowed = [verb for verb in ("set_and_publish", "send", "xadd") if verb in info.message_op]
    if not allowed:
        _require(info, "publish", "labspine set stores it" if "set" in info.message_op else "")
    if expire is not None and allowed[0] == "send":
        raise InvalidArgument(f"{info.name} stores nothing that could vanish: leave --expire out")
    heard: int | None = None
    with connected(url, name="pub", profile=profile) as lab:
        if allowed[0] == "set_and_publish":
            lab.connector.set_and_publish(info, message, expire_s=expire)
        elif allowed[0] == "send":
            heard = lab.connector.send(info, message)
        else:
            lab.connector.xadd(info, message, expire_s=expire)
    _tell(info, allowed[0], as_json=as_json, heard=heard)


def _said(endpoint: str, words: list[str]) -> tuple[EndpointInfo[Any], Message]:
    *names, text = words
    info = chosen_place(endpoint, names)
    return info, message_from_json(info, sys.stdin.read() if text == "-" else text)


def _require(info: EndpointInfo[Any], operation: str, advice: str) -> None:
    try:
        info.require(operation)
    except InvalidOperation as error:
        raise InvalidOperation(f"{error}{'; ' if advice else ''}{advice}") from None


def _tell(info: EndpointInfo[Any], done: str, *, as_json: bool, heard: int | None = None) -> None:
    if as_json:
        say_json({"endpoint": info.name, "topic": info.endpoint, "done": done, "heard_by": heard})
    else:
        say(f"{done} on {info.endpoint}" + (f", heard by {heard}" if heard is not None else ""))
