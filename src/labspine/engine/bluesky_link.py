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
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    # At run time it would cost 8 ms.
    import importlib.abc

__all__ = ["announce_loop", "foreign", "host_versions", "qt_aware_wait"]

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


def qt_aware_wait() -> Any:
    """
    Find bluesky's waiting object that keeps Qt and notebook plots alive, if plots are in use.

    Returns:
        An object with ``block(event)``, or None when a plain wait is enough.
    """
    if "matplotlib" not in sys.modules:
        return None
    during_task = foreign("bluesky.utils", "DefaultDuringTask")
    return during_task() if during_task is not None else None
