"""
The one place that knows that bluesky exists: it looks into ``sys.modules`` and never imports.

- Exceptions of ours also derive from bluesky's class of the same name, once bluesky is loaded.
- bluesky and ophyd-async find the loop of the engine through a global of ``bluesky.run_engine``.
  If that module is imported after the engine was built, a finder on ``sys.meta_path`` sets it then.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ..errors import LabspineWarning

if TYPE_CHECKING:
    # At run time it would cost 8 ms.
    import importlib.abc

    from .documents import Emitter
    from .performers import Command
    from .session import Session

__all__ = ["BlueskyNames", "announce_loop", "foreign", "host_versions", "plot_aware_wait"]


class BlueskyNames:
    """Names of bluesky's engine that are private or old, for plans, tools and tests that look there."""

    emitter: Emitter
    table: dict[Any, Command]
    _session: Session | None

    def __init__(self) -> None:
        super().__init__()
        # Deepest call stack from which a plan may be started; None: any.
        self.max_depth: int | None = None
        self._last_session: Session | None = None

    @property
    def dispatcher(self) -> Any:
        """Who hands out documents, with bluesky's names for its parts."""
        return _Dispatcher(self.emitter)

    @property
    def _run_bundlers(self) -> dict[Any, Any]:
        return {} if self._session is None else dict(self._session.runs)

    @property
    def _command_registry(self) -> dict[Any, _Described]:
        return {name: _Described(command) for name, command in self.table.items()}

    @property
    def _task(self) -> Any:
        return getattr(self._last_session, "task", None)

    def check_call(self, metadata: dict[str, Any]) -> None:
        """
        Look at a call as bluesky does.

        Args:
            metadata: Keyword arguments of the call.

        Raises:
            EngineBusy: If it comes from deeper in the program than ``max_depth`` allows.
        """
        if "raise_if_interrupted" in metadata:
            warnings.warn(
                "raise_if_interrupted has no meaning any more and becomes metadata of the run",
                LabspineWarning,
                stacklevel=3,
            )
        if self.max_depth is None:
            return
        depth, frame = 0, sys._getframe(1)
        while frame.f_back is not None:
            depth, frame = depth + 1, frame.f_back
        if depth > self.max_depth:
            from .errors import EngineBusy

            raise EngineBusy(
                f"the engine was called {depth} calls deep, and max_depth allows {self.max_depth}: "
                "write a plan and call the engine with it, instead of calling it inside of functions"
            )


class _Described:
    """A command under bluesky's name: its description is where bluesky has it."""

    def __init__(self, command: Command) -> None:
        self.__doc__ = command.about
        self.command = command


class _Dispatcher:
    """The emitter, with bluesky's names for its parts."""

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._emitter, name)

    @property
    def cb_registry(self) -> SimpleNamespace:
        return SimpleNamespace(callbacks=self._emitter._by_name)

    @property
    def _token_mapping(self) -> dict[int, Any]:
        return self._emitter._tokens


RUN_ENGINE = "bluesky.run_engine"
HOSTS = ("bluesky", "event_model", "ophyd", "ophyd_async")


def foreign(module: str, name: str) -> Any:
    """
    Find something of bluesky, if bluesky is loaded.

    Args:
        module: Full name of the module.
        name: Name inside of it.

    Returns:
        The object, or None when the module is not loaded or lacks the name.
    """
    return getattr(sys.modules.get(module), name, None)


def announce_loop(loop: asyncio.AbstractEventLoop) -> None:
    """
    Make ``bluesky.run_engine.call_in_bluesky_event_loop`` use this loop, now or once it is imported.

    Args:
        loop: The running loop of the newest engine.
    """
    _Announcer.loop = loop
    module = sys.modules.get(RUN_ENGINE)
    if module is not None:
        _tell(module)
    elif not any(isinstance(finder, _Announcer) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Announcer())


def _tell(module: ModuleType) -> None:
    setter = getattr(module, "set_bluesky_event_loop", None)
    if setter is not None and _Announcer.loop is not None:
        setter(_Announcer.loop)


class _Announcer:
    """Wait for the import of ``bluesky.run_engine`` and tell it the loop."""

    loop: asyncio.AbstractEventLoop | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != RUN_ENGINE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = cast("importlib.abc.Loader", _TellAfterwards(spec.loader))
        return spec


class _TellAfterwards:
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _tell(module)

    def __getattr__(self, name: str) -> Any:
        # Tools ask loaders for their source (tracebacks, coverage).
        return getattr(self._loader, name)


def host_versions() -> dict[str, str]:
    """
    Collect versions of the libraries that devices and plans come from, without importing them.

    Returns:
        Version by name for those that are installed.
    """
    versions: dict[str, str] = {}
    for name in HOSTS:
        loaded = getattr(sys.modules.get(name), "__version__", None)
        version = loaded if isinstance(loaded, str) else _installed_version(name)
        if version is not None:
            versions[name] = version
    return versions


def _installed_version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def plot_aware_wait() -> Any:
    """
    Find bluesky's waiting object that keeps plots of matplotlib alive, if there may be some.

    Returns:
        An object with ``block(event)`` when a plain wait or one for Qt alone is not enough, or None.
    """
    matplotlib, during_task = sys.modules.get("matplotlib"), foreign("bluesky.utils", "DefaultDuringTask")
    if matplotlib is None or during_task is None:
        return None
    backend = matplotlib.get_backend().lower()
    return during_task() if any(name in backend for name in ("qt", "ipympl", "nbagg")) else None
