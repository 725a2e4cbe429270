"""Tools for tests of programs that use Labspine; the pytest fixtures are in
:mod:`labspine.testing.plugin`."""

from .clock import FakeClock
from .waiting import process_lives, wait_until

__all__ = ["FakeClock", "process_lives", "wait_until"]
