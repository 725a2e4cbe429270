"""Whole experiments: counts, scans, grids, spirals, adaptive scans, flying. Names as in ``bluesky.plans``."""

from __future__ import annotations

from labspine.plan_stubs.base import BadPlan

from .adaptive import adaptive_scan, rel_adaptive_scan, tune_centroid, tweak
from .counting import count
from .flying import RampTimeout, fly, ramp_plan
from .grids import grid_scan, list_grid_scan, rel_grid_scan, rel_list_grid_scan
from .lines import (
    inner_product_scan,
    list_scan,
    log_scan,
    rel_list_scan,
    rel_log_scan,
    rel_scan,
    relative_inner_product_scan,
    scan,
    x2x_scan,
)
from .spirals import (
    rel_spiral,
    rel_spiral_fermat,
    rel_spiral_square,
    spiral,
    spiral_fermat,
    spiral_square,
)
from .trajectory import scan_nd

relative_list_scan = rel_list_scan
relative_scan = rel_scan
relative_log_scan = rel_log_scan
relative_adaptive_scan = rel_adaptive_scan
outer_product_scan = grid_scan
relative_outer_product_scan = rel_grid_scan
relative_spiral_fermat = rel_spiral_fermat
relative_spiral = rel_spiral

__all__ = [
    "BadPlan",
    "RampTimeout",
    "adaptive_scan",
    "count",
    "fly",
    "grid_scan",
    "inner_product_scan",
    "list_grid_scan",
    "list_scan",
    "log_scan",
    "outer_product_scan",
    "ramp_plan",
    "rel_adaptive_scan",
    "rel_grid_scan",
    "rel_list_grid_scan",
    "rel_list_scan",
    "rel_log_scan",
    "rel_scan",
    "rel_spiral",
    "rel_spiral_fermat",
    "rel_spiral_square",
    "relative_adaptive_scan",
    "relative_inner_product_scan",
    "relative_list_scan",
    "relative_log_scan",
    "relative_outer_product_scan",
    "relative_scan",
    "relative_spiral",
    "relative_spiral_fermat",
    "scan",
    "scan_nd",
    "spiral",
    "spiral_fermat",
    "spiral_square",
    "tune_centroid",
    "tweak",
    "x2x_scan",
]
