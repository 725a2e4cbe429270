"""All services of a lab in one process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from labspine.clock import mono_s
from labspine.connector import RedisConnector
from labspine.engine.journal import Journal
from labspine.errors import LabspineError

from .broker_check import refuse_unsafe_broker
from .device_server import DeviceServer
from .devices import DeviceRegistry
from .plans.registry import PlanRegistry, default_plans
from .scans.aftermath import Recovery
from .scans.publisher import journal_for_bus
from .scans.server import ScanServer

__all__ = ["HostedService", "LabHost"]

_log = logging.getLogger("labspine.lab")

STOP_LIMIT_S = 2.5

JOURNAL = "journal"
"""Directory of the journals, in the directory of data files."""


class HasUrl(Protocol):
    """Anything that knows the address of a broker, such as the embedded one."""

    @property
    def url(self) -> str: ...


class HostedService(Protocol):
    """What the host needs of a service."""

    def start(self) -> None: ...

    def stop(self, timeout_s: float = ...) -> object: ...


class LabHost:
    """
    Start device server, file writer and scan server in one process, each with its own connection.

    The same classes run as one process each on a beamline.

    Args:
        broker: Address of the broker, or an object with ``url``.
        registry: The devices.
        data_dir: Where data files go.
        plans: The plans that may be requested; by default ``mv`` and those of bluesky.
        profile: Names of the channels.
        extras: Makers of further services (a page, for instance); each gets a connector of its own.
        metadata: Goes into the start document of each run.
        journal: Whether runs are written down in ``<data_dir>/journal`` before anybody is told, so that a
            crash loses nothing; or the directory for that.
        recovery: What to do with a plan whose process died: ``resume`` or ``close``.
    """

    def __init__(  # noqa: PLR0913 - all by name
        self,
        broker: str | HasUrl,
        registry: DeviceRegistry,
        *,
        data_dir: str | Path,
        plans: PlanRegistry | None = None,
        profile: Literal["seed", "bec4"] = "seed",
        extras: Sequence[Callable[[RedisConnector], HostedService]] = (),
        metadata: dict[str, object] | None = None,
        journal: bool | str | Path = True,
        recovery: Recovery = "resume",
    ) -> None:
        self.url = broker if isinstance(broker, str) else broker.url
        self.registry = registry
        self.plans = plans if plans is not None else default_plans()
        self.data_dir = Path(data_dir)
        self._profile: Literal["seed", "bec4"] = profile
        self._extras = tuple(extras)
        self._metadata = dict(metadata or {})
        self._recovery: Recovery = recovery
        self.journal: Journal | None = None
        if journal is not False:
            place = self.data_dir / JOURNAL if journal is True else Path(journal)
            self.journal = journal_for_bus(place, self.url)
        self._connectors: list[RedisConnector] = []
        self._services: list[HostedService] = []

    def start(self) -> None:
        """
        Start all services; those that listen to scans come before the one that runs them.

        Raises:
            NotConnected: If the broker cannot be reached.
            ConfigError: If another scan server serves this broker, or the broker could lose data.
        """
        from .files.writer import FileWriter  # needs h5py, which a client does not

        makers: list[tuple[str, Callable[[RedisConnector], HostedService]]] = [
            ("device_server", lambda c: DeviceServer(c, self.registry)),
            ("file_writer", lambda c: FileWriter(c, directory=self.data_dir)),
            *((f"extra_{number}", maker) for number, maker in enumerate(self._extras)),
            ("scan_server", self._scan_server),
        ]
        try:
            for name, make in makers:
                connector = RedisConnector(self.url, name=name, profile=self._profile)
                self._connectors.append(connector)
                if len(self._connectors) == 1:
                    refuse_unsafe_broker(connector, tells_warnings=False)  # the scan server tells them
                service = make(connector)
                self._services.append(service)
                service.start()
        except BaseException:
            self.stop()
            raise

    def _scan_server(self, connector: RedisConnector) -> ScanServer:
        return ScanServer(
            connector,
            self.registry,
            self.plans,
            metadata=self._metadata,
            journal=self.journal,
            recovery=self._recovery,
        )

    def stop(self) -> None:
        """Stop all services in reverse order, within 3 s; a running scan is aborted."""
        deadline = mono_s() + STOP_LIMIT_S
        for service in reversed(self._services):
            try:
                service.stop(timeout_s=max(0.2, min(2.0, deadline - mono_s())))
            except LabspineError as error:
                _log.info("%s ended with: %s", type(service).__name__, error)
        self._services.clear()
        for connector in self._connectors:
            connector.shutdown()
        self._connectors.clear()
        if self.journal is not None:
            self.journal.close()

    def __enter__(self) -> LabHost:
        """Start all services."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all services."""
        self.stop()
