"""Which plans there are, and how a request becomes a plan that is ready to run."""

from .registry import PlanEntry, PlanRegistry, default_plans, mv
from .requests import ReadyScan, prepare

__all__ = ["PlanEntry", "PlanRegistry", "ReadyScan", "default_plans", "mv", "prepare"]
