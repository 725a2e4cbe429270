"""``labspine schema``: what messages look like, for other programs."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from ..errors import InvalidArgument
from .context import say


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("schema")(print_schema)


def print_schema(
    name: Annotated[str | None, typer.Argument(help="Name of a message class, as in: ScanMessage")] = None,
    asyncapi: Annotated[
        bool, typer.Option("--asyncapi", help="AsyncAPI 3.0 of the whole catalogue.")
    ] = False,
    profile: Annotated[Literal["seed", "bec4"], typer.Option(help="Naming scheme of the channels.")] = "seed",
) -> None:
    """Print the JSON Schema of a message, or the names of all messages."""
    from .._version import __version__
    from ..endpoints.asyncapi import asyncapi_document
    from ..messages.schema import json_schema, published_classes

    if name and asyncapi:
        raise InvalidArgument("give either the name of a message or --asyncapi, which describes all")
    if asyncapi:
        say(json.dumps(asyncapi_document(profile, version=__version__), indent=2))
    elif name:
        say(json.dumps(json_schema(name), indent=2))
    else:
        for cls in published_classes():
            say(cls.__name__)
