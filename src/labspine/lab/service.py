"""What every service of the lab has: a name, a heartbeat, and an orderly end."""

from __future__ import annotations

import getpass
import logging
import os
import platform
import socket
import threading
from collections.abc import Callable

from labspine._version import __version__
from labspine.clock import utc_s
from labspine.connector import RedisConnector
from labspine.endpoints import MessageEndpoints
from labspine.errors import LabspineError
from labspine.ids import new_sender
from labspine.messages import BECStatus, StatusMessage

__all__ = ["HEARTBEAT_EXPIRY_S", "HEARTBEAT_PERIOD_S", "Heartbeat"]

_log = logging.getLogger("labspine.lab")

HEARTBEAT_PERIOD_S = 1.0
HEARTBEAT_EXPIRY_S = 3.0

State = Callable[[], tuple[BECStatus, dict[str, object]]]


class Heartbeat:
    """
    Tell once a second that a service lives, and what it does.

    Args:
        connector: The door to the broker.
        name: Name of the service; the status is at ``service_status(name)`` and vanishes 3 s after its end.
        state: Gives status and further information each time; it must not raise.
    """

    def __init__(self, connector: RedisConnector, name: str, state: State) -> None:
        self.name = name
        self.instance = new_sender()
        self._connector = connector
        self._state = state
        self._beat_now = threading.Event()
        self._ended = False
        self._started_utc_s = utc_s()
        self._thread = threading.Thread(target=self._work, name=f"{name}-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first status is sent before this returns."""
        self._beat()
        self._thread.start()

    def beat(self) -> None:
        """Tell the state now, because it has changed; returns at once."""
        self._beat_now.set()

    def stop(self) -> None:
        """End, and take the status off the broker, so that everybody knows at once."""
        if self._ended or not self._thread.ident:
            return
        self._ended = True
        self._beat_now.set()
        self._thread.join(2.0)
        try:
            self._connector.delete(MessageEndpoints.service_status(self.name))
        except LabspineError:
            _log.debug("%s: the last status stays until it expires", self.name)

    def message(self) -> StatusMessage:
        """Build the present status."""
        status, info = self._state()
        return StatusMessage(
            name=self.name,
            status=status,
            info={
                "user": _user(),
                "hostname": socket.gethostname(),
                "pid": os.getpid(),
                "instance": self.instance,
                "timestamp": utc_s(),
                "started_utc_s": self._started_utc_s,
                "versions": {"labspine": __version__, "python": platform.python_version()},
                **info,
            },
        )

    def _work(self) -> None:
        while not self._ended:
            self._beat_now.wait(HEARTBEAT_PERIOD_S)
            self._beat_now.clear()
            if not self._ended:
                self._beat()

    def _beat(self) -> None:
        endpoint = MessageEndpoints.service_status(self.name)
        try:
            self._connector.set_and_publish(endpoint, self.message(), expire_s=HEARTBEAT_EXPIRY_S)
        except LabspineError as error:
            _log.debug("%s: no heartbeat: %s", self.name, error)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
