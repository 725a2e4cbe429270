"""The device server: tells everybody what the devices are and what they read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Literal

from labspine.clock import mono_s, utc_s
from labspine.connector import MessageObject, RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import DeviceError, LabspineError
from labspine.messages import (
    AvailableResourceMessage,
    BECStatus,
    DeviceInfoMessage,
    DeviceMessage,
    ScanStatusMessage,
)

from .devices import DeviceRegistry
from .scans.announcer import plain
from .scans.sender import OUTAGE
from .service import Heartbeat

__all__ = ["DeviceServer"]

_log = logging.getLogger("labspine.lab")

PERIOD_S = 0.05
"""A device is published at most this often, however fast it changes."""

_RETRY_S = 0.5


class DeviceServer:
    """
    Publish information, readings, configuration and limits of each device.

    At the start everything is published. Later ``device_read`` follows each change of a device that can be
    subscribed to, at most 20 times a second and always with the last value; at each scan status all readings
    and configurations are published again. Devices with a method ``on_scan_status(message)`` are told each
    scan status, so that they can prepare themselves (seed 001).

    Args:
        connector: The door to the broker.
        registry: The devices.
        name: Name of the service.
    """

    def __init__(
        self, connector: RedisConnector, registry: DeviceRegistry, *, name: str = "device_server"
    ) -> None:
        self.name = name
        self._connector = connector
        self._registry = registry
        self._heartbeat = Heartbeat(connector, name, self._state)
        self._wake = threading.Condition()
        self._changed: set[str] = set()
        self._configured: set[str] = set()
        self._subscribed: list[tuple[object, Callable[..., None]]] = []
        self._ended = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """
        Publish everything, then follow the devices.

        Raises:
            NotConnected: If the broker cannot be reached.
        """
        self._publish_all()
        self._connector.register(MessageEndpoints.scan_status(), cb=self._on_scan_status)
        for name in self._registry:
            self._subscribe(name)
        self._thread.start()
        self._heartbeat.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """
        Stop to follow the devices; what was published stays.

        Args:
            timeout_s: Longest wait for the thread, in seconds.
        """
        with self._wake:
            if self._ended:
                return
            self._ended = True
            self._wake.notify_all()
        for device, function in self._subscribed:
            clear = getattr(device, "clear_sub", None)
            if callable(clear):
                clear(function)
        self._subscribed.clear()
        self._connector.unregister(MessageEndpoints.scan_status(), cb=self._on_scan_status)
        self._heartbeat.stop()
        if self._thread.ident:
            self._thread.join(timeout_s)

    def publish(self, name: str) -> None:
        """
        Read a device and publish reading and configuration at once.

        Args:
            name: Name of a registered device.

        Raises:
            DeviceError: If it does not exist or cannot be read.
            NotConnected: If the broker cannot be reached.
        """
        self._publish_reading(name)
        self._publish_configuration(name)

    def _state(self) -> tuple[BECStatus, dict[str, object]]:
        return BECStatus.RUNNING, {"devices": len(self._registry)}

    def _publish_all(self) -> None:
        devices = self._registry.describe_all()
        for description in devices:
            name = str(description["name"])
            info = DeviceInfoMessage(device=name, info=description)
            self._connector.set(MessageEndpoints.device_info(name), info)
            limits = self._registry.limits(name)
            if limits is not None:
                now = utc_s()
                ends = zip(("low", "high"), limits, strict=True)
                message = self._message(
                    {end: {"value": limit, "timestamp": now} for end, limit in ends}, name
                )
                self._connector.set_and_publish(MessageEndpoints.device_limits(name), message)
            try:
                self.publish(name)
            except DeviceError as error:
                _log.warning("%s", error)
        self._connector.set(MessageEndpoints.device_config(), AvailableResourceMessage(resource=devices))

    def _publish_reading(self, name: str) -> None:
        message = self._message(self._registry.read(name), name)
        self._connector.set_and_publish(MessageEndpoints.device_read(name), message)
        self._connector.set_and_publish(MessageEndpoints.device_readback(name), message)

    def _publish_configuration(self, name: str) -> None:
        message = self._message(self._registry.read_configuration(name), name)
        self._connector.set_and_publish(MessageEndpoints.device_read_configuration(name), message)

    @staticmethod
    def _message(reading: dict[str, dict[str, object]], name: str) -> DeviceMessage:
        signals: dict[str, dict[Literal["value", "timestamp"], object]] = {
            signal: {"value": plain(part.get("value")), "timestamp": part.get("timestamp")}
            for signal, part in reading.items()
        }
        return DeviceMessage(metadata={"device": name}, signals=signals)

    def _subscribe(self, name: str) -> None:
        device = self._registry[name]
        subscribe = getattr(device, "subscribe", None)
        if not callable(subscribe):
            return

        def changed(*_readings: object, **_values: object) -> None:
            self._note({name})

        try:
            subscribe(changed)
        except Exception as error:
            _log.warning('device "%s" refuses to be followed: %s', name, error)
            return
        self._subscribed.append((device, changed))

    def _note(self, names: set[str], *, configuration: bool = False) -> None:
        with self._wake:
            self._changed |= names
            if configuration:
                self._configured |= names
            self._wake.notify_all()

    def _on_scan_status(self, message: MessageObject, **_: object) -> None:
        status = message.value
        if not isinstance(status, ScanStatusMessage):
            return
        for name in self._registry:
            prepare = getattr(self._registry[name], "on_scan_status", None)
            if callable(prepare):
                try:
                    prepare(status)
                except Exception as error:
                    _log.warning('device "%s" could not prepare for the scan: %s', name, error)
        self._note(set(self._registry), configuration=True)

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._ended or self._changed or self._configured)
                if self._ended:
                    return
                changed, self._changed = self._changed, set()
                configured, self._configured = self._configured, set()
            began = mono_s()
            pause_s = PERIOD_S if self._publish_some(changed, configured) else _RETRY_S
            with self._wake:
                self._wake.wait_for(lambda: self._ended, max(0.0, pause_s - (mono_s() - began)))

    def _publish_some(self, changed: set[str], configured: set[str]) -> bool:
        """Publish what has changed; False when the broker was away and it is to be tried again."""
        for name in sorted(changed | configured):
            try:
                if name in changed:
                    self._publish_reading(name)
                if name in configured:
                    self._publish_configuration(name)
            except OUTAGE:
                self._note(changed)
                self._note(configured, configuration=True)
                return False
            except LabspineError as error:
                _log.warning("%s", error)
        return True
