"""``labspine services`` and ``labspine call``: who serves procedures, and calling one."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidArgument
from .context import JsonOption, UrlOption, console, say, say_json

if TYPE_CHECKING:
    from ..service import Rpc

_LONGEST_TEXT = 60


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("services")(services)
    app.command("call", context_settings={"ignore_unknown_options": True})(call)


def services(
    name: Annotated[str | None, typer.Argument(help="Show the procedures of this service.")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the services with their instances and load; or the procedures of one."""
    with _client(url, "services") as rpc:
        if name is not None:
            _show_procedures(rpc, name, as_json=as_json)
            return
        found = rpc.instances()
    if as_json:
        for one in found:
            say_json({"service": one.service, "instance": one.instance, **one.facts})
        return
    if not found:
        say("no services are there now")
        return
    rows = [
        (
            one.service,
            one.instance,
            str(one.facts.get("version") or ""),
            _since(one.facts.get("since_utc_s")),
            *(str(one.facts.get(word, "")) for word in ("running", "calls", "errors")),
            str(one.facts.get("health") or "well")[:_LONGEST_TEXT],
        )
        for one in found
    ]
    _print_table(("service", "instance", "version", "up", "running", "calls", "errors", "health"), rows)


def _show_procedures(rpc: Rpc, name: str, *, as_json: bool) -> None:
    found = rpc.info(name)["procedures"]
    if as_json:
        for one in found:
            say_json(one)
        return
    rows = [(one["signature"], one["doc"].partition("\n")[0]) for one in found]
    _print_table(("procedure", "what it does"), rows)


def _since(since_utc_s: object) -> str:
    if not isinstance(since_utc_s, (int, float)) or not since_utc_s:
        return ""
    seconds = max(0, int(time.time() - since_utc_s))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _print_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)


def call(
    procedure: Annotated[str, typer.Argument(help="Service and procedure, as in: chiller.setpoint")],
    words: Annotated[
        list[str] | None,
        typer.Argument(help="Arguments as JSON or text, by position or by name, as in: 18.5 ramp=2"),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Longest wait in seconds.")] = 10.0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a service that is not there yet.")] = False,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call a procedure of a service, and print its result; several results are printed one a line."""
    service, dot, name = procedure.rpartition(".")
    if not dot or not service or not name:
        raise InvalidArgument(f'"{procedure}": write service and procedure, as in chiller.setpoint')
    args, kwargs = _arguments(words or [])
    with _client(url, "call", timeout_s=timeout, patient=wait) as rpc:
        known = {one["name"]: one for one in rpc.info(service)["procedures"]}
        if known.get(name, {}).get("stream"):
            for result in rpc.stream(service, name, *args, **kwargs):
                _show(result, as_json=as_json)
        else:
            _show(rpc.call_service(service, name, *args, **kwargs), as_json=as_json)


def _arguments(words: list[str]) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if equals and name.isidentifier():
            kwargs[name] = _value(text)
        elif kwargs:
            raise InvalidArgument(f'"{word}": arguments by position come before those by name')
        else:
            args.append(_value(word))
    return args, kwargs


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(result: object, *, as_json: bool) -> None:
    if as_json or isinstance(result, (list, dict)):
        say_json(result)
    elif result is not None:
        say(str(result))


def _client(url: str | None, verb: str, **options: Any) -> Rpc:
    from ..connector import connect
    from ..lab.discovery import resolve_url
    from ..service import Rpc

    return Rpc(connect(resolve_url(url), name=f"labspine-{verb}-{os.getpid()}"), **options)
