"""``labspine get``: the last message of an endpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InvalidArgument
from .context import JsonOption, UrlOption, connected, console, say_json


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("get")(get_message)


def get_message(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint, as in: scan_status, device_read")],
    names: Annotated[list[str] | None, typer.Argument(help="The names in its channel, as in: x")] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the last message of an endpoint."""
    from ..endpoints import MessageEndpoints

    info = MessageEndpoints.definition(endpoint)(*(names or []))
    info.require("get")
    with connected(url, name="get") as lab:
        message = lab.connector.get(info)
    if message is None:
        raise InvalidArgument(f"nothing has been said on {info.endpoint}")
    if as_json:
        say_json(message)
    else:
        console().print(message)
