"""
What of a step is kept: enough to recognise it when the plan is started again, and the answer that it got.

Devices are kept by name. Groups are left out, because plans make them up anew each time; of the metadata of a
run only the names are compared, because texts about devices hold their addresses in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..statuses import is_status

__all__ = [
    "LIVE",
    "OPAQUE",
    "STATUS",
    "TOUCHING",
    "Entry",
    "digest",
    "entry_of",
    "label",
    "with_arrays",
    "without_arrays",
]

TOUCHING = frozenset({"set", "trigger", "prepare", "kickoff", "stage", "configure", "complete"})
"""Commands that change a device; that they are going to is on disk before the device hears of it."""

LIVE = frozenset(
    {
        "subscribe",
        "unsubscribe",
        "install_suspender",
        "remove_suspender",
        "RE_class",
        "declare_stream",
        "monitor",
    }
)
"""Commands whose answer belongs to one process; they are performed again, or made good, in the next one."""

PLAIN, STATUS, OPAQUE, ERROR, DEVICES = 0, 1, 2, 3, 4
"""Kinds of answers: a value, a status that is done, something that cannot be kept, an exception, devices."""

_NO_ANSWER = frozenset(
    {"checkpoint", "null", "create", "save", "drop", "sleep", "clear_checkpoint", "pause", "unmonitor"} | LIVE
)
BIG_BYTES = 4096
IN_EVENT = "\0in the event"
"""Stands in an answer for an array that is in the event of the same record, so that images are kept once."""

_ATOMS = frozenset({str, float, int, bool, type(None)})

_BARE = frozenset({"checkpoint", "save", "wait"})
"""Commands with mostly no arguments that count; half of all steps are of these."""

_UNCOMPARED = frozenset({"wait", *LIVE})

Entry = tuple[str, "str | None", Any, int, Any]
"""Command, name of its object, digest of its arguments, kind of the answer, answer."""


def label(obj: Any) -> str | None:
    """
    Name the object of a step.

    Args:
        obj: A device, or None.

    Returns:
        Its name; of an object without one its type; None for None.
    """
    if obj is None:
        return None
    name = getattr(obj, "name", None)
    return name if isinstance(name, str) and name else type(obj).__name__


def digest(msg: Any) -> Any:
    """
    Describe the arguments of a step so that the same step in another process gives an equal description.

    Args:
        msg: The step.

    Returns:
        Plain data.
    """
    command, args, kwargs = msg.command, msg.args, msg.kwargs
    if command in _UNCOMPARED:
        return None
    if msg.run is None and len(kwargs) == ("group" in kwargs):
        # Most steps: no argument, or one that is plain.
        if not args:
            return None
        if len(args) == 1 and type(args[0]) in _ATOMS:
            return args[0]
    if command == "open_run":
        return [sorted(str(key) for key in kwargs), kwargs.get("plan_name"), _run(msg)]
    others = {key: _plain(value) for key, value in kwargs.items() if key != "group"}
    return [[_plain(value) for value in args], others, _run(msg)]


def _run(msg: Any) -> Any:
    return msg.run if type(msg.run) in _ATOMS else repr(msg.run)


def _plain(value: Any, depth: int = 0) -> Any:
    if type(value) in _ATOMS:
        return value
    if isinstance(value, list | tuple) and depth < 8:
        return [_plain(each, depth + 1) for each in value]
    if isinstance(value, dict) and depth < 8:
        return {str(key): _plain(each, depth + 1) for key, each in value.items()}
    if hasattr(value, "dtype"):
        return value
    if callable(value) and hasattr(value, "__qualname__"):
        return value.__qualname__
    return label(value)


def entry_of(msg: Any, answer: Any, error: BaseException | None) -> Entry:
    """
    Make the record of an answered step.

    Args:
        msg: The step.
        answer: What the plan was told.
        error: What was thrown into the plan instead.

    Returns:
        The entry.
    """
    command, obj = msg.command, msg.obj
    if (
        command in _BARE
        and obj is None
        and (answer is None or answer is True)
        and error is None
        and (command == "wait" or (msg.run is None and not msg.args and not msg.kwargs))
    ):
        return command, None, None, PLAIN, answer
    name = None if obj is None else label(obj)
    about = digest(msg)
    if error is not None:
        return command, name, about, ERROR, f"{type(error).__name__}: {error}"
    if answer is None or answer is True or (command == "read" and type(answer) is dict):
        return command, name, about, PLAIN, answer
    if command in _NO_ANSWER:
        return command, name, about, PLAIN, None
    if is_status(answer):
        return command, name, about, STATUS, None
    if command in ("stage", "unstage"):
        return command, name, about, DEVICES, None
    if _is_data(answer):
        return command, name, about, PLAIN, answer
    return command, name, about, OPAQUE, type(answer).__name__


def _is_data(value: Any, depth: int = 0) -> bool:
    if type(value) in _ATOMS or isinstance(value, bytes | str | float | int) or hasattr(value, "dtype"):
        return True
    if depth > 8:
        return False
    if isinstance(value, dict):
        return all(_is_data(each, depth + 1) for each in value.values())
    return isinstance(value, list | tuple) and all(_is_data(each, depth + 1) for each in value)


def without_arrays(entries: list[Entry], data: Mapping[str, Any]) -> list[Entry]:
    """
    Leave out of the answers what an event holds that is written with them.

    Args:
        entries: The steps before the event.
        data: The values of the event.

    Returns:
        The entries, with a mark for each big array that is in the event.
    """
    big = {key: value for key, value in data.items() if getattr(value, "nbytes", 0) > BIG_BYTES}
    if not big:
        return entries

    def lean(key: str, reading: Any) -> Any:
        same = key in big and isinstance(reading, dict) and reading.get("value") is big[key]
        return {**reading, "value": IN_EVENT} if same else reading

    return [
        (*entry[:4], {key: lean(key, reading) for key, reading in entry[4].items()})
        if entry[0] == "read" and isinstance(entry[4], dict)
        else entry
        for entry in entries
    ]


def with_arrays(entries: list[Entry], data: Mapping[str, Any]) -> list[Entry]:
    """
    Put back what :func:`without_arrays` has left out.

    Args:
        entries: The steps of a record with an event.
        data: The values of the event.

    Returns:
        The entries as they were.
    """

    def whole(key: str, reading: Any) -> Any:
        if isinstance(reading, dict) and reading.get("value") == IN_EVENT:
            return {**reading, "value": data.get(key)}
        return reading

    return [
        (*entry[:4], {key: whole(key, reading) for key, reading in entry[4].items()})
        if entry[0] == "read" and isinstance(entry[4], dict)
        else entry
        for entry in entries
    ]
