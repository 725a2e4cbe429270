"""Steps for devices that measure on their own: kickoff, complete, collect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ...errors import shown
from ..documents import Member, Run, Stream
from ..documents.assets import drain
from ..documents.stream import settle
from ..errors import (
    BadAsset,
    BadStep,
    IllegalMessageSequence,
    MismatchedReading,
    NotOffered,
    UndeclaredStream,
    kind,
)
from .command import lacking, require
from .motion import group_of

if TYPE_CHECKING:
    from ..session import Session

ASSET_WRITER = ("collect_asset_docs", "get_index")

__all__ = ["collect", "complete", "flat_keys", "kickoff"]


def kickoff(session: Session, msg: Any) -> Any:
    """
    Start a flyer: ``Msg('kickoff', obj, ..., group=None)``. The answer is its status.

    Raises:
        IllegalMessageSequence: If no run is open.
        MissingAbility: If it is no flyer.
        NotAStatus: If it returns no status.
    """
    run = session.run_of(msg)
    obj = require(msg, "kickoff", "complete")
    group, kwargs = group_of(msg)
    status = _still_flying(run, msg)
    if status is None:
        status = obj.kickoff(*msg.args, **kwargs)
    session.statuses.track(status, group, "kickoff()", obj)
    run.uncollected[id(obj)] = obj
    run.kicked_off[id(obj)] = (msg, status)
    return status


def _still_flying(run: Run, msg: Any) -> Any:
    # The very same step comes twice only in a replay; a flyer that is under way must not be started again.
    if id(msg.obj) not in run.uncollected:
        return None
    before, status = run.kicked_off.get(id(msg.obj), (None, None))
    failed = getattr(status, "done", False) and not getattr(status, "success", True)
    return status if before is msg and not failed else None


def complete(session: Session, msg: Any) -> Any:
    """
    Tell a flyer to finish: ``Msg('complete', obj, group=None)``. The answer is its status.

    Raises:
        MissingAbility: If it is no flyer.
        NotAStatus: If it returns no status.
    """
    obj = require(msg, "kickoff", "complete")
    group, kwargs = group_of(msg)
    return session.statuses.track(obj.complete(*msg.args, **kwargs), group, "complete()", obj)


async def collect(session: Session, msg: Any) -> Any:
    """
    Emit what flyers have recorded: ``Msg('collect', obj, *more, name=None, return_payload=True)``.

    The answer is the list of partial events, or None when there are none or they are not wanted.

    Raises:
        IllegalMessageSequence: If no run is open, or several objects have no declared stream.
        MissingAbility: If an object cannot be collected.
        BadStep: If the stream is not declared, or ``stream=True`` is asked for.
        BadAsset: If file documents do not fit.
    """
    run = session.run_of(msg)
    if msg.kwargs.get("stream", False):
        raise NotOffered(
            "Collect now emits EventPages (stream=False), so emitting Events (stream=True) is no longer "
            "supported; leave stream=True out"
        )
    objects = [msg.obj, *msg.args]
    for obj in objects:
        if not (hasattr(obj, "describe_collect") and hasattr(obj, "name")):
            raise lacking(obj, ("name", "describe_collect"), "collect")
        if len(objects) > 1 and not _writes_streams(obj):
            raise lacking(obj, ASSET_WRITER, "collect", protocol="WritesStreamAssets")
        run.uncollected.pop(id(obj), None)
    stream = _declared_stream(run, objects, msg.kwargs.get("name"))
    if stream is None:
        await _describe_nested(run, objects)
    rows = await _emit_assets(session, run, objects=objects, stream=stream)
    wants_payload = msg.kwargs.get("return_payload", True)
    flyer = objects[0]
    is_eventful = hasattr(flyer, "collect_pages") or hasattr(flyer, "collect")
    if len(objects) == 1 and not _writes_streams(flyer) and is_eventful:
        payload = await _emit_pages(session, run, flyer=flyer, stream=stream)
        return payload if wants_payload else None
    if stream is None:
        raise UndeclaredStream(
            f"'collect' of {flyer.name} needs a declared stream: 'declare_stream' with collect=True first"
        )
    stream.next_number += rows
    return None


def _writes_streams(obj: Any) -> bool:
    return hasattr(obj, "collect_asset_docs") and hasattr(obj, "get_index")


def _declared_stream(run: Run, objects: list[Any], name: str | None) -> Stream | None:
    names = run.declared.get(frozenset(id(obj) for obj in objects), [])
    if name is not None:
        if name not in names:
            raise UndeclaredStream(
                "If a message stream name is provided declare stream needs to be called first. "
                f'Stream "{shown(name)}" is not declared for these objects: '
                "send 'declare_stream' with collect=True"
            )
        return run.streams[name]
    if not names:
        return None
    if len(set(names)) > 1:
        raise BadStep(f"these objects have the streams {sorted(set(names))}; tell 'collect' which: name=...")
    return run.streams[names[0]]


async def _describe_nested(run: Run, objects: list[Any]) -> None:
    flyer = objects[0]
    if id(flyer) in run.nested:
        return
    if len(objects) > 1:
        raise kind(IllegalMessageSequence)(
            "several objects can be collected together only into a stream that 'declare_stream' named before"
        )
    described = await settle(flyer.describe_collect())
    if any(_is_data_key(value) for value in described.values()):
        raise UndeclaredStream(
            f"Single nested data keys should be pre-declared: {flyer.name} describes one stream; send "
            "'declare_stream' with collect=True before 'collect'"
        )
    _check_disjoint(flyer.name, described)
    streams: dict[frozenset[str], Stream] = {}
    for name, keys in described.items():
        member = Member(flyer)
        asked = member.ask(describe=False)
        if asked is not None:
            await asked
        member.describe_with(keys)
        stream = run.stream(name)
        run.describe(stream, {id(flyer): member})
        streams[frozenset(keys)] = stream
    run.nested[id(flyer)] = streams


def _is_data_key(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("source"), str)


def _check_disjoint(flyer_name: str, described: Mapping[str, Any]) -> None:
    for (first, keys), (second, others) in combinations(described.items(), 2):
        both = sorted(keys.keys() & others.keys())
        if both:
            raise MismatchedReading(
                f"Can't use identical data keys in multiple streams: {flyer_name} describes {both} "
                f'in "{first}" and in "{second}"'
            )


def flat_keys(described: Mapping[str, Any], stream_name: str, flyer_name: str) -> Mapping[str, Any]:
    """
    Read what ``describe_collect`` returned for one stream.

    Args:
        described: Descriptions by key, or by stream and key.
        stream_name: The stream that was declared.
        flyer_name: For the error text.

    Returns:
        Descriptions by key.

    Raises:
        BadStep: If it describes other streams.
    """
    if all(_is_data_key(value) for value in described.values()):
        return described
    if list(described) != [stream_name]:
        raise BadStep(f'{flyer_name} describes the streams {list(described)}, not only "{stream_name}"')
    inner: Mapping[str, Any] = described[stream_name]
    return inner


async def _emit_assets(session: Session, run: Run, *, objects: list[Any], stream: Stream | None) -> int:
    index = None
    if len(objects) > 1:
        # All advance together, as far as the slowest has come.
        index = min(await asyncio.gather(*(settle(obj.get_index()) for obj in objects)))
    found: list[Any] = []
    for obj in objects:
        if _writes_streams(obj):
            found.extend(await drain(obj.collect_asset_docs(index)))
        elif hasattr(obj, "collect_asset_docs"):
            found.extend(await drain(obj.collect_asset_docs()))
    ready, rows = run.assets.complete(found, stream)
    for name, doc in ready:
        session.emit(name, doc)
    return rows


async def _emit_pages(session: Session, run: Run, *, flyer: Any, stream: Stream | None) -> list[Any]:
    if hasattr(flyer, "collect_pages"):
        payload = await drain(flyer.collect_pages())
        for page in payload:
            target = stream or _nested_stream(run, flyer, page)
            _check_inline(flyer, target, page)
            doc = target.page(page["data"], page["timestamps"])
            if doc is not None:
                session.emit("event_page", doc)
        return payload
    payload = await drain(flyer.collect())
    batches: dict[str, tuple[Stream, list[dict[str, Any]]]] = {}
    for event in payload:
        target = stream or _nested_stream(run, flyer, event)
        _check_inline(flyer, target, event)
        doc = target.event(event["data"], event["timestamps"], event.get("filled", {}))
        batches.setdefault(target.name, (target, []))[1].append(doc)
    for _, events in batches.values():
        session.emit("event_page", _packed(events))
    return payload


def _nested_stream(run: Run, flyer: Any, event: Mapping[str, Any]) -> Stream:
    found = run.nested[id(flyer)].get(frozenset(event["data"]))
    if found is None:
        raise MismatchedReading(
            f"{flyer.name} gave an event with the keys {sorted(event['data'])}, not described"
        )
    return found


def _check_inline(flyer: Any, stream: Stream, event: Mapping[str, Any]) -> None:
    both = sorted(stream.external & event["data"].keys())
    if both:
        raise kind(BadAsset)(f"{flyer.name} gave values for {both}, which live in files")


def _packed(events: list[dict[str, Any]]) -> dict[str, Any]:
    first = events[0]
    return {
        "time": [e["time"] for e in events],
        "uid": [e["uid"] for e in events],
        "seq_num": [e["seq_num"] for e in events],
        "descriptor": first["descriptor"],
        "filled": {key: [e["filled"][key] for e in events] for key in first["filled"]},
        "data": {key: [e["data"][key] for e in events] for key in first["data"]},
        "timestamps": {key: [e["timestamps"][key] for e in events] for key in first["timestamps"]},
    }
