"""Which plans there are: names, signatures, texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labspine.engine import Msg
from labspine.errors import InvalidArgument, InvalidName, PermissionDenied, PlanError, did_you_mean, shown

if TYPE_CHECKING:
    from .shapes import Shape

__all__ = ["PlanEntry", "PlanFunction", "PlanRegistry", "UnknownPlan", "default_plans", "mv"]

PlanFunction = Callable[..., Iterable[object]]
"""A function that returns messages for the engine."""

OFFERED = (
    "count",
    "scan",
    "rel_scan",
    "list_scan",
    "rel_list_scan",
    "log_scan",
    "rel_log_scan",
    "grid_scan",
    "rel_grid_scan",
    "list_grid_scan",
    "rel_list_grid_scan",
    "spiral",
    "rel_spiral",
    "spiral_fermat",
    "rel_spiral_fermat",
    "spiral_square",
    "rel_spiral_square",
    "adaptive_scan",
    "rel_adaptive_scan",
    "tune_centroid",
)
"""The standard plans whose arguments can be sent through the bus, in the order in which they are offered."""

NOT_SENDABLE = frozenset({"per_step", "per_shot", "md"})
"""Arguments of standard plans that are functions, or are given as metadata of the request."""


class UnknownPlan(PermissionDenied, PlanError):
    """A plan was named that the scan server does not offer."""


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One registered plan."""

    name: str
    function: PlanFunction
    doc: str
    signature: inspect.Signature = field(repr=False)
    shape: Shape | None = None

    @property
    def parameters(self) -> list[inspect.Parameter]:
        """The parameters that a request can give."""
        return [p for p in self.signature.parameters.values() if p.name not in NOT_SENDABLE]

    def describe(self) -> dict[str, object]:
        """Describe the plan as plain data: signature, doc, parameters and how its arguments are grouped."""
        return {
            "signature": f"({', '.join(_parameter_text(p) for p in self.parameters)})",
            "doc": self.doc,
            "parameters": [
                {
                    "name": p.name,
                    "kind": p.kind.name.lower(),
                    "required": p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD),
                    "default": None if p.default is p.empty else _plain(p.default),
                    "annotation": annotation_text(p),
                }
                for p in self.parameters
            ],
            "usage": self.shape.usage if self.shape else None,
        }


class PlanRegistry:
    """Hold the plans that may be requested by name; nothing else can be run through the bus."""

    def __init__(self) -> None:
        self._entries: dict[str, PlanEntry] = {}

    def add(self, function: PlanFunction, *, name: str | None = None, shape: Shape | None = None) -> None:
        """
        Register a plan function.

        Args:
            function: Returns messages when called; usually a generator function. Parameters annotated with
                ``str`` keep their text, all others get the devices that the text names.
            name: The name for requests; by default the name of the function.
            shape: How the positional arguments are grouped, for clear refusals; None when it has no groups.

        Raises:
            InvalidName: If the name is not an identifier or is taken.
            InvalidArgument: If it is not a function.
        """
        if not callable(function):
            raise InvalidArgument(f"a plan must be a function that returns messages, not {shown(function)}")
        label = str(name or getattr(function, "__name__", ""))
        if not label.isidentifier():
            raise InvalidName(f"plan name {shown(label)} is not allowed; use letters, digits and _")
        if label in self._entries:
            raise InvalidName(f'there is a plan "{label}" already; remove it first or use another name')
        doc = inspect.cleandoc(function.__doc__ or "").split("\n\n")[0].replace("\n", " ")
        self._entries[label] = PlanEntry(label, function, doc, inspect.signature(function), shape)

    def remove(self, name: str) -> None:
        """
        Forget a plan; requests for it are refused from now on.

        Args:
            name: Name of a registered plan.

        Raises:
            UnknownPlan: If there is none of this name.
        """
        del self._entries[self[name].name]

    def __getitem__(self, name: str) -> PlanEntry:
        """Look up a plan; raises `UnknownPlan` with the nearest name."""
        try:
            return self._entries[name]
        except (KeyError, TypeError):
            near = did_you_mean(str(name), self._entries)
            listed = near or f"; plans are {', '.join(self._entries) or 'not registered yet'}"
            raise UnknownPlan(f'no plan "{shown(name)}"{listed}') from None

    def __contains__(self, name: object) -> bool:
        """Say whether there is a plan of this name."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in order of registration."""
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        """Count the plans."""
        return len(self._entries)

    def describe(self) -> dict[str, dict[str, object]]:
        """Describe all plans, as `PlanEntry.describe` does, by name."""
        return {name: entry.describe() for name, entry in self._entries.items()}


def mv(*args: object) -> Iterable[Msg]:
    """
    Move one or several devices to positions at the same time, and wait until all have arrived.

    Args:
        args: device, position, device, position ...

    Returns:
        The messages of the plan.
    """
    for device, position in zip(args[::2], args[1::2], strict=True):
        yield Msg("set", device, position, group="mv")
    yield Msg("wait", None, group="mv")


def default_plans() -> PlanRegistry:
    """
    Offer ``mv`` and the standard plans: those of bluesky if it is installed, else our own of those names.

    Returns:
        A new registry to which further plans can be added.
    """
    from .shapes import SHAPES

    plans = PlanRegistry()
    for name, function in _standard_plans().items():
        plans.add(function, name=name, shape=SHAPES.get(name))
    plans.add(mv, shape=SHAPES["mv"])
    return plans


def _standard_plans() -> dict[str, PlanFunction]:
    """Take the plans of bluesky, or our own of the same names where bluesky is not installed."""
    try:
        from .bluesky_plans import standard_plans
    except ImportError:
        from labspine import plans

        return {name: getattr(plans, name) for name in OFFERED}
    return standard_plans(OFFERED)


def annotation_text(parameter: inspect.Parameter) -> str:
    """Show the annotation of a parameter as short text; empty when there is none."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    for noise in ("collections.abc.", "bluesky.protocols.", "typing."):
        text = text.replace(noise, "")
    return text


def _parameter_text(parameter: inspect.Parameter) -> str:
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    star = stars.get(parameter.kind.name, "")
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return f"{star}{parameter.name}{default}"


def _plain(value: object) -> object:
    return value if isinstance(value, (bool, int, float, str, type(None))) else repr(value)
