"""``labspine pause``, ``resume``, ``abort``, ``halt``: what the running scan shall do."""

from __future__ import annotations

from typing import Annotated

import typer

from .context import UrlOption, connected, say

_NowOption = Annotated[bool, typer.Option("--now", help="At once, not at the next checkpoint.")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for verb in (pause, resume, abort, halt):
        app.command()(verb)


def pause(now: _NowOption = False, url: UrlOption = None) -> None:
    """Pause the running scan at its next checkpoint."""
    with connected(url, name="pause") as lab:
        lab.pause(at_once=now)
    say("✔ pause requested; go on with: labspine resume")


def resume(url: UrlOption = None) -> None:
    """Go on with the paused scan."""
    with connected(url, name="resume") as lab:
        lab.resume()
    say("✔ resume requested")


def abort(url: UrlOption = None) -> None:
    """End the running scan: motors stop, the run and its file are closed as aborted."""
    with connected(url, name="abort") as lab:
        lab.abort()
    say("✔ abort requested")


def halt(url: UrlOption = None) -> None:
    """End the running scan without the plan's own clean-up."""
    with connected(url, name="halt") as lab:
        lab.halt()
    say("✔ halt requested")
