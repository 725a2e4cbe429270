"""All services of a lab in one process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol

from labspine.clock import mono_s
from labspine.connector import RedisConnector
from labspine.errors import LabspineError

from .broker_check import refuse_unsafe_broker
from .device_server import DeviceServer
from .devices import DeviceRegistry
from .plans.registry import PlanRegistry, default_plans
from .scans.server import ScanServer

__all__ = ["HostedService", "LabHost"]

_log = logging.getLogger("labspine.lab")

STOP_LIMIT_S = 2.5


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
    """

    def __init__(
        self,
        broker: str | HasUrl,
        registry: DeviceRegistry,
        *,
        data_dir: str | Path,
        plans: PlanRegistry | None = None,
        profile: Literal["seed", "bec4"] = "seed",
        extras: Sequence[Callable[[RedisConnector], HostedService]] = (),
        metadata: dict[str, object] | None = None,
    ) -> None:
        self.url = broker if isinstance(broker, str) else broker.url
        self.registry = registry
        self.plans = plans if plans is not None else default_plans()
        self.data_dir = Path(data_dir)
        self._profile: Literal["seed", "bec4"] = profile
        self._extras = tuple(extras)
        self._metadata = dict(metadata or {})
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
            ("scan_server", lambda c: ScanServer(c, self.registry, self.plans, metadata=self._metadata)),
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

    def __enter__(self) -> LabHost:
        """Start all services."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop all services."""
        self.stop()
