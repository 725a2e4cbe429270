"""Points on spirals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["archimedes", "fermat", "square"]

GOLDEN_DEG = 137.508
Points = tuple[list[float], list[float]]


def _inside(x: Any, y: Any, *, half: tuple[float, float], tilt: float) -> Any:
    # The box leans over by the tilt; y is in units in which the curve is round.
    return (np.abs(x - y / math.tan(tilt + math.pi / 2)) <= half[0]) & (np.abs(y) <= half[1])


def archimedes(
    ranges: tuple[float, float], dr: float, nth: float, *, dr_y: float | None = None, tilt: float = 0.0
) -> Points:
    """
    Visit rings around the origin, from the inside to the outside, within a box.

    Args:
        ranges: Width and height of the box.
        dr: Distance of the rings along x.
        nth: Points on the first ring; the n-th has n times as many.
        dr_y: Distance of the rings along y; dr by default.
        tilt: Angle in radians by which the box leans.

    Returns:
        The x and the y positions.
    """
    aspect = 1.0 if dr_y is None else dr_y / dr
    half = (ranges[0] / 2, ranges[1] / (2 * aspect))
    rings = 2 + int(math.hypot(*half) / dr)
    xs: list[float] = []
    ys: list[float] = []
    for ring in range(1, rings + 1):
        angles = np.arange(int(ring * nth)) * (2.0 * np.pi / (ring * nth))
        x, y = ring * dr * np.cos(angles), ring * dr * np.sin(angles)
        kept = _inside(x, y, half=half, tilt=tilt)
        xs += x[kept].tolist()
        ys += (y[kept] * aspect).tolist()
    return xs, ys


def fermat(
    ranges: tuple[float, float], dr: float, factor: float, *, dr_y: float | None = None, tilt: float = 0.0
) -> Points:
    """
    Visit the points of a sunflower, evenly dense, within a box.

    Args:
        ranges: Width and height of the box.
        dr: Scale of the distances along x.
        factor: Divides dr.
        dr_y: Scale of the distances along y; dr by default.
        tilt: Angle in radians by which the box leans.

    Returns:
        The x and the y positions.
    """
    aspect = 1.0 if dr_y is None else dr_y / dr
    half = (ranges[0] / 2, ranges[1] / (2 * aspect))
    scale = dr / factor
    numbers = np.arange(1, int((1.5 * math.hypot(*half) / scale) ** 2))
    radii, angles = np.sqrt(numbers) * dr / factor, GOLDEN_DEG * np.pi / 180.0 * numbers
    x, y = radii * np.cos(angles), radii * np.sin(angles)
    # Readers rebuild this pattern with bluesky's function, which holds the stretched y against the box.
    kept = _inside(x, y, half=half, tilt=tilt) & (np.abs(y * aspect) <= half[1])
    return x[kept].tolist(), (y[kept] * aspect).tolist()


def square(ranges: tuple[float, float], counts: tuple[int, int]) -> Points:
    """
    Visit all points of a grid around the origin, winding from the middle to the outside, clockwise.

    Args:
        ranges: Width and height of the grid.
        counts: Columns and rows.

    Returns:
        The x and the y positions.
    """
    columns, rows = counts
    step_x = ranges[0] / (columns - 1) if columns > 1 else 0.0
    step_y = ranges[1] / (rows - 1) if rows > 1 else 0.0
    # With an even number there is no middle point: begin on the left of it, and above.
    shift_x, shift_y = (0.0 if columns % 2 else 0.5), (0.0 if rows % 2 else -0.5)
    xs: list[float] = []
    ys: list[float] = []
    for i, j in _winding(max(columns, rows)):
        if abs(i - shift_x) < columns / 2 and abs(j - shift_y) < rows / 2:
            xs.append(step_x * (i - shift_x))
            ys.append(step_y * (j - shift_y))
    return xs, ys


def _winding(rings: int) -> Iterator[tuple[int, int]]:
    yield 0, 0
    for ring in range(1, rings):
        corners = [(ring, ring), (ring, -ring), (-ring, -ring), (-ring, ring), (ring, ring)]
        for (i0, j0), (i1, j1) in pairwise(corners):
            di, dj = (i1 > i0) - (i1 < i0), (j1 > j0) - (j1 < j0)
            for step in range(1, 2 * ring + 1):
                yield i0 + di * step, j0 + dj * step
