"""Steps that make runs and events: open_run, close_run, create, save, drop, declare_stream, configure."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from typing import TYPE_CHECKING, Any

from ...errors import shown
from ..documents import Member, Run, compose
from ..documents.stream import Bundle, settle
from ..documents.values import misfit
from ..errors import BadStep, IllegalMessageSequence, MismatchedValue, UndeclaredStream, kind
from .command import lacking, require
from .flying import flat_keys

if TYPE_CHECKING:
    from ..session import Session

logger = logging.getLogger("labspine.engine")

__all__ = ["close_run", "configure", "create", "declare_stream", "drop", "open_run", "save"]


def open_run(session: Session, msg: Any) -> Any:
    """
    Begin a run: ``Msg('open_run', None, **metadata)``. The answer is its uid.

    Metadata: keywords of the call win over those of the step, these over the engine's own.

    Raises:
        IllegalMessageSequence: If this run is open already.
        InvalidDocument: If the metadata cannot be used.
    """
    if msg.run in session.runs:
        raise kind(IllegalMessageSequence)(
            "'open_run' came while this run is open; send 'close_run' first, or give the runs different keys"
        )
    engine = session.engine
    scan_id = engine.scan_id_source(engine.md)
    if inspect.isawaitable(scan_id):
        return _open_later(session, msg, scan_id)
    return _open(session, msg, scan_id)


async def _open_later(session: Session, msg: Any, scan_id: Any) -> str:
    return _open(session, msg, await scan_id)


def _open(session: Session, msg: Any, scan_id: Any) -> str:
    engine = session.engine
    metadata = {
        **dict(engine.md),
        "scan_id": scan_id,
        "plan_type": type(session.plan).__name__,
        "plan_name": getattr(session.plan, "__name__", ""),
        **msg.kwargs,
        **session.metadata,
    }
    engine.md_validator(metadata)
    # Documents never change, the engine's metadata may: hence a copy.
    metadata = copy.deepcopy(metadata)
    if engine.md_normalizer is not None:
        metadata = engine.md_normalizer(metadata)
    start = compose.start(metadata)
    # Only now: a run that was refused uses up no number.
    engine.md["scan_id"] = scan_id
    run = Run(start, emit=session.emit, record_interruptions=engine.record_interruptions)
    session.runs[msg.run] = run
    session.uids.append(run.uid)
    if session.watch is not None:
        session.watch.begin_run(run, msg.run)
    run.open()
    run.mark()
    return run.uid


def close_run(session: Session, msg: Any) -> str:
    """
    End a run: ``Msg('close_run', None, exit_status=None, reason=None)``. The answer is its uid.

    Raises:
        IllegalMessageSequence: If it is not open, or, in a strict engine, if an event is.
        InvalidDocument: If exit_status is none of success, abort, fail.
    """
    run = session.run_of(msg)
    exit_status = msg.kwargs.get("exit_status") or session.default_exit_status
    if run.bundle is not None and exit_status == "success":
        _lose_event(session, run.bundle.stream.name)
    for watcher in list(run.monitors.values()):
        watcher.end()
    run.monitors.clear()
    session.empty_inbox()
    try:
        run.close(exit_status, msg.kwargs.get("reason") or "")
    finally:
        if not run.is_open:
            del session.runs[msg.run]
            _forget_steps(session)
    return run.uid


def _lose_event(session: Session, stream: str) -> None:
    text = (
        f"step {session.step}, 'close_run', came between 'create' and 'save': the open event of stream "
        f"\"{stream}\" is lost; send 'save' or 'drop' first"
    )
    if session.engine.strict:
        raise kind(IllegalMessageSequence)(text)
    logger.warning("%s", text)


def _forget_steps(session: Session) -> None:
    # What was done in a closed run cannot be done again in it: a replay begins here at the earliest.
    if all(run.bundle is None for run in session.runs.values()):
        session.reset_checkpoint()


def create(session: Session, msg: Any) -> None:
    """
    Begin an event: ``Msg('create', name='primary')``.

    Raises:
        IllegalMessageSequence: If an event is open, or no run.
        BadStep: If the stream has no name.
    """
    name = msg.kwargs.get("name", msg.args[0] if len(msg.args) == 1 else None)
    if not isinstance(name, str) or not name:
        raise BadStep("'create' needs the name of a stream: Msg('create', name='primary')")
    run = session.run_of(msg)
    if session.engine._require_stream_declaration and run.stream(name).descriptor is None:
        raise kind(IllegalMessageSequence)(
            f"stream \"{name}\" is not declared, and this engine demands that: send 'declare_stream' first"
        )
    run.begin_bundle(name)


def save(session: Session, msg: Any) -> None:
    """
    Emit the event that ``create`` began: ``Msg('save')``.

    Raises:
        IllegalMessageSequence: If there is no open event.
        MismatchedReading: If other objects or keys were read than before in this stream.
        MismatchedValue: If the engine is strict and a value has not the described type or shape.
    """
    run = session.run_of(msg)
    bundle = run.bundle
    # The first event of a stream tells a wrong description; each event is looked at on demand only.
    if bundle is not None and (bundle.stream.descriptor is None or session.engine.strict):
        _compare_values(session, bundle)
    run.save()


def _compare_values(session: Session, bundle: Bundle) -> None:
    for member, reading in zip(bundle.members.values(), bundle.readings, strict=False):
        words = misfit(member.data_keys, reading)
        if words is None:
            continue
        text = f"{member.name}: {words}"
        if session.engine.strict:
            raise MismatchedValue(text)
        logger.warning("%s; correct its describe(): readers of these data may fail", text)


def drop(session: Session, msg: Any) -> None:
    """
    Forget the event that ``create`` began: ``Msg('drop')``.

    Raises:
        IllegalMessageSequence: If there is no open event.
    """
    session.run_of(msg).drop()


async def declare_stream(session: Session, msg: Any) -> Any:
    """
    Describe a stream before its first event: ``Msg('declare_stream', None, *objects, name='primary')``.

    With ``collect=True`` the objects are flyers or detectors that will be collected. The answer is the
    descriptor, a function that composes events, and the objects.

    Raises:
        IllegalMessageSequence: If no run is open or an event is open.
        BadStep: If name or objects are missing.
    """
    run = session.run_of(msg)
    name = msg.kwargs.get("name")
    if msg.obj is not None or not isinstance(name, str) or not name:
        raise UndeclaredStream(
            "A stream name that is not None is required for pre-declare, and the objects are arguments: "
            "Msg('declare_stream', None, *objects, name=...)"
        )
    if run.bundle is not None:
        raise kind(IllegalMessageSequence)("'declare_stream' is not allowed between 'create' and 'save'")
    stream = run.stream(name)
    is_collected = bool(msg.kwargs.get("collect", False))
    objects = list({id(obj): obj for obj in msg.args}.values())
    members = await asyncio.gather(*(_declared(obj, name, is_collected=is_collected) for obj in objects))
    by_id = {id(member.obj): member for member in members}
    stream.known.update(by_id)
    run.describe(stream, by_id)
    run.declared.setdefault(frozenset(by_id), []).append(name)
    return stream.descriptor, stream.event, objects


async def _declared(obj: Any, stream_name: str, *, is_collected: bool) -> Member:
    needs = ("name", "describe_collect") if is_collected else ("name", "describe")
    if any(not hasattr(obj, need) for need in needs):
        raise lacking(obj, needs, "declare_stream")
    member = Member(obj)
    asked = member.ask(describe=not is_collected)
    if asked is not None:
        await asked
    if is_collected:
        member.describe_with(flat_keys(await settle(obj.describe_collect()), stream_name, obj.name))
    return member


def configure(session: Session, msg: Any) -> Any:
    """
    Change a device's configuration: ``Msg('configure', obj, ...)``. The answer is the pair (old, new).

    Each stream that contains the object gets a new descriptor.

    Raises:
        IllegalMessageSequence: Between 'create' and 'save'.
        MissingAbility: If it cannot be configured.
    """
    run = session.runs.get(msg.run)
    if run is not None and run.bundle is not None:
        raise kind(IllegalMessageSequence)("'configure' is not allowed between 'create' and 'save'")
    obj = require(msg, "configure")
    answer = obj.configure(*msg.args, **msg.kwargs)
    if inspect.isawaitable(answer):
        return _configure_later(run, obj, answer)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise BadStep(f"{getattr(obj, 'name', obj)}.configure() must return (old, new); got {shown(answer)}")
    streams = [] if run is None else [s for s in run.streams.values() if id(obj) in s.known]
    return _redescribe(run, obj, answer) if streams else answer


async def _configure_later(run: Run | None, obj: Any, answer: Any) -> Any:
    return await _redescribe(run, obj, await answer)


async def _redescribe(run: Run | None, obj: Any, answer: Any) -> Any:
    for stream in [] if run is None else list(run.streams.values()):
        member = stream.known.get(id(obj))
        if run is None or member is None:
            continue
        asked = member.ask(describe=False)
        if asked is not None:
            await asked
        if stream.descriptor is not None and id(obj) in stream.members:
            run.describe(stream, stream.members)
    return answer
