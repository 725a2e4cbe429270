"""
Programs written for bluesky: its plans without their most expensive line, and our engine in place of its own.

Every call of a plan stub of bluesky formats the whole call stack, for a warning that is shown only when the
stub is never iterated. That is about two thirds of the CPU time of a scan. :func:`cheap_plans` replaces it by
remembering file and line of the caller; the warning stays, with one line instead of the stack.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType, ModuleType, TracebackType
from typing import Any

from ..errors import ConfigError

__all__ = ["CheapPlans", "ReplacedEngine", "cheap_plans", "replace_engine"]

METHODS = ("__init__", "__iter__", "__del__")


class CheapPlans(AbstractContextManager["CheapPlans"]):
    """What :func:`cheap_plans` did; leaving the ``with`` block, or :meth:`undo`, puts it back."""

    def __init__(self, plan_class: type, original: dict[str, Any]) -> None:
        self._plan_class = plan_class
        self._original = original

    def undo(self) -> None:
        """Put bluesky's own methods back; a second call does nothing."""
        for name, method in self._original.items():
            setattr(self._plan_class, name, method)
        self._original = {}

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()


def cheap_plans() -> CheapPlans:
    """
    Make calls of bluesky's plan stubs cheap, in the whole process.

    Returns:
        A context manager; without ``with`` the change lasts.

    Raises:
        ConfigError: If bluesky is not installed, or its plans are built differently in this version.
    """
    try:
        from bluesky import utils
    except ImportError as error:
        raise ConfigError('bluesky is not installed; pip install "labspine[bluesky]"') from error
    plan_class = getattr(utils, "Plan", None)
    if plan_class is None or getattr(plan_class, "__slots__", None) != ("_iter", "_stack"):
        raise ConfigError("plans are built differently in this version of bluesky; nothing was changed")
    if plan_class.__init__ is _init:
        return CheapPlans(plan_class, {})
    original = {name: plan_class.__dict__[name] for name in METHODS}
    for name, method in zip(METHODS, (_init, _iter, _del), strict=True):
        setattr(plan_class, name, method)
    return CheapPlans(plan_class, original)


class ReplacedEngine(AbstractContextManager["ReplacedEngine"]):
    """What :func:`replace_engine` did; leaving the ``with`` block, or :meth:`undo`, puts it back."""

    def __init__(self, places: list[tuple[ModuleType, str, Any]]) -> None:
        self._places = places

    def undo(self) -> None:
        """Put bluesky's own engine back; a second call does nothing."""
        for module, name, original in self._places:
            setattr(module, name, original)
        self._places = []

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()


def replace_engine() -> ReplacedEngine:
    """
    Have ``from bluesky import RunEngine`` give Labspine's engine, so that start-up files stay as they are.

    Call it before those files are run; engines that exist already stay what they are.

    Returns:
        A context manager; without ``with`` the change lasts.

    Raises:
        ConfigError: If bluesky is not installed.
    """
    try:
        import bluesky
        from bluesky import run_engine
    except ImportError as error:
        raise ConfigError('bluesky is not installed; pip install "labspine[bluesky]"') from error
    from ..engine import RunEngine

    theirs = run_engine.RunEngine
    if theirs is RunEngine:
        return ReplacedEngine([])
    places: list[tuple[ModuleType, str, Any]] = []
    for module in [bluesky, run_engine, *_loaded_parts()]:
        for name in [name for name, value in vars(module).items() if value is theirs]:
            places.append((module, name, theirs))
            setattr(module, name, RunEngine)
    return ReplacedEngine(places)


def _loaded_parts() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.startswith("bluesky.")]


def _init(self: Any, f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    self._iter = f(*args, **kwargs)
    # Two frames up: the caller of the function that @plan made.
    frame: FrameType = sys._getframe(2)
    self._stack = (f, frame.f_code, frame.f_lineno)


def _iter(self: Any) -> Iterator[Any]:
    # bluesky's own is one more generator for every step to pass through.
    self._stack = None
    return iter(self._iter)


def _del(self: Any) -> None:
    caller = getattr(self, "_stack", None)
    if not caller:
        return
    if isinstance(caller, list):  # made before the switch
        where = "".join(caller)
    else:
        function, code, line = caller
        where = (
            f"plan `{function.__name__}` made in {code.co_filename}:{line} ({code.co_name}) "
            "was never iterated, did you mean to use `yield from`?"
        )
    warnings.warn("\n" + where, RuntimeWarning, stacklevel=1)
