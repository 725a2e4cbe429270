"""``labspine devices``, ``plans``, ``endpoints``: what there is; and the queue of scans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import NoScanServer
from .context import JsonOption, UrlOption, connected, console, say, say_json

if TYPE_CHECKING:
    from ..lab import Lab

_NO_DEVICES = "no device server has announced itself on this broker; start one with: labspine up --demo"


def add_to(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    for verb in (devices, plans, endpoints):
        app.command()(verb)


def devices(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List the devices with their last values."""
    from ..endpoints import MessageEndpoints

    with connected(url, name="devices") as lab:
        config = lab.connector.get(MessageEndpoints.device_config())
        if config is None or not isinstance(config.resource, list):
            raise NoScanServer(_NO_DEVICES)
        rows = [{**entry, "value": _last_value(lab, str(entry["name"]))} for entry in config.resource]
    if as_json:
        for row in rows:
            say_json(row)
        return
    table_rows = [
        (
            r["name"],
            r.get("kind", ""),
            _number(r["value"]),
            r.get("units") or "",
            _limits(r),
            r.get("readout_priority", ""),
        )
        for r in rows
    ]
    _print_table(("name", "kind", "value", "units", "limits", "read"), table_rows)


def _last_value(lab: Lab, device: str) -> object:
    from ..endpoints import MessageEndpoints

    message = lab.connector.get(MessageEndpoints.device_read(device))
    if message is None or not message.signals:
        return None
    signal = message.signals.get(device) or next(iter(message.signals.values()))
    return signal.get("value")


def _number(value: object) -> str:
    return (
        f"{value:.6g}"
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else str(value or "")
    )


def _limits(row: dict[str, Any]) -> str:
    limits = row.get("limits")
    return f"[{limits[0]:g}, {limits[1]:g}]" if isinstance(limits, (list, tuple)) and len(limits) == 2 else ""


def plans(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List the plans that can be requested, with their arguments."""
    from ..endpoints import MessageEndpoints

    with connected(url, name="plans") as lab:
        available = lab.connector.get(MessageEndpoints.available_scans())
    if available is None or not isinstance(available.resource, dict):
        raise NoScanServer("no scan server has announced its plans on this broker")
    if as_json:
        for name, plan in available.resource.items():
            say_json({"name": name, **plan})
        return
    rows = [
        (name, str(plan.get("usage") or plan.get("signature", "")), plan.get("doc", ""))
        for name, plan in available.resource.items()
    ]
    _print_table(("plan", "arguments", "what it does"), rows)


def endpoints(
    profile: Annotated[str, typer.Option(help="Names of channels: seed or bec4.")] = "seed",
    as_json: JsonOption = False,
) -> None:
    """List the catalogue: every endpoint with its channel, message and operations."""
    from ..endpoints import MessageEndpoints
    from ..errors import InvalidArgument

    if profile not in ("seed", "bec4"):
        raise InvalidArgument(f"profile {profile!r}: use seed or bec4")
    rows = []
    for d in MessageEndpoints.definitions():
        channel = d.templates[profile]  # type: ignore[index]  # checked above
        rows.append(
            (
                d.signature,
                channel,
                d.message_type.__name__,
                d.message_op.name,
                "durable" if d.history else "plain",
                d.__doc__,
            )
        )
    if as_json:
        for row in rows:
            say_json(
                dict(
                    zip(("endpoint", "channel", "message", "operations", "delivery", "doc"), row, strict=True)
                )
            )
        return
    _print_table(("endpoint", "channel", "message", "operations", "delivery"), [row[:5] for row in rows])


def queue(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show what runs and what waits."""
    with connected(url, name="queue") as lab:
        status = lab.queue_status()
    if as_json:
        say_json(status)
        return
    rows = []
    for index, entry in enumerate(status["info"]):
        block = (entry.get("request_blocks") or [{}])[0]
        request = block.get("msg") or {}
        rows.append(
            (
                str(index + 1),
                entry.get("status", ""),
                request.get("scan_type", ""),
                str(request.get("parameter", "")),
                str(block.get("RID", ""))[:8],
            )
        )
    if not rows:
        say("the queue is empty")
        return
    _print_table(("#", "status", "plan", "arguments", "request"), rows)


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console().print(table)
