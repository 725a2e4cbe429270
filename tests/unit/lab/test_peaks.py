"""Peak, centre and width of curves, also of difficult ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labspine.errors import InvalidArgument
from labspine.lab.peaks import PeakStatistics, peak_statistics

SIGMA_TO_FWHM = 2 * math.sqrt(2 * math.log(2))


def gaussian(x: np.ndarray, *, centre: float, sigma: float, height: float = 1000.0) -> np.ndarray:
    return height * np.exp(-((x - centre) ** 2) / (2 * sigma**2)) + 5.0


def test_a_gaussian_is_measured() -> None:
    x = np.linspace(-5, 5, 201)
    found = peak_statistics(x, gaussian(x, centre=0.4, sigma=0.5))

    assert found.count == 201
    assert found.max_value == pytest.approx(1005.0, rel=1e-3)
    assert found.max_position == pytest.approx(0.4, abs=0.051)
    assert found.centre == pytest.approx(0.4, abs=0.002)
    assert found.centre_of_mass == pytest.approx(0.4, abs=0.002)
    assert found.fwhm == pytest.approx(0.5 * SIGMA_TO_FWHM, rel=0.005)
    assert found.min_value == pytest.approx(5.0, abs=0.01)


@pytest.mark.parametrize("order", ["falling", "shuffled", "there and back"])
def test_the_order_of_the_points_does_not_matter(order: str) -> None:
    x = np.linspace(-5, 5, 101)
    y = gaussian(x, centre=-1.0, sigma=0.8)
    index = {
        "falling": np.arange(101)[::-1],
        "shuffled": np.random.default_rng(1).permutation(101),
        "there and back": np.concatenate((np.arange(101), np.arange(101)[::-1])),
    }[order]
    expected, found = peak_statistics(x, y), peak_statistics(x[index], y[index])

    assert found.centre == pytest.approx(expected.centre)
    assert found.fwhm == pytest.approx(expected.fwhm)
    assert found.centre_of_mass == pytest.approx(expected.centre_of_mass)


def test_points_that_are_no_numbers_do_not_count() -> None:
    x = np.array([0.0, 1, 2, 3, 4, np.nan, 6])
    y = np.array([0.0, np.nan, 1, np.inf, 0, 100, 0])

    found = peak_statistics(x, y)

    assert found.count == 4
    assert found.max_value == 1
    assert found.centre == 2
    assert found.fwhm == 2


@pytest.mark.parametrize("value", [0.0, 7.0, 1e9, -3.0])
def test_a_flat_curve_has_no_centre_and_no_width(value: float) -> None:
    found = peak_statistics([1, 2, 3], [value] * 3)
    assert (found.centre, found.fwhm, found.centre_of_mass) == (None, None, None)
    assert found.max_value == found.min_value == value
    assert found.max_position == 1


def test_a_single_point_has_a_value_and_no_width() -> None:
    assert peak_statistics([2.5], [7]) == PeakStatistics(1, 7, 2.5, 7, 2.5)


def test_no_point_at_all_gives_nothing() -> None:
    assert peak_statistics([], []) == PeakStatistics(0)
    assert peak_statistics([1, 2], [np.nan, np.nan]) == PeakStatistics(0)


def test_a_peak_at_the_edge_has_no_width_but_a_centre_of_mass() -> None:
    found = peak_statistics([0, 1, 2, 3], [8, 4, 2, 0])
    assert found.fwhm is None
    assert found.left_half_position is None
    assert found.right_half_position == 1
    assert found.centre == found.centre_of_mass
    assert found.centre is not None
    assert 0 < found.centre < 1.5


def test_repeated_positions_are_averaged() -> None:
    found = peak_statistics([0, 1, 1, 1, 2], [0, 3, 4, 5, 0])
    assert found.max_value == 4
    assert found.fwhm == 1
    assert found.count == 5


def test_lists_of_whole_numbers_will_do() -> None:
    assert peak_statistics([0, 1, 2], [0, 10, 0]).centre == 1


@pytest.mark.parametrize(
    ("x", "y"),
    [([1, 2], [1]), ([[1, 2]], [[1, 2]]), (["a"], [1]), ([1], None), (3, 4), ([[1], [2, 3]], [1, 2])],
)
def test_other_things_are_refused(x: object, y: object) -> None:
    with pytest.raises(InvalidArgument):
        peak_statistics(x, y)


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(st.tuples(NUMBERS, NUMBERS | st.just(math.nan)), max_size=40))
def test_whatever_was_measured_the_results_lie_inside_of_it(points: list[tuple[float, float]]) -> None:
    x, y = [p[0] for p in points], [p[1] for p in points]
    found = peak_statistics(x, y)

    used = [p for p in points if math.isfinite(p[1])]
    assert found.count == len(used)
    for position in (found.centre, found.max_position, found.left_half_position, found.right_half_position):
        assert position is None or min(p[0] for p in used) <= position <= max(p[0] for p in used)
    assert found.fwhm is None or found.fwhm >= 0
