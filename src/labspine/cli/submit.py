"""``labspine run``: request a plan, watch it, end with its result."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InvalidArgument, did_you_mean
from .context import JsonOption, UrlOption, connected, say, say_json, warn
from .watch import watch_request

_OPTIONS = ("--sample", "--meta", "--detach", "--url", "--json", "--timeout", "--help")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    # A position like -5 is a word here, not an option.
    app.command("run", context_settings={"ignore_unknown_options": True})(run_plan)


def run_plan(
    plan: Annotated[str, typer.Argument(help="Name of the plan, as in: scan det x -5 5 101")],
    words: Annotated[
        list[str] | None, typer.Argument(help="Its arguments; detectors first, comma separated.")
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Name of the sample, for the file and the page.")] = None,
    meta: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Further metadata.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Only put it into the queue.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the scan server's answer.")] = 5.0,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a plan and watch it; wrong devices, arguments and positions are refused before anything moves."""
    from ..lab.client.words import words_to_request

    for word in words or []:
        if word.startswith("--"):
            raise InvalidArgument(f"no option {word}{did_you_mean(word, _OPTIONS)}")
    request = words_to_request(plan, words or [], metadata=_metadata(sample, meta or []))
    with connected(url, name="run") as lab:
        report = lab.send_request(request, timeout_s=timeout)
        if detach:
            _say_accepted(report.rid, as_json=as_json)
            return
        watch_request(lab.connector, report, as_json=as_json)
        report.wait()
    if report.status not in ("closed", "user_completed"):
        warn(f"✘ {plan} {report.status}" + (f": {report.error}" if report.error else ""))
        raise typer.Exit(1)
    if report.scan_id is None and not as_json:
        say(f"✔ {plan} done")


def _metadata(sample: str | None, pairs: list[str]) -> dict[str, object]:
    metadata: dict[str, object] = {"sample": sample} if sample else {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"--meta {pair}: expected KEY=VALUE")
        metadata[key] = value
    return metadata


def _say_accepted(request_id: str, *, as_json: bool) -> None:
    if as_json:
        say_json({"accepted": True, "RID": request_id})
    else:
        say(f"✔ accepted, request {request_id}")
        warn("  watch it with: labspine watch")
