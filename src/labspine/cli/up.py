"""``labspine up``: a whole laboratory in one process, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import ConfigError, LabspineError, shown
from .context import JsonOption, UrlOption, say, say_json, warn

if TYPE_CHECKING:
    from ..lab import DeviceRegistry
    from ..lab.scans.aftermath import Recovery

__all__ = ["BrokerPlace", "Keeping", "RunningLab", "StopRequest", "registry_maker", "running_lab"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Where files go.")]
SpeedOption = Annotated[
    float, typer.Option(min=0.1, max=1000.0, help="How much faster than real the simulation is.")
]
PortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of the page; the next free one if taken.")
]
DATA_DIR = Path("labspine-data")


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command."""
    app.command("up")(up)


def up(
    lab: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:FUNCTION]", help="A function that returns your DeviceRegistry."),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="The simulated beamline; nothing is real.")] = False,
    data: DataOption = DATA_DIR,
    speed: SpeedOption = 1.0,
    port: PortOption = 8600,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the web page.")] = True,
    name: Annotated[
        str, typer.Option(help="Name of the embedded broker; commands look for 'default'.")
    ] = "default",
    recovery: Annotated[
        str, typer.Option(help="What to do with scans of a lab that was killed: resume or close.")
    ] = "resume",
    url: UrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start broker, devices, scan server, file writer and page; Ctrl-C stops everything."""
    registry = registry_maker(lab, demo=demo, speed=speed)
    keeping = Keeping(recovery=_recovery(recovery))
    with (
        StopRequest() as stop,
        running_lab(
            registry,
            url=url,
            place=BrokerPlace(name),
            data=data,
            port=port if page else None,
            keeping=keeping,
        ) as running,
    ):
        if as_json:
            say_json(running.facts())
        else:
            say(running.banner(is_demo=demo))
            say(" ready — try:  labspine run scan det x -5 5 101      Ctrl-C stops everything")
        stop.wait()
        if not as_json:
            warn(" stopping …")


def registry_maker(lab: str | None, *, demo: bool, speed: float) -> Callable[[], DeviceRegistry]:
    """
    Choose where the devices come from.

    Args:
        lab: MODULE:FUNCTION, or None.
        demo: Whether the simulated beamline is wanted.
        speed: How much faster than real the simulation is.

    Returns:
        A function that makes the registry.

    Raises:
        ConfigError: If neither is given, or the function cannot be loaded.
    """
    if lab is not None:
        return _load(lab)
    if not demo:
        raise ConfigError("which lab? give --demo for the simulated beamline, or MODULE:FUNCTION of your own")

    def simulated() -> DeviceRegistry:
        from ..lab.simulation import simulated_beamline

        return simulated_beamline(speed=speed)

    return simulated


def _load(target: str) -> Callable[[], DeviceRegistry]:
    module, colon, function = target.partition(":")
    if not colon:
        raise ConfigError(f"{shown(target)}: expected MODULE:FUNCTION, as in mylab.devices:registry")
    try:
        return cast("Callable[[], DeviceRegistry]", getattr(import_module(module), function))
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{shown(target)} cannot be loaded: {error}") from error


class StopRequest:
    """Ctrl-C, SIGTERM and SIGHUP as one event; the second signal does not interrupt the clean-up."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopRequest:
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether somebody asked to stop."""
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until somebody asks to stop; return whether that happened in time."""
        if timeout_s is not None:
            return self._event.wait(timeout_s)
        # A signal is noticed between two waits; an endless one may not be woken.
        while not self._event.wait(0.2):
            pass
        return True


@dataclass(frozen=True)
class BrokerPlace:
    """Name of the embedded broker, and where it keeps its data; None is the place of that name."""

    name: str = "default"
    data_dir: Path | None = None


@dataclass(frozen=True)
class Keeping:
    """Where runs are written down (None: beside the data), and what becomes of those of a killed lab."""

    journal: Path | None = None
    recovery: Recovery = "resume"


def _recovery(word: str) -> Recovery:
    if word not in ("resume", "close"):
        raise ConfigError(f"--recovery is {shown(word)}; use resume or close")
    return cast("Recovery", word)


@dataclass
class RunningLab:
    """A lab that runs in this process."""

    url: str
    broker: str
    devices: int
    plans: int
    data: Path
    page: str | None
    started_s: float

    def facts(self) -> dict[str, object]:
        """Give what a program needs to know."""
        facts = {**vars(self), "data": str(self.data), "pid": os.getpid()}
        return {**facts, "started_s": round(self.started_s, 3)}

    def banner(self, *, is_demo: bool) -> str:
        """Give what a person wants to see."""
        from .._version import __version__

        what = "demo lab (simulated, nothing is real)" if is_demo else "lab"
        lines = [
            f" labspine {__version__} — {what}",
            f"  ✔ broker   {self.broker}   {self.url}",
            f"  ✔ lab      {self.devices} devices, {self.plans} plans",
            f"  ✔ files    {self.data}   (NeXus/HDF5 and CSV)",
        ]
        if self.page:
            lines.append(f"  ✔ page     {self.page}   (only this machine)")
        lines.append(f"  started in {self.started_s:.1f} s")
        return "\n".join(lines)


@contextmanager
def running_lab(
    make_registry: Callable[[], DeviceRegistry],
    *,
    url: str | None,
    place: BrokerPlace,
    data: Path,
    port: int | None,
    keeping: Keeping | None = None,
) -> Iterator[RunningLab]:
    """
    Start broker, lab and page in this process; stop them in the opposite order.

    Args:
        make_registry: Returns the devices.
        url: A broker that runs already; None starts the embedded one.
        place: Name and data of the embedded broker.
        data: Directory for files.
        port: Port of the page; None for no page.
        keeping: Where runs are written down, and what is done with those of a lab that was killed.

    Raises:
        ConfigError: If the broker cannot start, or a lab runs on this broker already.
    """
    begun_s = time.monotonic()
    with ExitStack() as stack:
        broker = "redis"
        if url is None:
            from ..wire import embedded

            server = stack.enter_context(embedded.start(place.name, data_dir=place.data_dir))
            url, broker = server.url, f"embedded {server.version}"
            if not server.is_owner:
                broker += " (started by another process)"
        registry = make_registry()
        data = data.resolve()
        host = _start_host(stack, url, registry=registry, data=data, keeping=keeping or Keeping())
        page = _start_page(stack, url, port=port) if port is not None else None
        yield RunningLab(url, broker, len(registry), len(host.plans), data, page, time.monotonic() - begun_s)


def _start_host(  # type: ignore[no-untyped-def]
    stack: ExitStack, url: str, *, registry: DeviceRegistry, data: Path, keeping: Keeping
):
    from ..lab.host import LabHost

    place = keeping.journal if keeping.journal is not None else True
    host = LabHost(url, registry, data_dir=data, journal=place, recovery=keeping.recovery)
    stack.callback(host.stop)
    host.start()
    return host


def _start_page(stack: ExitStack, url: str, *, port: int) -> str | None:
    try:
        from ..gateway import Gateway
    except ImportError as error:
        warn(f" no page: {error}; pip install 'labspine[gateway]'")
        return None
    gateway = Gateway(url, port=port)
    try:
        gateway.start()
    except LabspineError as error:
        warn(f" no page: {error}")
        return None
    stack.callback(gateway.stop)
    return gateway.url
