"""``labspine queue``: the scans that wait; and ``ls``, ``put``, ``peek``, ``dead``, ``requeue`` of work."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidArgument
from .context import JsonOption, UrlOption, connected, jsonable, say, say_json
from .show import _print_table
from .show import queue as show_scans

if TYPE_CHECKING:
    from ..queues import Queue

_work = typer.Typer(
    invoke_without_command=True, help="Show the scans that run and wait; or look after queues of work."
)
NameWord = Annotated[str, typer.Argument(help="Name of the queue, such as: reconstruct")]
CountOption = Annotated[int, typer.Option("--count", "-n", help="How many at most.")]


def add_to(app: typer.Typer) -> None:
    """Add the verb and its words to the command."""
    app.add_typer(_work, name="queue")


@contextmanager
def _opened(url: str | None, name: str) -> Iterator[Queue]:
    from ..queues import Queue

    with connected(url, name="queue") as lab, Queue(lab.connector, name) as found:
        yield found


@_work.callback()
def scans(context: typer.Context, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show the scans that run and wait; or look after queues of work."""
    if context.invoked_subcommand is None:
        show_scans(url, as_json)


@_work.command("ls")
def list_queues(url: UrlOption = None, as_json: JsonOption = False) -> None:
    """List the queues of work, and how many items are in each."""
    from ..queues import Queue

    rows: list[tuple[Any, ...]] = []
    with connected(url, name="queue") as lab:
        with Queue(lab.connector, "any") as any_queue:
            names = any_queue.names()
        for name in names:
            with Queue(lab.connector, name) as found:
                rows.append((name, *found.state()))
    columns = ("queue", "ready", "claimed", "delayed", "dead")
    if as_json:
        for row in rows:
            say_json(dict(zip(columns, row, strict=True)))
    elif rows:
        _print_table(columns, rows)
    else:
        say("there are no queues of work")


@_work.command("put")
def put(
    name: NameWord,
    value: Annotated[str, typer.Argument(help="The work as JSON; what is not JSON is text; - reads stdin.")],
    priority: Annotated[str, typer.Option("--priority", help="high, normal or low.")] = "normal",
    delay: Annotated[float | None, typer.Option("--delay", help="Seconds until it can be claimed.")] = None,
    item_id: Annotated[
        str | None, typer.Option("--id", help="Your own name for it; the same name is put once.")
    ] = None,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an item into a queue of work; prints its id."""
    content = _content(sys.stdin.read() if value == "-" else value)
    with _opened(url, name) as found:
        done = found.put(content, item_id=item_id, priority=priority, delay_s=delay)  # type: ignore[arg-type]  # checked there
        is_new = found.counters.repeated == 0
    if as_json:
        say_json({"queue": name, "id": done, "put": is_new})
    else:
        say(done if is_new else f"{done} was there before; nothing was put")


def _content(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if text.lstrip()[:1] in ("{", "["):
            raise InvalidArgument(
                "the value begins like JSON and is not; put quotes around it as a whole"
            ) from None
        return text


@_work.command("peek")
def peek(name: NameWord, count: CountOption = 10, url: UrlOption = None, as_json: JsonOption = False) -> None:
    """Show what would come next, without taking it."""
    with _opened(url, name) as found:
        seen = found.peek(count)
    if as_json:
        for one in seen:
            say_json({**_fields(one), "value": one.value})
        return
    rows = [
        (
            one.id,
            _when(one),
            one.priority,
            one.deliveries,
            _short(one.value),
        )
        for one in seen
    ]
    _print_table(("id", "state", "priority", "deliveries", "what"), rows) if rows else say("nothing waits")


@_work.command("dead")
def dead(
    name: NameWord, count: CountOption = 100, url: UrlOption = None, as_json: JsonOption = False
) -> None:
    """Show what was buried, and why."""
    with _opened(url, name) as found:
        letters = found.dead(count)
    if as_json:
        for one in letters:
            say_json({**_fields(one), "value": one.value})
        return
    rows = [
        (
            one.id or one.key,
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.buried_utc_s)),
            one.deliveries,
            one.reason.strip().splitlines()[-1] if one.reason.strip() else "",
            _short(one.value) if one.message is not None else f"{len(one.payload)} bytes that cannot be read",
        )
        for one in letters
    ]
    _print_table(("id", "buried", "deliveries", "reason", "what"), rows) if rows else say("nothing is buried")


@_work.command("requeue")
def requeue(
    name: NameWord,
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of what was buried.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that was buried.")] = False,
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put what was buried back into its queue, as if it had never been delivered."""
    if bool(ids) == everything:
        raise InvalidArgument(
            "give the ids of what was buried (labspine queue dead NAME shows them), or --all"
        )
    with _opened(url, name) as found:
        moved = found.requeue(None if everything else ids)
    if moved == 0 and not everything:
        raise InvalidArgument(f'nothing with this id is buried in the queue "{name}"')
    if as_json:
        say_json({"queue": name, "requeued": moved})
    else:
        say(f"{moved} went back into the queue")


def _fields(one: Any) -> dict[str, Any]:
    left_out = ("message", "payload")
    return {name: getattr(one, name) for name in one.__struct_fields__ if name not in left_out}


def _when(one: Any) -> str:
    if one.is_claimed:
        return "claimed"
    if one.due_utc_s is None:
        return "ready"
    return f"in {max(0.0, one.due_utc_s - time.time()):.0f} s"


def _short(value: object) -> str:
    text = json.dumps(jsonable(value), ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
