"""Steps that read: read, locate, monitor, unmonitor."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from ...errors import shown
from ...ids import new_uid
from ..documents import Member, Run
from ..documents.assets import drain
from ..documents.stream import settle
from ..errors import BadStep, IllegalMessageSequence, MismatchedReading, kind
from .command import lacking, missing, require

if TYPE_CHECKING:
    from ..session import Session

__all__ = ["locate", "monitor", "read", "unmonitor"]

READ = ("name", "read", "describe")


def read(session: Session, msg: Any) -> Any:
    """
    Read a device: ``Msg('read', obj)``. The answer is its reading.

    Between ``create`` and ``save`` the reading becomes a part of the event.

    Raises:
        MissingAbility: If it cannot be read.
        MismatchedReading: If it returns no reading.
        BadStep: If another object in the event has one of its keys.
    """
    obj = msg.obj
    try:
        reading = obj.read(*msg.args, **msg.kwargs)
    except AttributeError:
        if missing(obj, READ):
            raise lacking(obj, READ, "read") from None
        raise
    run = session.runs.get(msg.run)
    if type(reading) is not dict and inspect.isawaitable(reading):
        return _read_later(run, obj, reading)
    _check_reading(obj, reading)
    if run is None or run.bundle is None:
        return reading
    member = run.bundle.stream.known.get(id(obj))
    if member is None:
        member = _new_member(obj)
        asked = member.ask(describe=True)
        if asked is not None:
            return _add_later(run, member, reading, asked)
        run.bundle.stream.known[id(obj)] = member
    if member.asset_source is not None:
        return _add_later(run, member, reading, None)
    run.add_reading(member, reading, [])
    return reading


def _new_member(obj: Any) -> Member:
    if missing(obj, READ):
        raise lacking(obj, READ, "read")
    return Member(obj)


def _check_reading(obj: Any, reading: Any) -> None:
    if reading is None or not hasattr(reading, "items"):
        name = getattr(obj, "name", obj)
        raise MismatchedReading(f"{name}.read() must return a dict of readings; got {shown(reading)}")


async def _read_later(run: Run | None, obj: Any, reading: Any) -> Any:
    reading = await reading
    _check_reading(obj, reading)
    if run is not None and run.bundle is not None:
        known = run.bundle.stream.known
        member = known.get(id(obj))
        asked = None
        if member is None:
            member = _new_member(obj)
            asked = member.ask(describe=True)
        await _add_later(run, member, reading, asked)
    return reading


async def _add_later(run: Run, member: Member, reading: Any, asked: Any) -> Any:
    bundle = run.bundle
    if asked is not None:
        await asked
    if bundle is not None:
        bundle.stream.known[id(member.obj)] = member
    assets = await drain(member.asset_source()) if member.asset_source is not None else []
    run.add_reading(member, reading, assets)
    return reading


def locate(session: Session, msg: Any) -> Any:
    """
    Ask where things are: ``Msg('locate', obj, *more, squeeze=True)``.

    The answer is one location, or a list of them when several were asked for or squeeze is False.

    Raises:
        MissingAbility: If one of them cannot be located.
    """
    objects = (msg.obj, *msg.args)
    for obj in objects:
        if not hasattr(obj, "locate"):
            raise lacking(obj, ("locate",), "locate")
    answers = [obj.locate() for obj in objects]
    is_single = len(answers) == 1 and msg.kwargs.get("squeeze", True)
    if any(inspect.isawaitable(answer) for answer in answers):
        return _locate_later(answers, is_single=is_single)
    return answers[0] if is_single else answers


async def _locate_later(answers: list[Any], *, is_single: bool) -> Any:
    locations = list(await asyncio.gather(*(settle(answer) for answer in answers)))
    return locations[0] if is_single else locations


class Monitor:
    """One subscription to a device; its events are composed on the loop, in the order in which they came."""

    def __init__(self, session: Session, run: Run, *, member: Member, stream_name: str) -> None:
        self.name = member.name
        self._session = session
        self._run = run
        self._obj = member.obj
        self._stream = run.stream(stream_name)
        self._options: dict[str, Any] = {}
        self._is_listening = False

    def begin(self, options: dict[str, Any]) -> None:
        """
        Subscribe for the first time.

        Args:
            options: Keyword arguments for the device's ``subscribe``.
        """
        self._options = options
        self.listen()

    def listen(self) -> None:
        """Subscribe, unless that is so already."""
        if not self._is_listening:
            self._is_listening = True
            self._obj.subscribe(self._changed, **self._options)

    def silence(self) -> None:
        """Unsubscribe, unless that is so already."""
        if self._is_listening:
            self._is_listening = False
            self._obj.clear_sub(self._changed)

    def end(self) -> None:
        """Unsubscribe for good; changes that have come already still become events."""
        self.silence()
        self._session.empty_inbox()

    def _changed(self, reading: Any = None, *args: Any, **kwargs: Any) -> None:
        # Devices of ophyd call with many keywords; devices of ophyd-async with a reading.
        if args or kwargs or not isinstance(reading, dict):
            reading = self._obj.read()
            if inspect.isawaitable(reading):
                raise BadStep(
                    f"{self.name} cannot be monitored: it calls without a reading and read() is asynchronous"
                )
        self._session.post(lambda: self._emit(reading))

    def _emit(self, reading: dict[str, Any]) -> None:
        if not self._run.is_open:
            return
        data = {key: value["value"] for key, value in reading.items()}
        timestamps = {key: value["timestamp"] for key, value in reading.items()}
        self._session.emit("event", self._stream.event(data, timestamps))


async def monitor(session: Session, msg: Any) -> None:
    """
    Make an event of every change of a signal: ``Msg('monitor', obj, name='stream', **options)``.

    The options go to the signal's ``subscribe``.

    Raises:
        IllegalMessageSequence: If it is monitored already, or no run is open.
        MissingAbility: If it cannot be subscribed to.
        BadStep: If there are positional arguments.
    """
    run = session.run_of(msg)
    obj = require(msg, "name", "describe", "subscribe", "clear_sub")
    if msg.args:
        raise BadStep(f"'monitor' takes no positional arguments, got {shown(msg.args)}")
    if id(obj) in run.monitors:
        raise kind(IllegalMessageSequence)(
            f"{obj.name} is monitored already in this run; send 'unmonitor' first"
        )
    options = dict(msg.kwargs)
    name = options.pop("name", None) or f"monitor-{new_uid()[:6]}"
    member = Member(obj)
    asked = member.ask(describe=True)
    if asked is not None:
        await asked
    stream = run.stream(name)
    stream.rolls_back = False
    run.describe(stream, {id(obj): member})
    watcher = Monitor(session, run, member=member, stream_name=name)
    run.monitors[id(obj)] = watcher
    watcher.begin(options)
    session.reset_checkpoint()


def unmonitor(session: Session, msg: Any) -> None:
    """
    End ``monitor``: ``Msg('unmonitor', obj)``.

    Raises:
        IllegalMessageSequence: If it is not monitored.
    """
    run = session.run_of(msg)
    watcher = run.monitors.pop(id(msg.obj), None)
    if watcher is None:
        name = getattr(msg.obj, "name", msg.obj)
        raise kind(IllegalMessageSequence)(f"{name} is not monitored in this run")
    watcher.end()
    session.reset_checkpoint()
