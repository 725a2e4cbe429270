"""From a scan request to a plan that is ready to run, or to a sentence that says why not."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

from labspine.clock import mono_s
from labspine.engine import Preflight, preflight
from labspine.errors import LabspineError, PlanError, RequestRefused, did_you_mean, shown
from labspine.messages import ScanQueueMessage

from ..devices import DeviceRegistry
from .registry import NOT_SENDABLE, PlanEntry, PlanRegistry, annotation_text
from .shapes import check_count

__all__ = ["ReadyScan", "prepare"]

_RESERVED_METADATA = frozenset({"uid", "time", "scan_id", "plan_name", "plan_type", "versions"})
_MAX_DEPTH = 8

_WALK_S = 0.3
"""How long the walk through a plan may take, so that a request is answered within half a second."""


@dataclass(frozen=True, slots=True)
class ReadyScan:
    """A request that has passed all checks."""

    message: ScanQueueMessage
    plan: PlanEntry
    build: Callable[[], Iterable[object]]
    forecast: Preflight
    num_points: int | None
    user_metadata: dict[str, object]

    @property
    def args(self) -> list[object]:
        """The positional arguments as they were requested, devices by name."""
        return list(self.message.parameter.get("args", ()))

    @property
    def kwargs(self) -> dict[str, object]:
        """The keyword arguments as they were requested, devices by name."""
        return dict(self.message.parameter.get("kwargs", {}))


def prepare(message: ScanQueueMessage, *, registry: DeviceRegistry, plans: PlanRegistry) -> ReadyScan:
    """
    Check a request completely, without touching hardware.

    Args:
        message: ``scan_type`` names the plan; ``parameter = {"args": [...], "kwargs": {...}}`` with devices
            by name; ``metadata["user_metadata"]`` goes into the start of the run.
        registry: The devices that exist.
        plans: The plans that are offered.

    Returns:
        The plan, ready to be built, and what the walk through it has shown.

    Raises:
        RequestRefused: If anything is wrong; the sentence says what and suggests what was meant. Its
            ``code`` is that of the cause.
    """
    try:
        return _prepare(message, registry, plans)
    except RequestRefused:
        raise
    except LabspineError as error:
        raise _refused(str(error), error.code) from error


def _prepare(message: ScanQueueMessage, registry: DeviceRegistry, plans: PlanRegistry) -> ReadyScan:
    entry = plans[message.scan_type]
    args, kwargs = _arguments(message.parameter)
    metadata = check_metadata(message.metadata.get("user_metadata"))
    bound = _bind(entry, args, kwargs)
    _check_detectors(bound, registry)
    points: int | None = None
    if entry.shape is not None:
        points = entry.shape.check(args, kwargs, registry=registry)
    elif "num" in bound.arguments:
        points = check_count("num", bound.arguments["num"])
    _resolve(bound, registry)

    def build() -> Iterable[object]:
        return entry.function(*bound.args, **bound.kwargs)

    forecast, is_complete = _walk(entry.name, build, points)
    if not is_complete and entry.shape is not None:
        entry.shape.check_limits(args, registry=registry)
    num_points = forecast.num_points if is_complete else points
    return ReadyScan(message, entry, build, forecast, num_points, metadata)


def _arguments(parameter: Mapping[str, object]) -> tuple[list[object], dict[str, object]]:
    args, kwargs = parameter.get("args", []), parameter.get("kwargs", {})
    if not isinstance(args, (list, tuple)):
        raise PlanError(f'parameter["args"] must be a list, not {shown(args)}')
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise PlanError(f'parameter["kwargs"] must be a map with text keys, not {shown(kwargs)}')
    return list(args), dict(kwargs)


def _bind(entry: PlanEntry, args: Sequence[object], kwargs: Mapping[str, object]) -> inspect.BoundArguments:
    known = {p.name: p for p in entry.parameters}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for key in kwargs:
        if key in NOT_SENDABLE:
            raise PlanError(f"{entry.name}: {key} cannot be sent with a request; give metadata beside it")
        if key not in known and not takes_any:
            near = did_you_mean(key, known)
            raise PlanError(f'{entry.name} has no argument "{shown(key)}"{near or _usage(entry)}')
    try:
        return entry.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise PlanError(f"{entry.name}: {error}{_usage(entry)}") from None


def _usage(entry: PlanEntry) -> str:
    written = entry.shape.usage if entry.shape else str(entry.describe()["signature"])
    return f"; write {entry.name} {written}"


def _check_detectors(bound: inspect.BoundArguments, registry: DeviceRegistry) -> None:
    """Accept one name or a list of names for ``detectors``; a duplicate or empty list is refused."""
    if "detectors" not in bound.arguments:
        return
    given = bound.arguments["detectors"]
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not names:
        raise PlanError(f'detectors must be a list of device names, as in ["det"], not {shown(given)}')
    for name in names:
        if not isinstance(name, str):
            raise PlanError(f"a detector is given by its name, not by {shown(name)}")
        registry.entry(name)
    if len(set(names)) < len(names):
        raise PlanError(f"a detector is named twice: {', '.join(names)}")
    bound.arguments["detectors"] = list(names)


def _resolve(bound: inspect.BoundArguments, registry: DeviceRegistry) -> None:
    """Replace names by devices, except where the annotation asks for text."""
    for name, value in bound.arguments.items():
        parameter = bound.signature.parameters[name]
        annotation = annotation_text(parameter).replace(" | None", "")
        if annotation == "str":
            continue
        strict = name == "detectors" or any(
            word in annotation for word in ("Movable", "Readable", "Flyable", "Device")
        )
        if parameter.kind is parameter.VAR_KEYWORD:
            bound.arguments[name] = {
                key: _devices(item, registry, strict=strict) for key, item in dict(value).items()
            }
        else:
            bound.arguments[name] = _devices(value, registry, strict=strict)


def _devices(value: object, registry: DeviceRegistry, *, strict: bool, depth: int = 0) -> object:
    if depth > _MAX_DEPTH:
        raise PlanError(f"arguments are nested deeper than {_MAX_DEPTH} lists")
    if isinstance(value, str):
        if strict or value in registry:
            return registry[value]
        return value
    if isinstance(value, (list, tuple)):
        inside = [_devices(item, registry, strict=strict, depth=depth + 1) for item in value]
        return tuple(inside) if isinstance(value, tuple) else inside
    if isinstance(value, Real) and not math.isfinite(value):
        raise PlanError(f"{shown(value)} is not a finite number")
    return value


def _walk(name: str, build: Callable[[], Iterable[object]], points: int | None) -> tuple[Preflight, bool]:
    """Walk through the plan for a limited time; tell what was found, and whether the walk reached the end."""
    cut: list[bool] = []
    try:
        forecast = preflight(_for_a_while(build(), cut))
    except LabspineError:
        raise
    except Exception as error:
        raise PlanError(f"{name} cannot be built from these arguments: {shown(str(error), 300)}") from error
    is_complete = forecast.is_complete and not cut
    if forecast.problems:
        first = forecast.problems[0]
        if not is_complete and points is not None:
            # The walk ends after many problems, and then has counted only so far.
            first = first.replace(f" of {forecast.num_points})", f" of {points})")
        raise PlanError(first)
    return forecast, is_complete


def _for_a_while(plan: Iterable[object], cut: list[bool]) -> Generator[object, object, None]:
    """Pass a plan on until the time for looking at it is over: bluesky needs over 1 ms for each point."""
    inner = iter(plan)
    send = getattr(inner, "send", None)
    deadline = mono_s() + _WALK_S
    answer: object = None
    while mono_s() < deadline:
        try:
            msg = next(inner) if send is None or answer is None else send(answer)
        except StopIteration:
            return
        answer = yield msg
    cut.append(True)
    close = getattr(inner, "close", None)
    if callable(close):
        close()


def check_metadata(metadata: object) -> dict[str, object]:
    """
    Check what a person says about a scan before it becomes part of a document.

    Args:
        metadata: A map with text keys, or None.

    Returns:
        The map; empty for None.

    Raises:
        RequestRefused: If it is no map, or a key has a dot or slash or is reserved for the engine.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise _refused(f"user_metadata must be a map, not {shown(metadata)}", "E-MSG")
    for key in metadata:
        if not isinstance(key, str) or not key:
            raise _refused(f"metadata key {shown(key)} is not a text", "E-MSG")
        if "." in key or "/" in key:
            raise _refused(f'metadata key "{shown(key)}" holds a dot or slash; use _ instead', "E-MSG")
        if key in _RESERVED_METADATA:
            raise _refused(f'metadata key "{key}" is set by the engine; use another name', "E-MSG")
    return dict(metadata)


def _refused(sentence: str, code: str) -> RequestRefused:
    error = RequestRefused(sentence)
    error.code = code
    return error
