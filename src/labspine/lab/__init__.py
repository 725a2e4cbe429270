"""The services of the lab around the engine: scan server, device server, file writer, client (seed 001)."""

from .announcer import Announcer
from .client import Lab, connect
from .device_server import DeviceServer
from .devices import DeviceEntry, DeviceRegistry
from .discovery import resolve_url
from .host import LabHost
from .plans import PlanRegistry, default_plans, mv
from .report import ScanReport
from .requests import ReadyScan, prepare
from .scan_server import ScanServer
from .simulation import simulated_beamline
from .words import words_to_request

__all__ = [
    "Announcer",
    "DeviceEntry",
    "DeviceRegistry",
    "DeviceServer",
    "Lab",
    "LabHost",
    "PlanRegistry",
    "ReadyScan",
    "ScanReport",
    "ScanServer",
    "connect",
    "default_plans",
    "mv",
    "prepare",
    "resolve_url",
    "simulated_beamline",
    "words_to_request",
]
