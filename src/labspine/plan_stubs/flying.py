"""Several flyers at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from labspine.engine import Msg

from .base import BadPlan, Plan, group_name

__all__ = ["collect_while_completing", "complete_all", "kickoff_all"]


def kickoff_all(*args: Any, group: Hashable | None = None, wait: bool = True, **kwargs: Any) -> Plan:
    """Start flyers. Answer: their statuses."""
    return _all("kickoff", args, group=group, wait=wait, kwargs=kwargs)


def complete_all(*args: Any, group: Hashable | None = None, wait: bool = False, **kwargs: Any) -> Plan:
    """Tell flyers to finish. Answer: their statuses."""
    return _all("complete", args, group=group, wait=wait, kwargs=kwargs)


def _all(
    command: str, flyers: tuple[Any, ...], *, group: Hashable | None, wait: bool, kwargs: dict[str, Any]
) -> Plan:
    wrong = [flyer for flyer in flyers if not (hasattr(flyer, "kickoff") and hasattr(flyer, "complete"))]
    if wrong:
        name = getattr(wrong[0], "name", wrong[0])
        raise BadPlan(f"{command}_all: {name} is no flyer; it needs the methods kickoff and complete")
    return _each(command, flyers, group=group or group_name(command), wait=wait, kwargs=kwargs)


def _each(
    command: str, flyers: tuple[Any, ...], *, group: Hashable, wait: bool, kwargs: dict[str, Any]
) -> Plan:
    statuses = []
    for flyer in flyers:
        statuses.append((yield Msg(command, flyer, group=group, **kwargs)))
    if wait:
        yield Msg("wait", None, group=group)
    return tuple(statuses)


def collect_while_completing(
    flyers: Sequence[Any],
    dets: Sequence[Any],
    flush_period: float | None = None,
    stream_name: str | None = None,
    watch: Sequence[str] = (),
) -> Plan:
    """
    Collect again and again until flyers are done.

    Args:
        flyers: What sets the pace.
        dets: What is collected.
        flush_period: Seconds between two collections.
        stream_name: A declared stream.
        watch: Groups whose failure ends the wait.
    """
    group = group_name("complete")
    yield from complete_all(*flyers, group=group)
    is_done = False
    while not is_done:
        kwargs = {"group": group, "timeout": flush_period, "error_on_timeout": False, "watch": watch}
        is_done = yield Msg("wait", None, **kwargs)
        yield Msg("collect", *dets, stream=False, return_payload=True, name=stream_name)
