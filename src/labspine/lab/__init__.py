"""The services of the lab around the engine: scan server, device server, file writer, client (seed 001)."""

from .client.lab import Lab, connect
from .client.report import ScanReport
from .client.words import words_to_request
from .device_server import DeviceServer
from .devices import DeviceEntry, DeviceRegistry
from .discovery import resolve_url
from .host import LabHost
from .plans.registry import PlanRegistry, default_plans, mv
from .plans.requests import ReadyScan, prepare
from .scans.announcer import Announcer
from .scans.server import ScanServer
from .simulation import simulated_beamline
from .topic_source import TopicSource

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
    "TopicSource",
    "connect",
    "default_plans",
    "mv",
    "prepare",
    "resolve_url",
    "simulated_beamline",
    "words_to_request",
]
