"""``labspine tail``: print what is said on an endpoint, as it is said."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Annotated

import typer

from .context import JsonOption, UrlOption, connected, console, say_json, warn
from .places import ProfileOption, chosen_places

if TYPE_CHECKING:
    from ..connector import MessageObject


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("tail")(tail)


def tail(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint, as in: scan_segment, device_read")],
    names: Annotated[
        list[str] | None,
        typer.Argument(help="The names in its channel; * and ? are wildcards, what is left out is any."),
    ] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="What is in the history first.")] = False,
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="End after that many messages.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.0, help="End after that many seconds of silence.")
    ] = None,
    profile: ProfileOption = "seed",
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the messages of an endpoint, or of a pattern, until Ctrl-C; a gap in the delivery is told."""
    info = chosen_places(endpoint, names)
    info.require("register")
    arrived: queue.SimpleQueue[MessageObject] = queue.SimpleQueue()
    with connected(url, name="tail", profile=profile) as lab:
        if info.is_pattern:
            lab.connector.register(patterns=info, cb=arrived.put, from_start=from_start)
        else:
            lab.connector.register(info, cb=arrived.put, from_start=from_start)
        _print_all(arrived, count=count, timeout_s=timeout, as_json=as_json)


def _print_all(
    arrived: queue.SimpleQueue[MessageObject], *, count: int | None, timeout_s: float | None, as_json: bool
) -> None:
    printed = 0
    out = console()
    while count is None or printed < count:
        try:
            item = arrived.get(timeout=timeout_s)
        except queue.Empty:
            warn(f"no message for {timeout_s:g} s")
            return
        printed += 1
        if as_json:
            say_json({"topic": item.topic, "received_utc_s": time.time(), "value": item.value})
        else:
            out.print(f"{time.strftime('%H:%M:%S')} {item.topic} {item.value}", markup=False, soft_wrap=True)
