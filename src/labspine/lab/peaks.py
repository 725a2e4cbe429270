"""What a scan shows at a glance: where the peak is, how high and how wide."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InvalidArgument

__all__ = ["PeakStatistics", "peak_statistics"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PeakStatistics:
    """
    The shape of one curve; positions in the units of x, values in the units of y.

    Attributes:
        count: Points with a position and a value.
        max_value: Largest value; None without any point, like all that follow.
        max_position: Where it is; the first one of several.
        min_value: Smallest value, taken as the background.
        min_position: Where it is; the first one of several.
        centre: Middle between the two half-maximum crossings; without both of them the centre of mass. None
            for a flat curve and for a single point.
        centre_of_mass: Mean position, weighted with the value above the background; None as for ``centre``.
        fwhm: Full width at half maximum, the distance of the two crossings; None when the curve does not come
            down to the half on both sides of its maximum.
        left_half_position: Lower half-maximum crossing, or None.
        right_half_position: Upper half-maximum crossing, or None.
    """

    count: int
    max_value: float | None = None
    max_position: float | None = None
    min_value: float | None = None
    min_position: float | None = None
    centre: float | None = None
    centre_of_mass: float | None = None
    fwhm: float | None = None
    left_half_position: float | None = None
    right_half_position: float | None = None


def peak_statistics(x: ArrayLike, y: ArrayLike) -> PeakStatistics:
    """
    Find peak, centre and width of a measured curve.

    The half height is halfway between smallest and largest value; crossings are searched outwards from the
    maximum and interpolated linearly. Positions may rise, fall or go there and back: points are sorted, and
    those at the same position are averaged. A scan over a dip should be given with ``-y``.

    Args:
        x: Positions, shape (n,), any order and units.
        y: Values, shape (n,). Points that are NaN or infinite in x or y do not count.

    Returns:
        The statistics; see :class:`PeakStatistics` for what is None when.

    Raises:
        InvalidArgument: If x and y are not two lists of numbers of the same length.
    """
    positions, values = _finite_points(x, y)
    if positions.size == 0:
        return PeakStatistics(count=0)
    count = int(positions.size)
    positions, values = _sorted_and_averaged(positions, values)
    top, bottom = int(values.argmax()), int(values.argmin())
    extremes = PeakStatistics(
        count=count,
        max_value=float(values[top]),
        max_position=float(positions[top]),
        min_value=float(values[bottom]),
        min_position=float(positions[bottom]),
    )
    height = float(values[top]) - float(values[bottom])
    # Nothing can be said about a flat curve; rounding noise of large values is flat as well.
    if positions.size < 2 or height <= 1e-12 * max(abs(float(values[top])), abs(float(values[bottom]))):
        return extremes
    half = float(values[bottom]) + height / 2
    left = _crossing(positions[top::-1], values[top::-1], half)
    right = _crossing(positions[top:], values[top:], half)
    mass = _centre_of_mass(positions, values - values[bottom])
    width = None if left is None or right is None else right - left
    return replace(
        extremes,
        centre=mass if left is None or width is None else left + width / 2,
        centre_of_mass=mass,
        fwhm=width,
        left_half_position=left,
        right_half_position=right,
    )


def _finite_points(x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    try:
        positions = np.asarray(x, dtype=np.float64)
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"positions and values must be numbers: {error}") from error
    if positions.ndim != 1 or positions.shape != values.shape:
        raise InvalidArgument(
            f"positions have the shape {positions.shape} and values {values.shape}; needed are two lists of "
            "the same length"
        )
    good = np.isfinite(positions) & np.isfinite(values)
    return positions[good], values[good]


def _sorted_and_averaged(positions: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    unique, index = np.unique(positions, return_inverse=True)
    sums = np.bincount(index, weights=values, minlength=unique.size)
    averaged: FloatArray = sums / np.bincount(index, minlength=unique.size)
    return unique, averaged


def _crossing(positions: FloatArray, values: FloatArray, half: float) -> float | None:
    """Interpolate where a curve that begins at its maximum first comes down to the half."""
    below = np.flatnonzero(values <= half)
    if below.size == 0:
        return None
    after = int(below[0])
    before = after - 1
    fraction = (values[before] - half) / (values[before] - values[after])
    ends = sorted((positions[before], positions[after]))
    crossing = positions[before] + fraction * (positions[after] - positions[before])
    return float(min(max(crossing, ends[0]), ends[1]))  # rounding may lead out of the interval


def _centre_of_mass(positions: FloatArray, weights: FloatArray) -> float:
    # Trapezoids, so that densely measured parts do not weigh more than their width.
    steps = np.diff(positions)
    widths = np.concatenate(([steps[0]], steps[:-1] + steps[1:], [steps[-1]]))
    masses = weights * widths
    mean = float((positions * masses).sum() / masses.sum())
    return min(max(mean, float(positions[0])), float(positions[-1]))
