"""Plans of one step: each sends the command of its name and returns the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from labspine.engine import Msg

from .base import BadPlan, Plan, separate_devices

__all__ = [
    "checkpoint",
    "clear_checkpoint",
    "close_run",
    "collect",
    "complete",
    "configure",
    "create",
    "declare_stream",
    "deferred_pause",
    "drop",
    "input_plan",
    "install_suspender",
    "kickoff",
    "locate",
    "monitor",
    "null",
    "open_run",
    "pause",
    "prepare",
    "read",
    "remove_suspender",
    "save",
    "sleep",
    "stage",
    "stop",
    "subscribe",
    "trigger",
    "unmonitor",
    "unstage",
    "unsubscribe",
    "wait",
    "wait_for",
]


def declare_stream(*objs: Any, name: str, collect: bool = False) -> Plan:
    """Describe a stream before its first event; with ``collect`` for flyers. Answer: its descriptor."""
    return (yield Msg("declare_stream", None, *separate_devices(objs), name=name, collect=collect))


def create(name: str = "primary") -> Plan:
    """Begin an event in the stream ``name``."""
    return (yield Msg("create", name=name))


def save() -> Plan:
    """Emit the event that ``create`` began."""
    return (yield Msg("save"))


def drop() -> Plan:
    """Forget the event that ``create`` began."""
    return (yield Msg("drop"))


def read(obj: Any) -> Plan:
    """Read a device, into the open event if there is one. Answer: its reading."""
    return (yield Msg("read", obj))


def locate(*objs: Any, squeeze: bool = True) -> Plan:
    """Ask motors where they are and should be. Answer: a location, or a list of them for several motors."""
    return (yield Msg("locate", *objs, squeeze=squeeze))


def monitor(obj: Any, *, name: str | None = None, **kwargs: Any) -> Plan:
    """Emit an event at each change of a signal, in the stream ``name`` (``<signal>_monitor`` by default)."""
    return (yield Msg("monitor", obj, name=name or f"{obj.name}_monitor", **kwargs))


def unmonitor(obj: Any) -> Plan:
    """End ``monitor``."""
    return (yield Msg("unmonitor", obj))


def null() -> Plan:
    """Do nothing."""
    return (yield Msg("null"))


def stop(obj: Any) -> Plan:
    """Stop a device."""
    return (yield Msg("stop", obj))


def trigger(obj: Any, *, group: Hashable | None = None, wait: bool = False) -> Plan:
    """Have a detector measure. Answer: its status."""
    return _started(Msg("trigger", obj, group=group), group, wait)


def prepare(obj: Any, *args: Any, group: Hashable | None = None, wait: bool = False, **kwargs: Any) -> Plan:
    """Make a device ready for what comes. Answer: its status."""
    return _started(Msg("prepare", obj, *args, group=group, **kwargs), group, wait)


def kickoff(obj: Any, *, group: Hashable | None = None, wait: bool = False, **kwargs: Any) -> Plan:
    """Start a flyer. Answer: its status."""
    return _started(Msg("kickoff", obj, group=group, **kwargs), group, wait)


def complete(obj: Any, *, group: Hashable | None = None, wait: bool = False, **kwargs: Any) -> Plan:
    """Tell a flyer to finish. Answer: its status."""
    return _started(Msg("complete", obj, group=group, **kwargs), group, wait)


def _started(msg: Msg, group: Hashable | None, wait: bool) -> Plan:
    status = yield msg
    if wait:
        yield Msg("wait", None, group=group)
    return status


def collect(
    obj: Any, *args: Any, stream: bool = False, return_payload: bool = True, name: str | None = None
) -> Plan:
    """Emit what flyers have recorded. Answer: their partial events, when ``return_payload`` asks for them."""
    return (yield Msg("collect", obj, *args, stream=stream, return_payload=return_payload, name=name))


def configure(obj: Any, *args: Any, **kwargs: Any) -> Plan:
    """Change the configuration of a device. Answer: the pair (old, new)."""
    return (yield Msg("configure", obj, *args, **kwargs))


def stage(obj: Any, *, group: Hashable | None = None, wait: bool | None = None) -> Plan:
    """
    Get a device ready for measuring.

    Args:
        obj: The device.
        group: Key for ``wait``.
        wait: Wait here; not waiting is possible only with devices that return a status.

    Raises:
        BadPlan: If ``wait=False`` was asked of a device that has no status to wait for.
    """
    return _staged("stage", obj, group, wait)


def unstage(obj: Any, *, group: Hashable | None = None, wait: bool | None = None) -> Plan:
    """Undo ``stage``; same arguments."""
    return _staged("unstage", obj, group, wait)


def _staged(command: str, obj: Any, group: Hashable | None, wait: bool | None) -> Plan:
    answer = yield Msg(command, obj, group=group)
    if hasattr(answer, "add_callback"):
        if wait:
            yield Msg("wait", None, group=group)
    elif wait is False:
        raise BadPlan(
            f"{obj.name}.{command}() waits by itself and cannot be told not to: leave out wait=False"
        )
    return answer


def sleep(time: float) -> Plan:
    """Wait for seconds."""
    return (yield Msg("sleep", None, time))


def wait(
    group: Hashable | None = None,
    *,
    timeout: float | None = None,
    error_on_timeout: bool = True,
    watch: Sequence[str] = (),
) -> Plan:
    """Wait until a group is done, ``timeout`` seconds at most. Answer: whether it is done."""
    kwargs = {"group": group, "error_on_timeout": error_on_timeout, "timeout": timeout, "watch": watch}
    return (yield Msg("wait", None, **kwargs))


def wait_for(futures: Iterable[Callable[[], Awaitable[Any]]], **kwargs: Any) -> Plan:
    """Wait for awaitables, given as functions that make them. Answer: their tasks."""
    return (yield Msg("wait_for", None, futures, **kwargs))


def checkpoint() -> Plan:
    """Make this the place to come back to after a pause."""
    return (yield Msg("checkpoint"))


def clear_checkpoint() -> Plan:
    """Forbid going back; a pause then ends the plan."""
    return (yield Msg("clear_checkpoint"))


def pause() -> Plan:
    """Pause now."""
    return (yield Msg("pause", None, defer=False))


def deferred_pause() -> Plan:
    """Pause at the next checkpoint."""
    return (yield Msg("pause", None, defer=True))


def input_plan(prompt: str = "") -> Plan:
    """Ask the person at the terminal. Answer: the line."""
    return (yield Msg("input", prompt=prompt))


def subscribe(name: str, func: Callable[[str, Mapping[str, Any]], None]) -> Plan:
    """Have a function receive documents until the end of the call. Answer: a token."""
    return (yield Msg("subscribe", None, func, name))


def unsubscribe(token: int) -> Plan:
    """End ``subscribe``."""
    return (yield Msg("unsubscribe", token=token))


def install_suspender(suspender: Any) -> Plan:
    """Let something suspend plans."""
    return (yield Msg("install_suspender", None, suspender))


def remove_suspender(suspender: Any) -> Plan:
    """End ``install_suspender``."""
    return (yield Msg("remove_suspender", None, suspender))


def open_run(md: Mapping[str, Any] | None = None) -> Plan:
    """Begin a run with metadata. Answer: its uid."""
    return (yield Msg("open_run", **(md or {})))


def close_run(exit_status: str | None = None, reason: str | None = None) -> Plan:
    """End the run. Answer: its uid."""
    return (yield Msg("close_run", exit_status=exit_status, reason=reason))
