"""``labspine get``: the last message of an endpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InvalidArgument
from .context import JsonOption, UrlOption, connected, console, say_json
from .places import ProfileOption, chosen_place


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("get")(get_message)


def get_message(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint, as in: scan_status, device_read")],
    names: Annotated[list[str] | None, typer.Argument(help="The names in its channel, as in: x")] = None,
    profile: ProfileOption = "seed",
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last message of an endpoint."""
    info = chosen_place(endpoint, names)
    operation = "get_last" if "get_last" in info.message_op else "get"
    info.require(operation)
    with connected(url, name="get", profile=profile) as lab:
        bus = lab.connector
        message = bus.get_last(info) if operation == "get_last" else bus.get(info)
    if message is None:
        raise InvalidArgument(f"nothing has been said on {info.endpoint}")
    if as_json:
        say_json(message)
    else:
        console().print(message)
