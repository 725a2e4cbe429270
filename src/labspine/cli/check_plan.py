"""``labspine check-plan``: what a plan would do, before anything moves."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError, RequestRefused
from .context import JsonOption, say, say_json
from .up import registry_maker

if TYPE_CHECKING:
    from ..engine import Preflight
    from ..lab.plans import ReadyScan


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    # A position like -5 is a word here, not an option.
    app.command("check-plan", context_settings={"ignore_unknown_options": True})(check_plan)


def check_plan(
    plan: Annotated[str, typer.Argument(help="Name of the plan, as in: scan det x -5 5 101")],
    words: Annotated[
        list[str] | None, typer.Argument(help="Its arguments; detectors first, comma separated.")
    ] = None,
    lab: Annotated[
        str | None,
        typer.Option("--lab", metavar="MODULE:FUNCTION", help="A function that returns your DeviceRegistry."),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Check against the simulated beamline.")] = False,
    steps: Annotated[int, typer.Option("--steps", help="Also list this many steps.", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Walk through a plan without moving anything: points, positions, limits, duration, size."""
    from ..lab.client.words import words_to_request
    from ..lab.plans import default_plans, prepare

    request = words_to_request(plan, words or [])
    registry = registry_maker(lab, demo=demo, speed=1.0)()
    try:
        ready = prepare(request, registry=registry, plans=default_plans())
        forecast = _whole_way(ready, steps)
    except RequestRefused as error:
        if not as_json:
            raise
        say_json({"plan": plan, "accepted": False, "reason": str(error), "code": error.code})
        raise typer.Exit(2) from error
    if as_json:
        say_json(_facts(ready, forecast))
        return
    say(f" {' '.join([plan, *(words or [])])}")
    for line in _lines(forecast):
        say(f"  {line}")


def _whole_way(ready: ReadyScan, steps: int) -> Preflight:
    """Walk to the end: a scan server has to answer soon and may have looked at the first points only."""
    from ..compat.bluesky import cheap_plans
    from ..engine import preflight

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ConfigError):
            stack.enter_context(cheap_plans())
        forecast = preflight(ready.build(), most_steps=steps)
    if forecast.problems:
        raise RequestRefused(forecast.problems[0])
    return forecast


def _facts(ready: ReadyScan, forecast: Preflight) -> dict[str, object]:
    return {
        "plan": ready.plan.name,
        "accepted": True,
        "points": forecast.num_points,
        "points_by_stream": forecast.points,
        "steps": forecast.num_messages,
        "runs": forecast.num_runs,
        "trajectory": {
            name: {
                "first": travel.first,
                "last": travel.last,
                "lowest": travel.lowest,
                "highest": travel.highest,
                "moves": travel.num_moves,
            }
            for name, travel in forecast.positions.items()
        },
        "duration_s": round(forecast.duration_s, 3),
        "size_bytes": forecast.size_bytes,
        "steps_by_command": forecast.commands,
        "devices": list(forecast.devices),
        **({"first_steps": list(forecast.steps)} if forecast.steps else {}),
        "is_complete": forecast.is_complete,
        "notes": list(forecast.notes),
    }


def _lines(forecast: Preflight) -> list[str]:
    points = f"{forecast.num_points:,}" + ("" if forecast.is_complete else " or more")
    runs = f"{forecast.num_runs} run" + ("" if forecast.num_runs == 1 else "s")
    lines = [f"✔ accepted: {runs}, {points} points, {forecast.num_messages:,} steps"]
    for name, travel in forecast.positions.items():
        moves = f"{travel.num_moves:,} move" + ("" if travel.num_moves == 1 else "s")
        reach = f"from {travel.lowest:g} to {travel.highest:g}"
        lines.append(f"{name:8} {travel.first:g} → {travel.last:g}, {reach}, {moves}")
    lines.append(f"takes at least {_duration(forecast.duration_s)}, {_size(forecast.size_bytes)} of readings")
    lines += [f"note: {note}" for note in forecast.notes]
    width = len(str(len(forecast.steps)))
    return lines + [f"{number:{width}} {words}" for number, words in enumerate(forecast.steps, 1)]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
